"""The one walk over stored models.

Everything that asks about a sound graph walks it as onnx-ir has it. Two things cannot: looking for names that are there
twice, which onnx-ir refuses, and changing what ONNX Runtime's quantizer takes and gives, which are protobufs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import onnx

from pytest_onnxlite.errors import hide_mistakes
from pytest_onnxlite.files import kind_of, problem_with
from pytest_onnxlite.lint.finding import GraphError
from pytest_onnxlite.lint.operators import quantized_operator
from pytest_onnxlite.text import first_line

__tracebackhide__ = hide_mistakes

Owner: TypeAlias = "onnx.GraphProto | onnx.FunctionProto"


def load_graph(path: Path) -> onnx.ModelProto:
    """Read a model without its external data.

    Raises:
        GraphError: it cannot be read or is no ONNX model.
    """
    try:
        problem = problem_with(path)
        if problem:
            raise GraphError(f"{path} {problem}.")
        proto: onnx.ModelProto = onnx.load(path, load_external_data=False)
        # Protobuf reads an empty file, and many a foreign one, as an empty message.
        reason = "" if proto.HasField("graph") and proto.ir_version else "it has no graph or no ir_version"
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from None
    except GraphError:
        raise
    except Exception as error:  # parsers of protobuf, textproto and JSON each raise their own
        reason = first_line(error)
    if reason:
        kind = kind_of(path)
        said = f"it looks like {kind}" if kind else f"it may be cut off ({reason})"
        raise GraphError(
            f"{path} ({path.stat().st_size} bytes) is not an ONNX model: {said}. Check the path, the download or the export."
        )
    return proto


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """Yield a node's subgraphs with what they are called in a path, such as `then_branch`."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        for position, graph in enumerate(attribute.graphs):
            yield f"{attribute.name}[{position}]", graph


def walk(owner: Owner, path: str = "") -> Iterator[tuple[str, Owner]]:
    """Yield a graph, or a function, and its subgraphs with their paths, outer before inner."""
    yield path, owner
    for node in owner.node:
        for name, graph in subgraphs(node):
            yield from walk(graph, f"{path}{node.name or node.op_type}/{name}/")


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and its subgraphs, outer before inner."""
    for _, inner in walk(graph):
        assert isinstance(inner, onnx.GraphProto)
        yield inner


def nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node of a model, those of subgraphs and functions included."""
    for owner in (model.graph, *model.functions):
        for _, inner in walk(owner):
            yield from inner.node


def operators(path: Path) -> set[str]:
    """Return the operators of an ONNX file, those of subgraphs and functions included.

    Raises:
        GraphError: see `load_graph`.
    """
    return {node.op_type for node in nodes(load_graph(path))}


def is_quantized(model: onnx.ModelProto) -> bool:
    """Tell whether a model has any operator of quantization, its subgraphs and functions included."""
    return any(quantized_operator(node) is not None for node in nodes(model))


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of a model: the initializers, and what nodes have as attributes."""
    for graph in graphs(model.graph):
        yield from graph.initializer
    for node in nodes(model):
        for attribute in node.attribute:
            yield from (attribute.t,) if attribute.HasField("t") else attribute.tensors
