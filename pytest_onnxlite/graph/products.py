"""Integer products: MatMulInteger and ConvInteger with what scales their sums back to float."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from pytest_onnxlite.graph.view import DYNAMIC_QUANTIZE, INTEGER_PRODUCTS, Place, View, attribute, input_of


@dataclass(frozen=True)
class Product:
    """An integer product.

    Attributes:
        place: the node.
        activation: its left integers.
        activation_zero_point: their zero point.
        weight: its right integers.
        weight_zero_point: their zero point.
        readers: the nodes that read the int32 sums.
        cast: the Cast among them, None without one.
        factors: what the sums are multiplied by, until nothing is multiplied or two factors are found.
    """

    place: Place
    activation: ir.Value | None
    activation_zero_point: ir.Value | None
    weight: ir.Value | None
    weight_zero_point: ir.Value | None
    readers: tuple[ir.Node, ...]
    cast: ir.Node | None
    factors: tuple[ir.Value, ...]
    weight_scale: ir.Value | None

    @property
    def quantizer(self) -> ir.Node | None:
        """The DynamicQuantizeLinear that made the left integers."""
        return dynamic_quantizer(self.activation)

    @property
    def activation_scales(self) -> tuple[ir.Value, ...]:
        """The factors that are computed, as an activation's scale is."""
        return tuple(factor for factor in self.factors if factor is not self.weight_scale)


def dynamic_quantizer(value: ir.Value | None) -> ir.Node | None:
    """Return the DynamicQuantizeLinear that a value comes from."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == DYNAMIC_QUANTIZE else None


def find_products(view: View) -> Iterator[Product]:
    """Yield every integer product of a model."""
    for place in view.places:
        node = place.node
        if node.op_type not in INTEGER_PRODUCTS:
            continue
        readers = tuple(dict.fromkeys(use.node for use in node.outputs[0].uses()))
        cast = next((reader for reader in readers if reader.op_type == "Cast"), None)
        factors = _factors(cast.outputs[0]) if cast is not None else ()
        yield Product(
            place,
            input_of(node, 0),
            input_of(node, 2),
            input_of(node, 1),
            input_of(node, 3),
            readers,
            cast,
            factors,
            next((factor for factor in factors if view.constant(factor) is not None), None),
        )


def cast_type(cast: ir.Node) -> ir.DataType:
    """Return what a Cast casts to."""
    return ir.DataType(attribute(cast, "to", ir.DataType.UNDEFINED.value))


def _factors(value: ir.Value) -> tuple[ir.Value, ...]:
    """Follow the Muls behind a value: scales are multiplied in one by one, or as one product of both."""
    factors: list[ir.Value] = []
    while len(factors) < 2:
        uses = [use for use in value.uses() if use.node.op_type == "Mul"]
        if len(uses) != 1:
            break
        other = uses[0].node.inputs[1 - uses[0].idx]
        if other is None:
            break
        factors += _leaves(other)
        value = uses[0].node.outputs[0]
    return tuple(factors)


def _leaves(value: ir.Value) -> list[ir.Value]:
    node = value.producer()
    if node is None or node.op_type != "Mul":
        return [value]
    return [leaf for item in node.inputs if item is not None for leaf in _leaves(item)]
