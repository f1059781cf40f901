"""What was left in float, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import onnx_ir as ir

from pytest_onnxlite.lint.context import Context, matches
from pytest_onnxlite.lint.finding import Finding, Severity, report
from pytest_onnxlite.lint.model_index import (
    FLOATS,
    Constant,
    ModelIndex,
    Place,
    attribute,
    input_of,
    operator,
    producer,
)
from pytest_onnxlite.lint.operators import DEQUANTIZE, ONNX_DOMAINS, QUANTIZE, QUANTIZED, WEIGHTED, takes_weight
from pytest_onnxlite.lint.precision import has_half
from pytest_onnxlite.lint.validity import LARGE

# Operators that hand a weight on, in another form at most.
_CARRIERS = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_BLIND = "where the quantizer does not look: fold constants first"
# What quantizes activations, or takes quantized ones.
_ACTIVATIONS = frozenset(
    name for name, row in QUANTIZED.items() if row.pattern != "weight-only" and not name.startswith("Dequantize")
)
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_NORMALIZATIONS = frozenset({"BatchNormalization", "InstanceNormalization", "LayerNormalization"})


@dataclass(frozen=True)
class FloatWeight:
    """A float tensor and a node that computes with it.

    Attributes:
        constant: the tensor.
        node: who reads it.
        slot: at which input.
        via: the operators that it passes through on its way.
    """

    constant: Constant
    node: ir.Node
    slot: int
    via: tuple[str, ...]

    @property
    def is_weight(self) -> bool:
        """Whether the node computes products with it, rather than adds or compares."""
        op = self.node.op_type
        if op in ("MatMul", "Gemm"):
            return self.slot in (0, 1)
        return (op in _RECURRENT and self.slot in (1, 2)) or takes_weight(op, self.slot)


def float_weights(index: ModelIndex) -> Iterator[FloatWeight]:
    """Yield every float tensor with each of its readers, seen through what hands it on."""
    for constant in index.constants:
        if constant.tensor.dtype in FLOATS:
            for node, slot, via in _readers(constant.value):
                yield FloatWeight(constant, node, slot, via)


def dequantized_weights(index: ModelIndex) -> Iterator[FloatWeight]:
    """Yield every stored integer weight that is dequantized, with each of its readers; `via` names the way."""
    for place in index.places:
        node = place.node
        if operator(node).rpartition(".")[2] != DEQUANTIZE or attribute(node, "block_size", 0):
            continue
        constant = index.constant(index.source(input_of(node, 0)))
        if constant is not None:
            before = _way_from(constant.value, input_of(node, 0))
            for reader, slot, after in _readers(node.outputs[0]):
                yield FloatWeight(constant, reader, slot, (*before, DEQUANTIZE, *after))


def _readers(value: ir.Value) -> Iterator[tuple[ir.Node, int, tuple[str, ...]]]:
    waiting: list[tuple[ir.Value, tuple[str, ...]]] = [(value, ())]
    while waiting:
        value, via = waiting.pop()
        for use in value.uses():
            if use.node.op_type not in _CARRIERS or use.node.domain not in ONNX_DOMAINS:
                yield use.node, use.idx, via
            elif use.idx == 0:
                # A long way is told by its kinds.
                name = use.node.op_type
                waiting.append((use.node.outputs[0], via if name in via else (*via, name)))


def _way_from(origin: ir.Value, value: ir.Value | None) -> tuple[str, ...]:
    via: dict[str, None] = {}
    while value is not origin and (node := producer(value)) is not None:
        via[node.op_type] = None
        value = input_of(node, 0)
    return tuple(reversed(via))


def must_be_quantized(index: ModelIndex, op: str) -> bool:
    """Return whether the quantizer that made this model quantizes an operator's weights."""
    return op in WEIGHTED and index.pattern in WEIGHTED[op].patterns


def reason(index: ModelIndex, weight: FloatWeight, exclusion: Callable[[ir.Node], str | None]) -> str:
    """Say why a tensor is still in float, as far as the graph tells."""
    glob = exclusion(weight.node)
    op = operator(weight.node)
    if glob is not None:
        return f"excluded by {glob!r}"
    if not index.quantized:
        return "the rest is in half precision" if has_half(index) else "the model is not quantized"
    if not weight.is_weight:
        if weight.node.op_type in _NORMALIZATIONS:
            return f"parameters of {op} stay float"
        return f"input {weight.slot} of {op} is not a weight that quantizers support"
    if not must_be_quantized(index, weight.node.op_type):
        return f"{index.pattern} quantization leaves {op} in float"
    if weight.node.op_type == "Gemm" and index.pattern == "dynamic" and _is_scaled(weight.node):
        return "dynamic quantization supports Gemm only with alpha = beta = 1 and transA = 0"
    if weight.via:
        return f"it reaches {op} through {' and '.join(weight.via)}, {_BLIND}"
    if weight.constant.stored == "Constant":
        return f"it is in a Constant node, {_BLIND}"
    computed = _computed_partner(weight)
    if computed is not None:
        return f"its other weights, {computed.name}, are computed in the graph, {_BLIND}"
    if weight.node.graph is not index.model.graph:
        if index.pattern != "dynamic":
            return "it is read in a subgraph, which static quantization leaves in float"
        return "it is read in a subgraph, which the quantizer includes only with EnableSubgraph in extra_options"
    if weight.slot == 0:
        return f"it is the left operand of {op}, and the quantizer supports right ones only"
    if weight.constant.tensor.dtype != ir.DataType.FLOAT:
        return f"it is {weight.constant.tensor.dtype.name}, and the quantizer supports FLOAT only"
    return "the graph does not show why: the node was excluded, or the quantizer skipped it"


def _computed_partner(weight: FloatWeight) -> ir.Value | None:
    """Return what a recurrent layer has in the place of its other weights, where that is no constant."""
    if weight.node.op_type not in _RECURRENT:
        return None
    other = weight.node.inputs[3 - weight.slot]
    return other if other is not None and other.const_value is None and other.producer() is not None else None


def _is_scaled(gemm: ir.Node) -> bool:
    factors = [attribute(gemm, name, 1.0) for name in ("alpha", "beta")]
    return factors != [1.0, 1.0] or bool(attribute(gemm, "transA", 0))


def check_coverage(context: Context) -> Iterator[Finding]:
    """No weight of a quantizable operator is left in float without a word."""
    if not context.quantized or (context.halved and not context.index.quantized):
        return
    for weight in float_weights(context.index):
        if not weight.is_weight or context.exclusion(weight.node) is not None:
            continue
        size = weight.constant.tensor.nbytes
        why = reason(context.index, weight, context.exclusion)
        found = f"{size:,} bytes of {weight.constant.tensor.dtype.name}: {why}"
        where = f"{context.index.where[weight.node]} ({weight.constant.name})"
        op = operator(weight.node)
        if must_be_quantized(context.index, weight.node.op_type):
            severity: Severity = "error" if size >= LARGE else "warning"
            yield report("OLX601", where, f"an integer weight for {op}", found, severity=severity)
        elif size >= LARGE:
            yield report("OLX602", where, f"an integer weight for {op}, or an exclusion", found)


def check_dequantized(context: Context) -> Iterator[Finding]:
    """No stored integer weight is dequantized and multiplied in float, where products are to run in integers."""
    index = context.index
    # Weights alone may be stored in integers on purpose; then nothing quantizes activations.
    if not any(place.quantized and place.quantized.name in _ACTIVATIONS for place in index.places):
        return
    for weight in dequantized_weights(index):
        node = weight.node
        if not weight.is_weight or not must_be_quantized(index, node.op_type) or context.exclusion(node) is not None:
            continue
        values = (input_of(node, slot) for slot in (0, 1))
        if index.pattern != "dynamic" and any(index.dequantizer(value) is not None for value in values):
            continue  # a pair for the runtime to fuse, or a broken one, which has its own code
        size = weight.constant.tensor.nbytes
        severity: Severity = "error" if size >= LARGE else "warning"
        way = " and ".join(weight.via)
        found = f"{size:,} bytes of {weight.constant.tensor.dtype.name} that reach it through {way}: it runs in float"
        where = f"{index.where[node]} ({weight.constant.name})"
        yield report("OLX601", where, f"an integer weight for {operator(node)}", found, severity=severity)


def check_exclusions(context: Context) -> Iterator[Finding]:
    """Each exclusion means a node, and what it means is float."""
    for glob in context.excluded:
        places = [place for place in context.index.places if matches(place, glob)]
        quantized = [p.place for p in context.quantized_tensors.products if fnmatchcase(_origin(p.place), glob)]
        if not places and not quantized:
            yield report("OLX901", f"excluded={glob!r}", "a node of this name or operator", "none")
        for place in quantized:
            yield report("OLX609", place.where, f"{glob!r} in float, as excluded", place.op)
        for place in places:
            if place.op in WEIGHTED and _is_integer(place.node):
                found = "DequantizeLinear in front of its weights"
                yield report("OLX609", place.where, f"{place.op} in float, as excluded", found)


def _origin(place: Place) -> str:
    """Return the name of the float node that an integer product was made from."""
    return place.name.removesuffix("_quant").removesuffix("_MatMul")


def _is_integer(node: ir.Node) -> bool:
    """Tell whether a runtime computes a node of a QDQ graph in integers: with stored ones, or from and to integers.

    Its activation alone may be dequantized for it: a neighbour that is not excluded has it so.
    """
    givers = [value.producer() for value in node.inputs if value is not None]
    dequantized = [giver for giver in givers if giver is not None and giver.op_type == DEQUANTIZE]
    if any(giver.inputs[0] is not None and giver.inputs[0].const_value is not None for giver in dequantized):
        return True
    readers = [use.node for output in node.outputs for use in output.uses()]
    return len(dequantized) == len(givers) and bool(readers) and all(r.op_type == QUANTIZE for r in readers)
