"""Relu and Clip that the quantizer left to the range of the integers behind them."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.finding import Finding, report
from pytest_onnxlite.lint.model_index import Array, ModelIndex, Place, attribute, input_of, scalar_or_vector

_INFINITE = float("inf")
# What the quantizer adds to the name of a tensor that it quantizes, or that is the graph's output.
_SUFFIXES = ("_quantized", "_QuantizeLinear_Input")


def check_clipping(context: Context) -> Iterator[Finding]:
    """Where a Relu or Clip of the float model is gone, the integers' range cuts off what it cut off."""
    if context.reference is None:
        return
    intervals = {}
    for place in context.reference.places:
        interval = _interval(context.reference, place)
        if interval is not None:
            intervals[place.path, place.node.outputs[0].name or ""] = interval
    kept = {_float_name(value) for place in context.index.places if _is_clipping(place) for value in place.node.outputs}
    for quantized in context.quantized_tensors.of_role("activation"):
        node = quantized.place.node
        value = input_of(node, 0) if node.op_type == "QuantizeLinear" else quantized.data
        name = _float_name(value)
        interval = intervals.get((quantized.place.path, name))
        ends = _ends(context.index, quantized.data, quantized.scale, quantized.zero_point)
        if interval is None or name in kept or ends is None:
            continue
        (low, high), step = ends
        if low < interval[0] - step / 2 or high > interval[1] + step / 2:
            expected = f"a range from {interval[0]:g} to {interval[1]:g}, as {name!r} has in float"
            yield report("OLX505", quantized.place.where, expected, f"{low:.4g} to {high:.4g}")


def _float_name(value: ir.Value | None) -> str:
    """Return what a tensor is called in the float model."""
    name = (value.name if value is not None else None) or ""
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _is_clipping(place: Place) -> bool:
    return place.node.op_type in ("Relu", "Clip")


def _interval(index: ModelIndex, place: Place) -> tuple[float, float] | None:
    """Return between which values a Relu or Clip keeps a tensor, None for another node or computed intervals."""
    node = place.node
    if node.op_type == "Relu":
        return 0.0, _INFINITE
    if node.op_type != "Clip":
        return None
    found = []
    for slot, name, default in ((1, "min", -_INFINITE), (2, "max", _INFINITE)):
        value = input_of(node, slot)
        constant = index.readable(value)
        if value is not None and constant is None:
            return None
        known = None if constant is None else scalar_or_vector(constant.tensor)
        found.append(attribute(node, name, default) if known is None else float(known[0]))
    return found[0], found[1]


def _ends(
    index: ModelIndex, data: ir.Value | None, scale: ir.Value | None, zero_point: ir.Value | None
) -> tuple[tuple[float, float], float] | None:
    """Return the smallest and largest number that a tensor's integers stand for, and the step between two."""
    s, z = _scalar(index, scale), _scalar(index, zero_point)
    dtype = zero_point.dtype if zero_point is not None else data.dtype if data is not None else None
    if s is None or dtype is None or (z is None and zero_point is not None) or not dtype.is_integer():
        return None
    zero = 0.0 if z is None else float(z[0])
    step = float(s[0])
    return (step * (float(dtype.min) - zero), step * (float(dtype.max) - zero)), step


def _scalar(index: ModelIndex, value: ir.Value | None) -> Array | None:
    constant = index.readable(value)
    return scalar_or_vector(constant.tensor) if constant is not None and constant.tensor.size == 1 else None
