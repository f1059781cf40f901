"""Quantized tensors as a graph holds them: integers, scale, zero point, and who reads them.

The patterns differ (QDQ, QOperator, integer products, fused ones); the rules for parameters
do not. So each pattern is read into one record here, and the rules know records only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from pytest_onnxlite.lint.model_index import ModelIndex, Place, attribute, input_of
from pytest_onnxlite.lint.operators import (
    DEQUANTIZE,
    OUTPUT,
    QUANTIZE,
    WEIGHTED,
    FloatOperator,
    Layout,
    QuantizedOperator,
    Role,
    Slots,
    takes_bias,
    takes_weight,
)
from pytest_onnxlite.lint.products import Product, find_products


@dataclass(frozen=True)
class Reader:
    """A node that takes a dequantized tensor, and at which input."""

    node: ir.Node
    slot: int


@dataclass(frozen=True)
class QuantizedTensor:
    """A quantized tensor.

    Attributes:
        place: the node that has the parameters.
        role: what the tensor is to who reads it; a stored one that is neither weight nor bias is a constant.
        data: the integers; for QuantizeLinear its output.
        scale: its scale, None if it is computed at run time or the pattern is broken.
        zero_point: its zero point, None for 0.
        axis: the dim that per-channel parameters lie along, None where the form has no choice.
        block: values per scale along the axis, 0 for a whole channel.
        readers: who takes the float tensor, or the node itself.
        layout: how scales lie in their tensor, as in the table of operators.
    """

    place: Place
    role: Role
    data: ir.Value | None
    scale: ir.Value | None
    zero_point: ir.Value | None
    axis: int | None = None
    block: int = 0
    readers: tuple[Reader, ...] = field(default=())
    layout: Layout = "channels"

    @property
    def where(self) -> str:
        """The node's path and name, and the tensor, for messages."""
        return f"{self.place.where} ({self.name})"

    @property
    def name(self) -> str:
        """The tensor's name."""
        return (self.data.name if self.data is not None else None) or self.place.name


@dataclass(frozen=True)
class QuantizedTensors:
    """Every quantized tensor of a model, and its integer products."""

    all: tuple[QuantizedTensor, ...]
    products: tuple[Product, ...]

    def of_role(self, *roles: Role) -> Iterator[QuantizedTensor]:
        """Yield the tensors of some roles."""
        return (quantized for quantized in self.all if quantized.role in roles)


def find_quantized_tensors(index: ModelIndex) -> QuantizedTensors:
    """Return every quantized tensor of a model."""
    products = tuple(find_products(index))
    found = list(_of_products(products))
    for place in index.places:
        row = place.quantized
        if row is not None and row.name in (QUANTIZE, DEQUANTIZE):
            found.append(_of_pair(index, place))
        elif row is not None and not row.sums:
            found += _of_operator(place, row)
    return QuantizedTensors(tuple(found), products)


def _of_products(products: tuple[Product, ...]) -> Iterator[QuantizedTensor]:
    for product in products:
        node = product.place.node
        for slot, operand in enumerate(product.operands):
            if operand.stored is None:
                continue
            row = product.place.quantized
            axis = row.channel if row is not None and operand.stored is operand.data else None
            yield QuantizedTensor(
                product.place,
                "weight",
                operand.stored,
                operand.scale,
                operand.zero_point,
                axis,
                readers=(Reader(node, slot),),
            )


def _of_pair(index: ModelIndex, place: Place) -> QuantizedTensor:
    node = place.node
    scale, zero_point = input_of(node, 1), input_of(node, 2)
    axis, block = attribute(node, "axis", 1), attribute(node, "block_size", 0)
    if node.op_type == QUANTIZE:
        return QuantizedTensor(place, "activation", node.outputs[0], scale, zero_point, axis, block)
    data = input_of(node, 0)
    readers = tuple(Reader(use.node, use.idx) for use in node.outputs[0].uses())
    origin = index.source(data)
    if index.constant(origin) is None:
        return QuantizedTensor(place, "activation", data, scale, zero_point, axis, block, readers)
    role: Role = "constant"
    # A table is looked up, not multiplied: it may be quantized like an activation.
    if any(r.node.op_type != "Gather" and takes_weight(r.node.op_type, r.slot) for r in readers):
        role = "weight"
    elif any(takes_bias(r.node.op_type, r.slot) for r in readers):
        role = "bias"
    # Rows that were picked or moved before they are dequantized: the axis is that of the result.
    axis = axis if origin is data else None
    return QuantizedTensor(place, role, origin, scale, zero_point, axis, block, readers)


def _of_operator(place: Place, row: QuantizedOperator) -> Iterator[QuantizedTensor]:
    node, tensors = place.node, row.tensors
    if row.more is not None:
        tensors += tuple(Slots(start, start + 1, start + 2) for start in range(row.more, len(node.inputs), 3))
    for slots in tensors:
        value = node.outputs[0] if slots.data == OUTPUT else input_of(node, slots.data)
        scale, zero = (None if slot is None else input_of(node, slot) for slot in (slots.scale, slots.zero_point))
        readers = (Reader(node, max(slots.data, 0)),)
        yield QuantizedTensor(place, slots.role, value, scale, zero, _channel(node, row), 0, readers, row.layout)


def _channel(node: ir.Node, row: QuantizedOperator | FloatOperator) -> int | None:
    """Return the dim of an operator's weight that is its output channel."""
    if node.op_type in ("Gemm", "QGemm"):
        return 0 if attribute(node, "transB", 0) else 1
    return row.channel


def output_channel(node: ir.Node, slot: int, rank: int) -> int | None:
    """Return the dim of a weight that is the output channel of who reads it, None if that is open."""
    if node.op_type == "MatMul" and slot == 0:
        return max(rank - 2, 0)
    axis = _channel(node, WEIGHTED[node.op_type]) if takes_weight(node.op_type, slot) else None
    return rank + axis if axis is not None and axis < 0 else axis
