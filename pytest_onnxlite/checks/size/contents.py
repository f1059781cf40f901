"""What the bytes of an ONNX file are, and how few of them quantization can leave."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from pytest_onnxlite.checks.size.parts import Bytes, Copy, Unread
from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.coverage import FloatWeight, float_weights
from pytest_onnxlite.lint.loading import LoadedModel, load_model
from pytest_onnxlite.lint.model_index import FLOATS, Constant, ModelIndex
from pytest_onnxlite.lint.operators import WEIGHTED
from pytest_onnxlite.lint.protobuf import graphs
from pytest_onnxlite.lint.validity import LARGE
from pytest_onnxlite.variants.external import size_of

# A weight of 8 bits in the place of 32.
QUARTER = 0.25
# Bytes of a number in single precision.
_SINGLE = 4
# What quantizing adds to a graph, at most: for each of its nodes a few names and a scale's record.
_PER_NODE = 1024


def count_bytes(path: Path, loaded: LoadedModel | None = None) -> tuple[Bytes, list[Unread]]:
    """Return the bytes of an ONNX model by kind, and the tensors that nothing reads, the largest first.

    Args:
        path: the file.
        loaded: what it holds, if somebody has loaded it.
    """
    loaded = loaded or load_model(path)
    size, waste = size_of(path)
    if loaded.model is None:
        return Bytes(0, 0, 0, 0, 0, 0, size, waste), []
    index = ModelIndex(loaded)
    context = Context(index, None, ())
    parameters = {q.scale for q in context.quantized_tensors.all} | {
        q.zero_point for q in context.quantized_tensors.all
    }
    kinds: dict[str, int] = defaultdict(int)
    unread: list[Unread] = []
    ranges: set[tuple[str, int, int]] = set()
    for constant in index.constants:
        tensor = constant.tensor
        if isinstance(tensor, ir.ExternalTensor):
            key = (str(tensor.path), tensor.offset or 0, tensor.nbytes)
            if key in ranges:
                continue
            ranges.add(key)
        if not constant.used:
            kinds["unread"] += tensor.nbytes
            unread.append(Unread(constant.where, tensor.nbytes))
        elif constant.value in parameters:
            kinds["scales"] += tensor.nbytes
        elif tensor.dtype in (ir.DataType.INT8, ir.DataType.UINT8):
            kinds["int8"] += tensor.nbytes
        elif tensor.dtype in FLOATS:
            kinds["floats"] += tensor.nbytes
        else:
            kinds["other"] += tensor.nbytes
    kinds["notes"] = _notes(loaded.proto)
    names = ("int8", "floats", "scales", "other", "unread", "notes")
    counted = {name: kinds[name] for name in names}
    graph = size - sum(counted.values())
    unread.sort(key=lambda entry: (-entry.bytes, entry.tensor))
    return Bytes(**counted, graph=max(graph, 0), waste=waste), unread


def _notes(proto: onnx.ModelProto) -> int:
    """Return the bytes of the text that no runtime reads: not of the model's own metadata, which its users may."""
    noted: list[Any] = []
    for graph in graphs(proto.graph):
        noted += [graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info]
    for function in proto.functions:
        noted += [function, *function.node, *function.value_info]
    # Each is a field of its own: a tag, and its length.
    texts = [entry.ByteSize() for thing in noted for entry in thing.metadata_props]
    texts += [len(thing.doc_string.encode()) for thing in noted if thing.doc_string]
    return sum(size + 2 + (size > 127) for size in texts)


def copies(path: Path) -> list[Copy]:
    """Return the tensors of 1 KiB or more that hold the values of another one, as they are or transposed; the largest first."""
    index = ModelIndex(load_model(path))
    alike: dict[Any, list[Constant]] = defaultdict(list)
    for constant in index.constants:
        if constant.used and constant.tensor.nbytes >= LARGE and constant.value not in index.unreadable:
            dims = sorted(int(dim) for dim in constant.tensor.shape if isinstance(dim, int))
            alike[constant.tensor.dtype, tuple(dims)].append(constant)
    found = []
    for same in alike.values():
        first: dict[str, Constant] = {}
        for constant in same if len(same) > 1 else ():
            array = constant.tensor.numpy()
            turned = array.T if array.ndim == 2 else array
            key = min(hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest() for a in (array, turned))
            original = first.setdefault(key, constant)
            if original is not constant and not _share(original.tensor, constant.tensor):
                found.append(Copy(constant.where, original.where, constant.tensor.nbytes))
    return sorted(found, key=lambda entry: (-entry.bytes, entry.tensor))


def _share(one: ir.TensorProtocol, other: ir.TensorProtocol) -> bool:
    """Tell whether two tensors are the same bytes of one file."""
    ranges = [(str(t.path), t.offset or 0) for t in (one, other) if isinstance(t, ir.ExternalTensor)]
    return len(ranges) == 2 and ranges[0] == ranges[1]


def shrinkable(index: ModelIndex, form: str = "int8") -> Iterator[FloatWeight]:
    """Yield the float tensors of a model that quantization to a form shrinks, with each of their readers."""
    shrinks = {"float16": lambda weight: True, "blocks": _is_matrix}.get(form, _is_quantizable)
    yield from (weight for weight in float_weights(index) if shrinks(weight))


def _is_quantizable(weight: FloatWeight) -> bool:
    return weight.is_weight and bool(WEIGHTED[weight.node.op_type].patterns)


def _is_matrix(weight: FloatWeight) -> bool:
    """Tell whether a weight is one that MatMulNBits takes: the right operand of a product, of two dims."""
    dims = [int(dim) for dim in weight.constant.tensor.shape if isinstance(dim, int)]
    return (
        weight.node.op_type in ("MatMul", "Gemm")
        and weight.slot == 1
        and len(dims) >= 2
        and max(dims[:-2], default=1) == 1
    )


def reachable(path: Path, source: Path, form: str = "int8", share: float = QUARTER) -> int:
    """Return the bytes that quantization can bring a model to: each tensor that it shrinks as small as it gets, all else as it is.

    What it takes beside the weights is the candidate's own: scales, and what was added to the graph, as far as that is no more
    than quantizing adds.

    Args:
        path: the quantized file.
        source: the float file.
        form: what it is quantized to: the row of `kinds.FORMS`.
        share: of the bytes of a weight in float32, what is left of it; of one in blocks with its scales.
    """
    quantized, original = load_model(path), load_model(source)
    found, _ = count_bytes(path, quantized)
    before, _ = count_bytes(source, original)
    index = ModelIndex(original)
    weights = {weight.constant.value: weight.constant.tensor for weight in shrinkable(index, form)}
    shrinks = min(sum(tensor.nbytes for tensor in weights.values()), before.floats)
    small = min(sum(tensor.size for tensor in weights.values()) * _SINGLE * share, shrinks)
    graph = min(found.graph, before.graph + _PER_NODE * len(ModelIndex(quantized).places))
    kept = before.int8 + before.floats - shrinks + before.other
    # Scales of blocks are in their share.
    scales = 0 if form == "blocks" else found.scales
    return int(small + kept + scales + graph)
