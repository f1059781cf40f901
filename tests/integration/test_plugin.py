"""How the plugin behaves as a part of pytest: options, collection, reports, neighbours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from onnx_models import dense, in_other_bytes, lookup
from projects import Digits, Project

Make = Callable[..., Project]


def said(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


# -- unused, it costs nothing --------------------------------------------------------------------------------


def test_the_plugin_imports_nothing_heavy() -> None:
    heavy = ("numpy", "onnx", "onnx_ir", "onnxruntime", "tensorflow", "hypothesis", "sympy")
    code = f"import pytest_onnxlite.plugin, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_suite_that_does_not_use_it_loads_six_small_modules_and_no_more(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_other(): pass\ndef test_left_out(): pass")
    code = (
        "import pytest, sys; pytest.main(['-q', '-k', 'other', '-p', 'no:cacheprovider']);"
        "print(sorted(m for m in sys.modules if m.startswith('pytest_onnxlite.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=pytester.path)
    assert "1 passed, 1 deselected" in done.stdout
    names = ("checks", "fixtures", "kinds", "options", "plugin", "stash")
    assert done.stdout.splitlines()[-1] == str([f"pytest_onnxlite.{name}" for name in names])


def test_a_suite_that_does_not_use_it_sees_nothing_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_other(): pass")
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    shown = [
        line for line in result.stdout.lines if "onnxlite" in line and not line.startswith(("plugins:", "rootdir:"))
    ]
    assert shown == []
    left = [path.name for path in pytester.path.rglob("*") if "onnxlite" in path.name or path.name == "baselines"]
    assert left == []


# -- mistakes are found at collection ------------------------------------------------------------------------

MISTAKES = {
    "@pytest.mark.onnxlite_accuracy(max_dorp=0.1)": "unknown argument 'max_dorp'; did you mean max_drop?",
    "@pytest.mark.onnxlite_accuracy(0.1)": "takes keyword arguments only",
    "@pytest.mark.onnxlite_accuracy(max_drop='1 %')": "max_drop='1 %'; expected a number from 0",
    "@pytest.mark.onnxlite_accuracy(max_drop=-0.1)": "max_drop=-0.1; expected a number from 0",
    "@pytest.mark.onnxlite_accuracy(max_drop=True)": "max_drop=True",
    "@pytest.mark.onnxlite_accuracy(max_drop=float('nan'))": "max_drop=nan",
    "@pytest.mark.onnxlite_accuracy(relative=1)": "relative=1; expected True or False",
    "@pytest.mark.onnxlite_accuracy(confidence=1)": "confidence=1",
    "@pytest.mark.onnxlite_size(ratio=0)": "ratio=0",
    "@pytest.mark.onnxlite_size(tolerance=-0.1)": "tolerance=-0.1",
    "@pytest.mark.onnxlite_latency(max_slowdown='5%')": "max_slowdown='5%'",
    "@pytest.mark.onnxlite_size(tolerance=5)": "tolerance=5; expected a number from 0 to 1 (0.05 is 5 %)",
    "@pytest.mark.onnxlite_latency(max_slowdown=5)": "max_slowdown=5; expected a number from 0.005 to 1 (0.05 is 5 %)",
    "@pytest.mark.onnxlite_memory(max_growth=5)": "max_growth=5; expected a number from 0 to 1 (0.05 is 5 %)",
    "@pytest.mark.onnxlite_latency(max_slowdown=0)": "max_slowdown=0; expected a number from 0.005",
    "@pytest.mark.onnxlite_latency(max_ratio=0)": "max_ratio=0",
    "@pytest.mark.onnxlite_latency(batch_size=0)": "batch_size=0; expected a whole number from 1",
    "@pytest.mark.onnxlite_latency(threads=1.0)": "threads=1.0; expected a whole number from 1",
    "@pytest.mark.onnxlite_memory(max_growth=-1)": "max_growth=-1",
    "@pytest.mark.onnxlite_graph(ignore='OLX101')": "ignore='OLX101'; expected a list",
    "@pytest.mark.onnxlite_graph(structure='loose')": "structure='loose'; expected 'frozen'",
    "@pytest.mark.onnxlite_size(variant='int4')": "variant='int4'; expected one of trained, onnx, int8",
    "@pytest.mark.onnxlite_size(variant='onnx')": "the test does not take that variant",
}


@pytest.mark.parametrize("marker", MISTAKES)
def test_a_mistake_in_a_marker_names_the_test_and_the_argument(pytester: pytest.Pytester, marker: str) -> None:
    pytester.makepyfile(f"import pytest\n{marker}\ndef test_release(onnxlite_int8): pass")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    name = marker.split("(")[0]
    assert f"::test_release: {name}" in said(result)
    assert MISTAKES[marker] in said(result), said(result)
    assert "Traceback" not in said(result)


@pytest.mark.parametrize(
    ("marker", "arguments", "text"),
    [
        ("onnxlite_size", "tmp_path", "the test takes no variant to judge"),
        ("onnxlite_size", "onnxlite_onnx, onnxlite_int8", "takes several variants (onnx, int8); say which"),
        ("onnxlite_latency", "onnxlite_trained", "onnxlite_latency does not support trained"),
        ("onnxlite_latency", "onnxlite_int8, benchmark", "which the test uses itself"),
        ("onnxlite_latency(max_ratio=1.0)", "onnxlite_onnx", "max_ratio= compares with the onnx variant"),
    ],
)
def test_a_marker_needs_a_variant_it_can_judge(
    pytester: pytest.Pytester, marker: str, arguments: str, text: str
) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_release({arguments}): pass")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert text in said(result)


MISSPELT = """import pytest
@pytest.mark.onnxlite_size
@pytest.mark.onnxlite_acuracy(max_drop=0.01)
def test_release(onnxlite_int8): pass
"""


def test_a_misspelt_marker_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MISSPELT)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "::test_release: unknown marker 'onnxlite_acuracy'; did you mean onnxlite_accuracy?" in said(result)


def test_a_marker_of_the_projects_own_may_have_the_prefix(digits_project: Make) -> None:
    project = digits_project(markers="@pytest.mark.onnxlite_nightly\n@pytest.mark.onnxlite_size(ratio=0.001)")
    project.pytester.makeini("[pytest]\nmarkers =\n    onnxlite_nightly: takes long\n")
    (project.path / "test_other.py").write_text("import pytest\n@pytest.mark.onnxlite_nightly\ndef test(): pass\n")
    project.run().assert_outcomes(passed=1, failed=1)


def test_all_mistakes_are_told_at_once(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.onnxlite_size(ratio=0)
        def test_a(onnxlite_int8): pass
        @pytest.mark.onnxlite_size(ratio=-1)
        def test_b(onnxlite_int8): pass
        """
    )
    result = pytester.runpytest()
    assert "::test_a: " in said(result)
    assert "::test_b: " in said(result)


def test_no_model_declared_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_release(onnxlite_int8): pass")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    assert "Define it in conftest.py" in said(result)
    assert "fixtures.py" not in said(result)


@pytest.mark.parametrize("returned", ["'digits.onnx'", "None", "42"])
def test_a_model_that_is_no_spec_is_told(pytester: pytest.Pytester, returned: str) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        @pytest.fixture(scope="session")
        def onnxlite_model():
            return {returned}
        def test_release(onnxlite_int8): pass
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    assert "pytest_onnxlite.ModelSpec" in said(result)


def test_an_overridden_variant_must_know_its_model(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture(scope="session")
        def onnxlite_int8():
            return "int8.onnx"
        @pytest.mark.onnxlite_size
        def test_release(onnxlite_int8): pass
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    assert "no fixture of the test depends on onnxlite_model" in said(result)


# -- options -------------------------------------------------------------------------------------------------

SIZE = "@pytest.mark.onnxlite_size"


def test_the_option_swallows_no_path(digits_project: Make) -> None:
    project = digits_project(markers=SIZE)
    project.save()
    (project.path / "test_other.py").write_text("def test_other(): assert False")
    project.compare("test_release.py").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--onnxlite-baseline", "--onnxlite-save-baseline"], "give one of the two"),
        (["--onnxlite-accept"], "goes with --onnxlite-save-baseline"),
        (["--onnxlite-baseline", "--onnxlite-accept"], "goes with --onnxlite-save-baseline"),
    ],
)
def test_options_that_contradict_each_other(pytester: pytest.Pytester, options: list[str], text: str) -> None:
    result = pytester.runpytest(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert text in said(result)


def test_ini_twins_are_read(digits_project: Make) -> None:
    project = digits_project(markers=SIZE)
    project.pytester.makeini(
        """
        [pytest]
        onnxlite_baseline_dir = kept
        onnxlite_report = out/report.json
        onnxlite_baseline = true
        """
    )
    project.run().assert_outcomes(failed=1)  # no baseline yet, and the ini file asks to compare
    assert project.run("--onnxlite-save-baseline").ret == 0  # what is typed wins
    assert (project.path / "kept" / "digits" / "int8.json").is_file()
    project.run().assert_outcomes(passed=1)
    assert json.loads((project.path / "out" / "report.json").read_text())["mode"] == "compare"


def test_save_and_accept_have_ini_twins(digits_project: Make) -> None:
    project = digits_project(markers=SIZE)
    project.pytester.makeini("[pytest]\nonnxlite_save_baseline = true\nonnxlite_accept = true\n")
    project.run().stdout.fnmatch_lines(["saved: baselines/digits/int8.json"])


def test_artefacts_elsewhere_or_not_at_all(digits_project: Make, tmp_path: Path) -> None:
    project = digits_project(markers="@pytest.mark.onnxlite_memory")
    project.pytester.makeini("[pytest]\nonnxlite_artefact_dir = big files\n")
    project.save()
    assert len(list(project.path.glob("big files/digits/*.onnx"))) == 1
    project.compare().assert_outcomes(passed=1)
    project.pytester.makeini("[pytest]\nonnxlite_keep_artefact = false\n")
    project.run("--onnxlite-save-baseline", "--onnxlite-accept")
    assert json.loads(project.baseline.read_text())["artefact"]["kept"] is False
    # The same bytes are the last release's file, wherever they come from.
    project.compare().assert_outcomes(passed=1)
    project.replace("int8.onnx", in_other_bytes(project.path / "int8.onnx", tmp_path / "same.onnx"))
    result = project.compare()
    result.assert_outcomes(failed=1)
    assert "was saved without its file" in said(result)


def test_the_cache_is_in_pytests_own_where_nothing_else_is_said(digits_project: Make) -> None:
    project = digits_project(markers=SIZE)
    project.pytester.runpytest().assert_outcomes(passed=1)
    assert list(project.path.glob(".pytest_cache/d/onnxlite/*/manifest.json"))


@pytest.mark.parametrize("option", ["-pno:cacheprovider", "-Werror", "-s"])
def test_it_works_with(digits_project: Make, option: str) -> None:
    project = digits_project(markers=SIZE)
    project.pytester.runpytest(option).assert_outcomes(passed=1)


# -- whole runs ----------------------------------------------------------------------------------------------


def test_a_baseline_that_no_test_looks_at_is_red(digits_project: Make) -> None:
    project = digits_project(markers=SIZE)
    project.save()
    forgotten = project.path / "baselines" / "faces" / "int8.json"
    forgotten.parent.mkdir()
    forgotten.write_text("{}")
    result = project.compare()
    assert result.ret == 1
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["ERROR: no test looked at the baseline faces/int8.json*"])
    # By its file alone it would be a part of the tests, and there are no others.
    assert project.compare("test_release.py").ret == 1
    (project.path / "test_other.py").write_text("def test_other(): pass")
    partial = project.compare("test_release.py")
    assert partial.ret == 0
    partial.stdout.fnmatch_lines(["baselines not looked at in this run: faces/int8.json"])
    # What is left out here guards nothing.
    assert project.compare("-k", "not other").ret == 1


@pytest.mark.parametrize("check", ["accuracy", "outputs", "size", "latency", "memory", "graph"])
def test_what_a_baseline_holds_and_no_marker_asks_for_is_red(project: Project, tmp_path: Path, check: str) -> None:
    x = np.random.default_rng(0).normal(size=(300, 32)).astype(np.float32)
    markers = {
        name: f"@pytest.mark.onnxlite_{name}" for name in ("accuracy", "outputs", "size", "latency", "memory", "graph")
    }
    markers["latency"] += "(max_slowdown=0.9, max_time=5)"

    def write(kept: list[str]) -> None:
        marked = "\n".join(kept)
        test = f"import pytest\n{marked}\ndef test_release(onnxlite_onnx): pass\ndef test_other(): pass\n"
        project.write({"onnx": dense(tmp_path / "a.onnx", 2, width=32)}, x, test=test, spec="metric='cosine'")

    others = [name for name in markers if name != check][1:2]
    write([markers[check], *(markers[name] for name in others)])
    project.save()
    write([markers[name] for name in others])
    result = project.compare()
    assert result.ret == 1
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"ERROR: the baseline holds what no test asked for: {check} of digits/onnx.json.*"])
    # To leave out a test that guards nothing changes nothing.
    assert project.compare("-k", "not other").ret == 1
    assert project.run("--onnxlite-save-baseline", "-k", "not other").ret == 1
    # Saved on purpose without it.
    project.save("--onnxlite-accept")
    assert project.compare().ret == 0


def test_a_skipped_release_test_is_no_pass(digits_project: Make) -> None:
    project = digits_project(markers=SIZE)
    project.save()
    path = project.path / "test_release.py"
    path.write_text(path.read_text().replace(SIZE, f"@pytest.mark.skip\n{SIZE}"))
    result = project.compare()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: nothing was guarded:*"])


def test_a_run_that_guards_nothing_is_red(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_other(): pass")
    result = pytester.runpytest("--onnxlite-baseline")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: nothing was guarded:*"])
    saving = pytester.runpytest("--onnxlite-save-baseline")
    assert saving.ret == 1
    saving.stdout.fnmatch_lines(["ERROR: nothing was saved:*"])


@pytest.mark.parametrize("option", ["--collect-only", "--setup-plan", "--setup-only"])
def test_a_run_that_only_shows_what_there_is_judges_nothing(digits_project: Make, option: str) -> None:
    result = digits_project(markers=SIZE).compare(option)
    assert result.ret == 0
    assert "onnxlite:" not in result.stdout.str()


def test_nothing_is_saved_of_a_test_that_fails(digits_project: Make) -> None:
    project = digits_project(markers=SIZE, body="assert onnxlite_int8.size < 10, 'the test itself'")
    result = project.run("--onnxlite-save-baseline")
    result.assert_outcomes(failed=1)
    assert not list(project.path.glob("baselines/[!.]*/*"))
    # The body comes first: limits are judged after it passed.
    assert "the test itself" in said(result)


def test_a_run_that_was_stopped_saves_nothing(digits_project: Make) -> None:
    project = digits_project(
        test=f"import pytest\n{SIZE}\ndef test_release(onnxlite_int8): pass\ndef test_other(): assert False\n"
    )
    result = project.run("--onnxlite-save-baseline", "-x")
    assert result.ret != 0
    assert not list(project.path.glob("baselines/[!.]*/*"))


# -- results are test results --------------------------------------------------------------------------------


@pytest.fixture
def two_faults(project: Project, tmp_path: Path) -> Project:
    """A project whose test breaks two limits: accuracy, and a size that no file of its kind has."""
    answers = np.random.default_rng(0).integers(0, 10, 1000)
    worse = (answers + (np.arange(1000) < 50)) % 10
    files = {"onnx": lookup(tmp_path / "a.onnx", answers), "int8": lookup(tmp_path / "b.onnx", worse, int8=True)}
    project.write(
        files,
        np.arange(1000).reshape(-1, 1),
        answers,
        markers="@pytest.mark.onnxlite_accuracy\n@pytest.mark.onnxlite_size(ratio=0.01)",
    )
    return project


def test_all_failing_markers_are_reported(two_faults: Project) -> None:
    result = two_faults.run()
    result.assert_outcomes(failed=1)
    assert "50 fewer right" in said(result)
    assert "of the onnx variant's" in said(result)
    assert "pytest_onnxlite/" not in said(result)
    result.stdout.fnmatch_lines(["FAILED test_release.py::test_release - Failed: digits int8: accuracy, size"])


def test_junit_counts_a_failed_guard_as_a_failure_of_its_test(two_faults: Project) -> None:
    two_faults.run("--junitxml=junit.xml")
    (suite,) = ElementTree.parse(two_faults.path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "1", "0")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "50 fewer right" in (failure.text or "")
    properties = {p.get("name"): p.get("value") for p in suite.iterfind("testcase/properties/property")}
    assert properties["onnxlite.digits.int8.accuracy.onnx"] == "fail: 95.0 %"
    assert (properties["onnxlite.digits.int8.size.onnx"] or "").startswith("fail: ")


def test_last_failed_reruns_it(two_faults: Project) -> None:
    (two_faults.path / "test_other.py").write_text("def test_other(): pass")
    two_faults.run().assert_outcomes(failed=1, passed=1)
    again = two_faults.run("--lf")
    again.assert_outcomes(failed=1)


XFAIL = "import pytest\n@pytest.mark.xfail(strict=True, reason='until the retraining')\n"


@pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "xdist"])
def test_an_expected_failure_is_one_in_every_report(
    two_faults: Project, monkeypatch: pytest.MonkeyPatch, workers: list[str]
) -> None:
    path = two_faults.path / "test_release.py"
    path.write_text(path.read_text().replace("import pytest\n", XFAIL))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = two_faults.run("--onnxlite-report=r.json", "--onnxlite-html=r.html", "--onnxlite-markdown=r.md", *workers)
    result.assert_outcomes(xfailed=1)
    assert result.ret == 0
    report = json.loads((two_faults.path / "r.json").read_text())
    assert report["verdict"] == "pass"
    verdicts = {v["check"]: v for v in report["records"][0]["verdicts"] if v["against"] != "baseline"}
    for check in ("accuracy", "size"):
        # What came of the limit is kept, and that it was expected.
        found = verdicts[check]
        assert (found["outcome"], found["red"], found["xfail"]) == ("fail", False, "until the retraining")
    result.stdout.re_match_lines(
        [r"digits +int8 .* xfail$", r"xfail \(until the retraining\): digits int8 accuracy: .*"]
    )
    assert "::error" not in result.stdout.str()
    for name in ("r.html", "r.md"):
        text = (two_faults.path / name).read_text()
        assert "2 limits are broken as expected (xfail); every other holds" in text
        assert "✗" not in text


def test_an_expected_failure_is_not_saved_as_a_baseline(two_faults: Project) -> None:
    path = two_faults.path / "test_release.py"
    path.write_text(path.read_text().replace("import pytest\n", XFAIL))
    result = two_faults.run("--onnxlite-save-baseline")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["ERROR: digits/int8 was not saved: it fails its limits: accuracy (fail), size (fail)*"]
    )
    assert not list(two_faults.path.glob("baselines/[!.]*/*"))


@pytest.mark.parametrize(
    "test",
    [
        f"{XFAIL}{SIZE}(ratio=9.0)\ndef test_release(onnxlite_int8): pass\n",
        f"""import pytest
@pytest.fixture
def broken():
    yield
    raise OSError("lost")
{SIZE}(ratio=9.0)
def test_release(onnxlite_int8, broken): pass
""",
    ],
    ids=["passes where it should fail", "fails at its teardown"],
)
def test_a_test_that_fails_although_its_limits_hold_is_no_pass_in_the_report(two_faults: Project, test: str) -> None:
    (two_faults.path / "test_release.py").write_text(test)
    result = two_faults.run("--onnxlite-report=r.json", "--onnxlite-markdown=r.md", "--onnxlite-save-baseline")
    assert result.ret == 1
    report = json.loads((two_faults.path / "r.json").read_text())
    assert report["verdict"] == "fail"
    assert [entry["what"] for entry in report["unjudged"]] == ["failed although its limits hold"]
    assert not any(verdict["red"] for record in report["records"] for verdict in record["verdicts"])
    assert "failed although its limits hold" in (two_faults.path / "r.md").read_text()
    assert not list(two_faults.path.glob("baselines/[!.]*/*"))


def test_the_report_holds_what_was_measured_and_decided(two_faults: Project) -> None:
    two_faults.run("--onnxlite-report=report.json")
    report = json.loads((two_faults.path / "report.json").read_text())
    assert (report["schema"], report["verdict"], report["mode"]) == (1, "fail", "plain")
    (record,) = report["records"]
    assert record["measured"]["accuracy"]["correct"] == 950
    verdicts = {(v["check"], v["against"]): v for v in record["verdicts"]}
    assert verdicts["accuracy", "onnx"]["red"] is True
    assert verdicts["accuracy", "onnx"]["evidence"]["lost"] == 50
    assert verdicts["accuracy", "baseline"]["outcome"] == "not compared"


def test_a_report_that_cannot_be_written_is_red(two_faults: Project) -> None:
    (two_faults.path / "folder").mkdir()
    result = two_faults.run("--onnxlite-report=folder")
    result.stdout.fnmatch_lines(["ERROR: --onnxlite-report: *folder cannot be written*"])


def test_two_markers_of_one_kind_judge_two_variants(digits_project: Make) -> None:
    project = digits_project(
        test="""import pytest
@pytest.mark.onnxlite_accuracy(variant="int8")
@pytest.mark.onnxlite_accuracy(variant="onnx")
@pytest.mark.onnxlite_size(variant="int8")
def test_release(onnxlite_onnx, onnxlite_int8): pass
"""
    )
    project.save()
    assert sorted(p.name for p in project.path.glob("baselines/*/*.json")) == ["int8.json", "onnx.json"]
    project.compare().assert_outcomes(passed=1)


def test_the_closest_marker_counts(digits_project: Make) -> None:
    project = digits_project(
        test="""import pytest
pytestmark = pytest.mark.onnxlite_size(ratio=0.001)
@pytest.mark.onnxlite_size(ratio=0.25)
class TestRelease:
    def test_inner(self, onnxlite_int8): pass
    @pytest.mark.onnxlite_size(ratio=0.002)
    def test_sharper(self, onnxlite_int8): pass
def test_outer(onnxlite_int8): pass
"""
    )
    project.run().assert_outcomes(passed=1, failed=2)


def test_unittest_classes_are_judged(digits_project: Make) -> None:
    project = digits_project(
        test="""import pytest, unittest
@pytest.mark.usefixtures("onnxlite_int8")
class TestRelease(unittest.TestCase):
    @pytest.mark.onnxlite_size(ratio=0.001)
    def test_red(self): pass
    @pytest.mark.onnxlite_size
    def test_green(self): pass
"""
    )
    project.run().assert_outcomes(passed=1, failed=1)


def test_two_models_of_one_name_are_refused(digits_project: Make, digits: Digits) -> None:
    project = digits_project(
        test=f"""import numpy as np, pytest
from pytest_onnxlite import Dataset, ModelSpec
@pytest.fixture(scope="session", params=["onnx.onnx", "int8.onnx"])
def onnxlite_model(request):
    data = np.load("data.npz")
    return ModelSpec("digits", onnx=request.param, evaluation=Dataset(data["x"], data["y"]))
{SIZE}
def test_release(onnxlite_onnx): pass
"""
    )
    result = project.run()
    assert result.ret == 1
    assert "two different models are called 'digits'" in said(result)
