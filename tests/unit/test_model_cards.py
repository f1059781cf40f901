"""What was judged in a model card: the figures that stand there, those that do not, and what else the file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from pytest_onnxlite.__main__ import main
from pytest_onnxlite.baseline.fingerprint import Machine
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, Score
from pytest_onnxlite.checks.size.measurement import Size
from pytest_onnxlite.checks.verdict import Outcome, Verdict
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.records import Conditions, JudgedFile, Record
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.report import document as document_module
from pytest_onnxlite.report import model_card
from pytest_onnxlite.report.delivery import write
from pytest_onnxlite.report.document import Document
from pytest_onnxlite.report.front_matter import BEGIN, END

pytest_plugins = "pytester"
CHECKS = Registry.load().checks
ACCURACY = Accuracy("top1", 972, 1000, 1, "d" * 64, "trained", 980, 8, 0)
SIZE = Size(1000, "trained", 4000)


def verdict(check: str, outcome: str = "pass", figure: str = "", against: str = "trained") -> Verdict:
    red = outcome not in ("pass", "improved", "not compared")
    return Verdict(check, against, Outcome(outcome), figure or f"{check} figure", f"{check}: {outcome}", red=red)


def record(*verdicts: Verdict, measured: Any = None, model: str = "digits", variant: str = "int8") -> Record:
    found = {"accuracy": ACCURACY, "size": SIZE} if measured is None else measured
    conditions = Conditions(1, True, 1, "top1", 1000, None)
    return Record(
        "t", model, variant, JudgedFile("m.onnx", "a" * 64, 1000), conditions, measured=found, verdicts=verdicts
    )


def document(*records: Record, verdict: str = "pass", **more: Any) -> Document:
    return Document("0", "compare", Machine(), "m", {}, verdict, tuple(records), **more)


def put(path: Path, found: Document) -> str:
    write(path, model_card.render(found, CHECKS, path), "--model-card")
    return path.read_text(encoding="utf-8")


SOUND = document(record(verdict("accuracy", figure="97.2 %"), verdict("size", figure="1000 B")))


def test_hugging_face_reads_what_was_judged_on_data_and_a_person_reads_the_rest(tmp_path: Path) -> None:
    text = put(tmp_path / "README.md", SOUND)
    data = ModelCard.load(tmp_path / "README.md").data
    (found,) = data.eval_results
    assert data.model_name == "digits"
    assert (found.task_type, found.dataset_name) == ("other", "evaluation data of digits, 1,000 samples")
    assert (found.metric_type, found.metric_value, found.metric_name) == ("accuracy", 0.972, "accuracy of int8")
    assert found.dataset_args["sha256"] == "d" * 64
    assert found.metric_args == {"variant": "int8", "file_sha256": "a" * 64}
    assert "| digits | int8 | accuracy | 97.2 % | ✓ pass | the trained variant |" in text
    assert "| digits | int8 | size | 1000 B | ✓ pass | the trained variant |" in text
    assert "✓ **Every limit holds, compared with the last release.**" in text
    assert f"SHA-256 `{'a' * 64}`" in text


def test_a_metric_that_counts_no_answers_has_its_own_name(tmp_path: Path) -> None:
    score = Score("mae", False, 0.0213456789, 10, 1, "e" * 64, "trained", 0.02, 0.02, None)
    put(tmp_path / "c.md", document(record(verdict("accuracy"), measured={"accuracy": score})))
    (found,) = ModelCard.load(tmp_path / "c.md").data.eval_results
    assert (found.metric_type, found.metric_value) == ("mae", 0.0213457)


def test_a_red_figure_is_shown_as_red(tmp_path: Path) -> None:
    red = document(record(verdict("accuracy", "fail", "61.0 %"), verdict("size")), verdict="fail")
    text = put(tmp_path / "c.md", red)
    assert "| digits | int8 | accuracy | 61.0 % | ✗ **FAIL** | the trained variant |" in text
    assert "✗ **1 problem to look at.**" in text
    assert "- digits int8: accuracy: accuracy: fail" in text
    (found,) = ModelCard.load(tmp_path / "c.md").data.eval_results
    assert found.metric_name == "accuracy of int8 (fail)"


@pytest.mark.parametrize("outcome", ["missing", "not comparable", "inconclusive", "not measured", "not compared"])
def test_a_figure_that_was_not_judged_is_not_there(tmp_path: Path, outcome: str) -> None:
    both = document(record(verdict("accuracy", outcome, "97.2 %"), verdict("size")), verdict="fail")
    text = put(tmp_path / "c.md", both)
    assert "97.2 %" not in text
    assert "model-index" not in text
    assert (
        f"| digits | int8 | accuracy | – | {'○' if outcome == 'not compared' else '?'} not judged: {outcome} | – |"
        in text
    )
    assert "| digits | int8 | size | size figure | ✓ pass | the trained variant |" in text


def test_one_that_keeps_a_limit_and_lacks_its_baseline_says_so(tmp_path: Path) -> None:
    half = document(record(verdict("accuracy"), verdict("accuracy", "missing", against="baseline")), verdict="fail")
    text = put(tmp_path / "c.md", half)
    assert "? **MISSING** | the trained variant |" in text
    assert "accuracy of int8 (missing)" in text


def test_a_run_that_judged_nothing_takes_away_what_another_one_wrote(tmp_path: Path) -> None:
    before = put(tmp_path / "c.md", SOUND)
    assert "97.2 %" in before
    nothing = put(tmp_path / "c.md", document(verdict="fail", session=("nothing was guarded: look *there*",)))
    assert "✗ **No figure was judged in this run.**" in nothing
    assert "nothing was guarded: look \\*there\\*" in nothing
    assert "97.2" not in nothing
    assert "model-index" not in nothing
    assert put(tmp_path / "c.md", SOUND).count("97.2 %") == 1


HELD = """---
license: mit  # as the code
pipeline_tag: image-classification
model-index:
- name: digits
  results:
  - task: {type: image-classification}
    dataset: {type: mnist, name: MNIST}
    metrics:
    - {type: f1, value: 0.9}
# what it speaks
language: ["no", en]
date: 2026-01-02
---
# Digits

Text with trailing spaces  
"""  # noqa: W291


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_what_else_the_file_holds_stays(tmp_path: Path, line_end: str) -> None:
    path = tmp_path / "README.md"
    path.write_bytes((HELD + "\nlast words").replace("\n", line_end).encode())
    first = path.read_bytes().decode()
    put(path, SOUND)
    second = path.read_bytes().decode()
    assert second.replace(line_end, "").count("\n") == 0
    for part in (HELD[: HELD.index("model-index")], HELD[HELD.index("# what it speaks") :] + "\nlast words"):
        assert part.replace("\n", line_end) in first
        assert part.replace("\n", line_end) in second
    (entry,) = yaml.safe_load(second.split("---")[1])["model-index"]
    assert [(r["task"]["type"], r["metrics"][0]["type"]) for r in entry["results"]] == [
        ("image-classification", "f1"), ("image-classification", "accuracy"),
    ]  # fmt: skip
    put(path, SOUND)
    assert path.read_bytes().decode() == second
    moved = second.replace("last words", "").replace(END, f"{END}{line_end}last words")
    path.write_bytes(moved.encode())
    put(path, SOUND)
    assert path.read_bytes().decode() == moved
    put(path, document(verdict="fail"))
    assert [r["metrics"][0]["type"] for r in ModelCard.load(path).data.to_dict()["model-index"][0]["results"]] == ["f1"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"caf\xe9", "it is no UTF-8"),
        ("\ufeff---\na: b\n---\n".encode(), "byte order mark"),
        (b"---\nlicense: mit\n", "no line '---' ends"),
        (b"---\na: [b\n---\n", "cannot be read"),
        (b"---\n- a\n---\n", "no mapping"),
        (b"---\nmodel-index: []\nmodel-index: []\n---\n", "model-index twice"),
        (b"---\nmodel-index: none\n---\n", "no list of entries"),
        (b"---\nmodel-index: [3]\n---\n", "no list of entries"),
        (b"---\n{license: mit}\n---\n", "cannot be read"),
        (b"---\nmodel-index: &a []\nother: *a\n---\n", "cannot be read"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (f"a\n{BEGIN}\nb".encode(), "found 1 and 0"),
        (f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n".encode(), "found 2 and 2"),
        (f"{END}\n{BEGIN}\n".encode(), "the second first"),
    ],
)
def test_a_file_that_cannot_be_understood_is_left_alone(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(content)
    with pytest.raises(OnnxliteError, match=f"README.md.*{why}"):
        put(path, SOUND)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


def test_names_are_data(tmp_path: Path) -> None:
    model = f"no: {{x}}|`a`<b>\n---\n{END}\n# [c](d)\x1b[31m"
    path = tmp_path / "c.md"
    text = put(path, document(record(verdict("accuracy", figure=f"1|2 {END}"), model=model, variant="no")))
    assert text.split("---\n", 2)[2].count(END) == 1
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line == "---"] == ["---", "---"]
    (found,) = ModelCard.load(path).data.eval_results
    assert (found.metric_value, found.metric_args["variant"]) == (0.972, "no")
    assert put(path, SOUND).count(BEGIN) == 1


def test_it_is_made_from_a_saved_report_and_by_a_run_that_guards_nothing(
    tmp_path: Path, pytester: pytest.Pytester
) -> None:
    report, card = tmp_path / "r.json", tmp_path / "new" / "README.md"
    report.write_text(document_module.as_text(SOUND))
    assert main(["report", str(report), "--model-card", str(card)]) == 0
    assert "97.2 %" in card.read_text()
    pytester.makepyfile("def test_it():\n    pass")
    assert pytester.runpytest_inprocess(f"--onnxlite-model-card={card}").ret == 0
    assert "**No figure was judged in this run.**" in card.read_text()
    assert "97.2" not in card.read_text()
    card.write_text(f"{BEGIN} alone")
    assert main(["report", str(report), "--model-card", str(card)]) == 2
    result = pytester.runpytest_inprocess(f"--onnxlite-model-card={card}")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: *README.md is left as it is: expected one line*"])
    same = pytester.runpytest_inprocess("--onnxlite-model-card=a.md", "--onnxlite-markdown=a.md")
    same.stderr.fnmatch_lines(["ERROR: --onnxlite-markdown and --onnxlite-model-card both write *a.md; give each*"])
