"""Random Keras models through our own pipeline: conversion agrees with Keras, and INT8 is checked or clearly refused."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from pytest_onnxlite import Dataset, ModelSpec, OnnxliteError
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.strategies import keras_models
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache

pytest.importorskip("keras", reason="TensorFlow is not installed")

# Each example is converted by tf2onnx and proved in two child processes.
quick = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# The signal-to-noise ratio, in dB, that INT8 outputs of random models keep. A scale that is off by half leaves 6.
LEAST_SQNR = 10


@quick
@given(model=keras_models())
def test_a_random_keras_model_is_converted_and_quantized_or_refused(model: Any) -> None:
    shape = tuple(model.inputs[0].shape[1:])
    x = np.random.default_rng(0).normal(size=(40, *shape)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        builder = Builder(ModelSpec("m", trained=model, evaluation=Dataset(x)), Cache(Path(folder)), lambda _: None)
        expected = np.asarray(model(x, training=False))
        try:
            float_model = builder.onnx
        except OnnxliteError as error:
            # A clear refusal; see converter-lacks-erfc-of-gelu in docs/known-faults.md.
            assert "Erfc" in str(error)  # noqa: PT017
            return
        found = float_model.predict(x)
        assert isinstance(found, np.ndarray)
        scale = max(float(np.abs(expected).max()), 1e-6)
        assert float(np.abs(found - expected).max()) <= 1e-3 * scale
        try:
            int8 = builder.int8
        except OnnxliteError as error:
            assert "quantization changed nothing" in str(error)  # noqa: PT017
        else:
            # Its graph was judged when it was built; what it answers is not, and a scale that is off shows here alone.
            answers = int8.predict(x)
            assert isinstance(answers, np.ndarray)
            noise = float(np.square(answers - found).sum())
            assert noise <= float(np.square(found).sum()) * 10 ** (-LEAST_SQNR / 10)


def test_inputs_of_a_variant_can_be_run(digits: Any) -> None:
    from pytest_onnxlite.variants.variant import OnnxVariant

    variant = OnnxVariant("digits", "int8", digits.int8, Runtime())

    @settings(max_examples=10, deadline=None, database=None)
    @given(feed=variant.inputs(extremes=False))
    def run(feed: Any) -> None:
        found = variant.predict(feed)
        assert isinstance(found, np.ndarray)
        assert found.shape == (len(feed["image"]), 10)
        assert np.allclose(found.sum(axis=1), 1, atol=1e-4)

    run()
