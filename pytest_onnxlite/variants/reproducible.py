"""One form for a converted model, so that converting twice gives the same bytes.

TensorFlow and tf2onnx number names and dims through the whole life of a process.
"""

from __future__ import annotations

import re

import onnx

from pytest_onnxlite.lint.operators import ONNX_DOMAINS
from pytest_onnxlite.lint.protobuf import graphs, nodes

_COUNTER = re.compile(r"__(\d+)(?!\d)")


def canonicalize(model: onnx.ModelProto) -> None:
    """Renumber generated names in the order they appear, name the dynamic dims, drop unused opset imports.

    Inputs and outputs keep their names; the first dim of each, where dynamic, is called `batch`.
    """
    for value in (*model.graph.input, *model.graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                dim.dim_param = "batch" if axis == 0 else f"{value.name}_dim{axis}"
    # It counts the functions that were converted in this process.
    model.graph.doc_string = ""
    # Shapes in between carry generated dims, and every tool infers them anew.
    del model.graph.value_info[:]
    _renumber(model.graph)
    drop_unused_opsets(model)


def drop_unused_opsets(model: onnx.ModelProto) -> None:
    """Remove the opset imports whose domain no node uses."""
    used = {_domain(node.domain) for node in nodes(model)}
    kept = [entry for entry in model.opset_import if _domain(entry.domain) in used or _domain(entry.domain) == ""]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _domain(name: str) -> str:
    return "" if name in ONNX_DOMAINS else name


def _renumber(top: onnx.GraphProto) -> None:
    """Rename by order of use, not by how the converter came to a name, and store initializers in that order."""
    fixed = {value.name for value in (*top.input, *top.output)}
    # Of equal constants tf2onnx keeps one at random, under its own name.
    constants = {tensor.name for graph in graphs(top) for tensor in graph.initializer if _COUNTER.search(tensor.name)}
    numbers: dict[str, str] = {}
    names: dict[str, str] = {}

    def renamed(name: str) -> str:
        if name in fixed:
            return name
        if name not in names:
            if name in constants:
                names[name] = f"const__{sum(n in constants for n in names)}"
            else:
                names[name] = _COUNTER.sub(lambda m: "__" + numbers.setdefault(m.group(1), str(len(numbers))), name)
        return names[name]

    for graph in graphs(top):
        for node in graph.node:
            node.name = renamed(node.name)
            for field in (node.input, node.output):
                field[:] = [renamed(name) for name in field]
        for item in (*graph.input, *graph.output):
            item.name = renamed(item.name)
    order = {name: position for position, name in enumerate(names.values())}
    for graph in graphs(top):
        for tensor in graph.initializer:
            tensor.name = renamed(tensor.name)
        ordered = sorted(graph.initializer, key=lambda tensor: order.get(tensor.name, len(order)))
        del graph.initializer[:]
        graph.initializer.extend(ordered)
