"""What is not quantized, and why: said before ONNX Runtime's quantizer stumbles over it, or after."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint.protobuf import graphs
from pytest_onnxlite.recipes import Recipe, recipe_text
from pytest_onnxlite.text import first_line

# How the quantizer calls the scale of a tensor.
_SCALE = "_scale"


def uncalibrated(recipe: Recipe, model: str) -> OnnxliteError:
    """Say that a static recipe lacks samples."""
    return OnnxliteError(
        f"{model}: {recipe_text(recipe)} calibrates with samples, and ModelSpec({model!r}) gives none. Give calibration= a "
        "few hundred of the training samples, or use DynamicInt8()."
    )


def cannot_quantize(error: Exception, proto: onnx.ModelProto, name: str, recipe: Recipe, model: str) -> OnnxliteError:
    """Say where the quantizer stopped, and what to do."""
    meant = _nodes_meant(proto, first_line(error))
    return OnnxliteError(
        f"{model}: ONNX Runtime cannot quantize {name}: {first_line(error)}. Leave the node it stumbles over in "
        f"float with ModelSpec(recipe={type(recipe).__name__}(exclude={meant or '[...]'})), or give an INT8 file of "
        "your own as int8=."
    )


def _nodes_meant(proto: onnx.ModelProto, text: str) -> list[str]:
    """Return the nodes that an error names, or whose weights it names."""
    words = set(text.replace("'", " ").replace('"', " ").split())
    nodes = [node for graph in graphs(proto.graph) for node in graph.node if node.name]
    return sorted(node.name for node in nodes if words & {node.name, *node.input[1:]})


def refuse_half(proto: onnx.ModelProto, source: Path, model: str) -> None:
    """Refuse weights in half precision."""
    half = [
        t.name for graph in graphs(proto.graph) for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT16
    ]
    if half:
        raise OnnxliteError(
            f"{model}: {source.name} has weights in half precision (float16; {half[0]!r} and {len(half) - 1} more), "
            "from which ONNX Runtime's quantizer writes files that cannot be loaded (onnxruntime#15341). Give the float32 "
            "model as onnx=, or an INT8 file of your own as int8=."
        )


def refuse_infinite(prepared: onnx.ModelProto, quantized: onnx.ModelProto, model: str) -> None:
    """Refuse ranges that reach to infinity, and say which nodes to leave in float."""
    tensors = [
        scale.name.removesuffix(_SCALE)
        for scale in quantized.graph.initializer
        if scale.name.endswith(_SCALE) and scale.data_type == onnx.TensorProto.FLOAT and not scale.external_data
        if not np.isfinite(onnx.numpy_helper.to_array(scale)).all()
    ]
    if tensors:
        named = ", ".join(tensors[:3]) + (f" and {len(tensors) - 3} more" if len(tensors) > 3 else "")
        nodes = [n.name for n in prepared.graph.node if not {*n.input, *n.output}.isdisjoint(tensors)]
        raise OnnxliteError(
            f"{model}: calibration saw infinite values or NaN in {named}, which no INT8 range can hold. An attention "
            "mask of -inf does that. Leave in float what makes and reads them, with "
            f"ModelSpec(recipe=StaticInt8(exclude={nodes})), export the model with a finite mask such as -1e4, or use "
            "DynamicInt8()."
        )


def match_exclusions(proto: onnx.ModelProto, recipe: Recipe, model: str) -> list[str]:
    """Return the names of the nodes that the recipe's globs mean, by node name or operator type.

    Raises:
        OnnxliteError: a glob matches nothing, which the quantizer would ignore in silence.
    """
    nodes = [node for graph in graphs(proto.graph) for node in graph.node]
    excluded: list[str] = []
    for glob in recipe.exclude:
        names = [n.name for n in nodes if n.name and any(map(_matcher(glob), (n.name, n.op_type)))]
        if not names:
            operators = sorted({n.op_type for n in nodes})
            known = ", ".join(sorted(n.name for n in nodes if n.op_type in ("MatMul", "Gemm", "Conv"))[:8])
            raise OnnxliteError(
                f"{model}: exclude={glob!r} matches no node of the prepared graph. Operators there: "
                f"{', '.join(operators)}; quantizable nodes: {known or 'none'}."
            )
        excluded += names
    return sorted(set(excluded))


def _matcher(glob: str) -> Any:
    return lambda text: fnmatch.fnmatchcase(text, glob)
