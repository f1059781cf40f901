"""Tables in which a model looks words up, and by which, turned around, it multiplies: one weight, to be stored once.

ONNX Runtime's preparation folds the Transpose of such a table into a copy, and its quantizer makes a copy of what a Gemm reads
transposed. Each is quantized by itself. Here the copy's integers are taken from the table again, through a Transpose that a
runtime folds as it loads.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx

from pytest_onnxlite.lint.protobuf import graphs

# How the quantizer calls what belongs to a tensor.
_INTEGERS, _PARAMETERS = "_quantized", ("_scale", "_zero_point")
# Smaller tables are not worth a node.
_LEAST = 1024


def untie(prepared: onnx.ModelProto) -> bool:
    """Give each Gemm that multiplies by a table, transposed, a copy of its own; return whether one was given.

    With a scale for each word, the quantizer would write those for what is looked up too, where they fit nothing; and a Gemm
    that is to stay float would read what it quantized for the other (seen with ONNX Runtime 1.32).
    """
    return _give_copies(prepared.graph, _looked_up(prepared.graph))


def untie_shared(prepared: onnx.ModelProto) -> None:
    """Give the Gemms that multiply by a weight, transposed, that something else reads too, a copy of their own.

    Where a Gemm becomes a MatMul the weight itself is transposed, once for each Gemm, whoever reads it (seen with ONNX Runtime
    1.24 to 1.30).
    """
    read: Counter[str] = Counter()
    for graph in graphs(prepared.graph):
        read.update(name for node in graph.node for name in node.input)
        read.update(value.name for value in graph.output)
    _give_copies(prepared.graph, {name for name, count in read.items() if count > 1})


def _give_copies(top: onnx.GraphProto, names: set[str]) -> bool:
    """Give the Gemms that multiply by one of these weights, transposed, a transposed copy; return whether one was given."""
    stored = {tensor.name: (graph, tensor) for graph in graphs(top) for tensor in graph.initializer}
    nodes = [node for graph in graphs(top) for node in graph.node]
    taken = {*stored, *(name for node in nodes for name in (*node.input, *node.output))}
    names = names & stored.keys()
    given: dict[str, str] = {}
    for node in nodes:
        turned = next((attribute for attribute in node.attribute if attribute.name == "transB"), None)
        if node.op_type != "Gemm" or turned is None or not turned.i or node.input[1] not in names:
            continue
        graph, tensor = stored[node.input[1]]
        if tensor.name not in given:
            name = f"{tensor.name}_Transposed"
            while name in taken:
                name += "_"
            given[tensor.name] = name
            values = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor).T)
            graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        node.input[1] = given[tensor.name]
        node.attribute.remove(turned)
    return bool(given)


def find_copies(prepared: onnx.ModelProto) -> dict[str, str]:
    """Return the tables by the names of their transposed copies."""
    looked_up = _looked_up(prepared.graph)
    tables = [tensor for tensor in prepared.graph.initializer if tensor.name in looked_up]
    if not tables:
        return {}
    multiplied = {node.input[1] for node in prepared.graph.node if node.op_type in ("Gemm", "MatMul")}
    found = {}
    for tensor in prepared.graph.initializer:
        if tensor.name not in multiplied or tensor.name in looked_up or not _is_table(tensor):
            continue
        for table in tables:
            if list(table.dims) == list(tensor.dims)[::-1]:
                one, other = (onnx.numpy_helper.to_array(item) for item in (table, tensor))
                if np.array_equal(one.T, other):
                    found[tensor.name] = table.name
                    break
    return found


def share(quantized: onnx.ModelProto, prepared: onnx.ModelProto) -> list[str]:
    """Store the integers of tables and their transposed copies once; return a note for each copy."""
    graph = quantized.graph
    notes = []
    for copy, table in find_copies(prepared).items():
        stored = {tensor.name: tensor for tensor in graph.initializer}
        names = [copy + _INTEGERS, table + _INTEGERS, *(name + end for name in (copy, table) for end in _PARAMETERS)]
        if any(name not in stored or stored[name].external_data for name in names):
            continue  # one of them was left in float
        if any(np.prod(stored[table + end].dims) != 1 for end in _PARAMETERS):
            continue  # scales for each word cannot be those of what is multiplied
        renamed = {copy + end: table + end for end in _PARAMETERS}
        for inner in graphs(graph):
            for node in inner.node:
                _rename(node, renamed, names[0])
        gone = {names[0], *renamed}
        rest = [tensor for tensor in graph.initializer if tensor.name not in gone]
        del graph.initializer[:]
        graph.initializer.extend(rest)
        graph.node.insert(
            0, onnx.helper.make_node("Transpose", [names[1]], [names[0]], f"{names[0]}_Transpose", perm=[1, 0])
        )
        _fit_biases(graph, prepared.graph, names[0])
        notes.append(
            f"{table} and its transposed copy {copy} are stored once, in the type and with the scale of what is looked up"
        )
    return notes


def _rename(node: onnx.NodeProto, renamed: dict[str, str], integers: str) -> None:
    """Give a node other parameters; one that dequantizes the copy has no scale for each channel any more."""
    if integers in node.input and node.op_type == "DequantizeLinear":
        kept = [attribute for attribute in node.attribute if attribute.name != "axis"]
        del node.attribute[:]
        node.attribute.extend(kept)
    for position, name in enumerate(node.input):
        node.input[position] = renamed.get(name, name)


def _fit_biases(graph: onnx.GraphProto, prepared: onnx.GraphProto, integers: str) -> None:
    """Store the biases of products by the copy anew: their scale is the input's times the weight's, which is another now."""
    givers = {name: node for node in graph.node for name in node.output}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    floats = {tensor.name: tensor for tensor in prepared.initializer}
    for node in graph.node:
        if node.op_type == "QGemm" and node.input[3] == integers and node.input[6]:
            scales, bias = (node.input[1], node.input[4]), node.input[6]
        elif node.op_type == "Gemm" and len(node.input) > 2 and all(name in givers for name in node.input):
            one, weight, back = (givers[name] for name in node.input)
            if weight.input[0] != integers or "DequantizeLinear" not in (one.op_type, back.op_type):
                continue
            scales, bias = (one.input[1], weight.input[1]), back.input[0]
        else:
            continue
        scale = np.prod([onnx.numpy_helper.to_array(stored[name]).reshape(()) for name in scales], dtype=np.float32)
        values = onnx.numpy_helper.to_array(floats[bias.removesuffix(_INTEGERS)])
        limits = np.iinfo(np.int32)
        rounded = np.clip(np.rint(values.astype(np.float64) / scale), limits.min, limits.max).astype(np.int32)
        fitted = {bias: rounded}
        if node.op_type == "Gemm":
            fitted |= {back.input[1]: np.float32(scale).reshape(1), back.input[2]: np.zeros(1, np.int32)}
            _rename(back, {}, bias)
        for name, array in fitted.items():
            stored[name].CopyFrom(onnx.numpy_helper.from_array(np.asarray(array), name))


def _looked_up(graph: onnx.GraphProto) -> set[str]:
    """Return the stored tables that a Gather reads."""
    read = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    return {tensor.name for tensor in graph.initializer if tensor.name in read and _is_table(tensor)}


def _is_table(tensor: onnx.TensorProto) -> bool:
    kind = tensor.data_type == onnx.TensorProto.FLOAT and not tensor.external_data
    return kind and len(tensor.dims) == 2 and tensor.dims[0] * tensor.dims[1] * 4 >= _LEAST
