"""A graph under construction: one value at its end, to which blocks add."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Weights as after training."""
    return rng.normal(0, 0.5, shape)


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Weights of which a few are many times as large as most."""
    return rng.standard_t(2, shape)


def outlier(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Normal weights and one that is a thousand times as large."""
    values = rng.normal(0, 0.5, shape)
    if values.size:
        values.flat[rng.integers(values.size)] = 500
    return values


def zero_channel(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Normal weights with a first output channel of zeros, whichever end the operator has its channels at."""
    values = rng.normal(0, 0.5, shape)
    if values.ndim and values.size:
        values[0] = 0
        values[..., 0] = 0
    return values


def tiny(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Weights near the smallest normal float32."""
    return rng.normal(0, 1e-36, shape)


def constant(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Weights that are all the same."""
    return np.full(shape, rng.normal())


DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    function.__name__: function for function in (normal, heavy_tailed, outlier, zero_channel, tiny, constant)
}


class Builder:
    """A graph under construction.

    Attributes:
        opset: the version of ONNX's operators.
        nodes: what was added.
        initializers: its weights.
        last: the name of the value at the end.
        shape: its shape, with None for the batch.
    """

    def __init__(self, opset: int, distribution: str, seed: int, shape: tuple[int | None, ...]) -> None:
        """Start with an input `x`."""
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.last = "x"
        self.shape = shape
        self._rng = np.random.default_rng(seed)
        self._draw = DISTRIBUTIONS[distribution]
        self._count = 0

    def name(self, stem: str) -> str:
        """Return a new name."""
        self._count += 1
        return f"{stem}{self._count}"

    def weight(self, *shape: int) -> str:
        """Add a float32 weight of the drawn distribution."""
        return self.tensor(self._draw(self._rng, shape).astype(np.float32), "w")

    def tensor(self, values: Array, stem: str = "c") -> str:
        """Add a tensor."""
        name = self.name(stem)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name))
        return name

    def ints(self, *values: int) -> str:
        """Add an int64 vector."""
        return self.tensor(np.array(values, np.int64))

    def node(self, op: str, inputs: Sequence[str], stem: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return that."""
        name = self.name(stem or op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def then(self, op: str, *others: str, **attributes: Any) -> None:
        """Add a node to the end."""
        self.last = self.node(op, [self.last, *others], **attributes)

    def moved(self, op: str, value: str, axes: tuple[int, ...], **attributes: Any) -> str:
        """Add a node whose axes are an attribute in older opsets and an input in newer ones."""
        since = 18 if op.startswith("Reduce") else 13
        if self.opset < since:
            return self.node(op, [value], axes=list(axes), **attributes)
        return self.node(op, [value, self.ints(*axes)], **attributes)

    def subgraph(self, op: str, weights: Sequence[str], stem: str) -> onnx.GraphProto:
        """Return a branch without inputs that applies an operator to the end and outer weights."""
        out = self.name(f"{stem}_out")
        node = helper.make_node(op, [self.last, *weights], [out], self.name(stem))
        declared = helper.make_tensor_value_info(out, TensorProto.FLOAT, None)
        return helper.make_graph([node], stem, [], [declared])

    def finish(self, inputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """Close the graph with its end as output `y`."""
        self.nodes.append(helper.make_node("Identity", [self.last], ["y"], "end"))
        dims = ["N" if dim is None else dim for dim in self.shape]
        outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, dims)]
        graph = helper.make_graph(self.nodes, "random", list(inputs), outputs, self.initializers)
        opsets = [helper.make_opsetid("", self.opset)]
        version = helper.find_min_ir_version_for(opsets)
        return helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name="pytest-onnxlite")
