"""How many neighbouring weights can saturate on x86 processors without VNNI."""

from __future__ import annotations

from pathlib import Path

from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.loading import asking, load_model
from pytest_onnxlite.lint.model_index import ModelIndex
from pytest_onnxlite.lint.values import Saturation, forecast_saturation


def count_saturation(path: Path) -> Saturation:
    """Return how many pairs of a file's weights can saturate."""
    loaded = load_model(path)
    if loaded.model is None:
        return Saturation(0, 0, ())
    with asking(loaded.label, "which of its products saturate"):
        return forecast_saturation(Context(ModelIndex(loaded), None, ()))
