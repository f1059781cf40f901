"""The same graph in another place: in a branch, in a loop's body, in a function; with its weights in a file next to it."""

from __future__ import annotations

from pathlib import Path

import onnx
from graph_models import value
from onnx import TensorProto, helper

PLACES = ("top level", "If", "Loop", "function")


def placed(model: onnx.ModelProto, place: str) -> onnx.ModelProto:
    """Return a model that gives `out`, for which it computes all of another one in a place of its own."""
    if place == "top level":
        return model
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    inner, inputs = onnx.GraphProto(), list(model.graph.input)
    inner.CopyFrom(model.graph)
    del inner.input[:]
    dims = [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    weights: list[onnx.TensorProto] = []
    if place == "If":
        node = helper.make_node("If", ["choice"], ["out"], "if", then_branch=inner, else_branch=inner)
        inputs.append(value("choice", [], TensorProto.BOOL))
    elif place == "Loop":
        go = helper.make_node("Identity", ["go"], ["go_on"], "go_on")
        inner.node.append(go)
        inner.input.extend([value("turn", [], TensorProto.INT64), value("go", [], TensorProto.BOOL)])
        inner.output.insert(0, value("go_on", [], TensorProto.BOOL))
        node = helper.make_node("Loop", ["turns", ""], ["out"], "repeat", body=inner)
        weights.append(helper.make_tensor("turns", TensorProto.INT64, [], [1]))
        dims = ["turns", *dims]
    else:
        stored = [helper.make_node("Constant", [], [t.name], f"{t.name} stored", value=t) for t in inner.initializer]
        function = helper.make_function(
            "local", "inner", ["x"], ["y"], [*stored, *inner.node], [o for o in model.opset_import if o.domain == ""]
        )
        moved.functions.append(function)
        moved.opset_import.append(helper.make_opsetid("local", 1))
        node = helper.make_node("inner", ["x"], ["out"], "call", domain="local")
    graph = helper.make_graph([node], "outer", inputs, [value("out", dims)], weights)
    moved.graph.CopyFrom(graph)
    return moved


def with_external_data(model: onnx.ModelProto, folder: Path, name: str) -> Path:
    """Save a model with its tensors in a file next to it, those of subgraphs and functions included."""
    path = folder / f"{name}.onnx"
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.save(
        copy,
        path,
        save_as_external_data=True,
        location=f"{name}.bin",
        size_threshold=64,
        convert_attribute=True,
    )
    return path
