"""What is said about the layer that loses most."""

from __future__ import annotations

from pytest_onnxlite.checks.accuracy.layer_causes import layer_cause
from pytest_onnxlite.explain.layer import Layer


def layer(node: str, own: float) -> Layer:
    return Layer(node, node, "Conv", ["QLinearConv"], own, own, own, 40.0, 1.0, own)


def test_the_largest_error_is_called_so_unless_what_is_worse_was_cleared_by_a_trial() -> None:
    worst, second, good = layer("worst", 13.9), layer("second", 20.8), layer("good", 35.0)
    said = layer_cause(worst, [worst, second, good])
    assert said == "worst (Conv) adds the largest error (own SQNR 13.9 dB; the other quantized layers: 28 dB)."
    said = layer_cause(second, [worst, second, good])
    assert said.startswith("second (Conv) adds the largest error of the layers that no trial cleared (own SQNR 20.8 dB")
