"""Tables 7 and 8: memory per inference, as the study read it and as it is."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from statistics import mean

import numpy as np
import numpy.typing as npt
import pytest

from pytest_onnxlite import ModelSpec, Variant
from study import keras_peak
from study.models import STATIC as STATIC_SUFFIX
from study.notes import Notes, case
from study.published import H5, INT8, LOADING, MEMORY_TABLE, ONNX, RUNNING, STATIC, TFLITE_INT8, TRACED

# As often as the study did.
REPEATS = 5


def nets(*columns: str, suffix: str = "") -> list[object]:
    return [case(f"{net}{suffix}", table, *columns) for net, table in MEMORY_TABLE.items()]


def table_of(spec: ModelSpec) -> int:
    return MEMORY_TABLE[spec.name.removesuffix(STATIC_SUFFIX)]


def image_of(spec: ModelSpec) -> npt.NDArray[np.float32]:
    assert spec.evaluation is not None
    assert isinstance(spec.evaluation.x, np.ndarray)
    return spec.evaluation.x[:1]


def traced_kilobytes(variant: Variant, image: npt.NDArray[np.float32]) -> float:
    """Return what tracemalloc sees at most around one inference, the mean of five."""
    variant.predict(image)  # what is loaded and compiled at first is no inference
    peaks = []
    for _ in range(REPEATS):
        tracemalloc.start()
        try:
            variant.predict(image)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return mean(peaks) / 1e3


@pytest.mark.parametrize("onnxlite_model", nets(H5, ONNX, INT8, TFLITE_INT8), indirect=True)
def test_what_tracemalloc_sees(
    onnxlite_model: ModelSpec,
    onnxlite_trained: Variant,
    onnxlite_onnx: Variant,
    onnxlite_int8: Variant,
    onnxlite_tflite_int8: Variant,
    notes: Notes,
) -> None:
    variants = {H5: onnxlite_trained, ONNX: onnxlite_onnx, INT8: onnxlite_int8, TFLITE_INT8: onnxlite_tflite_int8}
    for column, variant in variants.items():
        figure = traced_kilobytes(variant, image_of(onnxlite_model))
        assert figure > 0
        notes.cell(table_of(onnxlite_model), TRACED, column, figure)


@pytest.mark.parametrize("onnxlite_model", nets(STATIC, suffix=STATIC_SUFFIX), indirect=True)
@pytest.mark.onnxlite_memory
def test_static_int8(onnxlite_model: ModelSpec, onnxlite_int8: Variant, notes: Notes) -> None:
    figure = traced_kilobytes(onnxlite_int8, image_of(onnxlite_model))
    assert figure > 0
    notes.cell(table_of(onnxlite_model), TRACED, STATIC, figure)


@pytest.mark.parametrize("onnxlite_model", nets(ONNX, INT8, TFLITE_INT8), indirect=True)
@pytest.mark.onnxlite_memory(variant="onnx")
@pytest.mark.onnxlite_memory(variant="int8")
@pytest.mark.onnxlite_memory(variant="tflite_int8")
def test_peaks(onnxlite_onnx: Variant, onnxlite_int8: Variant, onnxlite_tflite_int8: Variant) -> None:
    assert onnxlite_int8.size < onnxlite_onnx.size


@pytest.mark.parametrize("onnxlite_model", nets(H5), indirect=True)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process is read from Linux's /proc")
def test_the_peak_of_keras(onnxlite_model: ModelSpec, onnxlite_trained: Variant, notes: Notes, tmp_path: Path) -> None:
    image = tmp_path / "image.npy"
    np.save(image, image_of(onnxlite_model))
    command = [sys.executable, str(keras_peak.__file__), str(onnxlite_trained.path), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    peaks = json.loads(done.stdout)
    assert peaks["run"] > 0
    notes.cell(table_of(onnxlite_model), LOADING, H5, peaks["load"] / 1e3)
    notes.cell(table_of(onnxlite_model), RUNNING, H5, peaks["run"] / 1e3)
