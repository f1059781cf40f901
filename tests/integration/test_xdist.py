"""Under pytest-xdist: nothing is lost, nothing is built twice, and nothing is measured beside others at work."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onnx_models import dense, wide
from projects import UNEXPLAINED, Project

Make = Callable[..., Project]

SIZE = "@pytest.mark.onnxlite_size"


def said(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("mode", ["--onnxlite-baseline", "--onnxlite-save-baseline"])
def test_what_needs_quiet_stops_before_running_and_says_what_to_type(digits_project: Make, mode: str) -> None:
    project = digits_project(
        test=f"""import pytest
@pytest.mark.onnxlite_latency
def test_release(onnxlite_int8): pass
{SIZE}
def test_size(onnxlite_int8): pass
def test_other(): open("ran", "w")
"""
    )
    result = project.run(mode, "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stderr.str()
    assert text.count("ERROR: ") == 1
    assert "ERROR: test_release.py::test_release: latency cannot be measured while pytest-xdist" in text
    if mode == "--onnxlite-baseline":
        assert f'pytest {mode} -n 0 -m "onnxlite_latency"\n' in text
        assert f'pytest {mode} -n 2 -m "not onnxlite_latency"\n' in text
    else:  # of a new file all is measured in one run, or nothing is saved
        assert "Save in one process:\n  pytest --onnxlite-save-baseline -n 0\n" in text
    assert "Traceback" not in said(result)
    assert "INTERNALERROR" not in said(result)
    assert not (project.path / "ran").exists()


def test_what_it_says_to_type_works(digits_project: Make) -> None:
    """Each command of the message, typed as it stands, in a project whose ini file asks for workers.

    Where one test has all markers: see test_commands.py.
    """
    timed = "@pytest.mark.onnxlite_latency(max_slowdown=1.0, max_time=0.5)\ndef test_latency(onnxlite_int8): pass"
    project = digits_project(test=f"import pytest\n{timed}\n{SIZE}\ndef test_size(onnxlite_int8): pass\n")
    (project.path / "pytest.ini").write_text("[pytest]\naddopts = -n 2\n")

    def type_what_is_said(*asked: str) -> list[int]:
        commands = re.findall(r"^  pytest (.*)$", project.run(*asked).stderr.str(), re.MULTILINE)
        assert commands
        results = [project.run(UNEXPLAINED, *shlex.split(command)) for command in commands]
        assert [result.ret for result in results] == [0] * len(commands), list(map(said, results))
        return [result.parseoutcomes()["passed"] for result in results]

    type_what_is_said("--onnxlite-save-baseline")
    assert type_what_is_said("--onnxlite-baseline") == [1, 1]
    # Without a baseline to compare with, a test suite goes on as it always does.
    assert project.run().ret == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other processes at work disturb it elsewhere")
def test_memory_is_judged_in_the_workers(project: Project, tmp_path: Path) -> None:
    markers = {"growth": "", "budget": "max='200 MiB'", "red": "max='1 MiB'"}
    tests = [
        f"@pytest.mark.onnxlite_memory({m})\ndef test_{name}(onnxlite_onnx): pass\n" for name, m in markers.items()
    ]
    x = np.ones((2, 1, 64, 64), np.float32)
    project.write({"onnx": wide(tmp_path / "model.onnx", 64)}, x, test="\n".join(["import pytest", *tests]))
    project.save("-k", "growth")
    project.compare("-n2").assert_outcomes(passed=2, failed=1)
    # Twice as many maps are alive at once.
    project.replace("onnx.onnx", wide(tmp_path / "wider.onnx", 128))
    result = project.compare(UNEXPLAINED, "-n2", "--dist=loadfile", "-k", "growth")
    result.assert_outcomes(failed=1)
    assert "needs more memory than the last release" in said(result)


def test_a_mistake_in_a_marker_is_told_once_and_is_no_crash(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.onnxlite_size(ratoi=1)\ndef test_release(onnxlite_int8): pass\ndef test_other(): pass"
    )
    result = pytester.runpytest("-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said(result).count("unknown argument 'ratoi'; did you mean ratio?") == 1
    assert "INTERNALERROR" not in said(result)


COUNT_BUILDS = """
from pytest_onnxlite.variants.cache import Cache

build = Cache._build

def counted(self, place, *rest):
    with open("built.txt", "a") as log:
        log.write(place.name.split("-")[0] + " ")
    if list(self.folder.glob("lock-*")):
        open("held.txt", "w")
    build(self, place, *rest)

Cache._build = counted
"""


@pytest.mark.parametrize("options", [[], ["-pno:cacheprovider"], ["--onnxlite-cache=off"]])
def test_variants_are_built_once_and_not_once_a_worker(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    x = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    model = dense(tmp_path / "model.onnx", 3, width=64)
    project.write(
        {"onnx": model},
        x,
        test=f"""import pytest
@pytest.mark.parametrize("number", range(6))
{SIZE}(ratio=0.3)
def test_release(onnxlite_int8, number): pass
""",
    )
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + COUNT_BUILDS)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    project.pytester.runpytest_subprocess("-n2", "--dist=load", *options).assert_outcomes(passed=6)
    assert sorted((project.path / "built.txt").read_text().split()) == ["first", "int8"]
    assert [path.name for path in temporary.iterdir() if "onnxlite" in path.name] == []
    assert bool(list(project.path.glob(".pytest_cache/d/onnxlite*"))) == (not options)
    # What the workers alone use is held by them: of a run that was killed, the next one removes it.
    assert (project.path / "held.txt").exists() == bool(options)


def test_nothing_is_lost_between_the_workers_and_the_controller(digits_project: Make) -> None:
    project = digits_project(
        test=f"""import pytest
{SIZE}
def test_size(onnxlite_int8): pass
@pytest.mark.onnxlite_accuracy(variant="onnx")
@pytest.mark.onnxlite_graph(variant="onnx")
def test_onnx(onnxlite_onnx): pass
@pytest.mark.onnxlite_accuracy
def test_int8(onnxlite_int8): pass
{SIZE}(ratio=0.001)
def test_red(onnxlite_int8): pass
"""
    )
    reports = []
    for number, workers in enumerate((["-n2"], [])):
        result = project.run(*workers, f"--onnxlite-report={number}.json", f"--junitxml={number}.xml")
        result.assert_outcomes(passed=3, failed=1)
        report = json.loads((project.path / f"{number}.json").read_text())
        reports.append(sorted(report["records"], key=lambda record: (record["test"], record["variant"])))
        assert "onnxlite.digits.int8.size.onnx" in (project.path / f"{number}.xml").read_text()
    assert reports[0] == reports[1]


def test_a_baseline_nobody_looked_at_is_red_only_where_all_tests_ran(digits_project: Make) -> None:
    project = digits_project(
        test=f"import pytest\n{SIZE}\ndef test_size(onnxlite_int8): pass\ndef test_other(): pass\n"
    )
    project.save("-n2")
    forgotten = project.path / "baselines" / "faces" / "int8.json"
    forgotten.parent.mkdir()
    forgotten.write_text("{}")
    full = project.compare("-n2")
    assert full.ret == 1
    full.stdout.fnmatch_lines(["ERROR: no test looked at the baseline faces/int8.json*"])
    # Workers leave tests out, and the controller must hear of those that guard.
    shutil.rmtree(forgotten.parent)
    part = project.compare("-n2", "-k", "other")
    assert part.ret == 0
    part.stdout.fnmatch_lines(
        ["partial: 0 of 1 baseline looked at.", "baselines not looked at in this run: digits/int8.json"]
    )


def test_a_worker_that_dies_saves_nothing_of_its_test(digits_project: Make) -> None:
    project = digits_project(
        test=f"""import os, pytest
{SIZE}
def test_size(onnxlite_int8): pass
{SIZE}
def test_dies(onnxlite_int8): os._exit(1)
"""
    )
    result = project.run("--onnxlite-save-baseline", "-n2", "--max-worker-restart=1")
    assert result.ret == 1
    assert not list(project.path.glob("baselines/*/*.json"))
