"""The whole release test of two models: six limits on the INT8 variant of each."""

from __future__ import annotations

import pytest

from pytest_onnxlite import Variant


@pytest.mark.onnxlite_accuracy(max_drop=0.01)
@pytest.mark.onnxlite_outputs
@pytest.mark.onnxlite_size
@pytest.mark.onnxlite_latency(max_slowdown=0.05)
@pytest.mark.onnxlite_memory(max_growth=0.05)
@pytest.mark.onnxlite_graph
def test_release(onnxlite_int8: Variant) -> None:
    assert onnxlite_int8.kind == "int8"
