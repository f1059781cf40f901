"""From float32 to half precision, by ONNX Runtime's converter, and from half precision back to float32."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint.protobuf import graphs, load_graph, nodes, subgraphs, tensors
from pytest_onnxlite.spec.recipes import Float16, recipe_text
from pytest_onnxlite.text import first_line, shortened
from pytest_onnxlite.variants.notes import RecipeNotes
from pytest_onnxlite.variants.preparation import IN_ONE_FILE, settle
from pytest_onnxlite.variants.refusals import match_exclusions
from pytest_onnxlite.variants.reproducible import drop_unused_opsets
from pytest_onnxlite.variants.silence import silence

# Half precision holds no larger number.
LARGEST = float(np.finfo(np.float16).max)
# What is as large as this is no weight, but stands for infinity, as in masks; the converter writes the largest number there.
STANDS_FOR_INFINITY = 1e9
# How the converter calls the tensors behind the casts that it puts around what stays in float32.
_TO_FLOAT, _TO_HALF = "_cast_to_fp32", "_cast_to_fp16"


def convert(source: Path, recipe: Float16, model: str, target: Path) -> RecipeNotes:
    """Write the model in half precision.

    Args:
        source: the float ONNX file.
        recipe: how.
        model: the model's name, for messages.
        target: the file to write.

    Returns:
        What was decided: recipe, weights in words, the nodes that were kept in float32, and notes.

    Raises:
        OnnxliteError: there is nothing to convert, what is to be kept matches nothing, or the converter fails.
    """
    from onnxruntime.transformers import float16

    before = load_graph(source)
    proto, notes = _with_shapes(source, target)
    settle(proto, model)
    _name_nodes(proto)
    kept = _inside(proto, match_exclusions(proto, recipe.keep, "keep", model))
    weights = [t for t in tensors(proto) if t.data_type == TensorProto.FLOAT]
    if not weights:
        raise OnnxliteError(
            f"{model}: {source.name} has no tensor in float32, so that there is nothing to convert to half precision."
        )
    beyond = sorted(set(_beyond(proto)) - set(kept))
    if beyond:
        notes.append(f"{shortened(beyond)} stay in float32: they hold values beyond {LARGEST:,.0f}")
    _own_copies(proto, {*kept, *beyond})
    own = {node.name for node in nodes(proto)}  # how the converter calls what it adds depends on its version
    try:
        with silence():
            proto = float16.convert_float_to_float16(
                proto, keep_io_types=True, disable_shape_infer=True, node_block_list=[*kept, *beyond]
            )
    except Exception as error:
        raise OnnxliteError(
            f"{model}: ONNX Runtime's converter to half precision fails on {source.name}: {first_line(error)}. Leave nodes in "
            "float32 with Float16(keep=[...]), or give a file of your own in variants=."
        ) from None
    _settle(proto, before, own)
    drop_unused_opsets(proto)
    proto.doc_string, proto.graph.doc_string = before.doc_string, before.graph.doc_string
    save(_sorted(proto), target)
    return RecipeNotes(
        recipe=recipe_text(recipe),
        weight_type="float16",
        weights="weights in float16",
        excluded=tuple(sorted({*kept, *beyond})),
        notes=tuple(notes),
    )


def save(proto: onnx.ModelProto, target: Path) -> None:
    """Write a model, its tensors next to it if one file cannot hold them."""
    large = sum(len(tensor.raw_data) for tensor in tensors(proto)) > IN_ONE_FILE
    onnx.save(proto, target, save_as_external_data=large, location=f"{target.name}.data" if large else None)


def _with_shapes(source: Path, target: Path) -> tuple[onnx.ModelProto, list[str]]:
    """Load a model with its tensors, and with the types of what it computes, by which the converter puts its casts."""
    inferred, notes = target.with_name("inferred.onnx"), []
    try:
        onnx.shape_inference.infer_shapes_path(str(source), str(inferred))
        proto = load_graph(inferred)
    except Exception as error:
        notes.append(f"converted without inferring types: {first_line(error)}")
        proto = load_graph(source)
    finally:
        inferred.unlink(missing_ok=True)
    onnx.external_data_helper.load_external_data_for_model(proto, str(source.parent))
    if proto.functions:  # which the converter does not look into
        proto = onnx.shape_inference.infer_shapes(onnx.inliner.inline_local_functions(proto))
    return proto, notes


def _name_nodes(proto: onnx.ModelProto) -> None:
    """Name the nodes that have no name: the converter can leave no others in float32."""
    for number, node in enumerate(node for graph in graphs(proto.graph) for node in graph.node):
        node.name = node.name or f"{node.op_type}_{number}"


def _inside(proto: onnx.ModelProto, kept: list[str]) -> list[str]:
    """Return nodes with those of their branches and bodies in the place of the nodes that have some."""
    held = {node.name: [graph for _, graph in subgraphs(node)] for node in nodes(proto)}
    found = {name for name in kept if not held[name]}
    for graph in (graph for name in kept for graph in held[name]):
        found |= {node.name for inner in graphs(graph) for node in inner.node if not held[node.name]}
    return sorted(found)


def _beyond(proto: onnx.ModelProto) -> Iterator[str]:
    """Yield the nodes that read stored values which half precision cannot hold, but for what stands for infinity."""
    large = set()
    for tensor in tensors(proto):
        if tensor.data_type == TensorProto.FLOAT and tensor.name:
            values = np.abs(numpy_helper.to_array(tensor))
            if ((values > LARGEST) & (values < STANDS_FOR_INFINITY)).any():
                large.add(tensor.name)
    held = {
        node.output[0]: attribute.t.name
        for node in nodes(proto)
        for attribute in node.attribute
        if node.op_type == "Constant" and attribute.HasField("t")
    }
    for node in nodes(proto):
        if large & {held.get(name, name) for name in node.input}:
            yield node.name


def _own_copies(proto: onnx.ModelProto, kept: set[str]) -> None:
    """Give what stays in float32 its own copy of each tensor that others read too, which the converter would round for both."""
    for graph in graphs(proto.graph):
        stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
        readers = Counter(name for node in nodes(proto) if node.name not in kept for name in node.input)
        for node in (node for inner in graphs(graph) for node in inner.node if node.name in kept):
            for slot, name in enumerate(node.input):
                if name in stored and readers[name]:
                    own = f"{name}_in_float32"
                    if own not in {tensor.name for tensor in graph.initializer}:
                        graph.initializer.add().CopyFrom(stored[name])
                        graph.initializer[-1].name = own
                    node.input[slot] = own


def _settle(proto: onnx.ModelProto, before: onnx.ModelProto, own: set[str]) -> None:
    """Put the casts into the graphs that they belong to, and take out those that only lose precision between two that are kept."""
    _move_casts(proto.graph, own)
    for graph in graphs(proto.graph):
        _join(graph, own)
    declared = {value.name for graph in graphs(before.graph) for value in graph.value_info}
    for graph in graphs(proto.graph):
        _declare(graph, declared)


def _declare(graph: onnx.GraphProto, declared: set[str]) -> None:
    """Keep the shapes that the source declares; what was inferred for the converter need not be in the file."""
    made = {name for node in graph.node for name in node.output} - {value.name for value in graph.output}
    kept = [
        value
        for value in graph.value_info
        if value.name in made and value.name.removesuffix(_TO_HALF).removesuffix(_TO_FLOAT) in declared
    ]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _move_casts(top: onnx.GraphProto, own: set[str]) -> None:
    """Move casts into branches and bodies whose tensors they are of: the converter leaves all of them in the outer graph."""
    owners = {
        name: graph
        for graph in graphs(top)
        for name in (
            *(value.name for value in graph.input),
            *(tensor.name for tensor in graph.initializer),
            *(name for node in graph.node if node.name in own for name in node.output),
        )
    }
    # What is cast to half precision may be cast back for the next: the owner of the one is that of the other.
    added = [node for node in top.node if node.name not in own]
    while ready := [cast for cast in added if cast.input[0] in owners]:
        added = [cast for cast in added if cast.input[0] not in owners]
        for cast in ready:
            owner = owners[cast.output[0]] = owners[cast.input[0]]
            if owner is not top:
                owner.node.add().CopyFrom(cast)
                top.node.remove(cast)


def _join(graph: onnx.GraphProto, own: set[str]) -> None:
    """Let a node in float32 read what another gave in float32, in the place of its half precision cast back."""
    casts = {node.output[0]: node for node in graph.node if _is_cast(node, TensorProto.FLOAT16)}
    halves = {name: node.input[0] for name, node in casts.items() if node.name not in own}
    # The model's own, of whole numbers for one, give float32 as they did.
    for node in graph.node:
        if _is_cast(node, TensorProto.FLOAT) and node.input[0] in casts and node.input[0] not in halves:
            node.input[0] = casts[node.input[0]].input[0]
    outputs = {value.name for value in graph.output}
    same = {
        node.output[0]: halves[node.input[0]]
        for node in graph.node
        if _is_cast(node, TensorProto.FLOAT) and node.input[0] in halves and node.output[0] not in outputs
    }
    for node in (node for inner in graphs(graph) for node in inner.node):
        node.input[:] = [same.get(name, name) for name in node.input]
    _join_outputs(graph, halves, outputs)
    while True:
        read = {name for inner in graphs(graph) for node in inner.node for name in node.input} | outputs
        unread = [n for n in graph.node if n.op_type == "Cast" and n.output[0] not in read]
        for node in unread:
            graph.node.remove(node)
        if not unread:
            return


def _join_outputs(graph: onnx.GraphProto, halves: dict[str, str], outputs: set[str]) -> None:
    """Let a node in float32 give an output in float32 itself, under the output's name."""
    made = {name for node in graph.node for name in node.output} - outputs
    casts = [
        n for n in graph.node if _is_cast(n, TensorProto.FLOAT) and n.output[0] in outputs and n.input[0] in halves
    ]
    for cast in casts:
        origin, name = halves[cast.input[0]], cast.output[0]
        if origin in made:
            graph.node.remove(cast)
            for node in (node for inner in graphs(graph) for node in inner.node):
                node.input[:] = [name if one == origin else one for one in node.input]
                node.output[:] = [name if one == origin else one for one in node.output]
            made.discard(origin)


def _is_cast(node: onnx.NodeProto, to: int) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i == to for a in node.attribute)


def _sorted(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = ir.from_proto(proto)
    model.graph.sort()
    found: onnx.ModelProto = ir.to_proto(model)
    return found


def is_half(proto: onnx.ModelProto) -> bool:
    """Tell whether a model has weights in half precision."""
    return any(tensor.data_type == TensorProto.FLOAT16 for tensor in tensors(proto))


def to_float32(source: Path, target: Path) -> None:
    """Write a model that has half precision in float32 throughout; its inputs and outputs keep their types."""
    proto = load_graph(source)
    onnx.external_data_helper.load_external_data_for_model(proto, str(source.parent))
    for tensor in tensors(proto):
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for node in nodes(proto):
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    for graph in graphs(proto.graph):
        del graph.value_info[:]
        if graph is not proto.graph:
            for value in (*graph.input, *graph.output):
                _widen(value)
    _keep_types(proto.graph)
    save(_sorted(proto), target)


def _widen(value: onnx.ValueInfoProto) -> bool:
    found: bool = value.type.tensor_type.elem_type == TensorProto.FLOAT16
    if found:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return found


def _keep_types(graph: onnx.GraphProto) -> None:
    """Cast inputs and outputs in half precision at the graph's ends, so that callers see no change."""
    renamed: dict[str, str] = {}
    casts = []
    stored = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            if value.name in stored:
                _widen(value)
                continue
            renamed[value.name] = f"{value.name}{_TO_FLOAT}"
            casts.append(helper.make_node("Cast", [value.name], [renamed[value.name]], to=TensorProto.FLOAT))
    given = {value.name for value in graph.output if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    for name in given:
        inner = renamed[name] = renamed.get(name, f"{name}_in_float32")
        casts.append(helper.make_node("Cast", [inner], [name], to=TensorProto.FLOAT16))
    for node in (node for inner in graphs(graph) for node in inner.node):
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    graph.node.extend(casts)
