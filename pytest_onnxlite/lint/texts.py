"""Which texts a graph can answer with: those that its file holds, unless it makes others."""

from __future__ import annotations

import onnx

from pytest_onnxlite.lint import protobuf
from pytest_onnxlite.lint.operators import ONNX_DOMAINS

_ML = "ai.onnx.ml"
# Operators of ONNX's own whose texts stand in no file.
_MAKERS = frozenset({"StringConcat", "StringNormalizer", "StringSplit"})


def held_texts(model: onnx.ModelProto) -> frozenset[str] | None:
    """Return the texts that a model holds, of which those that it answers are some; None if it may answer others too.

    It may if texts, or what is no tensor, are put into it, and if an operator makes texts, or is none of ONNX's.
    """
    functions = {(function.domain, function.name) for function in model.functions}
    if any(value.type.tensor_type.elem_type in (0, onnx.TensorProto.STRING) for value in model.graph.input):
        return None
    found: set[bytes] = set()
    for node in protobuf.nodes(model):
        is_known = node.domain in (*ONNX_DOMAINS, _ML) or (node.domain, node.op_type) in functions
        if not is_known or node.op_type in _MAKERS or (node.op_type == "Cast" and _to(node) == onnx.TensorProto.STRING):
            return None
        for attribute in node.attribute:
            found.update((attribute.s, *attribute.strings))
    for tensor in protobuf.tensors(model):
        found.update(tensor.string_data)
    return frozenset(text.decode(errors="replace") for text in found)


def _to(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "to"), 0)
