"""Table 4: what quantization costs in accuracy, five times with five seeds; a point lost is red."""

from __future__ import annotations

import pytest

from pytest_onnxlite import Variant
from study.models import SEEDS
from study.models import STATIC as STATIC_SUFFIX
from study.notes import case
from study.published import H5, INT8, STATIC

DYNAMIC_MODELS = [case(f"cnn-{seed}", 4, H5, INT8) for seed in SEEDS]
STATIC_MODELS = [case(f"cnn-{seed}{STATIC_SUFFIX}", 4, STATIC) for seed in SEEDS]


@pytest.mark.parametrize("onnxlite_model", [*DYNAMIC_MODELS, *STATIC_MODELS], indirect=True)
@pytest.mark.onnxlite_accuracy(max_drop=0.01)
def test_int8_loses_at_most_a_point(onnxlite_int8: Variant) -> None:
    assert onnxlite_int8.kind == "int8"
