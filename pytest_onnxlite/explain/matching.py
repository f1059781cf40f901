"""Which tensor of a quantized graph stands for which tensor of the float graph, and which nodes lie between.

ONNX Runtime's quantizers keep the names of the float graph's tensors: a product's last Mul or Add writes the tensor
that the float node wrote, and so does a node between DequantizeLinear and QuantizeLinear. In the QOperator form the
integers are called `<tensor>_quantized`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from pytest_onnxlite.lint.operators import quantized_operator

Array = npt.NDArray[Any]

_CARRIERS = frozenset({"Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
_NO_PRODUCTS = _CARRIERS | {"Cast", "Concat", "Gather", "Shape", "Size"}
# What ONNX Runtime's quantizer adds to the name of a product whose weights it writes in blocks.
_IN_BLOCKS = re.compile(r"_Q[248]$")
_CLIPS = frozenset({"Clip", "Relu"})


@dataclass(frozen=True)
class Scale:
    """How integers are read: `(q - zero_point) * scale`, from `low` to `high`."""

    scale: float
    zero_point: int
    dtype: str

    @property
    def low(self) -> float:
        """The lowest value that can be written."""
        return (int(np.iinfo(self.dtype).min) - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        """The highest value that can be written."""
        return (int(np.iinfo(self.dtype).max) - self.zero_point) * self.scale

    def quantize(self, values: npt.NDArray[np.float32]) -> Array:
        """Return the integers that are nearest to values."""
        info = np.iinfo(self.dtype)
        steps = np.rint(values / np.float32(self.scale)) + self.zero_point
        integers: Array = np.clip(steps, info.min, info.max).astype(self.dtype)
        return integers

    def dequantize(self, integers: Array) -> npt.NDArray[np.float32]:
        """Return the values that integers stand for."""
        values: npt.NDArray[np.float32] = (integers.astype(np.int32) - self.zero_point) * np.float32(self.scale)
        return values.astype(np.float32)


@dataclass(frozen=True)
class Pair:
    """A tensor of both graphs.

    Attributes:
        name: in the float graph.
        candidate: in the quantized graph.
        scale: how its integers are read; None if it is a float tensor there too.
    """

    name: str
    candidate: str
    scale: Scale | None = None


class Index:
    """A graph's nodes by what they write and read.

    Attributes:
        graph: the graph; its subgraphs are not looked into.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.producers = {name: node for node in graph.node for name in node.output if name}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                self.constants[node.output[0]] = node.attribute[0].t

    def constant(self, name: str) -> Array | None:
        """Return a stored tensor's values, None for a computed one."""
        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def scale(self, node: onnx.NodeProto, position: int) -> Scale | None:
        """Return the stored scale and zero point at a node's inputs, None if they are computed, or many."""
        if position >= len(node.input):
            return None
        scale = self.constant(node.input[position])
        zero = self.constant(node.input[position + 1]) if position + 1 < len(node.input) else np.zeros(1, np.uint8)
        if scale is None or zero is None or scale.size != 1 or zero.size != 1 or zero.dtype.kind not in "iu":
            return None
        return Scale(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]), zero.dtype.name)

    def scale_of(self, name: str) -> Scale | None:
        """Return how a tensor of integers is read, through operators that only move values."""
        node = self.producers.get(name)
        while node is not None and node.op_type in _CARRIERS and node.input:
            node = self.producers.get(node.input[0])
        row = None if node is None else quantized_operator(node)
        if node is None or row is None or row.output is None or row.output.scale is None:
            return None
        return self.scale(node, row.output.scale)

    def range_of(self, name: str) -> Scale | None:
        """Return what a float tensor is quantized with ahead of time, None if it is not."""
        for node in self.consumers.get(name, []):
            if node.op_type == "QuantizeLinear":
                return self.scale(node, 1)
        return None

    def between(self, name: str, ends: frozenset[str]) -> Iterator[onnx.NodeProto]:
        """Yield the nodes that compute a tensor from those among `ends` that lie before it."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            node = self.producers.get(waiting.pop())
            if node is None or node.output[0] in seen:
                continue
            seen.add(node.output[0])
            yield node
            waiting += [source for source in node.input if source and source not in ends]


def is_integer_node(index: Index, node: onnx.NodeProto) -> bool:
    """Tell whether a node computes in integers: by itself, or because its inputs are dequantized in front of it."""
    row = quantized_operator(node)
    if row is not None:
        return not row.converts
    if node.op_type in _NO_PRODUCTS:
        return False
    before = index.producers.get(node.input[0]) if node.input else None
    return before is not None and before.op_type == "DequantizeLinear"


def float_name(node: onnx.NodeProto) -> str:
    """Return the name that a node of a quantized graph had before."""
    name = str(node.name)
    return _IN_BLOCKS.sub("", name) if node.op_type == "MatMulNBits" else name.removesuffix("_quant")


def match(reference: Index, candidate: Index) -> list[Pair]:
    """Return the tensors that both graphs compute, in the order of the float graph."""
    pairs = []
    for node in reference.graph.node:
        if node.op_type == "Constant":
            continue
        for name in node.output:
            if name in candidate.producers and name:
                pairs.append(Pair(name, name))
            integers = f"{name}_quantized"
            scale = candidate.scale_of(integers) if integers in candidate.producers else None
            if scale is not None:
                pairs.append(Pair(_after_clipping(reference, candidate, name), integers, scale))
    return pairs


def _after_clipping(reference: Index, candidate: Index, name: str) -> str:
    """Return the tensor behind a Relu that the QOperator form leaves to the range of its integers."""
    readers = reference.consumers.get(name, [])
    if len(readers) == 1 and readers[0].op_type in _CLIPS:
        after: str = readers[0].output[0]
        maker = candidate.producers.get(after)
        read_back = maker is not None and maker.op_type == "DequantizeLinear" and maker.input[0] == f"{name}_quantized"
        if read_back or (maker is None and f"{after}_quantized" not in candidate.producers):
            return after
    return name
