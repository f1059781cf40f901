"""A release is a model and its runtime: a runtime that changed is said, and red where a team pins it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite.registry import Registry
from pytest_onnxlite.report.listing import describe

from onnx_models import dense
from projects import UNEXPLAINED, Project

HERE = version("onnxruntime")


@pytest.fixture
def release(project: Project, tmp_path: Path) -> Project:
    """A saved release whose size alone is guarded, which costs nothing."""
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 2)}, x, variant="onnx", markers="@pytest.mark.onnxlite_size")
    project.save()
    return project


def rewrite(project: Project, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(project.baseline.read_text())
    change(content)
    project.baseline.write_text(json.dumps(content))


def set_version(content: dict[str, Any]) -> None:
    content["runtime"]["version"] = "1.2.3"


def test_a_runtime_that_changed_is_in_every_report(release: Project, tmp_path: Path) -> None:
    saved = json.loads(release.baseline.read_text())["runtime"]
    assert saved == {
        "library": "onnxruntime",
        "version": HERE,
        "provider": "CPUExecutionProvider",
        "options": {**saved["options"], "threads": "1"},
    }
    assert "runtime changed" not in release.compare().stdout.str()
    rewrite(release, set_version)
    reports = {kind: release.path / f"r.{kind}" for kind in ("json", "md", "html")}
    result = release.compare("--onnxlite-report=r.json", "--onnxlite-markdown=r.md", "--onnxlite-html=r.html")
    result.assert_outcomes(passed=1)
    said = f"digits onnx: runtime changed 1.2.3 → {HERE} since the last release"
    result.stdout.fnmatch_lines([said])
    assert said in reports["md"].read_text()
    assert said in reports["html"].read_text()
    (record,) = json.loads(reports["json"].read_text())["records"]
    assert record["runtime_change"] == f"1.2.3 → {HERE}"
    assert record["baseline"]["runtime"]["version"] == "1.2.3"
    assert record["runtime"]["version"] == HERE
    lines, sound = describe(release.path / "baselines", Registry.load().checks)
    assert sound
    assert re.search(r"^digits +onnx +.* onnxruntime 1\.2\.3$", "\n".join(lines), re.MULTILINE)
    # The failure of a test says so too: it may be the reason.
    release.replace("onnx.onnx", dense(tmp_path / "b.onnx", 4))
    red = release.compare()
    red.assert_outcomes(failed=1)
    assert said in red.stdout.str().split("onnxlite: compared")[0]


def test_a_team_that_pins_its_runtime_has_a_change_red_until_it_is_accepted(release: Project) -> None:
    release.pytester.makeini("[pytest]\nonnxlite_runtime_change = fail\n")
    release.compare().assert_outcomes(passed=1)
    rewrite(release, set_version)
    red = release.compare("--onnxlite-report=r.json")
    red.assert_outcomes(failed=1)
    assert f"1.2.3 → {HERE}: the last release was accepted with another runtime" in red.stdout.str()
    assert "if the change is meant, accept it with" in red.stdout.str()
    refused = release.run("--onnxlite-save-baseline")
    assert refused.ret == 1
    assert "was not saved: it fails its limits: runtime (fail)" in refused.stdout.str()
    release.save("--onnxlite-accept").stdout.fnmatch_lines(["*accepted: digits onnx runtime: *"])
    release.compare().assert_outcomes(passed=1)
    # Threads belong to how it is run.
    conftest = release.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace('ModelSpec("digits",', 'ModelSpec("digits", threads=2,'))
    assert "threads 1 → 2: the last release was accepted" in release.compare().stdout.str()


def test_of_an_older_baseline_what_its_machines_had_is_known(release: Project) -> None:
    def older(*versions: str) -> Callable[[dict[str, Any]], None]:
        def change(content: dict[str, Any]) -> None:
            content.pop("runtime", None)
            content["machines"] = {
                f"machine-{number}": {"description": {"onnxruntime": one}} for number, one in enumerate(versions)
            }

        return change

    rewrite(release, older("1.2.3", "1.2.3"))
    release.compare().stdout.fnmatch_lines([f"digits onnx: runtime changed 1.2.3 → {HERE} since the last release"])
    for versions in (("1.2.3", HERE), (HERE,), ()):
        rewrite(release, older(*versions))
        assert "runtime changed" not in release.compare().stdout.str()


def test_a_wrong_word_is_a_usage_error(release: Project) -> None:
    release.pytester.makeini("[pytest]\nonnxlite_runtime_change = yes\n")
    result = release.compare()
    assert result.ret == 4
    assert "onnxlite_runtime_change = yes: expected report or fail" in result.stderr.str() + result.stdout.str()


# -- what the runtime does to a release --------------------------------------------------------------------------

LATENCY = "@pytest.mark.onnxlite_latency(max_slowdown=0.5, max_time=2)"
# A runtime that runs everything five times, and holds on to 40 MiB for each session.
PATCHED = """
import onnxruntime

opened, ran = onnxruntime.InferenceSession.__init__, onnxruntime.InferenceSession.run

def init(self, *arguments, **options):
    opened(self, *arguments, **options)
    self.held = b"x" * (40 << 20)

def run(self, *arguments, **options):
    for _ in range(4):
        ran(self, *arguments, **options)
    return ran(self, *arguments, **options)

onnxruntime.InferenceSession.__init__, onnxruntime.InferenceSession.run = init, run
"""


def timed(project: Project, tmp_path: Path, markers: str = LATENCY) -> Project:
    """A saved release whose time is guarded."""
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 6)}, x, variant="onnx", markers=markers)
    project.save()
    return project


@pytest.mark.alone
def test_a_runtime_that_does_everything_five_times_is_red(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(project, tmp_path, f"{LATENCY}\n@pytest.mark.onnxlite_memory(max_growth=0.2)")
    clean = project.compare("--onnxlite-report=r.json", "--onnxlite-markdown=r.md", "-v")
    clean.assert_outcomes(passed=1)
    clean.stdout.fnmatch_lines(
        [
            "digits onnx latency: the last release's own time per inference: * were saved on a machine like this (*x; at most 2x *"
        ]
    )
    assert "the last release's own peak memory: " in (project.path / "r.md").read_text()
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    for verdict in record["verdicts"]:
        if verdict["against"] == "runtime":
            assert 0.2 < verdict["evidence"]["ratio_since_saved"] < 2

    # It does so to both, and their ratio is what it was.
    (tmp_path / "sitecustomize.py").write_text(PATCHED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = project.run("--onnxlite-baseline", "--onnxlite-report=r.json", UNEXPLAINED, subprocess=True)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "times slower than when it was saved. Its own time per inference: " in text
    assert "times hungrier than when it was saved. Its own peak memory: " in text
    assert f"The runtime is onnxruntime {HERE}, as it was: look for another build" in text
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    outcomes = {(v["check"], v["against"]): v["outcome"] for v in record["verdicts"]}
    assert outcomes == {
        ("latency", "baseline"): "pass",
        ("latency", "runtime"): "fail",
        ("memory", "baseline"): "pass",
        ("memory", "runtime"): "fail",
    }


@pytest.mark.alone
def test_another_version_is_held_against_what_the_last_one_needed(project: Project, tmp_path: Path) -> None:
    timed(project, tmp_path)

    def older(content: dict[str, Any]) -> None:
        set_version(content)
        (machine,) = content["machines"].values()
        machine["description"]["onnxruntime"] = "1.2.3"
        machine["latency"]["fast"] /= 8
        content["machines"] = {"under the version before": machine}

    rewrite(project, older)
    red = project.compare(UNEXPLAINED)
    red.assert_outcomes(failed=1)
    assert f"Runtime changed 1.2.3 → {HERE}: ship the one that the release had" in red.stdout.str()
    # A change that is meant: what it needs in the new runtime is what counts from here on.
    project.save("--onnxlite-accept")
    project.compare().assert_outcomes(passed=1)

    def moved(content: dict[str, Any]) -> None:
        for machine in content["machines"].values():
            machine["description"]["cpu"] = "another"

    rewrite(project, moved)
    elsewhere = project.compare("-v", "--onnxlite-report=r.json")
    elsewhere.assert_outcomes(passed=1)
    elsewhere.stdout.re_match_lines([r"digits +onnx +.* pass$"])
    assert (
        "latency: the last release's own time per inference is not held against what it was" in elsewhere.stdout.str()
    )
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    states = [v["outcome"] for v in record["verdicts"] if v["against"] == "runtime"]
    assert states == ["not compared"]
