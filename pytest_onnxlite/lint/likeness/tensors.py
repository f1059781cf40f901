"""Stored tensors as they are compared: values that are read when they are needed, with how far they may be off."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnx_ir as ir

from pytest_onnxlite.lint.model_index import Array, Constant, reading

# ONNX's own: a number, a text, a tensor, or a tuple of such; the operator says which.
AttributeValue: TypeAlias = Any
# An operator's attributes by name, defaults filled in.
Attributes: TypeAlias = Mapping[str, AttributeValue]

# Up to here a tensor is kept once it was read: shapes, axes, limits.
_SMALL = 4096


class Values(NamedTuple):
    """What a tensor holds.

    Attributes:
        data: its numbers.
        step: the distance between two numbers that its integers can tell apart, 0 for one that is exact.
        low: the smallest number that they can stand for.
        high: the largest.
    """

    data: Array
    step: Array
    low: Array
    high: Array


@dataclass
class Tensor:
    """A tensor that no input has a part in.

    Attributes:
        shape: its shape.
        kind: that of its numbers: `f`, `i`, `b` or `o` for others.
        load: reads it.
        roots: the stored constants that it is made from.
        quantized: whether integers stand for its numbers.
        raw: whether it holds integers whose scale is not known yet.
        folded: whether it was computed from what is stored, and rounded on the way.
        still: whether its numbers lie as they are stored.
    """

    shape: tuple[int, ...]
    kind: str
    load: Callable[[], Values]
    roots: tuple[Constant, ...] = ()
    quantized: bool = False
    raw: bool = False
    folded: bool = False
    still: bool = False
    _kept: Values | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape, dtype=np.int64))

    def values(self) -> Values:
        """Read it."""
        if self._kept is None:
            found = self.load()
            if self.size > _SMALL:
                return found
            self._kept = found
        return self._kept

    def data(self) -> Array:
        """Read its numbers."""
        return self.values().data

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return " and ".join(dict.fromkeys(repr(root.where) for root in self.roots)) or "a computed constant"


def kind_of(dtype: np.dtype) -> str:
    """Return the kind of a NumPy type."""
    if dtype.kind in "fV" or "float" in dtype.name:
        return "f"
    return {"i": "i", "u": "i", "b": "b"}.get(dtype.kind, "o")


def exact(array: Array, roots: tuple[Constant, ...] = (), *, folded: bool = True) -> Tensor:
    """Return a tensor of numbers at hand."""
    array = np.asarray(array)
    return Tensor(array.shape, kind_of(array.dtype), lambda: _exact(array), roots, folded=folded)


def _exact(array: Array) -> Values:
    return Values(array, np.zeros(()), np.array(-np.inf), np.array(np.inf))


def _half(array: Array) -> Values:
    """Return numbers in half precision, which are off by up to half the distance to the next.

    Next to zero by all of it: converters write the smallest number there, lest something become zero.
    """
    largest = np.finfo(np.float16).max
    step = np.spacing(np.abs(np.where(np.isfinite(array), array, 0)).astype(np.float16))
    wide = np.asarray(step, np.float64)
    wide = np.maximum(np.where(np.isfinite(wide), wide, 32.0), 2.0**-23)
    return Values(array, wide, np.array(-float(largest)), np.array(float(largest)))


def stored(constant: Constant) -> Tensor:
    """Return a constant of a model."""
    tensor = constant.tensor

    def load() -> Values:
        with reading(tensor) as values:
            return (_half if tensor.dtype == ir.DataType.FLOAT16 else _exact)(np.array(values))

    raw = tensor.dtype.is_integer() and tensor.dtype.bitwidth <= 8
    shape = tuple(int(dim) for dim in tensor.shape.numpy())
    return Tensor(shape, _kind(tensor.dtype), load, (constant,), raw=raw, still=True)


def _kind(dtype: ir.DataType) -> str:
    if dtype == ir.DataType.BOOL:
        return "b"
    return "f" if dtype.is_floating_point() else "i" if dtype.is_integer() else "o"


def dequantized(integers: Tensor, scale: Array, zero: Array, bounds: tuple[float, float]) -> Tensor:
    """Return the numbers that integers stand for; scale and zero point are of a shape that meets them."""

    def load() -> Values:
        q = np.asarray(integers.data(), dtype=np.float64)
        wide, off = np.asarray(scale, np.float64), np.asarray(zero, np.float64)
        return Values((q - off) * wide, np.abs(wide), (bounds[0] - off) * wide, (bounds[1] - off) * wide)

    return Tensor(integers.shape, "f", load, integers.roots, quantized=True, still=integers.still)


def moved(tensor: Tensor, move: Callable[[Array], Array], shape: tuple[int, ...]) -> Tensor:
    """Return a tensor whose numbers lie in other places."""

    def load() -> Values:
        found = tensor.values()
        wide = found.data.shape
        parts = (part if part.size == 1 else move(np.broadcast_to(part, wide)) for part in found[1:])
        return Values(move(found.data), *(part.reshape(()) if part.size == 1 else part for part in parts))

    return replace(tensor, shape=shape, load=load, still=False, _kept=None)


def scaled(tensor: Tensor, factor: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return a tensor times factors, in a shape that meets its own and does not widen it."""

    def load() -> Values:
        data, step, low, high = tensor.values()
        f, off = (np.asarray(part, np.float64) for part in factor.values()[:2])
        if shape is not None:
            f, off = (part if part.size == 1 else part.reshape(shape) for part in (f, off))
        data = np.asarray(data, np.float64)
        if factor.quantized or not np.isfinite(np.asarray(low)).all():
            return Values(data * f, step * np.abs(f) + np.abs(data) * off, np.array(-np.inf), np.array(np.inf))
        ends = (low * f, high * f)
        return Values(data * f, step * np.abs(f), np.minimum(*ends), np.maximum(*ends))

    roots = (*tensor.roots, *factor.roots)
    quantized = tensor.quantized or factor.quantized
    return replace(tensor, load=load, roots=roots, quantized=quantized, folded=True, still=False, _kept=None)


def shifted(tensor: Tensor, offset: Tensor) -> Tensor:
    """Return the sum of two tensors of one shape, of which the integers of both may be off."""

    def load() -> Values:
        a, b = tensor.values(), offset.values()
        data = np.asarray(a.data, np.float64) + np.asarray(b.data, np.float64).reshape(a.data.shape)
        wide = tuple(np.broadcast_to(s, a.data.shape) if s.size > 1 else s for s in (a.step, b.step))
        return Values(data, wide[0] + wide[1], np.array(-np.inf), np.array(np.inf))

    quantized = tensor.quantized or offset.quantized
    return Tensor(tensor.shape, "f", load, (*tensor.roots, *offset.roots), quantized, folded=True)


def normalization(tensors: list[Tensor], epsilon: float) -> tuple[Tensor, Tensor]:
    """Return what gamma, beta, mean and variance come to: a factor and an offset."""

    def load(wanted: int) -> Values:
        read = [tensor.values() for tensor in tensors]
        gamma, beta, mean, variance = (np.asarray(values.data, np.float64) for values in read)
        steps = [values.step for values in read]
        with np.errstate(all="ignore"):
            root = np.sqrt(variance + epsilon)
            factor = gamma / root
            off = steps[0] / root + np.abs(factor) * steps[3] / (2 * root * root)
        if wanted == 0:
            return Values(factor, off, np.array(-np.inf), np.array(np.inf))
        step = steps[1] + np.abs(mean) * off + np.abs(factor) * steps[2]
        return Values(beta - mean * factor, step, np.array(-np.inf), np.array(np.inf))

    roots = tuple(root for tensor in tensors for root in tensor.roots)
    quantized = any(tensor.quantized for tensor in tensors)
    shape = tensors[0].shape
    factor, offset = (
        Tensor(shape, "f", functools.partial(load, wanted), roots, quantized, folded=True) for wanted in (0, 1)
    )
    return factor, offset
