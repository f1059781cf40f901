"""Hypothesis strategies for ONNX models and for what is fed to them.

    from hypothesis import given
    from pytest_onnxlite.strategies import models

    @given(models())
    def test_my_converter(model):
        convert(model.proto)

They construct what they draw and filter nothing; weights come from a drawn seed and a named distribution, so
that what shrinks is the structure.
"""

from pytest_onnxlite.strategies.blocks import BLOCKS, WEIGHTS
from pytest_onnxlite.strategies.feeds import inputs_for
from pytest_onnxlite.strategies.keras_models import keras_models
from pytest_onnxlite.strategies.models import OPSETS, STORAGES, RandomModel, models

__all__ = ["BLOCKS", "OPSETS", "STORAGES", "WEIGHTS", "RandomModel", "inputs_for", "keras_models", "models"]
