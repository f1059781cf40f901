"""Quantized tensors as a graph holds them: integers, scale, zero point, and who reads them.

The forms differ (QDQ, QLinear operators, integer products, fused ones); the rules for parameters
do not. So each form is read into one record here, and the rules know records only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import onnx_ir as ir

from pytest_onnxlite.lint.model_index import DEQUANTIZE, QUANTIZE, ModelIndex, Place, attribute, input_of, source
from pytest_onnxlite.lint.products import Product, find_products

Role = Literal["activation", "weight", "bias", "constant"]

# Where each operator's weight and bias are, among its float inputs.
WEIGHT_INPUTS = {
    "Conv": 1,
    "ConvTranspose": 1,
    "Gemm": 1,
    "MatMul": 1,
    "Gather": 0,
    "LSTM": 1,
    "GRU": 1,
    "RNN": 1,
}
# A table is looked up, not multiplied: it may be quantized like an activation.
_PRODUCTS = frozenset(WEIGHT_INPUTS) - {"Gather"}
BIAS_INPUTS = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2}
# Inputs of the QLinear operators: data, scale, zero point of each tensor, and its role.
_TRIPLES: dict[str, tuple[tuple[int, int, int, Role], ...]] = {
    "QLinearConv": ((0, 1, 2, "activation"), (3, 4, 5, "weight"), (-1, 6, 7, "activation")),
    "QLinearMatMul": ((0, 1, 2, "activation"), (3, 4, 5, "weight"), (-1, 6, 7, "activation")),
    "QGemm": ((0, 1, 2, "activation"), (3, 4, 5, "weight"), (-1, 7, 8, "activation")),
    "QLinearAdd": ((0, 1, 2, "activation"), (3, 4, 5, "activation"), (-1, 6, 7, "activation")),
    "QLinearMul": ((0, 1, 2, "activation"), (3, 4, 5, "activation"), (-1, 6, 7, "activation")),
    "QLinearSigmoid": ((0, 1, 2, "activation"), (-1, 3, 4, "activation")),
    "QLinearLeakyRelu": ((0, 1, 2, "activation"), (-1, 3, 4, "activation")),
    "QLinearSoftmax": ((0, 1, 2, "activation"), (-1, 3, 4, "activation")),
    "QLinearAveragePool": ((0, 1, 2, "activation"), (-1, 3, 4, "activation")),
    "QLinearGlobalAveragePool": ((0, 1, 2, "activation"), (-1, 3, 4, "activation")),
    "DynamicQuantizeMatMul": ((1, 2, 3, "weight"),),
    "MatMulIntegerToFloat": ((1, 3, 5, "weight"),),
    "DynamicQuantizeLSTM": ((1, 8, 9, "weight"), (2, 10, 11, "weight")),
}


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
        scale: its scale, None where it is computed at run time or the pattern is broken.
        zero_point: its zero point, None for 0.
        axis: the dim that per-channel parameters lie along, None where the form has no choice.
        block: values per scale along the axis, 0 for a whole channel.
        readers: who takes the float tensor, or the node itself.
    """

    place: Place
    role: Role
    data: ir.Value | None
    scale: ir.Value | None
    zero_point: ir.Value | None
    axis: int | None = None
    block: int = 0
    readers: tuple[Reader, ...] = field(default=())

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
        if place.node.op_type in (QUANTIZE, DEQUANTIZE):
            found.append(_of_pair(index, place))
        elif place.node.op_type in _TRIPLES:
            found += _of_triples(place)
    return QuantizedTensors(tuple(found), products)


def _of_products(products: tuple[Product, ...]) -> Iterator[QuantizedTensor]:
    for product in products:
        node = product.place.node
        for slot, operand in enumerate(product.operands):
            if operand.stored is None:
                continue
            axis = None if operand.stored is not operand.data else 0 if node.op_type == "ConvInteger" else -1
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
    origin = source(data)
    if index.constant(origin) is None:
        return QuantizedTensor(place, "activation", data, scale, zero_point, axis, block, readers)
    role: Role = "constant"
    if any(r.node.op_type in _PRODUCTS and r.slot == WEIGHT_INPUTS[r.node.op_type] for r in readers):
        role = "weight"
    elif any(reader.slot == BIAS_INPUTS.get(reader.node.op_type) for reader in readers):
        role = "bias"
    # Rows that were picked or moved before they are dequantized: the axis is that of the result.
    axis = axis if origin is data else None
    return QuantizedTensor(place, role, origin, scale, zero_point, axis, block, readers)


def _of_triples(place: Place) -> Iterator[QuantizedTensor]:
    node = place.node
    for data, scale, zero_point, role in _TRIPLES[node.op_type]:
        value = node.outputs[0] if data < 0 else input_of(node, data)
        axis = {"QLinearConv": 0, "QGemm": 0 if attribute(node, "transB", 0) else 1}.get(node.op_type, -1)
        readers = (Reader(node, max(data, 0)),)
        yield QuantizedTensor(place, role, value, input_of(node, scale), input_of(node, zero_point), axis, 0, readers)


def output_channel(node: ir.Node, slot: int, rank: int) -> int | None:
    """Return the dim of a weight that is the output channel of who reads it, None where that is open."""
    if node.op_type == "Conv" and slot == 1:
        return 0
    if node.op_type == "ConvTranspose" and slot == 1:
        return 1
    if node.op_type == "Gemm" and slot == 1:
        return 0 if attribute(node, "transB", 0) else 1
    if node.op_type == "MatMul" and slot == 1:
        return rank - 1
    if node.op_type == "MatMul" and slot == 0:
        return max(rank - 2, 0)
    return None
