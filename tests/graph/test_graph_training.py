"""A node in training mode is a fault of any file; one that could train and does not is none."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from graph_models import finish, initializer, value
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from pytest_onnxlite.lint import check_graph

X, Y = value("x", ["N", 8]), value("y", ["N", 8])
STATISTICS = [initializer(name, np.full(8, 0.5, np.float32)) for name in ("gamma", "beta", "mean", "var")]
ONES = np.arange(1, 17, dtype=np.float32).reshape(2, 8)


def normalization(opset: int = 17, outputs: int = 1, **attributes: int) -> onnx.ModelProto:
    names = ["y", "mean_now", "var_now", "mean_saved", "var_saved"][:outputs]
    node = helper.make_node("BatchNormalization", ["x", "gamma", "beta", "mean", "var"], names, "norm", **attributes)  # type: ignore[arg-type]
    return finish([node], [X], [Y], STATISTICS, opset)


def dropout(training: bool | None, ratio: float | None = 0.5, *, given: bool = False, turned: bool = False):
    """A Dropout; `given` makes its mode an input with a default, `turned` the opposite of what is stored."""
    stored = [] if ratio is None else [from_array(np.array(ratio, np.float32), "ratio")]
    nodes, inputs, mode = [], [X], ""
    if training is not None:
        mode = "mode"
        stored.append(from_array(np.array(training), "mode"))
        inputs += [value("mode", [], TensorProto.BOOL)] if given else []
    if turned:
        nodes.append(helper.make_node("Not", ["mode"], ["other"], "not"))
        mode = "other"
    nodes.append(helper.make_node("Dropout", ["x", "" if ratio is None else "ratio", mode], ["y"], "drop"))
    return finish(nodes, inputs, [Y], stored)


def without_default() -> onnx.ModelProto:
    model = dropout(True, given=True)
    del model.graph.initializer[1]
    return model


TRAINING = {
    "normalization": lambda: normalization(outputs=3, training_mode=1),
    "normalization of an old opset": lambda: normalization(opset=13, outputs=5),
    "dropout": lambda: dropout(True),
    "dropout of the default ratio": lambda: dropout(True, None),
    "dropout by default": lambda: dropout(True, given=True),
    "dropout that is not told not to": lambda: dropout(False, turned=True),
}
INFERENCE = {
    "normalization": lambda: normalization(training_mode=0),
    "normalization of an old opset": lambda: normalization(opset=13),
    "dropout without a mode": lambda: dropout(None),
    "dropout told not to": lambda: dropout(False),
    "dropout of nothing": lambda: dropout(True, 0.0),
    "dropout whose caller says": without_default,
    "dropout of an old opset": lambda: finish([helper.make_node("Dropout", ["x"], ["y"], "drop")], [X], [Y], [], 11),
}


def answers(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


@pytest.mark.parametrize("make", TRAINING.values(), ids=TRAINING)
def test_training_mode_is_a_finding_in_any_file(make) -> None:
    model = make()
    assert [f.code for f in check_graph(model) if f.severity == "error"] == ["OLX119"]
    assert "OLX119" in {f.code for f in check_graph(model, model)}
    # And rightly so: the answer for a sample depends on the rest of its batch, or on chance.
    assert not np.allclose(answers(model, ONES)[:1], answers(model, ONES[:1]))


@pytest.mark.parametrize("make", INFERENCE.values(), ids=INFERENCE)
def test_a_node_that_does_not_train_is_none(make) -> None:
    assert check_graph(make()) == []


def in_function(mode: int | None, default: int | None = None, *, stored: bool | None = None) -> onnx.ModelProto:
    """A function that normalizes in the mode of an attribute, or drops in that of an input; the caller gives either."""
    opset = [helper.make_opsetid("", 17)]
    given = {} if mode is None else {"train": mode}
    if stored is None:
        norm = helper.make_node("BatchNormalization", ["a", "g", "b", "m", "v"], ["c", "m2", "v2"], "norm")
        norm.attribute.append(
            onnx.AttributeProto(name="training_mode", ref_attr_name="train", type=onnx.AttributeProto.INT)
        )
        inputs, nodes, weights = ["a", "g", "b", "m", "v"], [norm], STATISTICS
    else:
        half = helper.make_node("Constant", [], ["r"], "r", value_float=0.5)
        nodes = [half, helper.make_node("Dropout", ["a", "r", "t"], ["c"], "drop")]
        inputs, weights = ["a", "t"], [from_array(np.array(stored), "t")]
    function = helper.make_function(
        "local", "layer", inputs, ["c"], nodes, opset, [] if default is not None else ["train"]
    )
    if default is not None:
        function.attribute_proto.append(helper.make_attribute("train", default))
    call = helper.make_node("layer", ["x", *(t.name for t in weights)], ["y"], "call", domain="local", **given)  # type: ignore[arg-type]
    graph = helper.make_graph([call], "main", [X], [Y], weights)
    opsets = [*opset, helper.make_opsetid("local", 1)]
    return helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=9)


@pytest.mark.parametrize(
    ("model", "trains"),
    [
        (in_function(1), True),
        (in_function(0), False),
        (in_function(None, default=1), True),
        (in_function(0, default=1), False),
        (in_function(None, stored=True), True),
        (in_function(None, stored=False), False),
    ],
    ids=["attribute", "attribute 0", "default", "default overruled", "input", "input false"],
)
def test_what_a_caller_gives_to_a_function_decides(model: onnx.ModelProto, trains: bool) -> None:
    assert ("OLX119" in {f.code for f in check_graph(model)}) == trains
