"""A release is a model and its runtime: a runtime that changed is said, and red where a team pins it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import dense
from projects import Project

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
