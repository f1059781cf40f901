"""One number for what a graph computes, whatever its names are and in which order its nodes are stored.

Converters number names through the life of a process, so that files of two conversions differ where graphs
do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import onnx_ir as ir

from pytest_onnxlite.errors import hide_mistakes
from pytest_onnxlite.lint.finding import GraphError
from pytest_onnxlite.lint.loading import ModelLike, asking, load_model
from pytest_onnxlite.lint.operators import ONNX_DOMAINS
from pytest_onnxlite.lint.signatures import signature_of

__tracebackhide__ = hide_mistakes


def canonical_digest(model: ModelLike) -> str:
    """Return a SHA-256 of a graph in canonical form, as hex digits.

    Names of nodes and of tensors inside do not count, nor does the order of nodes and initializers, what no
    output needs, metadata, or where weights are stored. Names, dtypes and shapes of inputs and outputs do,
    and so do operators, attributes, opset versions and weights.

    Raises:
        GraphError: the model cannot be read, its nodes are not sorted, or external data is missing or cut off.
    """
    loaded = load_model(model)
    with asking(loaded.label, "what it computes"):
        return _digest(loaded.require())


def _digest(ours: ir.Model) -> str:
    declared = signature_of(ours)
    shapes = [str(tensor) for tensor in (*declared.inputs, "|", *declared.outputs)]
    functions = {key: _graph(function.graph, {}, {}) for key, function in ours.functions.items()}
    versions = {node.domain for graph in ours.graphs() for node in graph}
    opsets = sorted(
        ("" if domain in ONNX_DOMAINS else domain, version)
        for domain, version in ours.opset_imports.items()
        if domain in versions or domain in ONNX_DOMAINS
    )
    return _hash(*shapes, repr(opsets), _graph(ours.graph, {}, functions))


def _graph(graph: ir.Graph, outer: Mapping[ir.Value, str], functions: Mapping[ir.OperatorIdentifier, str]) -> str:
    known = dict(outer)
    for position, value in enumerate(graph.inputs):
        known[value] = _hash("input", str(len(outer)), str(position))
    for value in graph.initializers.values():
        if value.const_value is not None:
            known[value] = _tensor(value.const_value)
    for node in graph:
        try:
            inputs = ["" if value is None else known[value] for value in node.inputs]
        except KeyError as error:
            raise GraphError(f"{node.name}: reads {error} before it is produced. Sort the nodes first.") from None
        attributes = [_attribute(item, known, functions) for _, item in sorted(node.attributes.items())]
        domain = "" if node.domain in ONNX_DOMAINS else node.domain
        constant = node.op_type == "Constant" and "value" in node.attributes
        own = _hash(domain, node.op_type, functions.get(node.op_identifier(), ""), *inputs, "|", *attributes)
        for position, value in enumerate(node.outputs):
            # A tensor in a Constant node is the tensor that it would be as an initializer.
            known[value] = _tensor(node.attributes["value"].as_tensor()) if constant else _hash(own, str(position))
    return _hash(*(known[value] for value in graph.outputs))


def _attribute(item: ir.Attr, known: Mapping[ir.Value, str], functions: Mapping[ir.OperatorIdentifier, str]) -> str:
    if item.is_ref():
        return _hash(item.name, "ref", str(item.ref_attr_name))
    if item.type == ir.AttributeType.GRAPH:
        return _hash(item.name, _graph(item.as_graph(), known, functions))
    if item.type == ir.AttributeType.GRAPHS:
        return _hash(item.name, *(_graph(graph, known, functions) for graph in item.as_graphs()))
    if item.type == ir.AttributeType.TENSOR:
        return _hash(item.name, _tensor(item.as_tensor()))
    return _hash(item.name, item.type.name, repr(item.value))


def _tensor(tensor: ir.TensorProtocol) -> str:
    return _hash(tensor.dtype.name, str(tensor.shape), hashlib.sha256(tensor.tobytes()).hexdigest())


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
