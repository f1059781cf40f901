"""Scales that calibration writes when it saw nothing, weights that quantization lost; and what only looks like them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graph_models import convnet, dense, dynamic, finish, initializer, static, value
from graph_mutations import array, put
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantFormat

from pytest_onnxlite.lint import Finding, check_graph


def findings(model: onnx.ModelProto, reference: onnx.ModelProto | None = None) -> list[tuple[str, str]]:
    found: list[Finding] = check_graph(model, reference)
    return [(f.code, f.severity) for f in found if f.code in ("OLX325", "OLX328", "OLX312")]


def without_bias() -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(dense())
    put(model, "b1", np.zeros(64, np.float32))
    return model


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["QDQ", "QOperator"])
def test_a_model_that_was_never_calibrated_is_an_error_in_both_forms(form: QuantFormat) -> None:
    zeros = [{"x": np.zeros((4, 32), np.float32)}]
    q = static(without_bias(), zeros, quant_format=form)
    assert findings(q) == [("OLX325", "error")]
    assert findings(static(without_bias(), quant_format=form)) == []


def test_most_of_the_activations_are_a_warning() -> None:
    q = static(convnet())
    for name in ("x", "y"):
        put(q, f"{name}_scale", np.float32(1))
        put(q, f"{name}_zero_point", np.zeros_like(array(q, f"{name}_zero_point")))
    assert findings(q) == [("OLX325", "warning")]


def pixels(ends: str) -> onnx.ModelProto:
    """Pixels of 0 to 255, whose scale is 1 and zero point 0 by right, pooled before they are worked on."""
    pair = lambda last, to: [  # noqa: E731
        helper.make_node("QuantizeLinear", [last, "one", "zero"], [f"{to}_q"], f"{to}_q"),
        helper.make_node("DequantizeLinear", [f"{to}_q", "one", "zero"], [to], to),
    ]
    nodes = pair("x", "a")
    nodes.append(helper.make_node("MaxPool", ["a"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]))
    nodes += pair("p", "b")
    last = "b"
    if ends == "softmax":
        nodes.append(helper.make_node("Softmax", ["b"], ["s"], "softmax"))
        nodes.append(helper.make_node("QuantizeLinear", ["s", "small", "zero"], ["s_q"], "s_q"))
        nodes.append(helper.make_node("DequantizeLinear", ["s_q", "small", "zero"], ["c"], "s_d"))
        last = "c"
    nodes.append(helper.make_node("Identity", [last], ["y"], "end"))
    stored = [initializer("one", np.float32(1)), initializer("zero", np.uint8(0))]
    stored += [initializer("small", np.float32(1 / 255))] if ends == "softmax" else []
    return finish(nodes, [value("x", ["N", 3, 8, 8])], [value("y", ["N", 3, 4, 4])], stored)


@pytest.mark.parametrize("ends", ["here", "softmax"])
def test_pixels_have_scale_1_by_right_and_keep_it_where_they_are_moved(ends: str) -> None:
    assert findings(pixels(ends)) == []


def test_integers_that_a_caller_gives_are_not_calibrated() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "one"], ["a"], "a"),
        helper.make_node("DequantizeLinear", ["z", "one"], ["b"], "b"),
        helper.make_node("Add", ["a", "b"], ["y"], "add"),
    ]
    inputs = [value(name, ["N", 4], TensorProto.UINT8) for name in "xz"]
    model = finish(nodes, inputs, [value("y", ["N", 4])], [initializer("one", np.float32(1))])
    assert findings(model) == []


def test_a_weight_that_was_lost_is_an_error_and_one_that_never_was_is_none() -> None:
    float_model = onnx.ModelProto()
    float_model.CopyFrom(dense())
    lost = dynamic(float_model)
    put(lost, "w2_quantized", np.full_like(array(lost, "w2_quantized"), array(lost, "w2_zero_point")))
    put(lost, "w2_scale", np.float32(1000))
    assert findings(lost, float_model) == [("OLX328", "error")]
    for least in (0.0, 1e-39):  # zero, or so close to it that no scale can tell
        put(float_model, "w2", np.full((64, 16), least, np.float32))
        for quantize in (dynamic, static):
            assert findings(quantize(float_model), float_model) == []
