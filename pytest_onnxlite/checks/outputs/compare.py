"""How two outputs differ, element by element: arrays in, figures out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pytest_onnxlite.checks.outputs.measurement import EQUAL
from pytest_onnxlite.spec.dataset import Array

# An axis that is longer counts positions, of which no single one means anything.
MOST_COLUMNS = 1000
# A column that varies by less, of its size, is a constant: what it varies by is rounding.
_CONSTANT = 1e-5
# A candidate's column that varies by less than this share of the reference's says nothing.
_COLLAPSED = 1e-2
# A class of probabilities that varies by less than this share of what classes vary by may be rounded away.
_RARE = 0.1
# Rows that add up to 1 this closely are probabilities.
_ONE = 1e-2


@dataclass(frozen=True)
class Numbers:
    """How an output of numbers differs from another's.

    Attributes:
        sqnr: by axis and column, the signal-to-noise ratio in dB; the key `(-1, 0)` is the output as a whole.
        collapsed: the columns that are constant and should not be.
        tolerated: the columns whose error is within the tolerance.
        largest: the largest absolute difference.
        p999: the 99.9th percentile of the absolute differences.
        beyond: the share of elements that differ by more than `atol + rtol * |reference|`.
        broken: elements that are NaN or infinite in one of both alone, or another infinity.
    """

    sqnr: dict[tuple[int, int], float]
    collapsed: frozenset[tuple[int, int]]
    tolerated: frozenset[tuple[int, int]]
    largest: float
    p999: float
    beyond: float
    broken: int


WHOLE = (-1, 0)


def is_numbers(array: Array) -> bool:
    """Tell whether an output holds numbers, and not labels: whole numbers of more than a byte, truths, texts."""
    return array.dtype.kind == "f" or array.dtype in (np.dtype(np.int8), np.dtype(np.uint8))


def compare_numbers(reference: Array, candidate: Array, atol: float, rtol: float) -> Numbers:
    """Compare two outputs of one shape.

    The signal of a column is what it varies by, so that a constant is no answer to it: `10 log10(sum((r - mean(r))²) /
    sum((r - c)²))`. A column of the reference that is constant has its size as its signal, or what the columns vary by on
    average, if that is more. So has a column of probabilities, which add up to 1: a class that hardly occurs in the data is
    compared with the others.

    Args:
        reference: `(N, ...)`.
        candidate: of the same shape.
        atol: a difference that counts as none, together with `rtol`.
        rtol: the same, as a share of the reference's value.
    """
    r, c = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    fine = np.isfinite(r) & np.isfinite(c)
    # Infinity and NaN on both sides are the same answer.
    same = ~fine & ((r == c) | (np.isnan(r) & np.isnan(c)))
    broken = int((~fine & ~same).sum())
    r, c = np.where(fine, r, 0.0), np.where(fine, c, 0.0)
    difference = np.abs(r - c)
    beyond = (difference > atol + rtol * np.abs(r)) & fine
    sqnr: dict[tuple[int, int], float] = {}
    collapsed: set[tuple[int, int]] = set()
    tolerated: set[tuple[int, int]] = set()
    for axis, rows, others, is_shared in _views(r, c):
        values, is_flat, is_close = _columns(rows, others, is_shared, atol, rtol)
        keys = [(axis, column) for column in range(len(values))]
        sqnr.update(zip(keys, values.tolist(), strict=True))
        collapsed |= {key for key, flat in zip(keys, is_flat, strict=True) if flat}
        tolerated |= {key for key, close in zip(keys, is_close, strict=True) if close}
    return Numbers(
        sqnr,
        frozenset(collapsed),
        frozenset(tolerated),
        float(difference.max(initial=0.0)),
        float(np.quantile(difference, 0.999)) if difference.size else 0.0,
        float((beyond.sum() + broken) / max(beyond.size, 1)),
        broken,
    )


def _views(r: Array, c: Array) -> Iterator[tuple[int, Array, Array, bool]]:
    """Yield an axis, both outputs as `(elements, columns)` of it, and whether its columns are one quantity, in parts.

    The axes are the last, and the one behind the samples: detectors have boxes and scores along either. Of pictures it is
    the one that counts channels: a column of pixels means nothing by itself.
    """
    yield WHOLE[0], r.reshape(-1, 1), c.reshape(-1, 1), False
    for axis in sorted({1, r.ndim - 1} - _of_pixels(r.shape)):
        if 0 < axis < r.ndim and 1 < r.shape[axis] <= MOST_COLUMNS and r.size:
            rows, others = (np.moveaxis(array, axis, -1).reshape(-1, r.shape[axis]) for array in (r, c))
            yield axis, rows, others, rows.min() >= 0 and bool((np.abs(rows.sum(axis=1) - 1) < _ONE).all())


def _of_pixels(shape: tuple[int, ...]) -> set[int]:
    """Return the axes that are sides of a picture, in `(N, C, H, W)` or `(N, H, W, C)`."""
    if len(shape) != 4:
        return set()
    _, first, middle, last = shape
    if first < min(middle, last) and max(middle, last) <= 2 * min(middle, last):
        return {3}
    return {1} if last < min(first, middle) and max(first, middle) <= 2 * min(first, middle) else set()


def _columns(r: Array, c: Array, is_shared: bool, atol: float, rtol: float) -> tuple[Array, Array, Array]:
    """Return of each column its SNR, whether it is constant and should not be, and whether its error is tolerated."""
    if not len(r):
        none = np.zeros(r.shape[1], bool)
        return np.full(r.shape[1], EQUAL), none, ~none
    # Squares of large numbers overflow, of small ones vanish.
    scale = np.maximum(np.abs(r).max(axis=0), np.abs(c).max(axis=0))
    scale[scale == 0] = 1.0
    whole = scale.max()
    r, c = r / scale, c / scale
    power, variance, noise = (r**2).mean(axis=0), r.var(axis=0), ((r - c) ** 2).mean(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # of a column that is next to nothing compared with the others
        common = np.nan_to_num((variance * (scale / whole) ** 2).mean() * (whole / scale) ** 2, nan=0.0)
    is_constant = variance <= _CONSTANT**2 * power
    signal = np.where(is_constant, np.maximum(power, common), np.maximum(variance, common) if is_shared else variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        sqnr = np.where(noise == 0, EQUAL, 10 * np.log10(signal / noise))
    sqnr = np.clip(np.nan_to_num(sqnr, nan=EQUAL, neginf=-EQUAL, posinf=EQUAL), -EQUAL, EQUAL)
    counts = ~is_constant & (variance >= _RARE * common) if is_shared else ~is_constant
    collapsed = counts & (c.var(axis=0) < _COLLAPSED**2 * variance)
    tolerated = noise <= (atol / scale + rtol * np.sqrt(power)) ** 2
    return sqnr, collapsed, tolerated & ~collapsed


def compare_labels(reference: Array, candidate: Array) -> float:
    """Return the share of labels that differ: of classes, indices, truths, texts."""
    return float((reference != candidate).mean()) if reference.size else 0.0


# -- what it may be ------------------------------------------------------------------------------------------

# What agrees like this is the same, if it agrees by so much more, in dB, than what it is to explain: outputs can be
# alike by themselves, and a Relu leaves alone what is positive.
_ALIKE, _MORE = 20.0, 10.0


def likeness(one: Array, other: Array) -> float:
    """Return the SQNR of an output as a whole; the lowest there is where shapes differ."""
    if one.shape != other.shape or not one.size:
        return -EQUAL
    return compare_numbers(one, other, 0.0, 0.0).sqnr[WHOLE]


def explains(with_it: float, without: float) -> bool:
    """Tell whether something explains a difference, by the likeness with what it says, and without."""
    return with_it >= _ALIKE and with_it >= without + _MORE


def missing_function(reference: Array, candidate: Array, own: float) -> str:
    """Return the function that turns a candidate's output into the reference's, where it was left out; else empty.

    Args:
        reference: what is expected.
        candidate: what was found.
        own: the likeness of the two as they are.
    """
    c = np.asarray(candidate, np.float64)
    if not np.isfinite(c).all() or not c.size:
        return ""
    found = {}
    for axis in range(1, c.ndim):
        e = np.exp(c - c.max(axis=axis, keepdims=True))
        found[f"Softmax over axis {axis}"] = e / e.sum(axis=axis, keepdims=True)
    found["Sigmoid"] = 1 / (1 + np.exp(-np.clip(c, -500, 500)))
    found["Tanh"], found["Relu"], found["Exp"] = np.tanh(c), np.maximum(c, 0), np.exp(np.minimum(c, 500))
    return next((name for name, array in found.items() if explains(likeness(reference, array), own)), "")


def column_held(reference: Array, candidate: Array, axis: int, column: int) -> int | None:
    """Return the column of the reference that a column of the candidate holds, where that is another; else None."""
    if axis < 0:
        return None
    rows, others = (np.moveaxis(np.asarray(a, np.float64), axis, -1) for a in (reference, candidate))
    own = others[..., column]
    if not np.isfinite(rows).all() or not np.isfinite(own).all():
        return None
    as_it_is = likeness(rows[..., column].reshape(-1), own.reshape(-1))
    for index in range(rows.shape[-1]):
        if index != column and explains(likeness(rows[..., index].reshape(-1), own.reshape(-1)), as_it_is):
            return index
    return None
