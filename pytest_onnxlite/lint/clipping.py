"""Relu and Clip that the quantizer left to the range of the integers behind them."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from pytest_onnxlite.lint.context import Subject
from pytest_onnxlite.lint.finding import Finding, report
from pytest_onnxlite.lint.model_index import Array, Place, View, attribute, input_of, scalar_or_vector

_INFINITE = float("inf")
# What the quantizer adds to the name of a tensor that it quantizes, or that is the graph's output.
_SUFFIXES = ("_quantized", "_QuantizeLinear_Input")


def check_limits(subject: Subject) -> Iterator[Finding]:
    """Where a Relu or Clip of the float model is gone, the integers' range cuts off what it cut off."""
    if subject.reference is None:
        return
    limits = {}
    for place in subject.reference.places:
        limit = _limit(subject.reference, place)
        if limit is not None:
            limits[place.path, place.node.outputs[0].name or ""] = limit
    kept = {value.name for place in subject.view.places if _is_limit(place) for value in place.node.outputs}
    for quantity in subject.quantities.of_role("activation"):
        node = quantity.place.node
        value = input_of(node, 0) if node.op_type == "QuantizeLinear" else quantity.data
        name = (value.name if value is not None else None) or ""
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
        limit = limits.get((quantity.place.path, name))
        ends = _ends(subject.view, quantity.data, quantity.scale, quantity.zero_point)
        if limit is None or name in kept or ends is None:
            continue
        (low, high), step = ends
        if low < limit[0] - step / 2 or high > limit[1] + step / 2:
            expected = f"integers that reach from {limit[0]:g} to {limit[1]:g}, as {name!r} does in float"
            yield report("OLX505", quantity.place.where, expected, f"{low:.4g} to {high:.4g}")


def _is_limit(place: Place) -> bool:
    return place.node.op_type in ("Relu", "Clip")


def _limit(view: View, place: Place) -> tuple[float, float] | None:
    """Return between which values a Relu or Clip keeps a tensor, None for another node or computed limits."""
    node = place.node
    if node.op_type == "Relu":
        return 0.0, _INFINITE
    if node.op_type != "Clip":
        return None
    found = []
    for slot, name, default in ((1, "min", -_INFINITE), (2, "max", _INFINITE)):
        value = input_of(node, slot)
        constant = view.readable(value)
        if value is not None and constant is None:
            return None
        known = None if constant is None else scalar_or_vector(constant.tensor)
        found.append(attribute(node, name, default) if known is None else float(known[0]))
    return found[0], found[1]


def _ends(
    view: View, data: ir.Value | None, scale: ir.Value | None, zero_point: ir.Value | None
) -> tuple[tuple[float, float], float] | None:
    """Return the smallest and largest number that a tensor's integers stand for, and the step between two."""
    s, z = _scalar(view, scale), _scalar(view, zero_point)
    dtype = zero_point.dtype if zero_point is not None else data.dtype if data is not None else None
    if s is None or dtype is None or (z is None and zero_point is not None) or not dtype.is_integer():
        return None
    zero = 0.0 if z is None else float(z[0])
    step = float(s[0])
    return (step * (float(dtype.min) - zero), step * (float(dtype.max) - zero)), step


def _scalar(view: View, value: ir.Value | None) -> Array | None:
    constant = view.readable(value)
    return scalar_or_vector(constant.tensor) if constant is not None and constant.tensor.size == 1 else None
