"""Full and partial runs, told apart by what was to be looked at; real runs of pytest over a real project."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from pytest_onnxlite.__main__ import main

from onnx_models import lookup
from projects import Project

SAMPLES = 400
ANSWERS = np.random.default_rng(0).integers(0, 10, SAMPLES)
CONFTEST = """
from pathlib import Path
import numpy as np, pytest
from pytest_onnxlite import Dataset, ModelSpec
HERE = Path(__file__).parent
@pytest.fixture(scope="session")
def onnxlite_model():
    data = np.load(HERE / "data.npz")
    return ModelSpec("digits", onnx=HERE / "a.onnx", int8=HERE / "b.onnx", evaluation=Dataset(data["x"], data["y"]))
"""
ONNX = """
import pytest
from pathlib import Path
@pytest.mark.onnxlite_accuracy
def test_onnx(onnxlite_onnx):
    assert not Path("fail").exists()
"""
INT8 = """
import pytest
@pytest.mark.onnxlite_accuracy
def test_accuracy(onnxlite_int8): pass
@pytest.mark.onnxlite_size(ratio=1.0)
def test_size(onnxlite_int8): pass
"""
PLAIN = """
import pytest
def test_plain(): pass
@pytest.mark.slow
def test_slow(): pass
"""
# A plugin that removes tests, and one that keeps files from being collected; neither tells.
SHARDS = """
import os
def pytest_collection_modifyitems(items):
    items[:] = [item for number, item in enumerate(items) if str(number) in os.environ["SHARD"]]
"""
IMPACT = "def pytest_ignore_collect(collection_path):\n    return True if 'int8' in collection_path.name else None\n"


def said(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the saved project of this module is kept, to be copied."""
    return tmp_path_factory.mktemp("saved")


@pytest.fixture
def guarded(project: Project, saved: Path) -> Project:
    """A project with two baselines that three tests guard, and with tests that guard nothing."""
    if not any(saved.iterdir()):
        write(project)
        project.save()
        shutil.copytree(project.path / "baselines", saved / "baselines")
    write(project)
    shutil.copytree(saved / "baselines", project.path / "baselines", dirs_exist_ok=True)
    return project


def write(project: Project, wrong: int = 0) -> None:
    lookup(project.path / "a.onnx", ANSWERS)
    lookup(project.path / "b.onnx", (ANSWERS + (np.arange(SAMPLES) < wrong)) % 10, int8=True)
    np.savez(project.path / "data.npz", x=np.arange(SAMPLES).reshape(-1, 1), y=ANSWERS)
    (project.path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    (project.path / "conftest.py").write_text(CONFTEST)
    (project.path / "shards.py").write_text(SHARDS)
    (project.path / "impact.py").write_text(IMPACT)
    suite = project.path / "suite"
    suite.mkdir(exist_ok=True)
    for name, text in {"__init__": "", "test_onnx": ONNX, "test_int8": INT8, "test_plain": PLAIN}.items():
        (suite / f"{name}.py").write_text(text)


def forget_names(project: Project) -> None:
    """Make of the baselines what an earlier version saved, which wrote down no test."""
    for path in project.path.glob("baselines/*/*.json"):
        content = json.loads(path.read_text())
        del content["tests"]
        path.write_text(json.dumps(content))


def edit(project: Project, name: str, was: str, now: str) -> None:
    path = project.path / "suite" / name
    assert was in path.read_text()
    path.write_text(path.read_text().replace(was, now))


def assert_partial(result: pytest.RunResult, looked: int, of: int = 2) -> None:
    assert f"\npartial: {looked} of {of} baselines looked at.\n" in said(result), said(result)
    assert result.ret == 0, said(result)
    assert "ERROR" not in said(result)


def test_a_baseline_names_the_tests_that_guard_it(guarded: Project) -> None:
    found = {path.stem: json.loads(path.read_text())["tests"] for path in guarded.path.glob("baselines/digits/*.json")}
    assert found == {
        "onnx": {"suite/test_onnx.py::test_onnx": ["accuracy"]},
        "int8": {"suite/test_int8.py::test_accuracy": ["accuracy"], "suite/test_int8.py::test_size": ["size"]},
    }
    full = guarded.compare("--onnxlite-complete", "--onnxlite-report=r.json")
    full.assert_outcomes(passed=5)
    assert "partial" not in said(full)
    coverage = json.loads((guarded.path / "r.json").read_text())["coverage"]
    assert (coverage["state"], coverage["text"]) == ("full", "2 of 2 baselines looked at")


# -- what nothing looks at any more --------------------------------------------------------------------------

GONE = {
    "all": [],
    "the folder": ["suite"],
    "its name as a package": ["--pyargs", "suite"],
    "unmarked tests left out": ["-m", "not slow"],
    "unmarked tests left out in the ini file": ["-o", "addopts=-m 'not slow'"],
    "an unguarded test left out by name": ["-k", "not plain"],
    "an unguarded test deselected": ["--deselect=suite/test_plain.py::test_plain"],
    "an unguarded file ignored": ["--ignore=suite/test_plain.py"],
    "its own file, which is gone, among others": ["suite/test_onnx.py", "suite"],
    "without the cache": ["-pno:cacheprovider"],
}


@pytest.mark.parametrize(
    ("case", "named"),
    [
        *((case, True) for case in GONE),
        # Of what an earlier version saved nobody knows the test.
        *(
            (case, False)
            for case in ("all", "the folder", "unmarked tests left out", "an unguarded test left out by name")
        ),
    ],
)
def test_a_baseline_whose_test_is_gone_is_red(guarded: Project, case: str, named: bool) -> None:
    (guarded.path / "suite" / "test_int8.py").unlink()
    if not named:
        forget_names(guarded)
    guarded.pytester.syspathinsert()
    result = guarded.compare(*GONE[case])
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: no test looked at the baseline digits/int8.json: *"])
    if named:
        assert "suite/test_int8.py::test_accuracy was not collected" in said(result)


def test_folders_that_pytest_never_looks_into_make_no_run_partial(guarded: Project) -> None:
    """Compiled modules, which nearly every second run finds, and environments of any name."""
    for mark in ("suite/__pycache__/some.pyc", "env/pyvenv.cfg", "tools/conda-meta/history"):
        file = guarded.path / mark
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    (guarded.path / "suite" / "test_int8.py").unlink()
    forget_names(guarded)
    result = guarded.compare()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: no test looked at the baseline digits/int8.json: *"])


def test_a_run_from_the_folder_of_the_tests_is_a_full_one(guarded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(guarded.path / "suite")
    guarded.compare("--onnxlite-complete").assert_outcomes(passed=5)
    (guarded.path / "suite" / "test_int8.py").unlink()
    result = guarded.compare()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: no test looked at the baseline digits/int8.json: *"])


def test_what_the_project_reaches_by_itself_is_all_there_is(guarded: Project) -> None:
    (guarded.path / "suite" / "test_int8.py").rename(guarded.path / "test_int8.py")
    guarded.save("--onnxlite-accept")
    # The test is still there, and no run without arguments comes to it any more.
    result = guarded.compare("-o", "testpaths=suite")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: no test looked at the baseline digits/int8.json: *"])


UNJUDGED: dict[str, tuple[str, str, list[str], str]] = {
    "a module that skips itself": (
        "import pytest\n",
        "import pytest\npytest.importorskip('no_such_module')\n",
        ["suite"],
        "test_int8.py was skipped while it was collected (could not import 'no_such_module'",
    ),
    "a module that skips itself, in a worker": (
        "import pytest\n",
        "import pytest\npytest.importorskip('no_such_module')\n",
        ["suite", "-n1"],
        "test_int8.py was skipped while it was collected",
    ),
    "a module that cannot be imported": (
        "import pytest\n",
        "import pytest, no_such_module\n",
        ["--continue-on-collection-errors"],
        "test_int8.py could not be collected (ModuleNotFoundError: No module named 'no_such_module')",
    ),
    "marked to be skipped": (
        "@pytest.mark.onnx",
        "@pytest.mark.skip\n@pytest.mark.onnx",
        ["suite"],
        "test_accuracy judged nothing; it was skipped",
    ),
    "skipped by a fixture": (
        "(onnxlite_int8)",
        "(onnxlite_int8, request, monkeypatch, nothing)",
        [],
        "test_accuracy judged nothing; it was skipped",
    ),
    "expected to fail and not run": (
        "@pytest.mark.onnx",
        "@pytest.mark.xfail(run=False)\n@pytest.mark.onnx",
        [],
        "test_accuracy judged nothing; it was skipped",
    ),
    "with no parameters left": (
        "(onnxlite_int8): pass",
        "(onnxlite_int8, n): pass\npytestmark = pytest.mark.parametrize('n', [])",
        ["suite"],
        "test_accuracy was not collected",
    ),
    "named so that pytest passes it by": ("def test_", "def check_", ["-k", "test_onnx or plain"], "was not collected"),
}


@pytest.mark.parametrize("case", UNJUDGED)
def test_a_guarded_test_that_judges_nothing_is_red(guarded: Project, case: str) -> None:
    was, now, options, why = UNJUDGED[case]
    edit(guarded, "test_int8.py", was, now)
    with (guarded.path / "conftest.py").open("a") as conftest:
        conftest.write("@pytest.fixture\ndef nothing(): pytest.skip('not today')\n")
    result = guarded.compare("--onnxlite-report=r.json", *options)
    assert result.ret == 1
    assert json.loads((guarded.path / "r.json").read_text())["verdict"] == "fail"
    result.stdout.fnmatch_lines(["ERROR: no test looked at the baseline digits/int8.json: *"])
    assert why in said(result), said(result)


@pytest.mark.parametrize(
    "how", ["collect_ignore = ['suite/test_int8.py']", "collect_ignore_glob = ['*int8*']", "norecursedirs = suite"]
)
def test_what_the_project_itself_keeps_from_being_collected_is_red(guarded: Project, how: str) -> None:
    with (guarded.path / ("pytest.ini" if "dirs" in how else "conftest.py")).open("a") as file:
        file.write(how)
    result = guarded.compare()
    assert result.ret == 1
    assert "the project keeps test_int8.py from being collected" in said(result)
    # And so it is where an option does not come to it either.
    assert guarded.compare("-k", "not plain").ret == 1


# -- what was left out ---------------------------------------------------------------------------------------

LEFT_OUT: dict[str, tuple[list[str], int]] = {
    "by name": (["-k", "onnx and not int8"], 1),
    "half of one by name": (["-k", "not size"], 1),
    "by marker": (["-m", "onnxlite_size"], 0),
    "deselected": (["--deselect=suite/test_onnx.py::test_onnx"], 1),
    "ignored": (["--ignore=suite/test_int8.py"], 1),
    "ignored by a pattern": (["--ignore-glob=*int8*"], 1),
    "ignored with its folder": (["--ignore=suite"], 0),
    "another file": (["suite/test_onnx.py"], 1),
    "another file, twice": (["suite/test_onnx.py", "suite/test_onnx.py"], 1),
    "another test": (["suite/test_onnx.py::test_onnx"], 1),
    "one of two tests of a file": (["suite/test_onnx.py", "suite/test_int8.py::test_size"], 1),
    "a module": (["--pyargs", "suite.test_onnx"], 1),
    "all that guard, by name": (["-k", "plain"], 0),
    "all that guard, by file": (["suite/test_plain.py"], 0),
    "by a plugin that decides what is impacted": (["-pimpact"], 1),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_a_run_that_leaves_guarded_tests_out_is_partial(guarded: Project, case: str) -> None:
    options, looked = LEFT_OUT[case]
    guarded.pytester.syspathinsert()
    result = guarded.compare(*options)
    if case == "ignored with its folder":
        assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
        assert "partial: 0 of 2 baselines looked at." in said(result)
        return
    assert_partial(result, looked)
    if case not in ("by name", "half of one by name", "all that guard, by file"):
        return
    complete = guarded.compare("--onnxlite-complete", *options)
    assert complete.ret == 1
    complete.stdout.fnmatch_lines(["ERROR: --onnxlite-complete asks for a full run, and this one is partial: *"])


@pytest.mark.parametrize("case", ["by name", "ignored", "all that guard, by name"])
def test_it_is_partial_too_where_no_test_was_written_down(guarded: Project, case: str) -> None:
    forget_names(guarded)
    options, looked = LEFT_OUT[case]
    assert_partial(guarded.compare(*options), looked)


def test_what_failed_last_time_is_a_part(guarded: Project) -> None:
    (guarded.path / "fail").touch()
    assert guarded.compare().ret == 1
    (guarded.path / "fail").unlink()
    assert_partial(guarded.compare("--lf"), 1)
    # Nothing failed: all of it runs, and what is gone is gone.
    guarded.compare("--lf").assert_outcomes(passed=5)
    (guarded.path / "suite" / "test_int8.py").unlink()
    assert guarded.compare("--lf").ret == 1


def test_a_run_that_goes_on_step_by_step_is_a_part(guarded: Project) -> None:
    (guarded.path / "fail").touch()
    assert guarded.compare("--sw").ret != 0
    (guarded.path / "fail").unlink()
    assert_partial(guarded.compare("--sw"), 1)


@pytest.mark.parametrize(("shard", "looked"), [("012", 2), ("2", 1), ("34", 0)])
def test_a_shard_is_a_part(guarded: Project, monkeypatch: pytest.MonkeyPatch, shard: str, looked: int) -> None:
    monkeypatch.setenv("SHARD", shard)
    guarded.pytester.syspathinsert()
    result = guarded.compare("-pshards")
    if shard == "012":  # every guarded test is in it
        assert "partial" not in said(result)
        assert result.ret == 0
        return
    assert_partial(result, looked)
    if not looked:
        # Where no guarded test exists at all, the same is red.
        shutil.rmtree(guarded.path / "baselines")
        for name in ("test_int8.py", "test_onnx.py"):
            (guarded.path / "suite" / name).write_text(PLAIN)
        nothing = guarded.compare("-pshards")
        assert nothing.ret == 1
        nothing.stdout.fnmatch_lines(["ERROR: nothing was guarded: *"])


# Hooks of the project's own conftest.py, and the guarded tests that are named as removed.
REMOVED = "removed, without telling pytest: suite/test_int8.py::test_accuracy, suite/test_int8.py::test_size"
HOOKS = {
    "removes them": (
        "def pytest_collection_modifyitems(items): items[:] = [item for item in items if 'int8' not in item.nodeid]",
        REMOVED,
    ),
    "removes them last": (
        "@pytest.hookimpl(wrapper=True, tryfirst=True)\n"
        "def pytest_collection_modifyitems(items):\n    yield\n    items[:] = [item for item in items if 'int8' not in item.nodeid]",
        REMOVED,
    ),
    "keeps their file from being collected": (
        "def pytest_ignore_collect(collection_path):\n    return True if 'int8' in collection_path.name else None",
        "baselines not looked at in this run: digits/int8.json",
    ),
    "runs them by doing nothing": (
        "def pytest_runtest_protocol(item): return True if 'int8' in item.nodeid else None",
        "guarded tests that were left out: suite/test_int8.py::test_accuracy, suite/test_int8.py::test_size",
    ),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_of_the_projects_own_that_leaves_guarded_tests_out_is_told(guarded: Project, hook: str) -> None:
    code, text = HOOKS[hook]
    with (guarded.path / "conftest.py").open("a") as conftest:
        conftest.write(code)
    result = guarded.compare("--onnxlite-report=r.json")
    assert_partial(result, 1)
    assert text in said(result)
    assert json.loads((guarded.path / "r.json").read_text())["coverage"]["state"] == "partial"
    complete = guarded.compare("--onnxlite-complete")
    assert complete.ret == 1
    complete.stdout.fnmatch_lines(["ERROR: --onnxlite-complete asks for a full run, and this one is partial: *"])
    if hook == "removes them":  # and nothing of a new file is saved without them
        write(guarded, wrong=2)
        with (guarded.path / "conftest.py").open("a") as conftest:
            conftest.write(code.replace("'int8' not in", "'accuracy' not in"))
        refused = guarded.run("--onnxlite-save-baseline")
        assert refused.ret == 1
        refused.stdout.fnmatch_lines(["ERROR: digits/int8 was not saved: *did not measure its accuracy*"])


def test_a_part_says_so_in_every_report(guarded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    reports = ["--onnxlite-report=r.json", "--onnxlite-markdown=r.md", "--onnxlite-html=r.html", "--junitxml=r.xml"]
    result = guarded.compare("-k", "plain", *reports)
    text = "partial: 0 of 2 baselines looked at"
    result.stdout.fnmatch_lines(
        [
            f"{text}.",
            "baselines not looked at in this run: digits/int8.json, digits/onnx.json",
            "guarded tests that were left out: suite/test_int8.py::test_accuracy, *",
            f"::notice title=pytest-onnxlite::{text}",
        ]
    )
    report = json.loads((guarded.path / "r.json").read_text())
    assert (report["verdict"], report["coverage"]["state"], report["coverage"]["text"]) == ("pass", "partial", text)
    assert len(report["coverage"]["left_out"]) == 3
    assert f"## ✓ Release guard: Every limit holds, {text}" in (guarded.path / "r.md").read_text()
    assert f"Every limit holds, {text}" in (guarded.path / "r.html").read_text()
    properties = ElementTree.parse(guarded.path / "r.xml").iterfind(".//testsuite/properties/property")
    assert {p.get("name"): p.get("value") for p in properties}["onnxlite.coverage"] == text


def test_asking_for_a_full_run_alone_is_a_mistake(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--onnxlite-complete")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--onnxlite-complete goes with --onnxlite-baseline or --onnxlite-save-baseline" in said(result)


# -- names that changed --------------------------------------------------------------------------------------


def renamed(project: Project) -> None:
    edit(project, "test_int8.py", "def test_", "def test_new_")


def moved(project: Project) -> None:
    (project.path / "suite" / "test_int8.py").rename(project.path / "suite" / "test_other.py")


def with_other_parameters(project: Project) -> None:
    edit(project, "test_int8.py", "import pytest\n", "import pytest\npytestmark = pytest.mark.parametrize('n', [1])\n")
    edit(project, "test_int8.py", "(onnxlite_int8)", "(onnxlite_int8, n)")


@pytest.mark.parametrize("change", [renamed, moved, with_other_parameters])
def test_a_test_with_another_name_still_guards(guarded: Project, change: Callable[[Project], None]) -> None:
    change(guarded)
    full = guarded.compare("--onnxlite-complete")
    assert full.ret == 0, said(full)
    assert_partial(guarded.compare("-k", "test_onnx"), 1)
    # A part that is saved keeps the names of the rest, and a full save writes the new ones down.
    before = json.loads((guarded.path / "baselines" / "digits" / "int8.json").read_text())
    guarded.save("-k", "test_onnx")
    assert json.loads((guarded.path / "baselines" / "digits" / "int8.json").read_text()) == before
    guarded.save()
    after = json.loads((guarded.path / "baselines" / "digits" / "int8.json").read_text())
    assert set(after["tests"]).isdisjoint(before["tests"])
    assert len(after["tests"]) == 2
    assert {**after, "tests": {}} == {**before, "tests": {}}


# -- saving --------------------------------------------------------------------------------------------------


def test_a_part_that_is_saved_keeps_the_figures_of_the_rest(guarded: Project) -> None:
    path = guarded.path / "baselines" / "digits" / "int8.json"
    before = path.read_bytes()
    for options in (["-k", "size"], ["--ignore=suite/test_onnx.py", "-k", "accuracy"]):
        guarded.save(*options)
        assert path.read_bytes() == before
    # Of a new file nobody knows the figures that were not measured.
    write(guarded, wrong=2)
    for options in (["-k", "size"], ["-k", "size", "--onnxlite-accept"], ["suite/test_int8.py::test_size"]):
        refused = guarded.run("--onnxlite-save-baseline", *options)
        assert refused.ret == 1
        refused.stdout.fnmatch_lines(["ERROR: digits/int8 was not saved: *did not measure its accuracy*"])
        assert path.read_bytes() == before
    guarded.save()
    assert json.loads(path.read_text())["accuracy"]["correct"] == SAMPLES - 2


def test_no_part_makes_a_worse_release_pass(guarded: Project) -> None:
    write(guarded, wrong=140)
    for options in (["-k", "size"], ["--ignore=suite/test_onnx.py"], []):
        assert guarded.run("--onnxlite-save-baseline", *options).ret == 1
    assert (
        json.loads((guarded.path / "baselines" / "digits" / "int8.json").read_text())["accuracy"]["correct"] == SAMPLES
    )


def test_what_a_full_save_drops_is_named_and_needs_to_be_accepted(guarded: Project) -> None:
    edit(guarded, "test_int8.py", "@pytest.mark.onnxlite_size(ratio=1.0)\n", "")
    path = guarded.path / "baselines" / "digits" / "int8.json"
    refused = guarded.run("--onnxlite-save-baseline")
    assert refused.ret == 1
    refused.stdout.fnmatch_lines(["ERROR: digits/int8 was not saved: it would drop size, *--onnxlite-accept*"])
    assert "size" in json.loads(path.read_text())
    accepted = guarded.save("--onnxlite-accept")
    accepted.stdout.fnmatch_lines(["saved: baselines/digits/int8.json, without size"])
    assert "size" not in json.loads(path.read_text())
    assert guarded.compare().ret == 0
    # A test that skips itself gives nothing up.
    edit(guarded, "test_onnx.py", "@pytest", "@pytest.mark.skip\n@pytest")
    before = (guarded.path / "baselines" / "digits" / "onnx.json").read_bytes()
    guarded.save("--onnxlite-accept")
    assert (guarded.path / "baselines" / "digits" / "onnx.json").read_bytes() == before


SUBTESTS = {
    "unittest": """
import pytest, unittest
@pytest.mark.usefixtures("onnxlite_int8")
class TestRelease(unittest.TestCase):
    @pytest.mark.onnxlite_size(ratio=1.0)
    def test_size(self):
        with self.subTest("a part"):
            self.assertEqual(1, FOUND)
""",
    "the fixture": """
import pytest
@pytest.mark.onnxlite_size(ratio=1.0)
def test_size(onnxlite_int8, subtests):
    with subtests.test("a part"):
        assert 1 == FOUND
""",
}


@pytest.mark.parametrize(
    ("kind", "found", "options"),
    [
        ("unittest", 1, []),
        ("unittest", 2, []),
        ("the fixture", 1, []),
        ("the fixture", 2, []),
        ("the fixture", 2, ["-n1"]),
        # What is accepted is a verdict, and none is red.
        ("unittest", 2, ["--onnxlite-accept"]),
    ],
)
def test_a_subtest_that_fails_is_a_test_that_fails(project: Project, kind: str, found: int, options: list[str]) -> None:
    if kind == "the fixture" and not hasattr(pytest, "Subtests"):
        pytest.importorskip("pytest_subtests")
    write(project)
    for name in ("test_onnx.py", "test_plain.py", "test_int8.py"):
        (project.path / "suite" / name).unlink()
    (project.path / "test_release.py").write_text(SUBTESTS[kind].replace("FOUND", str(found)))
    result = project.run("--onnxlite-save-baseline", "--onnxlite-report=r.json", "--onnxlite-markdown=r.md", *options)
    good = found == 1
    assert result.ret == (0 if good else 1)
    assert bool(list(project.path.glob("baselines/*/*.json"))) is good
    assert json.loads((project.path / "r.json").read_text())["verdict"] == ("pass" if good else "fail")
    assert ("failed although its limits hold" in (project.path / "r.md").read_text()) is not good


# -- runs that end early -------------------------------------------------------------------------------------

EXITS = {
    "in a test before them": "def test_exit(): pytest.exit('enough', returncode=0)",
    "while it is collected": "pytest.exit('enough', returncode=0)",
    "in a fixture": "@pytest.fixture(autouse=True)\ndef leave(): pytest.exit('enough', returncode=0)\ndef test_a(): pass",
}


@pytest.mark.parametrize("case", EXITS)
def test_no_run_that_was_left_before_it_judged_ends_well(guarded: Project, case: str) -> None:
    (guarded.path / "suite" / "test_a.py").write_text(f"import pytest\n{EXITS[case]}\n")
    result = guarded.compare("--onnxlite-report=r.json")
    assert result.ret != 0
    assert "ERROR: the run was stopped before" in said(result)
    assert json.loads((guarded.path / "r.json").read_text())["verdict"] == "fail"
    assert guarded.run("--onnxlite-save-baseline").ret != 0


def test_a_worker_that_leaves_ends_no_run_well(guarded: Project) -> None:
    (guarded.path / "suite" / "test_a.py").write_text(f"import pytest\n{EXITS['in a test before them']}\n")
    assert guarded.run("--onnxlite-baseline", "-n1", subprocess=True).ret != 0


def test_a_run_that_is_left_after_all_was_judged_is_judged(guarded: Project) -> None:
    (guarded.path / "suite" / "test_z.py").write_text(f"import pytest\n{EXITS['in a test before them']}\n")
    result = guarded.compare("--onnxlite-report=r.json")
    assert result.ret == 0, said(result)
    assert json.loads((guarded.path / "r.json").read_text())["verdict"] == "pass"


def test_a_run_that_stops_at_its_first_failure_says_what_it_did_not_come_to(guarded: Project) -> None:
    (guarded.path / "suite" / "test_a.py").write_text("def test_red(): assert False\n")
    result = guarded.compare("-x", "--onnxlite-report=r.json")
    assert result.ret == 1
    assert "the run was stopped before its end, and these did not run: suite/test_int8.py::test_accuracy" in said(
        result
    )
    assert json.loads((guarded.path / "r.json").read_text())["verdict"] == "fail"


def test_listing_fixtures_is_no_run(guarded: Project) -> None:
    assert guarded.compare("--fixtures").ret == 0
    assert guarded.compare("--collect-only").ret == 0


# -- JUnit ---------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_the_run_is_a_failed_test_case(guarded: Project) -> None:
    guarded.compare("--junitxml=r.xml")
    suite = next(ElementTree.parse(guarded.path / "r.xml").iter("testsuite"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("5", "0", "0")
    (guarded.path / "suite" / "test_int8.py").unlink()
    guarded.compare("--junitxml=r.xml")
    suite = next(ElementTree.parse(guarded.path / "r.xml").iter("testsuite"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "0")
    (failure,) = suite.iterfind("testcase[@name='run']/failure")
    assert "no test looked at the baseline digits/int8.json" in (failure.text or "")


def test_a_save_that_was_refused_is_a_failed_test_case(guarded: Project) -> None:
    write(guarded, wrong=2)
    guarded.run("--onnxlite-save-baseline", "-k", "size", "--junitxml=r.xml")
    (failure,) = ElementTree.parse(guarded.path / "r.xml").iterfind(".//testcase[@name='run']/failure")
    assert "digits/int8 was not saved" in (failure.text or "")


# -- several shards ------------------------------------------------------------------------------------------


@pytest.fixture
def shards(guarded: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Reports of two shards, 1.json and 2.json, and of one without a guarded test, 3.json."""
    monkeypatch.chdir(guarded.path)
    for number, options in enumerate((["-k", "test_onnx"], ["suite/test_int8.py"], ["-k", "plain"]), 1):
        assert guarded.compare(f"--onnxlite-report={number}.json", *options).ret == 0
    return guarded


def change(source: str, target: str, **changes: object) -> str:
    content = json.loads(Path(source).read_text())
    for path, value in changes.items():
        *outer, last = path.split("__")
        inner = content
        for name in outer:
            inner = inner[name]
        inner[last] = value
    Path(target).write_text(json.dumps(content))
    return target


def test_shards_that_looked_at_everything_are_one_green_run(
    shards: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = ["--report=all.json", "--markdown=all.md", "--html=all.html", "--shards=3"]
    assert main(["merge", "1.json", "2.json", "3.json", *reports]) == 0
    report = json.loads(Path("all.json").read_text())
    assert (report["verdict"], report["session"], len(report["records"])) == ("pass", [], 3)
    text = "2 of 2 baselines looked at, in 3 shards"
    assert (report["coverage"]["state"], report["coverage"]["text"]) == ("full", text)
    assert not any("partial" in line for line in report["remarks"])
    assert "Every limit holds, compared with the last release" in Path("all.md").read_text()
    assert text in Path("all.md").read_text()
    assert text in Path("all.html").read_text()
    capsys.readouterr()
    # What was merged can be rendered as any report, and without a file it is shown.
    assert main(["report", "all.json"]) == 0
    assert main(["merge", "1.json", "2.json"]) == 0
    assert capsys.readouterr().out.count("Every limit holds") == 2


def test_shards_may_go_by_machine(
    guarded: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One check on a machine that is for it, the others anywhere."""
    monkeypatch.chdir(guarded.path)
    for name, marker in (("timed", "onnxlite_size"), ("rest", "not onnxlite_size")):
        assert guarded.compare(f"--onnxlite-report={name}.json", "-m", marker).ret == 0
    change("timed.json", "timed.json", machine__fingerprint="linux-quiet")
    capsys.readouterr()
    assert main(["merge", "rest.json", "timed.json", "--shards=2", "--report=all.json"]) == 0
    (remark,) = (line for line in json.loads(Path("all.json").read_text())["remarks"] if "machines of 2 kinds" in line)
    assert "in rest.json; linux-quiet in timed.json" in remark
    assert main(["merge", "rest.json", "--shards=2"]) == 1
    assert "no shard looked at size of digits/int8.json" in capsys.readouterr().out


def test_what_is_missing_from_all_shards_is_red(shards: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def red(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["merge", *arguments]) == 1
        return capsys.readouterr().out

    assert "no shard looked at digits/int8.json" in red("1.json", "3.json")
    assert "these guarded tests: suite/test_int8.py::test_accuracy" in red("1.json", "3.json")
    assert "3 shards were to report, and there are reports of 2: 1.json, 2.json" in red(
        "1.json", "2.json", "--shards=3"
    )
    shards.compare("--onnxlite-report=size.json", "-k", "size")
    assert "no shard looked at accuracy of digits/int8.json" in red("1.json", "size.json")
    (shards.path / "empty").mkdir()
    assert "empty holds no baseline" in red("1.json", "2.json", "--baseline-dir=empty")


CHANGES: dict[str, tuple[dict[str, object], str]] = {
    "another commit": ({"commit": "b" * 40}, "the shards are of different commits"),
    "another runtime": ({"environment__onnxruntime": "1.0"}, "different versions of onnxruntime"),
    "a run without baselines": ({"mode": "plain"}, "2.json was not compared with baselines"),
    "a version before": ({"coverage": None}, "2.json does not say which baselines there were"),
    "other figures": ({"coverage__baselines__digits/int8": "0"}, "do not agree about the baseline digits/int8.json"),
    "one baseline more": ({"coverage__baselines__faces/int8": "0"}, "do not agree about the baseline faces/int8.json"),
    "one baseline fewer": ({"coverage__baselines": {}}, "do not agree about the baseline digits/onnx.json"),
    "a red run": ({"session": ["it burnt"], "verdict": "fail"}, "2.json: it burnt"),
    "a red run that says nothing": ({"verdict": "fail"}, ""),
}


def test_shards_that_disagree_are_red(shards: Project, capsys: pytest.CaptureFixture[str]) -> None:
    change("1.json", "1.json", commit="a" * 40)
    for case, (changes, text) in CHANGES.items():
        source = change("2.json", "kept.json")
        change("2.json", "2.json", **{"commit": "a" * 40, **changes})
        capsys.readouterr()
        assert main(["merge", "1.json", "2.json"]) == 1, case
        assert text in capsys.readouterr().out.replace("\\", ""), case
        change(source, "2.json")


def test_a_shard_that_failed_makes_the_whole_fail(shards: Project, capsys: pytest.CaptureFixture[str]) -> None:
    write(shards, wrong=140)
    assert shards.compare("--onnxlite-report=2.json", "suite/test_int8.py").ret == 1
    assert main(["merge", "1.json", "2.json", "--report=all.json"]) == 1
    assert "140 fewer right" in capsys.readouterr().out
    assert json.loads(Path("all.json").read_text())["verdict"] == "fail"
    # A candidate may differ between shards; a baseline may not.
    (shards.path / "baselines" / "digits" / "int8.json").write_text("{")
    assert main(["merge", "1.json", "2.json"]) == 1
    assert "do not agree about the baseline digits/int8.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["none.json"], "none.json cannot be read"),
        (["1.json", "./1.json"], "is named twice"),
        (["1.json", "--baseline-dir=nowhere"], "there is no folder nowhere"),
        (["conftest.py"], "conftest.py is not JSON"),
    ],
)
def test_what_cannot_be_merged_is_told(
    guarded: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    monkeypatch.chdir(guarded.path)
    assert main(["merge", *arguments]) == 2
    assert text in capsys.readouterr().err
