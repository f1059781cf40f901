"""Samples as small pictures, so that a person sees what was lost."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_onnxlite.checks.accuracy.answers import Flip
from pytest_onnxlite.checks.accuracy.reasons import Picture

# So few, and so many pixels across, that a page stays below 60 kB for them even where they are noise.
_MOST, _ACROSS = 6, 48
_FEWEST_PIXELS = 4

Array = npt.NDArray[Any]


def channel_axis(x: Any) -> int | None:
    """Return which axis of samples is that of colours; None if they are no images.

    Images are of height, width and 1, 3 or 4 channels, these first or last: `(N, H, W, C)` or `(N, C, H, W)`.
    """
    inputs = list(x.values()) if isinstance(x, Mapping) else [x]
    if len(inputs) != 1 or not isinstance(inputs[0], np.ndarray) or inputs[0].ndim != 4:
        return None
    shape = inputs[0].shape
    return 3 if shape[3] in (1, 3, 4) else 1 if shape[1] in (1, 3, 4) else None


def pictures_of(x: Any, flips: Sequence[Flip]) -> tuple[Picture, ...]:
    """Return pictures of samples that were lost, of as many kinds of mistakes as there is room for; none if they are no images.

    Args:
        x: the evaluation data's inputs.
        flips: the samples.
    """
    axis = channel_axis(x)
    if axis is None:
        return ()
    images: Array = next(iter(x.values())) if isinstance(x, Mapping) else x
    if images.dtype.kind not in "iufb" or min(np.delete(images.shape[1:], axis - 1)) < _FEWEST_PIXELS:
        return ()
    # The first of each kind of mistake goes before the second of any.
    seen: dict[tuple[int, int], int] = {}
    ranked = []
    for flip in flips:
        kind = flip.expected, flip.candidate
        seen[kind] = seen.get(kind, 0) + 1
        ranked.append((seen[kind], flip))
    chosen = [flip for _, flip in sorted(ranked, key=lambda entry: entry[0])][:_MOST]
    if not chosen:
        return ()
    shown = [_small(np.moveaxis(np.asarray(images[flip.sample], np.float64), axis - 1, -1)) for flip in chosen]
    low, high = _extremes(shown)
    return tuple(
        Picture(flip.sample, flip.expected, flip.candidate, base64.b64encode(png(_bytes(image, low, high))).decode())
        for flip, image in zip(chosen, shown, strict=True)
    )


def _small(image: Array) -> Array:
    """Return an image `(H, W, C)` with few pixels, each the mean of those that it stands for."""
    image = np.nan_to_num(image[..., :3], posinf=0.0, neginf=0.0)
    step = -(-max(image.shape[:2]) // _ACROSS)
    down, across = (min(step, length) for length in image.shape[:2])
    high, wide, colours = image.shape[0] // down, image.shape[1] // across, image.shape[2]
    blocks = image[: high * down, : wide * across].reshape(high, down, wide, across, colours)
    small: Array = blocks.mean(axis=(1, 3))
    return small


def _extremes(images: Sequence[Array]) -> tuple[float, float]:
    """Return the values of black and white: 0 and 1, 0 and 255, or what there is where neither can be meant."""
    low, high = min(float(image.min()) for image in images), max(float(image.max()) for image in images)
    if low >= 0:
        if high <= 1:
            return 0.0, 1.0
        if 2 < high <= 255:
            return 0.0, 255.0
    return low, high


def _bytes(image: Array, low: float, high: float) -> npt.NDArray[np.uint8]:
    scaled = (image - low) * (255.0 / (high - low) if high > low else 0.0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return pixels `(H, W, 1 or 3) uint8` as a PNG file (ISO/IEC 15948), without a library for it."""
    high, wide, colours = pixels.shape

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", wide, high, 8, 2 if colours == 3 else 0, 0, 0, 0)
    # Each line begins with its filter: 0 for none.
    lines = np.concatenate([np.zeros((high, 1), np.uint8), pixels.reshape(high, wide * colours)], axis=1)
    data = zlib.compress(lines.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
