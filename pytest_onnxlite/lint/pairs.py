"""The QDQ pattern: pairs of QuantizeLinear and DequantizeLinear around operators to run in integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.finding import Finding, Severity, report
from pytest_onnxlite.lint.model_index import (
    ModelIndex,
    input_of,
    operator,
    producer,
    scalar_or_vector,
)
from pytest_onnxlite.lint.operators import DEQUANTIZE, QUANTIZE, WEIGHTED, float_operator
from pytest_onnxlite.lint.quantized_tensors import QuantizedTensor

# Operators that run in integers where each of their data inputs is dequantized in front of them.
_QUANTIZED_OPS = frozenset(name for name, row in WEIGHTED.items() if "QDQ" in row.patterns)
_MOVERS = frozenset({"MaxPool", "Reshape", "Transpose"})
# Two or more activations with the parameters of a tensor that was all zeros.
_BLANK_LEAST = 2


def check_pairs(context: Context) -> Iterator[Finding]:
    """A pair shares its parameters, and no second pair with the same ones follows."""
    index = context.index
    for place in index.places:
        maker = _maker(place.node)
        if maker is None:
            continue
        change = _change(index, maker, place.node)
        if place.node.op_type == DEQUANTIZE and maker.op_type == QUANTIZE and change is not None:
            yield report("OLX501", place.where, f"{change.before}, as in {index.where[maker]}", change.after)
        before = _maker(maker)
        if place.node.op_type == QUANTIZE and maker.op_type == DEQUANTIZE and change is None and before is not None:
            found = f"a second pair after {index.where[before]}"
            yield report("OLX502", place.where, "one pair with these parameters", found)


def check_inputs(context: Context) -> Iterator[Finding]:
    """Where one data input of an operator is dequantized, so are all: else it runs in float."""
    index = context.index
    # Weights alone may be stored in integers on purpose; then nothing quantizes activations.
    if not any(place.node.op_type == QUANTIZE for place in index.places):
        return
    for place in index.places:
        if place.node.op_type not in _QUANTIZED_OPS or context.exclusion(place.node) is not None:
            continue
        dequantized = [index.dequantizer(input_of(place.node, slot)) is not None for slot in (0, 1)]
        # A stored float weight is a matter of coverage, with its own code.
        floats = [
            value
            for slot, quantized in enumerate(dequantized)
            if not quantized and (value := input_of(place.node, slot)) is not None and index.constant(value) is None
        ]
        if any(dequantized) and floats:
            found = f"{floats[0].name!r} in float"
            yield report("OLX503", place.where, f"DequantizeLinear on each data input of {place.op}", found)


def check_movers(context: Context) -> Iterator[Finding]:
    """What only moves values has the same parameters on both sides."""
    index = context.index
    for place in index.places:
        node = place.node
        value = input_of(node, 0)
        before = producer(value)
        if node.op_type not in _MOVERS or before is None or before.op_type != DEQUANTIZE:
            continue
        after = [use.node for use in node.outputs[0].uses()]
        if len(after) == 1 and after[0].op_type == QUANTIZE:
            change = _change(index, before, after[0])
            if change is not None:
                expected = f"{change.before} behind it too, as in {index.where[before]}"
                yield report("OLX504", place.where, expected, f"{change.after} in {index.where[after[0]]}")


def check_calibration(context: Context) -> Iterator[Finding]:
    """Activations do not have the parameters that calibration writes when it saw nothing."""
    index = context.index
    blank, known = [], 0
    seen: set[ir.Value] = set()
    for quantized in context.quantized_tensors.of_role("activation"):
        scale, zero = index.readable(quantized.scale), index.readable(quantized.zero_point)
        if scale is None or scale.tensor.size != 1 or quantized.data is None or quantized.data in seen:
            continue
        seen.add(quantized.data)
        if _is_given(index, quantized):
            continue
        known += 1
        at_zero = zero is None or not scalar_or_vector(zero.tensor).any()
        if at_zero and scalar_or_vector(scale.tensor)[0] == 1.0:
            blank.append(quantized.place.where)
    if len(blank) >= _BLANK_LEAST and len(blank) * 2 > known:
        found = f"scale 1 with zero point 0 for {len(blank)} of {known} activations"
        severity: Severity = "warning" if len(blank) < known else "error"
        yield report("OLX325", blank[0], "scales that fit the values", found, severity=severity)


def _is_given(index: ModelIndex, quantized: QuantizedTensor) -> bool:
    """Tell whether a tensor's parameters come from elsewhere than calibration: it was only moved, or has a known range."""
    value = quantized.data
    maker = producer(value)
    if maker is not None and maker.op_type == QUANTIZE:
        value = input_of(maker, 0)
        maker = producer(value)
    if maker is not None and float_operator(maker) == "Softmax":
        return True
    if index.constant(value) is not None or (maker is None and value is quantized.data):  # stored, or given in integers
        return True
    origin = index.source(value)
    # Moved integers, or moved values of a tensor that is quantized in front of what moves them.
    return origin is not value and (quantized.place.node.op_type != QUANTIZE or _is_made_by(origin, DEQUANTIZE))


def _maker(node: ir.Node) -> ir.Node | None:
    """Return the QuantizeLinear or DequantizeLinear that a node of the other kind reads, None without one."""
    if node.op_type not in (QUANTIZE, DEQUANTIZE):
        return None
    other = QUANTIZE if node.op_type == DEQUANTIZE else DEQUANTIZE
    value = input_of(node, 0)
    return value.producer() if _is_made_by(value, other) and value is not None else None


def _is_made_by(value: ir.Value | None, op: str) -> bool:
    node = producer(value)
    return node is not None and operator(node).rpartition(".")[2] == op


@dataclass(frozen=True)
class _Change:
    """A parameter of one node, and the same of another."""

    before: str
    after: str


def _change(index: ModelIndex, one: ir.Node, other: ir.Node) -> _Change | None:
    """Return the first parameter in which two nodes differ, None if they agree or it cannot be told."""
    for slot, name in ((1, "scale"), (2, "zero point")):
        left, right = input_of(one, slot), input_of(other, slot)
        if left is right:
            continue
        a, b = index.readable(left), index.readable(right)
        if (left is not None and a is None) or (right is not None and b is None):
            continue
        x, y = (np.zeros(1) if c is None else scalar_or_vector(c.tensor) for c in (a, b))
        if x.size != y.size:
            return _Change(f"{x.size} {name}s", f"{y.size}")
        if (x != y).any():
            at = int(np.flatnonzero(x != y)[0])
            return _Change(f"{name} {x[at]:.6g}", f"{y[at]:.6g}")
    return None
