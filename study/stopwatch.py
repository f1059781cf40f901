"""Times passes over images as a user of a variant would, one image at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pytest_onnxlite import Variant


def passes(variants: Sequence[Variant], images: npt.NDArray[np.float32], repeats: int) -> list[list[float]]:
    """Return for each variant the seconds of passes over the images; the variants take turns.

    Args:
        variants: what is timed, at one image per inference.
        images: `(N, H, W, C) float32`.
        repeats: passes of each.
    """
    seconds: list[list[float]] = [[] for _ in variants]
    for variant in variants:
        variant.predict(images[:20], batch_size=1)  # the first runs plan and allocate
    for _ in range(repeats):
        for variant, found in zip(variants, seconds, strict=True):
            start = time.perf_counter()
            variant.predict(images, batch_size=1)
            found.append(time.perf_counter() - start)
    return seconds


def seconds_of_calls(call: Callable[[npt.NDArray[np.float32]], object], images: npt.NDArray[np.float32]) -> float:
    """Return the seconds of one call, the mean over images: `(1, H, W, C) float32` each."""
    call(images[:1])
    start = time.perf_counter()
    for number in range(len(images)):
        call(images[number : number + 1])
    return (time.perf_counter() - start) / len(images)
