"""Figures of several machines, and figures that are ratios to the first release, as texts and as trends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_onnxlite.checks.figures import Trend
from pytest_onnxlite.text import NOISE


def sections_text(values: Sequence[float], text: Callable[[float], str]) -> str:
    """Return the figures of several machines, from the smallest to the largest."""
    found = sorted(values)
    if not found:
        return "-"
    return text(found[0]) if len(found) == 1 else f"{text(found[0])} to {text(found[-1])}"


def ratio_drift(name: str, ratio: float | None) -> str:
    """Say how a figure that is a ratio to the first release moved, if it is more than noise; else empty."""
    return f"{name} {ratio:.2f}x" if ratio is not None and abs(ratio - 1) > NOISE else ""


def factor_trend(name: str, factor: float) -> Trend:
    """Return a factor since the first release: unlike seconds, it can be compared from machine to machine."""
    return Trend(name, f"{name}, since the first release", factor, lambda ratio: f"{ratio:.3f}×")
