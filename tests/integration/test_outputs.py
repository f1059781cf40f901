"""`onnxlite_outputs`, and what random numbers are to it and to accuracy: every fault red, every sound twin green."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnx_models import save_graph
from projects import Project

FLOAT = TensorProto.FLOAT
X = np.random.default_rng(0).normal(size=(128, 8)).astype(np.float32)


def random_scores(path: Path, scale: float, *, branch: bool = False) -> Path:
    """A classifier whose scores are disturbed by a random node, of so much, in a branch or not."""
    noise = helper.make_node("RandomNormalLike", ["scores"], ["noise"], "noise", scale=scale)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"], "matmul")]
    if branch:
        outs = [[helper.make_tensor_value_info(name, FLOAT, ["batch", 4])] for name in ("noise", "same")]
        calm = helper.make_node("Identity", ["scores"], ["same"], "same")
        graphs = {
            "then_branch": helper.make_graph([noise], "then", [], outs[0]),
            "else_branch": helper.make_graph([calm], "else", [], outs[1]),
        }
        nodes += [helper.make_node("If", ["yes"], ["chosen"], "choose", **graphs)]
    nodes += [
        *([] if branch else [noise]),
        helper.make_node("Add", ["scores", "chosen" if branch else "noise"], ["y"], "add"),
    ]
    return save_graph(
        path,
        nodes,
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", FLOAT, ["batch", 4])],
        {"w": np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32), "yes": np.array(True)},
    )


def answers_of(path: Path) -> Any:
    model = onnx.load(path)
    (weight,) = (onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "w")
    return (X @ weight).argmax(axis=1)


@pytest.mark.parametrize(("scale", "branch", "node"), [(1e-2, False, "noise"), (1.0, True, "choose/then_branch/noise")])
def test_accuracy_of_a_random_model_is_red_and_names_its_random_node(
    project: Project, tmp_path: Path, scale: float, branch: bool, node: str
) -> None:
    model = random_scores(tmp_path / "m.onnx", scale, branch=branch)
    project.write(
        {"onnx": model}, X, answers_of(model), variant="onnx", markers="@pytest.mark.onnxlite_accuracy(max_drop=1.0)"
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*digits onnx is nondeterministic: output 'y' differs between two runs*",
            f"*{node} (RandomNormalLike, no seed)*",
        ]
    )


def test_a_random_node_that_changes_no_output_is_no_fault(project: Project, tmp_path: Path) -> None:
    model = random_scores(tmp_path / "m.onnx", 1e-9)
    project.write({"onnx": model}, X, answers_of(model), variant="onnx")
    project.run().assert_outcomes(passed=1)


def test_a_reference_that_is_in_training_is_told(project: Project, tmp_path: Path) -> None:
    model = random_scores(tmp_path / "m.onnx", 1e-9)
    project.write({"onnx": model}, X, answers_of(model), variant="onnx", spec="trained=shaken")
    conftest = project.path / "conftest.py"
    shaken = "rng = np.random.default_rng()\ndef shaken(x): return np.tile(rng.normal(size=(len(x), 1)), 4)\n"
    conftest.write_text(
        conftest.read_text().replace('data = np.load("data.npz")', f'data = np.load("data.npz")\n{shaken}')
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*digits trained is nondeterministic*", "*switch its training mode off*"])
