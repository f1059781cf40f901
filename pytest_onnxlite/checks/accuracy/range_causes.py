"""How the evaluation data's values fit into the ranges that a static recipe calibrated."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_onnxlite.checks.accuracy.layer_causes import CLIPPED, REACH
from pytest_onnxlite.explain.layer import INPUT, Layer
from pytest_onnxlite.text import percent

# So much is no accident of a few samples.
_CLIPPED_MUCH, _REACH_FAR = 0.01, 1.5
# Of a range the share that is used, below which its steps are too coarse.
UNUSED = 0.3
# Calibration that saw nothing but zeros, or one value.
_NOTHING = 1000.0


def range_text(layers: Sequence[Layer]) -> tuple[str, bool]:
    """Say how the evaluation data's values fit into static ranges, and whether they miss them by far; empty if they fit."""
    static = [layer for layer in layers if layer.reach > 0]
    beyond = [layer for layer in static if layer.clipped > CLIPPED and layer.reach > REACH]
    if beyond:
        first = beyond[0]
        is_far = first.clipped > _CLIPPED_MUCH and first.reach > _REACH_FAR
        others = f", as in {len(beyond) - 1} more of {len(static)} ranges" if len(beyond) > 1 else ""
        if first.reach > _NOTHING:
            saw = "calibration saw hardly more than zeros"
        elif first.low == 0 and first.most <= REACH * first.high:
            saw = "calibration saw no values below 0"
        else:
            saw = f"calibration saw values up to 1/{first.reach:.1f} as large"
        return (
            f"{percent(first.clipped)} of the values of {_place(first)} lie beyond what its integers hold, up to {first.reach:.3g} times"
            f"{others}: {saw}"
        ), is_far
    unused = [layer for layer in static if layer.reach < UNUSED]
    if static and len(unused) > len(static) / 2:
        first = unused[0]
        return (
            f"the values of {_place(first)} use {percent(first.reach)} of the range that its integers hold, and {_others(unused, static)} "
            f"likewise: calibration saw values {1 / first.reach:.1f} times as large"
        ), True
    return "", False


def _place(layer: Layer) -> str:
    return f"input {layer.node}" if layer.op == INPUT else f"{layer.node} ({layer.op})"


def _others(some: Sequence[Layer], of: Sequence[Layer]) -> str:
    """Say how many of the others: `3 of 4 others`."""
    return f"{len(some) - 1} of {len(of) - 1} others"
