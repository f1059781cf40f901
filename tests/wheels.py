"""The real models in two packages' wheels, and real pictures for those that read text."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np


def in_wheel(package: str, *parts: str) -> Path | None:
    """Return a file of an installed package; None where the package is not installed. Nothing is imported."""
    found = find_spec(package)
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places))).joinpath(*parts) if places else None


def pages(height: int, width: int, count: int = 8) -> Any:
    """Real handwritten digits in black on white, 40 pixels high, `(count, 3, height, width) float32` from -1 to 1."""
    from digits import load_digits

    _, (x, _) = load_digits()
    across, down = width // 40, height // 40
    nearest = np.arange(40) * 28 // 40
    drawn = x[: count * across * down, :, :, 0][:, nearest][:, :, nearest].reshape(count, down, across, 40, 40)
    found = np.ones((count, height, width), np.float32)
    found[:, : 40 * down, : 40 * across] = 1 - 2 * drawn.transpose(0, 1, 3, 2, 4).reshape(count, 40 * down, 40 * across)
    return np.repeat(found[:, None], 3, axis=1)
