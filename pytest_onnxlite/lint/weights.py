"""Stored integers with their parameters: do they use their range, and are they the float model's weights?

Values are read tensor by tensor and looked at in pieces, so that a large model never is in memory whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir

from pytest_onnxlite.lint.model_index import Array, Constant, ModelIndex, attribute, reading, scalar_or_vector
from pytest_onnxlite.lint.operators import float_operator
from pytest_onnxlite.lint.quantized_tensors import QuantizedTensor

_PIECE = 1 << 18  # values looked at in one go: some hundred KiB, which stay in the cache
# What the quantizer adds to a weight's name.
_INTEGERS, _TRANSPOSED = "_quantized", "_Transposed"


@dataclass(frozen=True)
class Range:
    """The smallest and largest integer of each group of weights that share a scale."""

    low: Array
    high: Array


class Weight:
    """A stored weight.

    Attributes:
        quantized: the weight as the graph has it.
        constant: its integers.
        scale: float64, of a shape that is broadcast against the integers.
        zero_point: the same.
    """

    def __init__(self, quantized: QuantizedTensor, constant: Constant, scale: Array, zero_point: Array) -> None:
        """Take a weight whose parameters fit its shape."""
        self.quantized = quantized
        self.constant = constant
        self.scale = scale
        self.zero_point = zero_point

    @property
    def where(self) -> str:
        """The tensor's path and name, for messages."""
        return self.constant.where

    @property
    def dtype(self) -> ir.DataType:
        """The integers' dtype."""
        return self.constant.tensor.dtype

    @cached_property
    def range(self) -> Range:
        """The range of the integers under each scale."""
        with reading(self.constant.tensor) as values:
            q = _plain(values)
            # Blocks are small, and some of them hold small weights alone: there the tensor counts as a whole.
            whole = self.quantized.block > 0
            axes = tuple(axis for axis, size in enumerate(self.scale.shape) if size == 1 or whole)
            return Range(q.min(axis=axes, keepdims=True), q.max(axis=axes, keepdims=True))

    @cached_property
    def span(self) -> Array:
        """How many steps from the lowest to the highest of integers and zero point, under each scale."""
        zero = self.zero_point if self.quantized.block == 0 else self.zero_point.reshape(-1)[:1]
        return np.maximum(self.range.high, zero) - np.minimum(self.range.low, zero)

    def pieces(self, other: Array) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Yield integers, scales, zero points and the values of another array, piece by piece."""
        with reading(self.constant.tensor) as values:
            q = _plain(values)
            rows = max(1, _PIECE // max(1, q[:1].size)) if q.ndim else 1
            if q.ndim == 0:
                yield q, self.scale, self.zero_point, other
                return
            for start in range(0, len(q), rows):
                part = slice(start, start + rows)
                scale, zero = (p if len(p) == 1 else p[part] for p in (self.scale, self.zero_point))
                yield q[part], scale, zero, other[part]


def find_weights(index: ModelIndex, quantized_tensors: Iterator[QuantizedTensor]) -> list[Weight]:
    """Return the stored weights whose parameters are stored too, and fit; others are found elsewhere."""
    found: dict[ir.Value, Weight] = {}
    for quantized in quantized_tensors:
        data, scale = index.readable(quantized.data), index.readable(quantized.scale)
        if data is None or scale is None or data.value in found or data.tensor.size == 0:
            continue
        if quantized.layout == "blocks":  # packed: several values in a byte
            continue
        zero = index.readable(quantized.zero_point)
        if quantized.zero_point is not None and zero is None:
            continue
        dims = tuple(data.tensor.shape.numpy())
        s = _spread(scalar_or_vector(scale.tensor), quantized, dims, tuple(scale.tensor.shape.numpy()))
        z: Array | None = np.zeros((1,) * len(dims))
        if zero is not None:
            z = _spread(scalar_or_vector(zero.tensor), quantized, dims, tuple(zero.tensor.shape.numpy()))
        if s is not None and z is not None and np.isfinite(s).all() and (s > 0).all():
            found[data.value] = Weight(quantized, data, s, z)
    return list(found.values())


def _spread(values: Array, quantized: QuantizedTensor, dims: tuple[int, ...], shape: tuple[int, ...]) -> Array | None:
    """Give parameters the shape in which they meet integers of `dims`, None if none fits."""
    rank = len(dims)
    if values.size == 1:
        return values.reshape((1,) * rank)
    if quantized.block:
        axis = (quantized.axis or 0) % max(rank, 1)
        if len(shape) != rank:
            return None
        wide = np.repeat(values.reshape(shape), quantized.block, axis=axis)
        wide = np.take(wide, range(min(dims[axis], wide.shape[axis])), axis=axis)
        return wide if wide.shape == dims else None
    if quantized.layout == "directions":
        # [directions] or [directions, channels] for weights of [directions, inputs, channels].
        fits = rank == 3 and values.size in (dims[0], dims[0] * dims[2])
        return values.reshape(dims[0], 1, -1) if fits else None
    if quantized.axis is None or not -rank <= quantized.axis < rank or dims[quantized.axis] != values.size:
        return None
    target = [1] * rank
    target[quantized.axis] = values.size
    return values.reshape(target)


def float_twin(
    reference: ModelIndex, constant: Constant, *, turned: bool = False, in_matmul: bool = False
) -> tuple[Constant, bool] | None:
    """Return the float tensor that integers were made from, and whether it is transposed; None where unknown.

    The quantizer keeps the name and adds to it; whatever renames a tensor, such as fusing a
    BatchNormalization into a Conv, changes its values too.

    Args:
        reference: the float model.
        constant: the integers.
        turned: whether the operator stores its weights transposed, which a square one does not show.
        in_matmul: whether a MatMul reads them; ONNX Runtime's quantizers before 1.29 make it from a Gemm that reads its
            weights transposed, and turn them around under the name that they had.
    """
    name = constant.name.removesuffix(_INTEGERS)
    if name.endswith(_TRANSPOSED) and (constant.path, name) not in reference.by_name:
        name, turned = name.removesuffix(_TRANSPOSED), True
    twin = reference.by_name.get((constant.path, name))
    if twin is not None and in_matmul and not turned:
        uses = twin.value.uses()
        turned = bool(uses) and all(
            use.node.op_type == "Gemm" and use.idx == 1 and attribute(use.node, "transB", 0) for use in uses
        )
    if twin is None or twin.value in reference.unreadable or twin.tensor.dtype != ir.DataType.FLOAT:
        return None
    theirs, ours = tuple(twin.tensor.shape.numpy()), tuple(constant.tensor.shape.numpy())
    expected = (*ours[:-2], ours[-1], ours[-2]) if turned and len(ours) >= 2 else ours
    return (twin, turned) if theirs == expected else None


def worst_error(weight: Weight, twin: Constant, transposed: bool) -> tuple[float, int]:
    """Return the largest |w - s(q - z)| / s, and how many weights are off by more than half a step.

    Weights beyond the ends of the integers' range are compared with the end.
    """
    worst, count = 0.0, 0
    bounds = bounds_of(weight)
    with reading(twin.tensor) as values:
        reference = np.swapaxes(values, -1, -2) if transposed else values
        for q, scale, zero, w in weight.pieces(reference):
            # In steps: float32 is exact enough for numbers up to some hundred.
            steps = np.asarray(w / scale.astype(np.float32), dtype=np.float32)
            np.clip(steps, (bounds[0] - zero).astype(np.float32), (bounds[1] - zero).astype(np.float32), out=steps)
            steps += zero.astype(np.float32)
            steps -= q
            np.abs(steps, out=steps)
            top = float(steps.max())
            if not top <= 0.501:
                worst = max(worst, top) if top == top else float("inf")  # NaN is not within half a step
                count += int(np.count_nonzero(~(steps <= 0.501)))
    return worst, count


def bounds_of(weight: Weight) -> tuple[int, int]:
    """Return the ends of the integers' range; symmetric int8 ends at -127, unless -128 is used."""
    info = weight.dtype
    low, high = int(info.min), int(info.max)
    if info == ir.DataType.INT8 and not weight.zero_point.any() and weight.range.low.min() > low:
        low += 1
    return low, high


def saturating_pairs(weight: Weight) -> tuple[int, int]:
    """Return how many pairs of neighbours in a sum exceed 16 bits when times 255, and of how many."""
    axis = weight.quantized.axis
    with reading(weight.constant.tensor) as values:
        q = _plain(values)
        if q.ndim < 2:
            return 0, 0
        # Rows of the sum: everything but the output channel, which is first (Conv) or last (MatMul).
        first = weight.quantized.readers and float_operator(weight.quantized.readers[0].node) != "MatMul"
        if first and axis in (0, 1, None):
            rows = q.reshape(len(q), -1)[: max(1, _PIECE * 4 // max(1, q[:1].size))]
            left, right = rows[:, 0:-1:2], rows[:, 1::2]
        else:
            matrix = q.reshape(-1, q.shape[-1])[: max(2, _PIECE * 4 // q.shape[-1])]
            left, right = matrix[0:-1:2], matrix[1::2]
        sums = left.astype(np.int16) + right.astype(np.int16)
    return int(np.count_nonzero(np.abs(sums) > 128)), sums.size


def _plain(values: Array) -> Array:
    """Return 4-bit integers as int8, which numpy can compare and reduce."""
    return values if values.dtype.kind in "iu" else values.astype(np.int8)
