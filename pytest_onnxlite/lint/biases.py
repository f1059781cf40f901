"""Quantized biases: integers that are added to the sums of an integer product as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pytest_onnxlite.lint.finding import Finding, report
from pytest_onnxlite.lint.model_index import (
    Array,
    Constant,
    ModelIndex,
    Place,
    input_of,
    producer,
    reading,
    scalar_or_vector,
)
from pytest_onnxlite.lint.operators import DEQUANTIZE, WEIGHTED
from pytest_onnxlite.lint.weights import float_twin

_INT32 = np.iinfo(np.int32)
# The product of two float32 scales is rounded once or twice.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Bias:
    """A quantized bias and what is known of its scales.

    Attributes:
        node: who adds it.
        where: what to call it in a message.
        constant: its integers.
        integers: the same, read, as int64.
        scale: its own scale; in the QOperator pattern, which writes none, the product of the others.
        product: input scale × weight scale, None if one of them is not stored.
        zero_point: its zero point, None without one.
    """

    node: ir.Node
    where: str
    constant: Constant
    integers: Array
    scale: Array | None
    product: Array | None
    zero_point: Array | None


def find_biases(index: ModelIndex) -> list[Bias]:
    """Return every quantized bias of a model."""
    found = []
    for place in index.places:
        node = place.node
        row, weighted = place.quantized, WEIGHTED.get(node.op_type)
        if row is not None and row.bias is not None:
            scales = tuple(input_of(node, slots.scale) for slots in row.tensors[:2] if slots.scale is not None)
            product = _product(index, scales)
            found += _bias(index, place, input_of(node, row.bias), product, product, None)
        elif weighted is not None and weighted.bias is not None:
            bias = _dequantizer(input_of(node, weighted.bias))
            sides = [_dequantizer(input_of(node, slot)) for slot in (0, 1)]
            if bias is not None:
                scales = tuple(None if side is None else input_of(side, 1) for side in sides)
                own = _read(index, input_of(bias, 1))
                zero = _read(index, input_of(bias, 2))
                found += _bias(index, place, input_of(bias, 0), own, _product(index, scales), zero)
    return found


def _bias(
    index: ModelIndex,
    place: Place,
    value: ir.Value | None,
    scale: Array | None,
    product: Array | None,
    zero_point: Array | None,
) -> list[Bias]:
    constant = index.readable(value)
    if constant is None or constant.tensor.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return []
    with reading(constant.tensor) as values:
        integers = np.array(values, dtype=np.int64).reshape(-1)
    return [Bias(place.node, f"{place.where} ({constant.name})", constant, integers, scale, product, zero_point)]


def _dequantizer(value: ir.Value | None) -> ir.Node | None:
    node = producer(value)
    return node if node is not None and node.op_type == DEQUANTIZE else None


def _read(index: ModelIndex, value: ir.Value | None) -> Array | None:
    constant = index.readable(value)
    return None if constant is None else scalar_or_vector(constant.tensor)


def _product(index: ModelIndex, scales: tuple[ir.Value | None, ...]) -> Array | None:
    read = [_read(index, scale) for scale in scales]
    if any(scale is None for scale in read):
        return None
    left, right = (scale for scale in read if scale is not None)
    return left * right if 1 in (left.size, right.size) or left.size == right.size else None


def check_bias(bias: Bias, reference: ModelIndex | None) -> Iterator[Finding]:
    """A bias is int32 with zero point 0, scaled like the sums, not saturated, and the float model's."""
    dtype = bias.constant.tensor.dtype
    if dtype != ir.DataType.INT32:
        yield report("OLX321", bias.where, "int32", dtype.name)
    if bias.zero_point is not None and bias.zero_point.any():
        yield report("OLX322", bias.where, "zero point 0", f"{int(bias.zero_point[np.nonzero(bias.zero_point)][0])}")
    scale, product = bias.scale, bias.product
    if scale is not None and product is not None and _fit(scale, product):
        off = np.abs(scale - product) > _ROUNDING * np.abs(product)
        if off.any():
            at = int(np.flatnonzero(off)[0])
            wanted, have = (np.broadcast_to(x, off.shape).ravel()[at] for x in (product, scale))
            expected = f"scale {wanted:.6g}, input scale × weight scale"
            yield report("OLX323", bias.where, expected, f"{have:.6g} at channel {at}, {int(off.sum())} in total")
    ends = (bias.integers == _INT32.max) | (bias.integers == _INT32.min)
    if dtype == ir.DataType.INT32 and ends.any():
        at = int(np.flatnonzero(ends)[0])
        found = f"{int(ends.sum())} of {ends.size} at the limit of int32, the first at channel {at}"
        yield report("OLX324", bias.where, "integers within int32", found)
    elif reference is not None and scale is not None and _fit(scale, bias.integers):
        yield from _check_likeness(bias, scale, reference)


def _check_likeness(bias: Bias, scale: Array, reference: ModelIndex) -> Iterator[Finding]:
    twin = float_twin(reference, bias.constant)
    if twin is None:
        return
    with reading(twin[0].tensor) as values:
        expected = np.array(values, dtype=np.float64).reshape(-1)
    zero = bias.zero_point if bias.zero_point is not None and _fit(bias.zero_point, bias.integers) else np.zeros(1)
    error = np.abs(expected - (bias.integers - zero) * scale)
    # Half a step, and what float32 lost of scale and bias.
    off = ~(error <= 0.501 * np.abs(scale) + 1e-6 * np.abs(expected))
    if off.any():
        at = int(np.flatnonzero(off)[0])
        steps = error[at] / np.broadcast_to(scale, error.shape)[at]
        found = f"{steps:.3g} steps at channel {at}, {int(off.sum())} in total"
        yield report("OLX703", bias.where, f"at most half a step from {twin[0].where!r}", found)


def _fit(one: Array, other: Array) -> bool:
    return one.size == other.size or 1 in (one.size, other.size)
