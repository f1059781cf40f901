"""Nodes that were exported as they train: their answers depend on the rest of the batch, or on chance."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.finding import Finding, report
from pytest_onnxlite.lint.model_index import ModelIndex, Place, input_of, reading
from pytest_onnxlite.lint.operators import ONNX_DOMAINS

_NORMALIZATION = "BatchNormalization"
_MODE = "training_mode"
# What a constant may pass through on its way.
_WRAPPERS = frozenset({"Cast", "Identity", "Not"})
# Where a Dropout is told how much to drop, and that it trains; ONNX Runtime's fused forms take more in front.
_DROPOUTS = {"Dropout": (1, 2), "BitmaskDropout": (1, 2), "BiasDropout": (3, 4), "BitmaskBiasDropout": (3, 4)}


def check_training(context: Context) -> Iterator[Finding]:
    """No node normalizes by the statistics of its batch, and none drops values by chance."""
    index = context.index
    for place in index.places:
        node = place.node
        found = ""
        if node.op_type == _NORMALIZATION and node.domain in ONNX_DOMAINS:
            found = _normalizes_by_batch(index, place)
        elif node.op_type in _DROPOUTS and (node.domain in ONNX_DOMAINS or node.domain == "com.microsoft"):
            found = _drops(index, place)
        if found:
            yield report("OLX119", place.where, f"{place.op} as it is in inference", found)


def _normalizes_by_batch(index: ModelIndex, place: Place) -> str:
    if any(_given(index, place, _MODE, ())):
        return f"{_MODE}=1, which normalizes by the statistics of each batch"
    # Until opset 13 the form of training was told by its further outputs.
    if _opset(index, place.node) < 14 and any(value.name for value in place.node.outputs[1:]):
        return (
            f"{len(place.node.outputs)} outputs, the form of training, which normalizes by the statistics of each batch"
        )
    return ""


def _drops(index: ModelIndex, place: Place) -> str:
    ratio, mode = (input_of(place.node, slot) for slot in _DROPOUTS[place.node.op_type])
    # Half of the values, if nothing else is said.
    share = max(_constants(index, place, ratio, ()), default=0.5)
    if share > 0 and any(_constants(index, place, mode, ())):
        return f"{_MODE} is true, which drops {share:.0%} of the values by chance in each run"
    return ""


def _opset(index: ModelIndex, node: ir.Node) -> int:
    """Return the version of ONNX's own operators at a node: a function imports its own."""
    imports = node.graph.opset_imports if node.graph is not None else {}
    return max((imports.get(domain, 0) for domain in ONNX_DOMAINS), default=0) or index.opset


# Both go from a function to who calls it; `seen` are the functions on the way, since a broken file may call in circles.


def _given(index: ModelIndex, place: Place, name: str, seen: tuple[ir.Function, ...]) -> Iterator[float]:
    """Yield what an attribute is, in a function what each caller says."""
    found = place.node.attributes.get(name)
    function = index.function_of(place)
    if found is not None and not found.is_ref():
        yield found.value
    elif found is not None and found.ref_attr_name and function is not None and function not in seen:
        default = function.attributes.get(found.ref_attr_name)
        for call in index.calls(function):
            if found.ref_attr_name in call.node.attributes:
                yield from _given(index, call, found.ref_attr_name, (*seen, function))
            elif default is not None and default.value is not None:
                yield default.value


def _constants(
    index: ModelIndex, place: Place, value: ir.Value | None, seen: tuple[ir.Function, ...]
) -> Iterator[float]:
    """Yield what a single stored number is, in a function what each caller gives; nothing for a computed one."""
    turned = False
    while value is not None and (giver := value.producer()) is not None and giver.op_type in _WRAPPERS:
        turned ^= giver.op_type == "Not"
        value = input_of(giver, 0)
    stored = index.readable(value)
    if stored is not None and stored.tensor.size == 1:
        with reading(stored.tensor) as values:
            number = float(values.reshape(-1)[0])
        yield float(not number) if turned else number
    function = index.function_of(place)
    if value is not None and function is not None and function not in seen and value in function.inputs:
        at = list(function.inputs).index(value)
        for call in index.calls(function):
            for number in _constants(index, call, input_of(call.node, at), (*seen, function)):
                yield float(not number) if turned else number
