"""What is not quantized, and why: said before ONNX Runtime's quantizer stumbles over it, or after."""

from __future__ import annotations

import difflib
import fnmatch
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import no_room
from pytest_onnxlite.lint.operators import WEIGHTED
from pytest_onnxlite.lint.protobuf import graphs
from pytest_onnxlite.spec.recipes import Recipe, recipe_text
from pytest_onnxlite.text import first_line, listed, shortened
from pytest_onnxlite.variants.float_faults import infinite_biases

# How the quantizer calls the scale of a tensor.
_SCALE = "_scale"
# How ONNX Runtime says that it has no operator of a name.
_UNREGISTERED = re.compile(r"([\w.]+:\w+)\(-?\d+\) is not a registered function/op")
# How it says that it does not know a tensor's data type.
_UNTYPED = re.compile(r"Unable to find data type for (?:weight_name|tensor)=?\s*'([^']*)'")


def uncalibrated(recipe: Recipe, model: str) -> OnnxliteError:
    """Say that a static recipe lacks samples."""
    return OnnxliteError(
        f"{model}: {recipe_text(recipe)} calibrates with samples, and ModelSpec({model!r}) gives none. Give calibration= a "
        "few hundred of the training samples, or use DynamicInt8()."
    )


def cannot_quantize(error: Exception, proto: onnx.ModelProto, name: str, recipe: Recipe, model: str) -> OnnxliteError:
    """Say where the quantizer stopped, and what to do."""
    full = no_room(error, Path(tempfile.gettempdir()))
    if full:
        return OnnxliteError(f"{model}: {name} was not quantized: {full}. Let TMPDIR name a folder with more room.")
    kind = type(recipe).__name__
    untyped = _UNTYPED.search(str(error))
    if untyped:
        return OnnxliteError(
            f"{model}: {name} cannot be quantized: {_no_type(untyped[1], proto)} Leave in float what reads it with "
            f"ModelSpec(recipe={kind}(exclude={_nodes_at(proto, untyped[1])})), export the model with operators that onnx knows, "
            "or give an INT8 file of your own as int8=."
        )
    unregistered = _UNREGISTERED.search(str(error))
    if unregistered:
        return OnnxliteError(
            f"{model}: {name} cannot be quantized with {kind}: to calibrate, ONNX Runtime's quantizer runs the model, and no library has "
            f"its custom operator {unregistered[1]}. Name the library as ModelSpec(runtime=Runtime(custom_ops=[...])), use DynamicInt8(), "
            "which runs nothing, or give an INT8 file of your own as int8=."
        )
    said = first_line(error).rstrip(".")
    meant = _nodes_meant(proto, said)
    if meant:
        return OnnxliteError(
            f"{model}: ONNX Runtime's quantizer fails at {shortened(meant)} of {name}. Leave that in float with "
            f"ModelSpec(recipe={kind}(exclude={meant})), or give an INT8 file of your own as int8=. It said: {said}."
        )
    nodes = _quantizable(proto)
    return OnnxliteError(
        f"{model}: ONNX Runtime's quantizer fails on {name}, and names no node. Its graph has no fault that is known, and it "
        f"quantizes {shortened(nodes) or 'nothing'}. Leave one after the other in float with "
        f"ModelSpec(recipe={kind}(exclude=[...])) to find the one, or give an INT8 file of your own as int8=. It said: {said}."
    )


def _nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes that a quantizer looks at: those of the graph and its subgraphs, and of no function."""
    return [node for graph in graphs(proto.graph) for node in graph.node]


def _no_type(tensor: str, proto: onnx.ModelProto) -> str:
    made_by = next((n for n in _nodes(proto) if tensor in n.output), None)
    text = f"the data type of its tensor {tensor!r} cannot be inferred"
    if made_by is None:
        return f"{text}."
    if made_by.domain not in ("", "ai.onnx"):
        return (
            f"{text}: {made_by.name} is a {made_by.op_type} of the domain {made_by.domain!r}, which onnx does not know."
        )
    return f"{text}: it comes from {made_by.name} ({made_by.op_type}), behind an operator that onnx does not know."


def _nodes_at(proto: onnx.ModelProto, tensor: str) -> list[str]:
    return sorted(n.name for n in _nodes(proto) if n.name and n.op_type in WEIGHTED and tensor in (*n.input, *n.output))


def _quantizable(proto: onnx.ModelProto) -> list[str]:
    return sorted(n.name for n in _nodes(proto) if n.name and n.op_type in WEIGHTED)


def _nodes_meant(proto: onnx.ModelProto, text: str) -> list[str]:
    """Return the nodes that an error names, or whose weights it names."""
    words = {bare for word in re.split(r"[\s'\"]+", text) for bare in (word, word.strip(":,.;()[]"))} - {""}
    nodes = [node for node in _nodes(proto) if node.name]
    return sorted(node.name for node in nodes if words & {node.name, *node.input[1:]})


def refuse_infinite(
    prepared: onnx.ModelProto, quantized: onnx.ModelProto, model: str, before: onnx.ModelProto, source: Path
) -> None:
    """Refuse ranges that reach to infinity, and say which nodes to leave in float."""
    tensors = [
        scale.name.removesuffix(_SCALE)
        for scale in quantized.graph.initializer
        if scale.name.endswith(_SCALE) and scale.data_type == onnx.TensorProto.FLOAT and not scale.external_data
        if not np.isfinite(onnx.numpy_helper.to_array(scale)).all()
    ]
    biases = infinite_biases(before, source.parent) if tensors else []
    if biases:
        raise OnnxliteError(
            f"{model}: {shortened(biases)} of {source.name}, holds infinity, and static quantization gives a bias an INT8 scale, "
            "which cannot hold it. If it rules an answer out, write a finite number such as -1e4 there, or use DynamicInt8(), "
            "which leaves biases in float; if it is a fault, find where it came from in training or export."
        )
    if tensors:
        named = ", ".join(tensors[:3]) + (f" and {len(tensors) - 3} more" if len(tensors) > 3 else "")
        nodes = [n.name for n in prepared.graph.node if not {*n.input, *n.output}.isdisjoint(tensors)]
        raise OnnxliteError(
            f"{model}: calibration saw infinite values or NaN in {named}, which no INT8 range can hold. An attention "
            "mask of -inf does that. Leave in float what makes and reads them, with "
            f"ModelSpec(recipe=StaticInt8(exclude={nodes})), export the model with a finite mask such as -1e4, or use "
            "DynamicInt8()."
        )


def match_exclusions(
    proto: onnx.ModelProto, globs: Sequence[str], argument: str, model: str, before: onnx.ModelProto | None = None
) -> list[str]:
    """Return the names of the nodes that a recipe's globs mean, by node name or operator type.

    Args:
        proto: the prepared model.
        globs: what stays in float.
        argument: what the recipe calls them, for the message.
        model: for the message.
        before: the float model as it was before; preparation fuses some of its nodes.

    Raises:
        OnnxliteError: a glob matches nothing, which the quantizer would ignore in silence.
    """
    nodes = _nodes(proto)
    excluded: list[str] = []
    for glob in globs:
        names = [n.name for n in nodes if n.name and any(map(_matcher(glob), (n.name, n.op_type)))]
        if not names:
            raise OnnxliteError(_matches_nothing(f"{argument}={glob!r}", glob, nodes, proto, model, before))
        excluded += names
    return sorted(set(excluded))


def _matches_nothing(
    said: str,
    glob: str,
    nodes: list[onnx.NodeProto],
    proto: onnx.ModelProto,
    model: str,
    before: onnx.ModelProto | None,
) -> str:
    operators = sorted({n.op_type for n in nodes})
    known = _quantizable(proto)
    names = sorted({n.name for n in nodes if n.name})
    close = _close(glob, names, operators)
    gone = [n for n in _nodes(before) if _matcher(glob)(n.name)] if before else []
    fused = sorted({n.name for n in nodes if n.name and any(not {*g.output}.isdisjoint(n.output) for g in gone)})
    text = f"{model}: {said} matches no node of the graph that is {'quantized' if said.startswith('exclude') else 'converted'}"
    if gone:
        text += f": {gone[0].name} ({gone[0].op_type}) of the float model is "
        text += f"fused into {shortened(fused)} there" if fused else "folded or fused into another node there"
    text += f"; did you mean {listed(map(repr, close), 'or')}?" if close and not fused else "."
    return (
        f"{text} Nodes with weights: {shortened(known) or 'none'}. "
        f"Operators: {shortened(operators)}. A glob such as '*dense*' or an operator's type means several."
    )


def _close(glob: str, names: list[str], operators: list[str]) -> list[str]:
    """Return the names that a glob was most likely meant for."""
    bare = glob.strip("*")
    if not bare:
        return []
    by_lower = {name.lower(): name for name in (*names, *operators)}
    near = [by_lower[name] for name in difflib.get_close_matches(bare.lower(), by_lower, n=3)]
    # A node of a deep model is called by the whole path to it, and meant by a part of that.
    parts = {part.lower(): name for name in reversed(names) for part in re.split(r"[/.:]", name) if part}
    near += [parts[part] for part in difflib.get_close_matches(bare.lower(), parts, n=3)]
    near += [name for name in names if bare.lower() in name.lower()]
    return list(dict.fromkeys(near))[:3]


def _matcher(glob: str) -> Any:
    return lambda text: fnmatch.fnmatchcase(text, glob)
