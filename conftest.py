"""Declares the models that this repository releases: its examples."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_onnxlite import Dataset, ModelSpec

EXAMPLES = Path(__file__).parent / "examples"
sys.path.insert(0, str(EXAMPLES))


@pytest.fixture(scope="session", params=["dnn", "cnn"])
def onnxlite_model(request: pytest.FixtureRequest) -> ModelSpec:
    from digits import load_digits

    (train, _), (x, y) = load_digits()
    return ModelSpec(
        request.param,
        trained=EXAMPLES / "models" / f"{request.param}.keras",
        evaluation=Dataset(x, y),
        # The CNN is quantized statically with it; dynamic INT8 makes convolutions slower than float.
        calibration=train[:200],
    )
