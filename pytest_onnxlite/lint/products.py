"""The dynamic pattern: integer products, what quantizes their inputs and what scales their sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from pytest_onnxlite.lint.finding import Finding, report
from pytest_onnxlite.lint.model_index import (
    ModelIndex,
    Place,
    attribute,
    input_of,
    producer,
)
from pytest_onnxlite.lint.operators import DEQUANTIZE, DYNAMIC_QUANTIZE

_SUFFIX = "_quantized"


@dataclass(frozen=True)
class Operand:
    """One side of an integer product.

    Attributes:
        data: the integers.
        zero_point: theirs.
        scale: the factor among those of the sums that is theirs, None if none is.
        quantizer: the DynamicQuantizeLinear they come from, None for stored ones.
        stored: the stored integers they come from, None for computed ones.
    """

    data: ir.Value | None
    zero_point: ir.Value | None
    scale: ir.Value | None
    quantizer: ir.Node | None
    stored: ir.Value | None


@dataclass(frozen=True)
class Product:
    """An integer product.

    Attributes:
        place: the node.
        operands: its left and right side.
        readers: the nodes that read the int32 sums.
        cast: the Cast among them, None without one.
        factors: what the sums are multiplied by, until nothing is multiplied or two factors are found.
    """

    place: Place
    operands: tuple[Operand, Operand]
    readers: tuple[ir.Node, ...]
    cast: ir.Node | None
    factors: tuple[ir.Value, ...]


def find_products(index: ModelIndex) -> Iterator[Product]:
    """Yield every integer product of a model."""
    for place in index.places:
        node = place.node
        if place.quantized is None or not place.quantized.sums:
            continue
        readers = _readers(node.outputs[0])
        cast = next((reader for reader in readers if reader.op_type == "Cast"), None)
        factors = _factors(cast.outputs[0]) if cast is not None else ()
        right = _operand(index, node, 1, factors)
        left = _operand(index, node, 0, tuple(factor for factor in factors if factor is not right.scale))
        yield Product(place, (left, right), readers, cast, factors)


def _readers(value: ir.Value) -> tuple[ir.Node, ...]:
    readers = list(dict.fromkeys(use.node for use in value.uses()))
    # An int32 bias may be added before the sums are cast.
    if len(readers) == 1 and readers[0].op_type == "Add":
        readers = list(dict.fromkeys(use.node for use in readers[0].outputs[0].uses()))
    return tuple(readers)


def _operand(index: ModelIndex, node: ir.Node, slot: int, factors: tuple[ir.Value, ...]) -> Operand:
    data, zero_point = input_of(node, slot), input_of(node, slot + 2)
    origin = index.source(data)
    maker = producer(origin)
    if maker is not None and maker.op_type == DYNAMIC_QUANTIZE:
        own = maker.outputs[1]
        return Operand(data, zero_point, own if own in factors else None, maker, None)
    if index.constant(origin) is None:
        return Operand(data, zero_point, None, None, None)
    stored = [factor for factor in factors if index.constant(factor) is not None]
    named = [factor for factor in stored if factor.name == _scale_name(origin)]
    # A quantizer multiplies in the order of the operands, so the last stored scale is the right operand's.
    candidates = named or stored
    scale = candidates[-1 if slot else 0] if candidates else None
    return Operand(data, zero_point, scale, None, origin)


def _scale_name(value: ir.Value | None) -> str:
    name = (value.name if value is not None else None) or ""
    return f"{name.removesuffix(_SUFFIX)}_scale"


def _factors(value: ir.Value) -> tuple[ir.Value, ...]:
    """Follow the Muls behind a value: scales are multiplied in one by one, or as one product of both."""
    factors: list[ir.Value] = []
    while len(factors) < 2:
        uses = [use for use in value.uses() if use.node.op_type == "Mul"]
        other = uses[0].node.inputs[1 - uses[0].idx] if len(uses) == 1 else None
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


def check_product(index: ModelIndex, product: Product) -> Iterator[Finding]:
    """The sums of a product are cast to FLOAT and scaled by the scales of its own two operands."""
    where = product.place.where
    for operand in product.operands:
        if operand.quantizer is not None and operand.zero_point is not operand.quantizer.outputs[2]:
            found = _spell(operand.zero_point)
            yield report("OLX401", where, f"the zero point {_spell(operand.quantizer.outputs[2])}", found)
    if product.cast is None:
        found = " and ".join(sorted({reader.op_type for reader in product.readers})) or "no reader"
        yield report("OLX403", where, "a Cast of the int32 sums to FLOAT", found)
        return
    to = ir.DataType(attribute(product.cast, "to", ir.DataType.UNDEFINED.value))
    if to != ir.DataType.FLOAT:
        yield report("OLX403", index.where[product.cast], "a Cast to FLOAT", f"one to {to.name}")
    names = ", ".join(_spell(factor) for factor in product.factors)
    if len(product.factors) < 2:
        yield report("OLX404", where, "a Mul by both scales", f"one by {names}" if names else "none")
        return
    for operand in product.operands:
        if operand.quantizer is not None and operand.scale is None:
            yield report("OLX405", where, f"a Mul by {_spell(operand.quantizer.outputs[1])}", f"one by {names}")
        if operand.stored is not None:
            expected = _scale_name(operand.stored)
            known = expected in index.constant_names
            if operand.scale is None or (known and operand.scale.name != expected):
                yield report("OLX405", where, f"a Mul by {expected!r}", f"one by {names}")


def check_dynamic_quantizers(index: ModelIndex) -> Iterator[Finding]:
    """A tensor is quantized at run time once, and only if that cannot be done before."""
    seen: dict[tuple[ir.Value, int], Place] = {}
    for place in index.places:
        value = input_of(place.node, 0)
        if place.node.op_type != DYNAMIC_QUANTIZE or value is None:
            continue
        # Branches of an If cannot share one: only one of them runs.
        first = seen.setdefault((value, id(place.node.graph)), place)
        if first is not place:
            found = f"a second one, after {first.where}"
            yield report("OLX402", place.where, f"one DynamicQuantizeLinear of {_spell(value)}", found)
        if index.constant(value) is not None:
            yield report("OLX407", place.where, "a computed tensor to quantize", f"the constant {_spell(value)}")
        giver = value.producer()
        if giver is not None and giver.op_type == DEQUANTIZE:
            origin = input_of(giver, 0)
            maker = producer(origin)
            if index.constant(origin) is not None or (maker is not None and maker.op_type == DYNAMIC_QUANTIZE):
                found = f"{_spell(value)}, dequantized from {_spell(origin)}"
                yield report("OLX407", place.where, "a float tensor to quantize", found)


def check_weight_types(index: ModelIndex) -> Iterator[Finding]:
    """Convolutions have uint8 weights, the type that ONNX Runtime's ConvInteger is made for."""
    slow = [
        place
        for place in index.places
        if place.node.op_type == "ConvInteger" and index.dtype_of(input_of(place.node, 1)) == ir.DataType.INT8
    ]
    if slow:
        found = f"int8 weights in {len(slow)} ConvInteger node{'s' if len(slow) > 1 else ''}"
        yield report("OLX406", slow[0].where, "uint8 weights", found)


def _spell(value: ir.Value | None) -> str:
    return "none" if value is None else repr(value.name)
