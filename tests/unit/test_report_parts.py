"""The parts of the reports that need no run: escapes, places of marks, states, the history of baselines."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_onnxlite.__main__ import main
from pytest_onnxlite.baseline.accepted import Acceptance, Overridden
from pytest_onnxlite.baseline.fingerprint import Machine
from pytest_onnxlite.baseline.record import Artefact, Baseline
from pytest_onnxlite.checks.accuracy.measurement import AccuracySection
from pytest_onnxlite.checks.graph.measurement import GraphEvidence
from pytest_onnxlite.checks.size.measurement import SizeSection
from pytest_onnxlite.checks.verdict import Explanation, Outcome, Verdict
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint.finding import report as report_finding
from pytest_onnxlite.records import Conditions, JudgedFile, Record
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.report import document as document_module
from pytest_onnxlite.report import html, markdown, trend
from pytest_onnxlite.report.acceptances import acceptance_text, limit_text
from pytest_onnxlite.report.annotations import annotate, as_code_quality, as_sarif, workspace_prefix
from pytest_onnxlite.report.document import Document
from pytest_onnxlite.report.failure import failure_text
from pytest_onnxlite.report.history_view import trend_part
from pytest_onnxlite.report.plots import SparkPoint, nice_ticks, spark, strip
from pytest_onnxlite.report.status import status_of, worst
from pytest_onnxlite.run import Run, Unjudged
from pytest_onnxlite.text import percent

from pages import structure_faults

# -- annotations ---------------------------------------------------------------------------------------------


CHECKS = Registry.load().checks
CONDITIONS = Conditions(1, True, 1, "top1", 1000, None)


def verdict(**changes: Any) -> Verdict:
    given = {"check": "size", "against": "baseline", "figure": "1 B", "message": "too large", "red": True, **changes}
    return Verdict(**{**given, "outcome": Outcome(given.get("outcome", "fail"))})


def record(**changes: Any) -> Record:
    place = {"file": changes.pop("file", "tests/test_a.py"), "line": 7}
    return Record("t", "m", "int8", JudgedFile(), CONDITIONS, verdicts=(verdict(**changes),), **place)


def document(*records: Record, **more: Any) -> Document:
    return Document("0", "compare", Machine(), "m", {}, "fail", tuple(records), **more)


def test_a_failure_names_each_part_of_the_documentation_once() -> None:
    verdicts = (
        verdict(),
        verdict(message="and larger than the last"),
        verdict(check="latency", outcome="inconclusive"),
    )
    text = failure_text([replace(record(), verdicts=verdicts)])
    assert re.findall("See .*", text) == ["See docs/failures.md#size", "See docs/failures.md#inconclusive"]
    assert "and larger than the last" in text


def test_an_annotation_escapes_what_ends_a_part_of_it() -> None:
    odd = record(message="100 %\r\nof a:b,c", file="a,b/c:d%.py")
    assert annotate(document(odd), CHECKS) == [
        "::error file=a%2Cb/c%3Ad%25.py,line=7,title=m int8%3A size::100 %25%0Aof a:b,c"
    ]


def test_annotations_are_of_what_is_red_and_of_the_run() -> None:
    what = "failed before its limits were judged"
    lost = Unjudged("t.py::test_b", "t.py", 3, "def test_b():\nE   ValueError: no model", what)
    notes = annotate(
        document(record(red=False), record(), unjudged=(lost,), session=("nothing was guarded",)), CHECKS, "sub/"
    )
    assert notes == [
        "::error file=sub/tests/test_a.py,line=7,title=m int8%3A size::too large",
        "::error file=sub/t.py,line=3,title=test_b%3A failed before its limits were judged::E   ValueError: no model",
        "::error title=pytest-onnxlite::nothing was guarded",
    ]


def test_a_long_annotation_is_cut_where_a_line_ends() -> None:
    (note,) = annotate(document(record(message="\n".join(map(str, range(40))))), CHECKS)
    assert note.endswith("%0A11%0A...")


def test_code_scanning_gets_a_result_for_each_fault_and_a_rule_for_each_result() -> None:
    saturated = report_finding("OLX601", "node 'dense'", "integers", "float")
    faulty = record(check="graph", message="2 faults", evidence=GraphEvidence(findings=(saturated,)))
    lost = Unjudged("t.py::test_b", "t.py", 3, "E   ValueError: no model", "failed before its limits were judged")
    found = document(
        record(), record(check="accuracy[top5]"), faulty, record(red=False), unjudged=(lost,), session=("no baseline",)
    )
    (run,) = json.loads(as_sarif(found, CHECKS, "sub/"))["runs"]
    results = run["results"]
    assert [result["ruleId"] for result in results] == [
        "onnxlite/size", "onnxlite/accuracy", "onnxlite/graph", "OLX601", "onnxlite/not-judged", "onnxlite/run",
    ]  # fmt: skip
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [rules[result["ruleIndex"]] for result in results] == [result["ruleId"] for result in results]
    places = [result["locations"][0]["physicalLocation"] for result in results]
    assert [(place["artifactLocation"]["uri"], place["region"]["startLine"]) for place in places] == [
        *4 * [("sub/tests/test_a.py", 7)], ("sub/t.py", 3), ("sub/pyproject.toml", 1),
    ]  # fmt: skip
    assert "too large" in results[0]["message"]["text"]
    assert "2 faults" in results[2]["message"]["text"]
    assert "node 'dense'" in results[3]["message"]["text"]
    assert {result["level"] for result in results} == {"error"}
    same = json.loads(as_sarif(replace(found, commit="another"), CHECKS))["runs"][0]["results"]
    assert [result["partialFingerprints"] for result in same] == [result["partialFingerprints"] for result in results]
    assert len({str(result["partialFingerprints"]) for result in results}) == len(results)


def test_gitlab_gets_the_same() -> None:
    found = document(record(), record(red=False, check="latency"))
    (entry,) = json.loads(as_code_quality(found, CHECKS))
    assert entry.pop("fingerprint")
    assert entry == {
        "description": "m int8: size: too large",
        "check_name": "onnxlite/size",
        "severity": "critical",
        "location": {"path": "tests/test_a.py", "lines": {"begin": 7}},
    }
    assert json.loads(as_code_quality(document(record(red=False)), CHECKS)) == []


@pytest.mark.parametrize(
    ("root", "workspace", "prefix"),
    [("w/sub/x", "w", "sub/x/"), ("w", "w", ""), ("w", None, ""), ("other", "w", "")],
)
def test_annotations_are_relative_to_the_repository(
    tmp_path: Path, root: str, workspace: str | None, prefix: str
) -> None:
    environ = {} if workspace is None else {"GITHUB_WORKSPACE": str(tmp_path / workspace)}
    assert workspace_prefix(tmp_path / root, environ) == prefix


# -- Markdown ------------------------------------------------------------------------------------------------


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    assert markdown.block("a ```` b").startswith("`````text\n")
    assert markdown.block("plain") == "```text\nplain\n```"


def test_text_in_a_table_breaks_no_table() -> None:
    assert markdown.escape("a|b\nc<d>*e*_f_") == "a\\|b c&lt;d&gt;\\*e\\*\\_f\\_"


# -- states --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "red", "key", "word"),
    [
        ("pass", False, "pass", "pass"),
        ("fail", True, "fail", "fail"),
        ("fail", False, "accepted", "accepted"),
        ("improved", False, "improved", "improved"),
        ("missing", True, "unsure", "missing"),
        ("missing", False, "none", "missing"),
        ("not compared", False, "none", "not compared"),
    ],
)
def test_a_verdict_has_a_sign_and_a_word(outcome: str, red: bool, key: str, word: str) -> None:
    status = status_of(verdict(outcome=outcome, red=red))
    assert (status.key, status.word) == (key, word)
    assert status.sign


def test_the_worst_state_stands_for_all() -> None:
    verdicts = [
        verdict(outcome="pass", red=False),
        verdict(outcome="missing", red=True),
        verdict(outcome="fail", red=True),
    ]
    assert worst(verdicts).key == "fail"
    assert worst(verdicts[:2]).key == "unsure"
    assert worst([verdict(outcome="not compared", red=False), verdicts[0]]).key == "pass"


# -- plots ---------------------------------------------------------------------------------------------------

ratios = st.lists(st.floats(0.01, 100), min_size=8, max_size=40)


@given(first=ratios, second=ratios, most=st.none() | st.floats(0.5, 2))
def test_every_mark_of_a_strip_lies_inside(first: list[float], second: list[float], most: float | None) -> None:
    plot = strip("a against b", "s", [("First", first, None), ("Second", second, None)], most)
    across = [x for row in plot.rows for x, _ in row.dots] + [plot.equal.x] + ([plot.limit.x] if plot.limit else [])
    across += [x for row in plot.rows for x in (row.lower, row.median, row.upper)]
    assert all(0 <= x <= 100 for x in across)
    assert [len(row.dots) for row in plot.rows] == [len(first), len(second)]
    assert all(plot.plot_top < y < plot.plot_bottom for row in plot.rows for _, y in row.dots)
    assert all(row.lower <= row.median <= row.upper for row in plot.rows)


@given(low=st.floats(-100, 100), span=st.floats(1e-3, 100), most=st.integers(2, 6))
def test_ticks_are_few_and_inside(low: float, span: float, most: int) -> None:
    ticks = nice_ticks(low, low + span, most)
    assert 1 <= len(ticks) <= most
    assert all(low - 1e-9 <= tick <= low + span + 1e-9 for tick in ticks)


def points(*values: float | None) -> list[SparkPoint]:
    return [SparkPoint(value, f"v{number}") for number, value in enumerate(values)]


def test_a_spark_leaves_a_gap_where_nothing_is_known() -> None:
    plot = spark("size", "", "s", points(3.0, None, 1.0, 2.0), "{:g} B".format)
    assert len(plot.dots) == 3
    assert len(plot.segments) == 1
    assert plot.dots[0].y < plot.dots[2].y < plot.dots[1].y  # larger is higher
    flat = spark("size", "", "s", points(5.0, 5.0), "{:g} B".format)
    assert flat.dots[0].y == flat.dots[1].y


def test_a_spark_has_a_scale_the_names_of_releases_and_marks_what_was_accepted() -> None:
    plot = spark("size", "", "s", [*points(100.0, 120.0), SparkPoint(200.0, "this run", True)], "{:g} B".format)
    assert (plot.low, plot.high, plot.first, plot.last) == ("100 B", "200 B", "v0", "this run")
    assert [dot.text for dot in plot.dots] == ["v0: 100 B", "v1: 120 B", "this run: 200 B, a loss was accepted"]
    assert [dot.accepted for dot in plot.dots] == [False, False, True]
    assert (plot.dots[0].y, plot.dots[2].y) == (plot.bottom, plot.top)
    # No share is above 100 %.
    share = spark("accuracy", "", "s", points(0.99, 0.98), percent, 1.0)
    assert (share.low, share.high) == ("90.1 %", "100.0 %")


# -- the document --------------------------------------------------------------------------------------------


def test_the_document_is_rounded_sorted_and_holds_infinity_as_text() -> None:
    noisy = record(explanation=Explanation("", (), {"sqnr": float("inf"), "a": (1 / 3, 2)}))
    run = Run(records={"t": [noisy]}, unjudged={"u": Unjudged("u", "u.py", 2, "no model", "failed")})
    data = document_module.as_data(document_module.build(run, "compare", CHECKS))
    (found,) = data["records"][0]["verdicts"]
    assert found["explanation"] == {"why": "", "lines": [], "sqnr": "inf", "a": [0.333333, 2]}
    assert data["unjudged"] == [{"test": "u", "file": "u.py", "line": 2, "reason": "no model", "what": "failed"}]
    assert data["verdict"] == "fail"
    built = document_module.build(run, "compare", CHECKS)
    assert json.loads(document_module.as_text(built)) == data
    assert document_module.parse(data, CHECKS, "it") == built


def test_the_document_names_each_tool_that_a_variant_is_made_or_run_with() -> None:
    extras = tomllib.loads(Path(__file__, "../../../pyproject.toml").resolve().read_text())["project"]
    tools = [*extras["optional-dependencies"]["tensorflow"], *extras["optional-dependencies"]["litert"]]
    named = document_module.environment()
    for tool in ("onnxruntime", *(re.split("[<>=]", tool)[0] for tool in tools)):
        try:
            expected = importlib.metadata.version(tool)
        except importlib.metadata.PackageNotFoundError:
            assert tool not in named
        else:
            assert named[tool] == expected


@pytest.mark.parametrize("broken", ["findings", "unjudged", "red", "nothing"])
def test_the_documents_verdict_is_a_pass_only_where_nothing_is_wrong(broken: str) -> None:
    run = Run(records={"t": [record(red=broken == "red")]})
    if broken == "findings":
        run.findings = ["nobody looked"]
    if broken == "unjudged":
        run.unjudged = {"u": Unjudged("u", "u.py", 2, "", "failed")}
    assert document_module.build(run, "compare", CHECKS).verdict == ("pass" if broken == "nothing" else "fail")


def test_a_run_that_guarded_nothing_has_a_page_that_says_so() -> None:
    built = document_module.build(Run(findings=["nothing was guarded"]), "compare", CHECKS)
    page = html.render(built, CHECKS)
    assert structure_faults(page) == []
    assert "nothing was guarded" in page
    assert "1 problem to look at" in markdown.render(built, CHECKS)


def test_a_report_of_an_earlier_version_is_read_with_every_part_typed() -> None:
    # Written by the version before reports were typed, by a run of the examples.
    path = Path(__file__).parents[1] / "data" / "report-0.1.0-before-msgspec.json"
    found = document_module.load(path, CHECKS)
    assert [record.name for record in found.records] == ["dnn int8", "cnn int8"]
    for record in found.records:
        assert set(record.measured) == {"accuracy", "size", "latency", "memory", "graph"}, "the checks of that version"
        assert not any(isinstance(measured, dict) for measured in record.measured.values())
    page = html.render(found, CHECKS)
    assert structure_faults(page) == []
    for figure in ("94.2 %", "97.3 %", "1.91 MiB", "the last release"):
        assert figure in page
        assert figure in markdown.render(found, CHECKS)


# -- the history of baselines --------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    names = {f"GIT_{who}_{what}": "tests" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **names}, check=True, capture_output=True)


def save(folder: Path, correct: int, size: int, ratio: float, data: str = "d", accepted: Any = ()) -> None:
    accuracy = AccuracySection(correct=correct, total=1000, batch_size=1, metric="top1", data_sha256=data)
    artefact = Artefact("int8-0.onnx", "0", size, kept=False)
    sections = {"accuracy": accuracy, "size": SizeSection(size)}
    baseline = Baseline("digits", "int8", artefact, sections, first={"latency_ratio": ratio}, accepted=accepted)
    path = folder / "digits" / "int8.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(baseline.as_dict()))


def test_the_history_has_every_saved_figure_and_names_broken_files(tmp_path: Path) -> None:
    folder = tmp_path / "project dir" / "baselines"
    git(tmp_path, "init", "-q")
    for step, arguments in enumerate([(970, 400, 1.0), (972, 380, 1.02), None, (968, 380, 1.05)]):
        if arguments is None:
            (folder / "digits" / "int8.json").write_text("<<<<<<< HEAD")
        else:
            save(folder, *arguments)
        (tmp_path / "other.txt").write_text(str(step))
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-qm", f"step {step}")
    save(folder, 1, 1, 9.0)  # what was not committed is no release
    (entry,) = trend.history(folder, CHECKS)
    assert (entry.model, entry.variant) == ("digits", "int8")
    assert [{key: figure.value for key, figure in release.figures.items()} for release in entry.releases] == [
        {"accuracy": 0.97, "size": 400, "latency": 1.0},
        {"accuracy": 0.972, "size": 380, "latency": 1.02},
        {"accuracy": 0.968, "size": 380, "latency": 1.05},
    ]
    assert all(len(release.commit) == 40 for release in entry.releases)
    (broken,) = entry.broken
    assert "int8.json" in broken
    assert "is not JSON" in broken


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Overridden("latency", "baseline", "fail", "1 ms", "2 ms", "up 5 %"), "latency 1 ms → 2 ms (up 5 % allowed)"),
        (Overridden("latency", "baseline", "inconclusive", "1 ms", "1 ms", "up 5 %"), "latency 1 ms (up 5 % allowed)"),
        # What is allowed against the last release was not broken: it did not change.
        (Overridden("latency", "onnx", "fail", "1 ms", "1 ms", "up 5 %"), "latency 1 ms (against the onnx variant)"),
        (
            Overridden("accuracy", "limit", "fail", "97 %", "94 %", "1 %"),
            "accuracy 97 % → 94 % (against its own limit)",
        ),
        (Overridden("size", "first", "fail", "", "9 B"), "size 9 B (against the first release)"),
        (Overridden("memory", "runtime", "fail", "", "9 B"), "memory 9 B (against the last release as it was saved)"),
    ],
)
def test_what_was_accepted_says_what_it_is_against(limit: Overridden, text: str) -> None:
    assert limit_text(limit) == text
    accepted = Acceptance("2026-01-02", "0", (limit, limit))
    assert acceptance_text(accepted) == f"{text}; {text}: no reason given"


def test_the_trend_names_releases_after_tags_and_marks_what_was_accepted(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    lost = Overridden("accuracy", "baseline", "fail", "97.0 %", "95.0 %", "1.0 points", "lost")
    other = Overridden("size", "baseline", "fail", "400 B", "500 B")
    accepted: tuple[Acceptance, ...] = ()
    for number, (correct, new) in enumerate([(970, None), (950, lost), (951, None), (951, other)]):
        accepted += () if new is None else (Acceptance("2026-01-02", "0", (new,), f"because {number}"),)
        save(tmp_path / "b", correct, 400 + number, 1.0, accepted=accepted)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-qm", "saved")
        if number in (0, 2):
            git(tmp_path, "tag", f"v{number}")
    (entry,) = trend.history(tmp_path / "b", CHECKS)
    # The second has no tag of its own: it is on the way to v2.
    names = [release.tag for release in entry.releases]
    assert names == ["v0", "", "v2", ""]
    marks = [dict(release.accepted) for release in entry.releases]
    assert marks == [
        {},
        {"accuracy": "accuracy 97.0 % → 95.0 % (1.0 points allowed): because 1"},
        {},
        {"size": "size 400 B → 500 B: because 3"},
    ]
    part = trend_part(entry, {}, CHECKS)
    rows = {row.name: row for row in part.rows}
    assert [dot.accepted for dot in rows["accuracy"].spark.dots] == [False, True, False, False]
    assert rows["accuracy"].accepted == (f"{entry.releases[1].commit[:10]}: {marks[1]['accuracy']}",)
    assert rows["latency"].accepted == ()
    built = document_module.build(Run(), "compare", CHECKS)
    page = html.render(replace(built, trend=(entry,)), CHECKS)
    assert structure_faults(page) == []
    assert "because 1" in page
    assert "v2 (" in page
    assert "accepted: " in markdown.render(replace(built, trend=(entry,)), CHECKS)


def test_other_evaluation_data_is_told_in_the_trend(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    for data in "dde":
        save(tmp_path / "b", 970, 400 + ord(data), 1.0, data)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-qm", data, "--allow-empty")
    (entry,) = trend.history(tmp_path / "b", CHECKS)
    part = trend_part(entry, {}, CHECKS)
    assert len(part.releases) == 2  # a save that changes nothing is no release
    assert [line for line in part.remarks if "other evaluation data" in line] == list(part.remarks)
    assert len(part.remarks) == 1


def test_a_retired_model_ends_where_it_was_deleted(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    save(tmp_path / "b", 970, 400, 1.0)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "saved")
    git(tmp_path, "rm", "-rq", "b")
    git(tmp_path, "commit", "-qm", "retired")
    (tmp_path / "b").mkdir()
    (entry,) = trend.history(tmp_path / "b", CHECKS)
    assert len(entry.releases) == 1
    assert entry.broken == ()


def test_a_history_without_baselines_is_told(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "a")
    with pytest.raises(OnnxliteError, match="no commit of the repository has a baseline"):
        trend.history(tmp_path, CHECKS)
    with pytest.raises(OnnxliteError, match="there is no folder"):
        trend.history(tmp_path / "nowhere", CHECKS)


# -- the command ---------------------------------------------------------------------------------------------


def test_a_baseline_that_was_not_kept_is_shown_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, 970, 400, 1.0)
    assert main(["show", str(tmp_path)]) == 0
    assert "97.0 %" in capsys.readouterr().out
    (tmp_path / "digits" / "int8.json").write_text("{}")
    assert main(["show", str(tmp_path)]) == 1
    assert "broken" in capsys.readouterr().out


def test_an_empty_folder_guards_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(tmp_path)]) == 2
    assert "holds no baseline" in capsys.readouterr().err
