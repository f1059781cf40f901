"""Tables 2 and 3: bytes of each variant of the DNN and of the CNN."""

from __future__ import annotations

import pytest

from pytest_onnxlite import ModelSpec, Variant
from study.models import STATIC as STATIC_SUFFIX
from study.models import bare_size
from study.notes import Notes, case
from study.published import BARE, H5, INT8, ONNX, SIZE, SIZE_TABLE, STATIC, TFLITE, TFLITE_INT8

# Without the two moments that Adam keeps of each weight.
A_THIRD = 0.34


def _nets(*columns: str, suffix: str = "") -> list[object]:
    return [case(f"{net}{suffix}", table, *columns) for net, table in SIZE_TABLE.items()]


@pytest.mark.parametrize("onnxlite_model", _nets(H5, BARE, ONNX, INT8), indirect=True)
@pytest.mark.onnxlite_size(variant="onnx", ratio=A_THIRD)
@pytest.mark.onnxlite_size(variant="int8", ratio=0.25)
def test_onnx_is_a_third_of_h5_and_int8_a_quarter_of_onnx(
    onnxlite_model: ModelSpec, onnxlite_trained: Variant, onnxlite_onnx: Variant, onnxlite_int8: Variant, notes: Notes
) -> None:
    table = SIZE_TABLE[onnxlite_model.name]
    notes.cell(table, SIZE, H5, onnxlite_trained.size / 1e6)
    notes.cell(table, SIZE, BARE, bare_size(onnxlite_model) / 1e6)
    assert onnxlite_int8.size < onnxlite_onnx.size < onnxlite_trained.size


@pytest.mark.parametrize("onnxlite_model", _nets(STATIC, suffix=STATIC_SUFFIX), indirect=True)
@pytest.mark.onnxlite_size(ratio=0.25)
def test_static_int8_is_a_quarter_too(onnxlite_int8: Variant) -> None:
    assert "QuantizeLinear" in onnxlite_int8.graph.operators


@pytest.mark.parametrize("onnxlite_model", _nets(TFLITE, TFLITE_INT8), indirect=True)
@pytest.mark.onnxlite_size(variant="tflite", ratio=A_THIRD)
@pytest.mark.onnxlite_size(variant="tflite_int8", ratio=0.25)
def test_tflite_int8_is_a_quarter_of_tflite(onnxlite_tflite: Variant, onnxlite_tflite_int8: Variant) -> None:
    assert onnxlite_tflite_int8.size < onnxlite_tflite.size
