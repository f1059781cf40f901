"""Attributes of nodes in one form: defaults filled in, and inputs in the place of those that later opsets take as such."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from pytest_onnxlite.lint.likeness.tensors import AttributeValue, exact
from pytest_onnxlite.lint.likeness.terms import Term, constant
from pytest_onnxlite.lint.operators import ONNX_DOMAINS, quantized_operator

# What later opsets take as inputs, by the name that it had as an attribute: the first input's place is 1.
_MOVED: dict[str, tuple[str, ...]] = {
    "Clip": ("min", "max"),
    "Dropout": ("ratio",),
    "Pad": ("pads", "value"),
    "Reshape": ("shape",),
    "Slice": ("starts", "ends", "axes"),
    "Split": ("split",),
    "Squeeze": ("axes",),
    "TopK": ("k",),
    "Unsqueeze": ("axes",),
    "Upsample": ("scales",),
    **{
        f"Reduce{kind}": ("axes",)
        for kind in ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp")
    },
}
# Attributes that say what their inputs say.
_IMPLIED = {
    "Conv": ("kernel_shape",), "ConvTranspose": ("kernel_shape",), "Split": ("num_outputs",), "Dropout": ("seed",),
    "BatchNormalization": ("spatial", "is_test", "consumed_inputs", "momentum"),
}  # fmt: skip
_NOTHING = frozenset({"strides", "dilations", "pads", "output_padding", "auto_pad"})
_MERGED = {"FusedConv", "FusedGemm", "FusedMatMul"}


def modern(
    op: str, inputs: tuple[Term | None, ...], attributes: dict[str, AttributeValue]
) -> tuple[str, tuple[Term | None, ...], dict[str, AttributeValue]]:
    """Write an operator as later opsets do: with inputs in the place of some attributes."""
    names = _MOVED.get(op, ())
    whole = list(inputs)
    for position, name in enumerate(names, 1):
        value = attributes.pop(name, None)
        if value is None or (op == "Clip" and abs(value) > 3.4e38) or position < len(whole):
            continue
        kind = np.float32 if isinstance(value, float) or name == "scales" else np.int64
        whole += [None] * (position - len(whole))
        whole.append(constant(exact(np.array(value, kind), folded=False)))
    if op == "Pad" and len(whole) > 2 and whole[2] is not None and _is_zero(whole[2]):
        whole[2] = None
    if op == "Upsample":
        op, whole = "Resize", [whole[0], None, *whole[1:]]
    while whole and whole[-1] is None:
        whole.pop()
    return op, tuple(whole), attributes


def _is_zero(term: Term) -> bool:
    return term.tensor is not None and term.is_constant and term.tensor.size == 1 and not term.tensor.data().any()


@functools.cache
def _defaults(op_type: str, domain: str, opset: int) -> dict[str, AttributeValue]:
    try:
        schema = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return {}
    return {
        name: _value(ir.serde.deserialize_attribute(item.default_value))
        for name, item in schema.attributes.items()
        if item.default_value.type != onnx.AttributeProto.UNDEFINED
    }


def default(op: str, name: str, opset: int) -> Any:
    """Return what an attribute of an operator is where a node does not give it."""
    return _defaults(op, "", opset).get(name)


def _value(item: ir.Attr) -> Any:
    if item.type == ir.AttributeType.TENSOR:
        return exact(np.array(item.as_tensor().numpy()))
    value = item.value
    return tuple(value) if isinstance(value, (list, tuple)) else value


def plain_attributes(node: ir.Node, items: dict[str, ir.Attr], opset: int) -> dict[str, AttributeValue]:
    """Return a node's attributes, with defaults filled in and what says nothing left out."""
    op = node.op_type
    row = quantized_operator(node)
    if row is not None and row.name not in ("QuantizeLinear", "DequantizeLinear"):
        op = row.float_op or op
    elif node.op_type in _MERGED:
        op = node.op_type.removeprefix("Fused")
    domain = "" if node.domain in ONNX_DOMAINS or op != node.op_type else node.domain
    found = dict(_defaults(op, domain, opset if domain == "" and opset > 1 else onnx.defs.onnx_opset_version()))
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    found.update((name, _value(item)) for name, item in items.items() if item.type not in graphs)
    implied = _IMPLIED.get(op, ())
    return {
        name: value
        for name, value in found.items()
        if name not in implied and not (name in _NOTHING and _says_nothing(name, value))
    }


def _says_nothing(name: str, value: Any) -> bool:
    if name == "auto_pad":
        return value in ("NOTSET", "VALID")
    return all(item == (1 if name in ("strides", "dilations") else 0) for item in value)
