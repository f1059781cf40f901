"""Figures 1 to 4: the operators before and after conversion and quantization, of sound graphs."""

from __future__ import annotations

import pytest

from pytest_onnxlite import ModelSpec, Variant
from study.graphs import keras_layers, onnx_operators, tflite_operators
from study.models import STATIC as STATIC_SUFFIX
from study.notes import Notes, case
from study.published import H5, INT8, ONNX, STATIC, TFLITE, TFLITE_INT8

NETS = ("cnn-1", "dnn")


@pytest.mark.parametrize("onnxlite_model", [case(net, net, H5, ONNX) for net in NETS], indirect=True)
@pytest.mark.onnxlite_graph(variant="onnx")
def test_conversion_to_onnx(
    onnxlite_model: ModelSpec, onnxlite_trained: Variant, onnxlite_onnx: Variant, notes: Notes
) -> None:
    layers, operators = keras_layers(onnxlite_trained.path), onnx_operators(onnxlite_onnx.path)
    notes.operators(onnxlite_model.name, H5, layers)
    notes.operators(onnxlite_model.name, ONNX, operators)
    assert operators.count("MatMul") == layers.count("Dense")
    assert operators.count("Conv") == layers.count("Conv2D")


@pytest.mark.parametrize("onnxlite_model", [case(net, net, INT8) for net in NETS], indirect=True)
@pytest.mark.onnxlite_graph(variant="int8")
def test_dynamic_quantization(onnxlite_model: ModelSpec, onnxlite_int8: Variant, notes: Notes) -> None:
    operators = onnx_operators(onnxlite_int8.path)
    notes.operators(onnxlite_model.name, INT8, operators)
    assert "MatMul" not in operators


@pytest.mark.parametrize("onnxlite_model", [case(f"{net}{STATIC_SUFFIX}", net, STATIC) for net in NETS], indirect=True)
@pytest.mark.onnxlite_graph(variant="int8")
def test_static_quantization(onnxlite_model: ModelSpec, onnxlite_int8: Variant, notes: Notes) -> None:
    operators = onnx_operators(onnxlite_int8.path)
    notes.operators(onnxlite_model.name.removesuffix(STATIC_SUFFIX), STATIC, operators)
    assert "QuantizeLinear" in operators


@pytest.mark.parametrize("onnxlite_model", [case("cnn-1", "cnn-1", TFLITE, TFLITE_INT8)], indirect=True)
def test_tflite(
    onnxlite_model: ModelSpec, onnxlite_tflite: Variant, onnxlite_tflite_int8: Variant, notes: Notes
) -> None:
    for column, variant in ((TFLITE, onnxlite_tflite), (TFLITE_INT8, onnxlite_tflite_int8)):
        operators = tflite_operators(variant.path)
        assert "CONV_2D" in operators
        notes.operators(onnxlite_model.name, column, operators)
