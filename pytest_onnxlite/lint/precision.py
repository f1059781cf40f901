"""Whether values are in single or in half precision, told from what the graph stores, is given and casts."""

from __future__ import annotations

import onnx_ir as ir

from pytest_onnxlite.lint.model_index import ModelIndex
from pytest_onnxlite.lint.operators import ONNX_DOMAINS

HALF = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
# Operators whose outputs are no floats, whatever they read.
_OTHERS = frozenset(
    {
        "And", "ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "NonZero",
        "Not", "Or", "Shape", "Size", "Xor",
    }
)  # fmt: skip


def has_half(index: ModelIndex) -> bool:
    """Tell whether a model stores tensors in half precision, or casts to it."""
    if any(constant.tensor.dtype in HALF for constant in index.constants):
        return True
    casts = (place.node.attributes.get("to") for place in index.places if place.node.op_type == "Cast")
    return any(to is not None and not to.is_ref() and to.value in {item.value for item in HALF} for to in casts)


class Precisions:
    """The float types of a model's values."""

    def __init__(self, index: ModelIndex) -> None:
        self._index = index
        self._known: dict[ir.Value, ir.DataType | None] = {}

    def of(self, value: ir.Value | None) -> ir.DataType | None:
        """Return a value's float type; None for one that is no float, or of which nobody can tell."""
        if value is None:
            return None
        waiting = [value]
        while waiting:
            one = waiting[-1]
            if one in self._known:
                waiting.pop()
                continue
            asked = self._asks(one)
            missing = [other for other in asked if other not in self._known and other not in waiting]
            if missing:
                waiting.append(missing[0])
                continue
            self._known[one] = self._tell(one, asked)
            waiting.pop()
        return self._known[value]

    def _asks(self, value: ir.Value) -> list[ir.Value]:
        """Return the values that a value's type follows from."""
        node = value.producer()
        if node is None or self._index.constant(value) is not None or node.op_type in ("Cast", *_OTHERS):
            return []
        if node.domain not in ONNX_DOMAINS or node.op_type in ("If", "Loop", "Scan"):
            return []
        return [given for given in node.inputs if given is not None]

    def _tell(self, value: ir.Value, asked: list[ir.Value]) -> ir.DataType | None:
        constant = self._index.constant(value)
        if constant is not None:
            return constant.tensor.dtype if constant.tensor.dtype.is_floating_point() else None
        node = value.producer()
        if node is not None and node.op_type == "Cast" and node.domain in ONNX_DOMAINS:
            to = node.attributes.get("to")
            found = ir.DataType(to.value) if to is not None and not to.is_ref() else None
            return found if found is not None and found.is_floating_point() else None
        if node is None or not asked:
            known = value.dtype
            declared = known if known is not None and known.is_floating_point() else None
            return declared if node is None or node.op_type not in _OTHERS else None
        return next((self._known[one] for one in asked if self._known.get(one) is not None), None)
