"""A branch of an If, or the body of a Loop or Scan, as a model of its own that can be run and looked into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from pytest_onnxlite.explain.matching import Index
from pytest_onnxlite.lint import protobuf
from pytest_onnxlite.lint.model_index import Array

Feeds = dict[str, Array]


def free_names(graph: onnx.GraphProto) -> set[str]:
    """Return the names that a subgraph, and what lies within it, reads from outside."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    read = {name for node in graph.node for name in node.input if name}
    read |= {value.name for value in graph.output}
    for node in graph.node:
        for _, inner in protobuf.subgraphs(node):
            read |= free_names(inner)
    return read - own


@dataclass(frozen=True)
class Subgraph:
    """A subgraph of a node.

    Attributes:
        node: the node.
        attribute: where the subgraph is: `then_branch`, `else_branch`, `body`.
        graph: the subgraph.
    """

    node: onnx.NodeProto
    attribute: str
    graph: onnx.GraphProto

    def wanted(self) -> set[str]:
        """Return the names of the outer tensors that are needed to run it."""
        names = free_names(self.graph)
        return names | {name for name in self.node.input if name}

    def is_taken(self, values: Mapping[str, Array]) -> bool:
        """Tell whether it runs: of an If's two branches one does."""
        if self.node.op_type != "If":
            return True
        positive = bool(np.asarray(values[self.node.input[0]]).reshape(-1)[0])
        return positive == (self.attribute == "then_branch")

    def own_inputs(self, values: Mapping[str, Array]) -> Feeds:
        """Return what the subgraph's own inputs hold: of a Loop or Scan, in the first iteration."""
        names = [value.name for value in self.graph.input]
        if self.node.op_type == "Loop":
            carried = [values[name] for name in self.node.input[2:]]
            return dict(zip(names, [np.array(0, np.int64), np.array(True), *carried], strict=True))
        if self.node.op_type == "Scan":
            options = {attribute.name: attribute for attribute in self.node.attribute}
            scanned = options["num_scan_inputs"].i
            given = [values[name] for name in self.node.input]
            axes = list(options["scan_input_axes"].ints) if "scan_input_axes" in options else [0] * scanned
            states, slices = given[: len(given) - scanned], given[len(given) - scanned :]
            firsts = [np.take(array, 0, axis=axis) for array, axis in zip(slices, axes, strict=True)]
            return dict(zip(names, [*states, *firsts], strict=True))
        return {}


def subgraphs(node: onnx.NodeProto) -> list[Subgraph]:
    """Return the subgraphs of a node."""
    return [Subgraph(node, name, graph) for name, graph in protobuf.subgraphs(node)]


def extract(
    model: onnx.ModelProto, outer: Index, subgraph: Subgraph, values: Mapping[str, Array]
) -> tuple[onnx.ModelProto, Feeds]:
    """Make a model of a subgraph.

    Args:
        model: the model that it lies in, for its opsets and functions.
        outer: the graph around it.
        subgraph: the subgraph.
        values: the outer tensors that it needs, by name.

    Returns:
        The model, and what it is fed with.
    """
    feeds = subgraph.own_inputs(values)
    graph = onnx.GraphProto()
    graph.CopyFrom(subgraph.graph)
    del graph.input[:]
    del graph.value_info[:]
    for name in sorted(free_names(subgraph.graph)):
        if name in outer.constants:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(outer.constants[name])
            tensor.name = name
            graph.initializer.append(tensor)
        else:
            feeds[name] = values[name]
    for name, value in feeds.items():
        graph.input.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None))
    extracted = onnx.ModelProto()
    extracted.ir_version = model.ir_version
    extracted.opset_import.extend(model.opset_import)
    extracted.functions.extend(model.functions)
    extracted.graph.CopyFrom(graph)
    extracted.graph.name = graph.name or "body"
    return extracted, feeds
