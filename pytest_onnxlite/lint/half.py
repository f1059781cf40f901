"""Half precision: which values are in it, what it cannot hold, and the casts around what stays in float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.coverage import float_weights
from pytest_onnxlite.lint.finding import Finding, Severity, report
from pytest_onnxlite.lint.model_index import Array, Constant, ModelIndex, Place, input_of, operator, producer, reading
from pytest_onnxlite.lint.operators import ONNX_DOMAINS
from pytest_onnxlite.lint.precision import Precisions
from pytest_onnxlite.lint.validity import LARGE

# The largest number, the smallest that is not subnormal.
LARGEST = float(np.finfo(np.float16).max)
# What is as large as this stands for infinity, as in masks: the largest number takes its place as well.
_STANDS_FOR_INFINITY = 1e9
# How far the largest number of a tensor may be off: far more than half precision rounds, but near zero.
_OFF = 0.05


def check_half_values(context: Context) -> Iterator[Finding]:
    """What a tensor holds in float32, half precision holds too."""
    if not context.halved:
        return
    assert context.reference is not None
    for constant in context.index.constants:
        twin = context.reference.by_name.get((constant.path, constant.name))
        if constant.tensor.dtype != ir.DataType.FLOAT16 or twin is None or twin.tensor.dtype != ir.DataType.FLOAT:
            continue
        unreadable = constant.value in context.index.unreadable or twin.value in context.reference.unreadable
        if not unreadable and constant.tensor.size == twin.tensor.size > 0:
            with reading(constant.tensor) as found, reading(twin.tensor) as expected:
                a = np.asarray(found, np.float64).reshape(-1)
                b = np.asarray(expected, np.float64).reshape(-1)
                yield from _beyond(constant, a, b)
                yield from _faded(constant, a, b)


def _beyond(constant: Constant, found: Array, expected: Array) -> Iterator[Finding]:
    beyond = np.isfinite(expected) & (np.abs(expected) > LARGEST)
    # Infinity in the place of a number as large as a mask's is one more fault: zero times infinity is no number.
    if not beyond.any():
        return
    masks = beyond & (np.abs(expected) >= _STANDS_FOR_INFINITY) & np.isfinite(found)
    severity: Severity = "warning" if masks.sum() == beyond.sum() else "error"
    at = int(np.argmax(beyond & ~masks if severity == "error" else beyond))
    text = f"{found[at]:.6g} in the place of {expected[at]:.6g}, {int(beyond.sum()):,} of {found.size:,} beyond"
    yield report("OLX331", constant.where, f"numbers up to {LARGEST:,.0f}", text, severity=severity)


def _faded(constant: Constant, found: Array, expected: Array) -> Iterator[Finding]:
    """Say that a tensor's largest number is lost among the subnormal ones: then nothing of it is left."""
    at = int(np.argmax(np.where(np.isfinite(expected), np.abs(expected), 0.0)))
    largest = abs(float(expected[at]))
    if largest == 0 or largest > 1e-4 or abs(found[at] - expected[at]) <= _OFF * largest:
        return
    # A lone number near zero keeps something from being zero: what is larger keeps it as well.
    severity: Severity = "warning" if found.size == 1 and abs(found[at]) > largest else "error"
    text = f"{found[at]:.3g} for the largest, which is {expected[at]:.3g} in float32"
    yield report("OLX332", constant.where, "numbers that half precision tells from zero", text, severity=severity)


def check_half_coverage(context: Context) -> Iterator[Finding]:
    """No large weight of a model in half precision is left in float32 without a word."""
    if not context.halved or context.index.quantized:
        return
    for weight in float_weights(context.index):
        size = weight.constant.tensor.nbytes
        single = weight.constant.tensor.dtype == ir.DataType.FLOAT
        if single and weight.is_weight and size >= LARGE and context.exclusion(weight.node) is None:
            where = f"{context.index.where[weight.node]} ({weight.constant.name})"
            expected = f"a weight in half precision for {operator(weight.node)}, or an exclusion"
            yield report("OLX612", where, expected, f"{size:,} bytes of FLOAT")


def check_half_kept(context: Context) -> Iterator[Finding]:
    """What is kept in float32 is given float32."""
    if not context.halved or context.index.quantized:
        return
    precisions = Precisions(context.index)
    for place in context.index.places:
        if (
            context.exclusion(place.node) is None
            or place.node.domain not in ONNX_DOMAINS
            or place.node.op_type == "Cast"
        ):
            continue
        # What branches and bodies hold has a place of its own.
        if any(item.type == ir.AttributeType.GRAPH for item in place.node.attributes.values()):
            continue
        halves = [
            value.name or ""
            for value in place.node.inputs
            if value is not None and precisions.of(value) == ir.DataType.FLOAT16
        ]
        if halves:
            yield report("OLX333", place.where, "float32 inputs, as it is kept in float32", f"{halves[0]!r} in float16")


def check_casts(context: Context) -> Iterator[Finding]:
    """No value is cast to half precision only to be cast back."""
    precisions = Precisions(context.index)
    for place in context.index.places:
        giver = _cast(producer(input_of(place.node, 0)), ir.DataType.FLOAT16)
        if giver is None or _cast(place.node, ir.DataType.FLOAT) is None:
            continue
        if precisions.of(input_of(giver, 0)) == ir.DataType.FLOAT:
            yield _in_vain(context.index, place, giver)


def _cast(node: ir.Node | None, to: ir.DataType) -> ir.Node | None:
    if node is None or node.op_type != "Cast" or node.domain not in ONNX_DOMAINS:
        return None
    found = node.attributes.get("to")
    return node if found is not None and not found.is_ref() and found.value == to.value else None


def _in_vain(index: ModelIndex, place: Place, giver: ir.Node) -> Finding:
    value = input_of(giver, 0)
    name = repr(value.name) if value is not None else "its input"
    return report("OLX334", place.where, f"{name}, which is in float32, as it is", "it comes through float16")
