"""Tables 5 and 6: time, one image at a time: ONNX INT8 beside TFLite INT8, dense nets beside nets with convolutions."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pytest_onnxlite import ModelSpec, Variant
from study.models import STATIC as STATIC_SUFFIX
from study.notes import Notes, case
from study.published import (
    COMPILED,
    INT8,
    ONNX,
    PARAMETERS,
    PREDICT,
    RATE,
    RATIO,
    REPEATS,
    STATIC,
    STATIC_RATIO,
    TFLITE_INT8,
    TIME_ROW,
    WIDE,
)
from study.stopwatch import passes, seconds_of_calls

# As many as the study timed.
IMAGES = 1000
# A call of model.predict takes so long that fewer images do.
PREDICT_IMAGES = 100
# Passes over some of the images, float and INT8 by turns.
TURNS, TURN_IMAGES = 7, 200

DENSE, *CONVOLVED, WIDE_NET = TIME_ROW


def images_of(spec: ModelSpec, count: int) -> npt.NDArray[np.float32]:
    assert spec.evaluation is not None
    assert isinstance(spec.evaluation.x, np.ndarray)
    return spec.evaluation.x[:count]


# -- Table 5 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("onnxlite_model", [case("cnn-1", 5, INT8, TFLITE_INT8)], indirect=True)
def test_a_thousand_images_through_onnx_int8_and_tflite_int8(
    onnxlite_model: ModelSpec, onnxlite_int8: Variant, onnxlite_tflite_int8: Variant, notes: Notes
) -> None:
    found = passes([onnxlite_int8, onnxlite_tflite_int8], images_of(onnxlite_model, IMAGES), len(REPEATS))
    for column, seconds in zip((INT8, TFLITE_INT8), found, strict=True):
        assert len(seconds) == len(REPEATS)
        for repeat, figure in zip(REPEATS, seconds, strict=True):
            notes.cell(5, repeat, column, figure)


@pytest.mark.parametrize("onnxlite_model", [case(f"cnn-1{STATIC_SUFFIX}", 5, STATIC)], indirect=True)
def test_a_thousand_images_through_static_int8(onnxlite_model: ModelSpec, onnxlite_int8: Variant, notes: Notes) -> None:
    (seconds,) = passes([onnxlite_int8], images_of(onnxlite_model, IMAGES), len(REPEATS))
    assert len(seconds) == len(REPEATS)
    for repeat, figure in zip(REPEATS, seconds, strict=True):
        notes.cell(5, repeat, STATIC, figure)


@pytest.mark.parametrize(
    "onnxlite_model", [case("cnn-1", 5, INT8), case(f"cnn-1{STATIC_SUFFIX}", 5, STATIC)], indirect=True
)
@pytest.mark.onnxlite_latency
def test_the_guard_times_onnx_int8(onnxlite_int8: Variant) -> None:
    assert onnxlite_int8.kind == "int8"


@pytest.mark.parametrize("onnxlite_model", [case("cnn-1", 5, TFLITE_INT8)], indirect=True)
@pytest.mark.onnxlite_latency
def test_the_guard_times_tflite_int8(onnxlite_tflite_int8: Variant) -> None:
    assert onnxlite_tflite_int8.kind == "tflite_int8"


# -- Table 6 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "onnxlite_model",
    [case(name, 6, RATE, PARAMETERS, PREDICT, COMPILED) for name in TIME_ROW],
    indirect=True,
)
def test_keras(onnxlite_model: ModelSpec, onnxlite_trained: Variant, notes: Notes) -> None:
    import keras

    from study.nets import dense_share

    model: Any = keras.models.load_model(onnxlite_trained.path, compile=False)
    row = TIME_ROW[onnxlite_model.name]
    share = 100 * dense_share(model)
    assert row == WIDE or row == f"{share:.0f} %"
    notes.cell(6, row, RATE, share)
    notes.cell(6, row, PARAMETERS, model.count_params() / 1e6)
    called = seconds_of_calls(lambda image: model.predict(image, verbose=0), images_of(onnxlite_model, PREDICT_IMAGES))
    notes.cell(6, row, PREDICT, called * 1000)
    ((seconds,),) = passes([onnxlite_trained], images_of(onnxlite_model, IMAGES), 1)
    notes.cell(6, row, COMPILED, seconds * 1000 / IMAGES)


@pytest.mark.parametrize("onnxlite_model", [case(name, 6, ONNX) for name in TIME_ROW], indirect=True)
@pytest.mark.onnxlite_latency
def test_float_onnx(onnxlite_onnx: Variant) -> None:
    assert onnxlite_onnx.kind == "onnx"


@pytest.mark.parametrize("onnxlite_model", [case(DENSE, 6, INT8, RATIO)], indirect=True)
@pytest.mark.onnxlite_latency(max_ratio=1.0)
def test_dynamic_int8_is_faster_on_the_dense_net(onnxlite_int8: Variant) -> None:
    assert "MatMulInteger" in onnxlite_int8.graph.operators


@pytest.mark.parametrize("onnxlite_model", [case(WIDE_NET, 6, INT8, RATIO)], indirect=True)
@pytest.mark.onnxlite_latency
def test_dynamic_int8_on_wide_convolutions(onnxlite_int8: Variant) -> None:
    assert "ConvInteger" in onnxlite_int8.graph.operators


@pytest.mark.parametrize("onnxlite_model", [case(name, 6, INT8, RATIO) for name in CONVOLVED], indirect=True)
@pytest.mark.onnxlite_latency(variant="int8")
def test_dynamic_int8_is_slower_on_nets_with_convolutions(
    onnxlite_model: ModelSpec, onnxlite_onnx: Variant, onnxlite_int8: Variant
) -> None:
    onnx, int8 = passes([onnxlite_onnx, onnxlite_int8], images_of(onnxlite_model, TURN_IMAGES), TURNS)
    assert median(int8) > median(onnx)


@pytest.mark.parametrize(
    "onnxlite_model",
    [case(f"{name}{STATIC_SUFFIX}", 6, STATIC, STATIC_RATIO) for name in TIME_ROW],
    indirect=True,
)
@pytest.mark.onnxlite_latency(max_ratio=1.0)
def test_static_int8_is_faster_on_every_net(onnxlite_int8: Variant) -> None:
    assert "QuantizeLinear" in onnxlite_int8.graph.operators
