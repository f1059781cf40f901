"""What paired ratios of times, or times themselves, show: more than is allowed, less, or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_onnxlite.statistics import median_interval

# With this probability each bound on a latency ratio holds.
CONFIDENCE = 0.995


def is_suspicious(ratios: Sequence[float], most: float) -> bool:
    """Tell whether ratios show more than is allowed: median and lower bound both exceed it."""
    interval = median_interval(ratios, CONFIDENCE)
    return interval.median > most and interval.lower > most


def is_clear(ratios: Sequence[float], most: float) -> bool:
    """Tell whether ratios rule out more than is allowed."""
    return median_interval(ratios, CONFIDENCE).upper <= most


def is_decided(ratios: Sequence[float], most: float) -> bool:
    """Tell whether ratios show more than is allowed, or rule it out."""
    return is_suspicious(ratios, most) or is_clear(ratios, most)


def is_too_noisy(ratios: Sequence[float], resolution: float) -> bool:
    """Tell whether the bounds lie so far apart that a difference of the resolution could hide between them."""
    return relative_noise(ratios) > resolution


def relative_noise(ratios: Sequence[float]) -> float:
    """Return half the distance between the bounds on a median, as a share of it."""
    interval = median_interval(ratios, CONFIDENCE)
    return interval.noise / interval.median
