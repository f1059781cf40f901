"""Memory in a user's project: which saved peaks today's are held against, and memory that grows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_onnxlite.runtime import peak
from pytest_onnxlite.runtime.childprocess import Child

from onnx_models import dense, save_graph
from projects import UNEXPLAINED, Project

MEMORY = "@pytest.mark.onnxlite_memory"
GIVEN_BACK = "VmHWM, freed blocks given back"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_peak_that_was_read_in_another_way_is_not_compared_until_it_is_saved_again(
    project: Project, tmp_path: Path
) -> None:
    x = np.ones((4, 64), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 2, 64)}, x, markers=MEMORY, variant="onnx")
    project.save()
    saved = project.baseline.read_text()
    assert saved.count(GIVEN_BACK) == 1
    project.compare().assert_outcomes(passed=1)
    project.baseline.write_text(saved.replace(GIVEN_BACK, "VmHWM"))
    result = project.compare("-v")
    result.assert_outcomes(passed=1)
    assert (
        f"that peak was read by VmHWM, and today's is read by {GIVEN_BACK}, which do not measure" in result.stdout.str()
    )
    project.save()
    assert GIVEN_BACK in project.baseline.read_text()


def test_the_same_file_is_measured_once_and_another_one_next_to_the_last_release(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    request = Child.request

    def counted(self: Child, function: Any, argument: Any) -> None:
        if function is peak.measure:
            asked.append(Path(argument.model).name)
        request(self, function, argument)

    monkeypatch.setattr(Child, "request", counted)
    x = np.ones((4, 64), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 2, 64)}, x, markers=MEMORY, variant="onnx")
    project.save()
    asked.clear()
    result = project.compare("--onnxlite-report=r.json")
    result.assert_outcomes(passed=1)
    assert asked == ["onnx.onnx"] * 3
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    found = record["measured"]["memory"]
    assert found["reference"] == found["candidate"]
    assert found["reference_method"] == found["method"]
    # What the last release takes today is known, and held against what was saved.
    saved = json.loads(project.baseline.read_text())
    for machine in saved["machines"].values():
        machine["memory"] = {**machine["memory"], "load": 1 << 10, "run": 1 << 10}
    project.baseline.write_text(json.dumps(saved))
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    assert "the runtime made the last release" in result.stdout.str()

    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 40, 64))
    asked.clear()
    project.compare(UNEXPLAINED).assert_outcomes(failed=1)
    assert len(set(asked)) == 2
    assert len(asked) >= 6


# Holds on to 8 KiB for each run; and to as much for each shape that it has not seen.
LEAK = """
import onnxruntime

_ran, _kept = onnxruntime.InferenceSession.run, {}

def _run(self, names, feeds, *rest):
    shapes = tuple(array.shape for array in feeds.values())
    _kept[%s] = b"x" * (8 << 10)
    return _ran(self, names, feeds, *rest)

onnxruntime.InferenceSession.run = _run
"""


def test_memory_that_grows_with_each_run_or_each_new_shape_is_red(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    model = save_graph(
        tmp_path / "model.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Relu", ["a"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "length", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "length", 4])],
        {"w": rng.normal(size=(8, 4)).astype(np.float32)},
    )
    project.write({"onnx": model}, np.ones((4, 8), np.float32), markers=f"{MEMORY}(runs=300)", variant="onnx")
    conftest = (project.path / "conftest.py").read_text()
    ragged = "x = np.empty(300, object)\nx[:] = [np.ones((n, 8), np.float32) for n in range(1, 301)]\n"
    evaluation = conftest.replace("Dataset(data['x'])", "Dataset(x)")
    (project.path / "conftest.py").write_text(evaluation.replace("@pytest.fixture", f"{ragged}\n@pytest.fixture"))

    # It needs no baseline.
    project.run().assert_outcomes(passed=1)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for what, key in (("run", "len(_kept)"), ("new shape, the longest first,", "shapes")):
        (tmp_path / "sitecustomize.py").write_text(LEAK % key)
        monkeypatch.setenv("ONNXLITE_TRIED", what)  # another environment, which children are started in
        result = project.run(UNEXPLAINED)
        result.assert_outcomes(failed=1)
        assert f"memory grows with each {what} of " in result.stdout.str()
