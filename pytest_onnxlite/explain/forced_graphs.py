"""Copies of a graph that give out tensors from within, or are fed them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx
from onnx import helper

from pytest_onnxlite.explain.matching import Pair

FORCED = "__onnxlite_own"


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    # Declared shapes may be of a tensor that becomes an input now.
    del copy.graph.value_info[:]
    return copy


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Return a copy that gives out tensors from within."""
    copy = _copy(model)
    given = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in given)
    return copy


def force(
    model: onnx.ModelProto, pairs: Sequence[Pair], extra: Sequence[str], half: Collection[str] = ()
) -> onnx.ModelProto:
    """Return a copy in which every matched tensor is fed, and what would have computed it is given out.

    Args:
        model: the quantized graph.
        pairs: the tensors.
        extra: what else is given out.
        half: of the tensors those in half precision.
    """
    copy = _copy(model)
    graph = copy.graph
    usual = {pair.candidate: "float16" if pair.candidate in half else "float32" for pair in pairs}
    kinds = {pair.candidate: pair.scale.dtype if pair.scale else usual[pair.candidate] for pair in pairs}
    for node in graph.node:
        for position, name in enumerate(node.output):
            if name in kinds:
                node.output[position] = name + FORCED
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name + FORCED) for name in kinds)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in extra)
    for name, kind in kinds.items():
        graph.input.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), None))
    return copy
