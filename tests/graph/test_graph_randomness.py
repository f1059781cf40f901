"""Which nodes draw random numbers, wherever they lie; and which only look as if they did."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from graph_models import FLOAT, convnet, finish, value
from onnx import TensorProto, helper, numpy_helper

from pytest_onnxlite.lint import check_graph
from pytest_onnxlite.lint.randomness import random_nodes

BOOL = TensorProto.BOOL


def with_node(operator: str, inputs=("x",), more=(), extra=(), opset: int = 17, **attributes) -> onnx.ModelProto:
    node = helper.make_node(operator, list(inputs), ["drawn"], "draw", **attributes)
    cast = helper.make_node("Cast", ["drawn"], ["y"], "cast", to=FLOAT)
    return finish([*more, node, cast], [value("x", ["N", 4])], [value("y", ["A", "B"])], list(extra), opset=opset)


def dropout(ratio: float, training: bool, **more) -> onnx.ModelProto:
    stored = {"ratio": np.array(ratio, np.float32), "training": np.array(training)}
    extra = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    return with_node("Dropout", ("x", "ratio", "training"), extra=extra, **more)


RANDOM = {
    "normal": (with_node("RandomNormal", (), shape=[1, 4]), "draw (RandomNormal, no seed)"),
    "normal like, with a seed": (with_node("RandomNormalLike", seed=3.0), "draw (RandomNormalLike, seed 3)"),
    "uniform": (with_node("RandomUniform", (), shape=[1, 4]), "draw (RandomUniform, no seed)"),
    "uniform like": (with_node("RandomUniformLike"), "draw (RandomUniformLike, no seed)"),
    "multinomial": (with_node("Multinomial"), "draw (Multinomial, no seed)"),
    "bernoulli": (with_node("Bernoulli"), "draw (Bernoulli, no seed)"),
    "dropout in training": (dropout(0.5, True), "draw (Dropout, no seed)"),
}
CALM = {
    "no such node": convnet(),
    "dropout": with_node("Dropout"),
    "dropout, not in training": dropout(0.5, False),
    "dropout of nothing": dropout(0.0, True),
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_random_node_is_named(name):
    model, text = RANDOM[name]
    assert random_nodes(model) == [text]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    x = np.full((64, 4), 0.5, np.float32)
    first, second = (session.run(None, {"x": x})[0] for _ in range(2))
    assert not np.array_equal(first, second), "it is random indeed"


@pytest.mark.parametrize("name", CALM)
def test_a_node_that_draws_nothing_is_none(name):
    assert random_nodes(CALM[name]) == []
    assert "OLX118" not in {finding.code for finding in check_graph(CALM[name])}


def test_dropout_that_may_be_in_training_counts():
    model = dropout(0.5, False)
    model.graph.input.append(
        helper.make_tensor_value_info("training", BOOL, [])
    )  # with a default, which callers may change
    assert random_nodes(model) == ["draw (Dropout, no seed)"]


def test_branches_and_functions_are_looked_into():
    like = helper.make_node("RandomNormalLike", ["x"], ["noise"], "noise")
    branch = helper.make_graph([like], "then", [], [value("noise", ["N", 4])])
    calm = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same"], "same")], "else", [], [value("same", ["N", 4])]
    )
    choose = helper.make_node("If", ["flag"], ["chosen"], "choose", then_branch=branch, else_branch=calm)
    call = helper.make_node("Shake", ["chosen"], ["y"], "shake", domain="mine")
    graph = helper.make_graph(
        [choose, call], "main", [value("x", ["N", 4]), value("flag", [], BOOL)], [value("y", ["N", 4])]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    inner = helper.make_node("RandomUniformLike", ["a"], ["b"], "inner")
    shake = helper.make_function("mine", "Shake", ["a"], ["b"], [inner], opsets[:1])
    model = helper.make_model(graph, opset_imports=opsets, functions=[shake], ir_version=8)
    found = [finding for finding in check_graph(model) if finding.code == "OLX118"]
    assert {finding.where for finding in found} == {"choose/then_branch/noise", "function mine::Shake/inner"}
    assert {finding.severity for finding in found} == {"warning"}
