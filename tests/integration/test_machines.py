"""A baseline that was saved on one kind of machine is compared with on another, which adds its own figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from onnx_models import lookup
from projects import UNEXPLAINED, Project

ANSWERS = np.arange(200) % 10
ARM = "linux-aarch64-4cpu-000000000000"
MARKERS = """
@pytest.mark.onnxlite_accuracy
@pytest.mark.onnxlite_outputs
@pytest.mark.onnxlite_size
@pytest.mark.onnxlite_memory(max_growth=0.5)
"""
NOT_HELD = "*memory: the last release's own peak memory is not held against what it was when it was saved: nothing was saved on*"


def read(project: Project) -> Any:
    return json.loads(project.baseline.read_text())


def saved_on_arm(project: Project) -> Any:
    """Make of a baseline what an ARM machine would have saved, with a runtime of its own and one right answer less."""
    content = read(project)
    (here,) = content["machines"].values()
    arm = {
        **here["description"],
        "architecture": "aarch64",
        "cpu": "Neoverse",
        "isa": ["asimd"],
        "onnxruntime": "1.2.3",
    }
    content["machines"] = {ARM: {**here, "description": arm}}
    content["outputs"]["machine"] = arm
    content["runtime"]["version"] = "1.2.3"
    content["accuracy"]["correct"] = 199
    project.baseline.write_text(json.dumps(content))
    return content


def test_a_second_kind_of_machine_adds_its_figures_and_changes_nothing_else(project: Project, tmp_path: Path) -> None:
    x = np.arange(200).reshape(-1, 1)
    project.write({"onnx": lookup(tmp_path / "m.onnx", ANSWERS)}, x, ANSWERS, variant="onnx", markers=MARKERS)
    project.save()
    (key,) = read(project)["machines"]
    arm = saved_on_arm(project)
    # All but what depends on the machine is compared, and memory with the file itself.
    first = project.compare("-v")
    first.assert_outcomes(passed=1)
    first.stdout.fnmatch_lines([NOT_HELD])
    project.save()
    both = read(project)
    assert set(both["machines"]) == {ARM, key}
    here = both["machines"].pop(key)
    assert both == arm
    assert here["memory"]["load"] > 0
    content = project.baseline.read_bytes()
    project.save().stdout.fnmatch_lines(["unchanged: *"])
    assert project.baseline.read_bytes() == content
    second = project.compare("-v")
    second.assert_outcomes(passed=1)
    second.stdout.no_fnmatch_line(NOT_HELD)
    # A worse release is red here as there; accepted, it is a new one, of which nobody has figures but this machine.
    project.replace("onnx.onnx", lookup(tmp_path / "m.onnx", (ANSWERS + (np.arange(200) < 20)) % 10))
    red = project.compare(UNEXPLAINED)
    red.assert_outcomes(failed=1)
    red.stdout.fnmatch_lines(["*19 fewer right*"])
    project.save("--onnxlite-accept")
    assert set(read(project)["machines"]) == {key}
