"""Signal-to-quantization-noise ratios of a tensor, from sums over runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Ratios beyond these say no more.
LOWEST, HIGHEST = -60.0, 120.0


def decibel(signal: float, noise: float) -> float:
    """Return 10 log10(signal / noise), within the limits that say something; no noise is the upper one."""
    if noise <= 0:
        return HIGHEST
    if signal <= 0:
        return LOWEST
    return float(np.clip(10 * np.log10(signal / noise), LOWEST, HIGHEST))


@dataclass
class NoiseSums:
    """Sums over all runs, from which a layer's figures follow."""

    axis: int
    signal: float = 0.0
    own_noise: float = 0.0
    own_power: float = 0.0
    dot: float = 0.0
    noise: float = 0.0
    values: int = 0
    clipped: int = 0
    highest: float = 0.0
    low: float = 0.0
    high: float = 0.0
    least: float = 0.0
    most: float = 0.0
    by_channel: list[npt.NDArray[np.float64]] = field(default_factory=list)

    def add(self, reference: Floats, own: Floats, cumulative: Floats) -> None:
        """Take the values of one run."""
        x, y, z = (array.astype(np.float64) for array in (reference, own, cumulative))
        self.signal += float((x * x).sum())
        self.own_power += float((y * y).sum())
        self.dot += float((x * y).sum())
        self.own_noise += float(((x - y) ** 2).sum())
        self.noise += float(((x - z) ** 2).sum())
        self.values += x.size
        if x.ndim < 2:
            return
        axis = self.axis if self.axis < 0 else min(self.axis, x.ndim - 1)
        rows = [np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in (x, y)]
        found = [
            (rows[0] ** 2).sum(axis=1),
            ((rows[0] - rows[1]) ** 2).sum(axis=1),
            np.abs(rows[0]).max(axis=1, initial=0.0),
        ]
        if not self.by_channel:
            self.by_channel = found
        elif len(self.by_channel[0]) == len(found[0]):
            self.by_channel = [
                self.by_channel[0] + found[0],
                self.by_channel[1] + found[1],
                np.maximum(self.by_channel[2], found[2]),
            ]

    def channel(self) -> float:
        """Return the ratio of the median channel among those that carry something."""
        if not self.by_channel:
            return decibel(self.signal, self.own_noise)
        signal, noise, _ = self.by_channel
        alive = signal > signal.max(initial=0.0) * 1e-12
        if not alive.any():
            return decibel(self.signal, self.own_noise)
        return float(np.median([decibel(s, n) for s, n in zip(signal[alive], noise[alive], strict=True)]))

    def spread(self) -> tuple[float, int]:
        """Return how far the most extreme channel reaches beyond the median one, and which it is."""
        return spread_of(self.by_channel[2]) if self.by_channel else (1.0, 0)


def spread_of(reaches: npt.NDArray[Any]) -> tuple[float, int]:
    """Return how far the most extreme channel reaches beyond the median one, and which it is."""
    alive = reaches[reaches > 0]
    if alive.size < 4:
        return 1.0, 0
    return float(reaches.max() / np.median(alive)), int(reaches.argmax())
