"""A guest in other people's test suites: beside other plugins, under every option, in every place."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pytest_onnxlite.workspace import own_folder

from onnx_models import lookup
from projects import REPOSITORY, Project

SAMPLES = 400
ANSWERS = np.random.default_rng(0).integers(0, 10, SAMPLES)
MARKERS = "@pytest.mark.onnxlite_accuracy\n@pytest.mark.onnxlite_size(ratio=1.0)"
Guard = Callable[..., Project]


def said(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


@pytest.fixture
def guard(project: Project, tmp_path: Path) -> Guard:
    """Write a project that guards a small model, whose INT8 form has `wrong` answers fewer right."""

    def write(test: str | None = None, wrong: int = 0, markers: str = MARKERS) -> Project:
        worse = (ANSWERS + (np.arange(SAMPLES) < wrong)) % 10
        files = {"onnx": lookup(tmp_path / "a.onnx", ANSWERS), "int8": lookup(tmp_path / "b.onnx", worse, int8=True)}
        project.write(files, np.arange(SAMPLES).reshape(-1, 1), ANSWERS, markers=markers, test=test)
        return project

    return write


# -- options of pytest ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["-Werror"],
        ["--strict-markers", "--strict-config"],
        ["--assert=plain"],
        ["--import-mode=importlib"],
        ["-pno:cacheprovider"],
        ["-s", "-vv"],
        ["-q", "--no-header", "--tb=no"],
        ["-pno:logging", "-pno:capture"],
        ["-pno:onnxlite-session", "-pno:onnxlite-declared"],
        ["--cov=.", "--cov-report=term"],
    ],
    ids=" ".join,
)
def test_it_judges_as_always_under(guard: Guard, options: list[str]) -> None:
    project = guard()
    project.pytester.makeini("[pytest]\nonnxlite_cache_size = 100\nonnxlite_keep_artefact = true\n")
    project.save(*options)
    project.compare(*options).assert_outcomes(passed=1)
    guard(wrong=40)
    result = project.compare(*options)
    result.assert_outcomes(failed=1)
    assert "Traceback" not in said(result)
    if "--tb=no" not in options:
        assert "40 fewer right" in said(result)


def test_a_suite_that_does_not_use_it_may_turn_warnings_into_errors(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_other(): pass")
    result = pytester.runpytest_subprocess("-Werror", "--strict-markers", "--strict-config")
    result.assert_outcomes(passed=1)


def test_switched_off_a_guard_is_an_error_and_no_pass(guard: Guard) -> None:
    project = guard()
    (project.path / "test_other.py").write_text("def test_other(): pass")
    result = project.pytester.runpytest_subprocess("-p", "no:onnxlite")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'onnxlite_int8' not found*"])


def test_listing_runs_nothing(guard: Guard) -> None:
    project = guard(test=f"import pytest\n{MARKERS}\ndef test_release(onnxlite_int8): open('ran', 'w')\n")
    result = project.compare("--collect-only")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*<Function test_release>*"])
    assert "onnxlite:" not in result.stdout.str()
    fixtures = project.run("--fixtures")
    listed = dict(
        re.findall(r"^onnxlite_(\w+) \[session scope\] -- .*fixtures\.py:\d+\n    (.*)", said(fixtures), re.M)
    )
    assert set(listed) == {"model", "variant", "trained", "onnx", "int8", "tflite", "tflite_int8"}
    assert "no docstring available" not in listed.values()
    markers = project.run("--markers")
    for name in ("accuracy(variant=..., label=..., max_drop=...", "size(", "latency(", "memory(", "graph("):
        assert f"@pytest.mark.onnxlite_{name}" in said(markers)
    assert not (project.path / "ran").exists()


# -- other plugins -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--benchmark-disable", "pytest-benchmark is disabled, and it does the timing"),
        ("-pno:benchmark", "pytest-benchmark is switched off, and it does the timing"),
        ("--benchmark-skip", "--benchmark-skip leaves out what pytest-benchmark times"),
    ],
)
def test_without_pytest_benchmark_latency_is_not_measured_and_the_rest_is(
    guard: Guard, option: str, reason: str
) -> None:
    latency = "@pytest.mark.onnxlite_latency(max_slowdown=0.9, max_time=5)"
    project = guard(
        test=f"import pytest\n{latency}\ndef test_time(onnxlite_int8): pass\n{MARKERS}\ndef test_rest(onnxlite_int8): pass\n"
    )
    project.save()
    result = project.compare(option)
    result.assert_outcomes(passed=1, failed=1)
    assert reason in said(result)
    # Without a baseline to compare with, a suite goes on as it always does.
    project.run(option).assert_outcomes(passed=1, skipped=1)


@pytest.mark.alone
def test_named_where_no_plugin_loads_by_itself_it_judges_as_always(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    latency = "@pytest.mark.onnxlite_latency(max_slowdown=0.9, max_time=5)"
    project = guard(markers=f"{MARKERS}\n{latency}")
    project.save()
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS")
    arguments = "-p onnxlite -p benchmark --onnxlite-baseline"
    assert f"`pytest {arguments}`" in (REPOSITORY / "docs" / "guest.md").read_text(encoding="utf-8")
    cache = f"--onnxlite-cache-dir={project.path / 'cache'}"
    project.pytester.runpytest_subprocess(*arguments.split(), cache).assert_outcomes(passed=1)
    alone = project.pytester.runpytest_subprocess("-p", "onnxlite", "--onnxlite-baseline", cache)
    alone.assert_outcomes(failed=1)
    assert "pytest-benchmark is not loaded, and it does the timing. Add -p benchmark." in said(alone)


@pytest.mark.alone
def test_a_guarded_latency_test_is_a_benchmark(guard: Guard) -> None:
    latency = "@pytest.mark.onnxlite_latency(max_slowdown=0.9, max_time=5)"
    project = guard(test=f"import pytest\n{latency}\ndef test_time(onnxlite_int8): pass\ndef test_other(): pass\n")
    project.save()
    project.compare("--benchmark-only").assert_outcomes(passed=1, skipped=1)


def test_a_guard_that_an_option_skips_is_told_with_the_option(guard: Guard) -> None:
    project = guard(test=f"import pytest\n{MARKERS}\ndef test_size(onnxlite_int8): pass\n")
    project.save()
    result = project.compare("--benchmark-only")
    assert result.ret == 1
    assert "test_size judged nothing; it was skipped (Skipping non-benchmark (--benchmark-only active))" in said(result)


def test_with_pytest_randomly(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytest_randomly")
    monkeypatch.delenv("PYTEST_ADDOPTS")
    project = guard(
        test=f"""import random, pytest
@pytest.mark.parametrize("number", range(4))
{MARKERS}
def test_release(onnxlite_int8, number): open(f"{{number}}.txt", "w").write(str(random.random()))
def test_other(): open("other.txt", "w").write(str(random.random()))
""",
    )
    (project.path / "pyproject.toml").write_text(
        '[tool.onnxlite.models.declared]\nonnx = "onnx.onnx"\nint8 = "int8.onnx"\ndata = "data.npz"\naccuracy = {}\n'
    )
    orders, drawn = [], []
    for seed in ("1", "1", "2"):
        result = project.pytester.runpytest("-v", f"--randomly-seed={seed}")
        result.assert_outcomes(passed=6)
        orders.append([line.split(" ")[0] for line in result.stdout.lines if "PASSED" in line])
        drawn.append([(project.path / f"{name}.txt").read_text() for name in (0, 1, 2, 3, "other")])
    assert orders[0] == orders[1] != orders[2]
    assert drawn[0] == drawn[1]
    # The random state is the user's: they draw what they would without us.
    test = project.path / "test_release.py"
    test.write_text(test.read_text().replace(MARKERS, "").replace("onnxlite_int8, ", ""))
    (project.path / "pyproject.toml").unlink()
    project.pytester.runpytest("--randomly-seed=1").assert_outcomes(passed=5)
    assert [(project.path / f"{name}.txt").read_text() for name in (0, 1, 2, 3, "other")] == drawn[0]


def test_with_pytest_rerunfailures(guard: Guard) -> None:
    pytest.importorskip("pytest_rerunfailures")
    flaky = f"""import pathlib, pytest
{MARKERS}
def test_release(onnxlite_int8):
    first = not pathlib.Path("ran").exists()
    pathlib.Path("ran").write_text("")
    assert not first
"""
    project = guard(test=flaky)
    result = project.run("--onnxlite-save-baseline", "--reruns=1", "--onnxlite-report=report.json")
    result.assert_outcomes(passed=1)
    assert "1 rerun" in said(result)
    # The last attempt counts, and counts once.
    assert len(json.loads((project.path / "report.json").read_text())["records"]) == 1
    assert len(list(project.path.glob("baselines/*/int8.json"))) == 1
    # A model does not get better by being judged again.
    guard(wrong=40)
    again = project.compare("--reruns=2")
    again.assert_outcomes(failed=1)
    assert "2 rerun" in said(again)
    assert said(again).count("40 fewer right") <= 2


def test_with_pytest_cov_users_see_their_own_code_alone(guard: Guard) -> None:
    project = guard(test=f"import pytest, user\n{MARKERS}\ndef test_release(onnxlite_int8): user.used()\n")
    (project.path / "user.py").write_text("def used():\n    return 1\n\ndef unused():\n    return 2\n")
    result = project.pytester.runpytest_subprocess("--cov=user", "--cov-report=term-missing")
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"user\.py +4 +1 +75% +5"])
    assert "pytest_onnxlite/" not in said(result)


def test_a_run_within_a_run_has_its_own_records(guard: Guard) -> None:
    project = guard(
        test=f"""import pytest
pytest_plugins = ["pytester"]
{MARKERS}
def test_outer(onnxlite_int8, pytester, onnxlite_onnx, request):
    pytester.makeconftest('''
import numpy as np, pytest
from pytest_onnxlite import Dataset, ModelSpec
@pytest.fixture(scope="session")
def onnxlite_model():
    data = np.load({{!r}})
    return ModelSpec("inner", onnx={{!r}}, evaluation=Dataset(data["x"], data["y"]))
'''.format(str(request.config.rootpath / "data.npz"), str(onnxlite_onnx.path.resolve())))
    pytester.makepyfile('''
import pytest
@pytest.mark.onnxlite_accuracy
def test_inner(onnxlite_onnx): pass
''')
    result = pytester.runpytest("--onnxlite-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*there is no baseline*inner*onnx.json*"])
""".replace(
            MARKERS,
            MARKERS.replace("accuracy", 'accuracy(variant="int8")').replace("ratio=1.0", 'ratio=1.0, variant="int8"'),
        ),
    )
    path = project.path / "conftest.py"
    path.write_text(
        path.read_text().replace("onnx='", f"onnx='{project.path}/").replace("int8='", f"int8='{project.path}/")
    )
    project.save("-p", "pytester")
    result = project.compare("-p", "pytester")
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"digits +int8 "])
    assert "inner  " not in result.stdout.str()


# -- forms of tests ------------------------------------------------------------------------------------------


def test_markers_in_every_place(guard: Guard) -> None:
    project = guard(
        test="""import pytest, unittest
pytestmark = pytest.mark.onnxlite_size(ratio=1.0)
RED = pytest.mark.onnxlite_size(ratio=0.001)

@pytest.mark.parametrize("number", [1, pytest.param(2, marks=RED), pytest.param(3, marks=pytest.mark.skip)])
def test_function(onnxlite_int8, number): pass

@RED
class TestRed:
    def test_method(self, onnxlite_int8): pass
    @pytest.mark.onnxlite_size(ratio=1.0)
    def test_own(self, onnxlite_int8): pass

class TestInherited(TestRed):
    pass

@pytest.mark.usefixtures("onnxlite_int8")
class TestUnit(unittest.TestCase):
    def test_green(self): pass
    @RED
    def test_red(self): pass
    @RED
    @unittest.expectedFailure
    def test_its_own_failure(self): assert False
""",
    )
    result = project.run("-rA")
    result.assert_outcomes(passed=4, failed=4, skipped=1, xfailed=1)
    red = {line.split(" ")[1].split("::", 1)[1] for line in result.stdout.lines if line.startswith("FAILED")}
    assert red == {"test_function[2]", "TestRed::test_method", "TestInherited::test_method", "TestUnit::test_red"}


@pytest.mark.parametrize("order", ["onnxlite_tflite, onnxlite_onnx", "onnxlite_onnx, onnxlite_tflite"])
def test_of_several_variants_the_one_is_judged_that_the_marker_can_judge(guard: Guard, order: str) -> None:
    project = guard(test=f"import pytest\n@pytest.mark.onnxlite_graph\ndef test_release({order}): pass\n")
    with (project.path / "conftest.py").open("a") as conftest:  # for the test's own use
        conftest.write("\n@pytest.fixture\ndef onnxlite_tflite(): pass\n")
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["digits * onnx * sound *"])


@pytest.mark.parametrize("order", ["", "(tryfirst=True)", "(trylast=True)", "(wrapper=True)"])
def test_markers_that_a_conftest_adds_are_read(guard: Guard, order: str) -> None:
    project = guard(test="def test_release(onnxlite_int8): pass\n")
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write(f"""
@pytest.hookimpl{order}
def pytest_collection_modifyitems(items):
    {"yield" if "wrapper" in order else ""}
    for item in items:
        item.add_marker(pytest.mark.onnxlite_size(ratio=0.001))
""")
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "at most 0.001" in said(result)


@pytest.mark.parametrize("options", [[], ["--onnxlite-baseline"]])
def test_a_marker_that_comes_too_late_is_no_pass(guard: Guard, options: list[str]) -> None:
    project = guard(
        test="""import pytest

@pytest.fixture(autouse=True)
def limit(request): request.node.add_marker(pytest.mark.onnxlite_size(ratio=1.0))

def test_release(onnxlite_int8): pass
"""
    )
    result = project.run(*options)
    result.assert_outcomes(failed=1)
    assert "onnxlite_size was added while the test was set up" in said(result)


def test_parametrized_models_have_a_baseline_each(guard: Guard) -> None:
    project = guard(
        test="""import numpy as np, pytest
from pytest_onnxlite import Dataset, ModelSpec
RED = pytest.mark.onnxlite_size(ratio=0.001)

@pytest.fixture(scope="session", params=["first", "second", pytest.param("third", marks=RED)])
def onnxlite_model(request):
    data = np.load("data.npz")
    return ModelSpec(request.param, onnx="onnx.onnx", int8="int8.onnx", evaluation=Dataset(data["x"], data["y"]))

@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.onnxlite_accuracy
def test_release(onnxlite_int8, number): pass
""",
    )
    result = project.run("--onnxlite-save-baseline")
    result.assert_outcomes(passed=4, failed=2)
    assert sorted(path.parent.name for path in project.path.glob("baselines/*/int8.json")) == ["first", "second"]
    project.compare("-k", "first or second").assert_outcomes(passed=4)
    project.compare("-k", "release and second and 1").assert_outcomes(passed=1)


def test_indirect_parametrization_chooses_the_model(guard: Guard) -> None:
    project = guard(
        test="""import numpy as np, pytest
from pytest_onnxlite import Dataset, ModelSpec

@pytest.fixture(scope="session")
def onnxlite_model(request):
    data = np.load("data.npz")
    return ModelSpec(request.param, onnx="onnx.onnx", evaluation=Dataset(data["x"], data["y"]))

@pytest.mark.parametrize("onnxlite_model", ["x", "y"], indirect=True)
@pytest.mark.onnxlite_accuracy
def test_release(onnxlite_onnx): pass
""",
    )
    project.save()
    assert sorted(path.parent.name for path in project.path.glob("baselines/*/onnx.json")) == ["x", "y"]


# -- places --------------------------------------------------------------------------------------------------


def test_where_pytests_cache_cannot_be_written_it_builds_for_this_run(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = guard()
    # A file where the folder should be: it stops a superuser too.
    (project.path / ".pytest_cache").write_text("")
    own_folder()  # this process's, which is there until it ends
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    result = project.pytester.runpytest("-W", "ignore::pytest.PytestCacheWarning")
    result.assert_outcomes(passed=1)
    assert [path.name for path in temporary.iterdir() if path.name.startswith("onnxlite")] == []


def test_a_cache_folder_that_cannot_be_written_is_told(guard: Guard) -> None:
    project = guard()
    (project.path / "file").write_text("")
    result = project.pytester.runpytest("--onnxlite-cache-dir=file")
    result.assert_outcomes(errors=1)
    assert "the cache folder" in said(result)
    assert "--onnxlite-cache-dir" in said(result)


def test_a_baseline_that_cannot_be_saved_is_told(guard: Guard) -> None:
    project = guard()
    (project.path / "baselines").write_text("")
    result = project.run("--onnxlite-save-baseline")
    assert result.ret == 1
    assert "baselines" in said(result)
    assert "Traceback" not in said(result)


def test_in_a_folder_of_any_name(guard: Guard, tmp_path: Path) -> None:
    project = guard(markers=f"{MARKERS}\n@pytest.mark.onnxlite_memory\n@pytest.mark.onnxlite_graph")
    folder = tmp_path / "Modèle für 模型 ✓"
    folder.mkdir()
    for path in list(project.path.iterdir()):
        if path.is_file():
            path.rename(folder / path.name)
    (folder / "pyproject.toml").write_text(
        f'[tool.onnxlite.models."{"declared"}"]\nonnx = "onnx.onnx"\ndata = "data.npz"\nvariants = ["onnx"]\naccuracy = {{}}\n'
    )
    for mode in ("--onnxlite-save-baseline", "--onnxlite-baseline"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:randomly", mode, "--onnxlite-report=bericht ä.json"],
            cwd=folder,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "2 passed" in done.stdout
    assert json.loads((folder / "bericht ä.json").read_text(encoding="utf-8"))["verdict"] == "pass"


def test_with_its_root_elsewhere(guard: Guard, tmp_path: Path) -> None:
    project = guard()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    rooted = f"--rootdir={elsewhere}"
    run = project.pytester.runpytest
    assert run(rooted, "--onnxlite-save-baseline").ret == 0
    assert (elsewhere / "baselines" / "digits" / "int8.json").is_file()
    assert list(elsewhere.glob(".pytest_cache/d/onnxlite/*/manifest.json"))
    run(rooted, "--onnxlite-baseline").assert_outcomes(passed=1)
    # A folder that is typed starts from where it is typed.
    assert run(rooted, "--onnxlite-save-baseline", "--onnxlite-baseline-dir=here").ret == 0
    assert (project.path / "here" / "digits" / "int8.json").is_file()


# -- the cache -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["option", "ini"])
def test_the_cache_can_be_switched_off(guard: Guard, way: str) -> None:
    project = guard()
    if way == "ini":
        project.pytester.makeini("[pytest]\nonnxlite_cache = off\n")
    result = project.pytester.runpytest(*(["--onnxlite-cache=off"] if way == "option" else []))
    result.assert_outcomes(passed=1)
    assert not list(project.path.glob(".pytest_cache/d/onnxlite*"))
    project.pytester.runpytest("--onnxlite-cache=on").assert_outcomes(passed=1)
    assert list(project.path.glob(".pytest_cache/d/onnxlite/*/manifest.json"))


@pytest.mark.parametrize(
    ("ini", "options", "text"),
    [
        ("", ["--onnxlite-cache=of"], "--onnxlite-cache=of: expected on or off"),
        ("", ["--onnxlite-cache=off", "--onnxlite-cache-dir=x"], "give one of the two"),
        ("onnxlite_cache = no", [], "expected on or off"),
        ("onnxlite_cache_size = 4 GB", [], "onnxlite_cache_size = 4 GB: expected a whole number of MiB"),
        ("onnxlite_inference_time = 0", [], "onnxlite_inference_time = 0: expected seconds, more than 0"),
        ("onnxlite_inference_time = never", [], "onnxlite_inference_time = never: expected seconds, more than 0"),
    ],
)
def test_a_mistake_about_the_cache_is_told(pytester: pytest.Pytester, ini: str, options: list[str], text: str) -> None:
    pytester.makeini(f"[pytest]\n{ini}\n")
    result = pytester.runpytest(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert text in said(result)


def test_the_cache_keeps_its_size_and_what_this_run_used(guard: Guard, tmp_path: Path) -> None:
    import os
    import time

    project = guard()
    cache = tmp_path / "own cache"
    project.pytester.makeini(f"[pytest]\nonnxlite_cache_size = 1\nonnxlite_cache_dir = {cache}\n")
    old = cache / "int8-0123"
    old.mkdir(parents=True)
    (old / "model.onnx").write_bytes(bytes(2 << 20))
    (old / "manifest.json").write_text("{}")
    then = time.time() - 7200
    os.utime(old / "manifest.json", (then, then))
    project.pytester.runpytest().assert_outcomes(passed=1)
    assert not old.exists()
    assert len([path for path in cache.iterdir() if path.name.startswith("first-run-")]) == 2
