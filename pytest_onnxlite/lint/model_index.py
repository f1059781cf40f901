"""One model, indexed: every node with the path of its subgraph, every constant, every use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pytest_onnxlite.errors import hide_mistakes
from pytest_onnxlite.lint import protobuf
from pytest_onnxlite.lint.loading import ModelLike, load_model
from pytest_onnxlite.lint.operators import DEQUANTIZE, ONNX_DOMAINS, Pattern, QuantizedOperator, quantized_operator
from pytest_onnxlite.lint.storage import Problem, problem, release

__tracebackhide__ = hide_mistakes

Array = npt.NDArray[Any]
FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
# Operators that pick or move values and compute none.
CARRIERS = frozenset(
    {"Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
# Operators that a runtime folds into the stored integers in front of a DequantizeLinear.
_FOLDED = frozenset({"Cast", "Identity", "Transpose"})


@dataclass(frozen=True, slots=True)
class Place:
    """A node and where it lies.

    Attributes:
        node: the node.
        path: that of its subgraph, empty for the main graph, else ending in `/`.
        name: the node's own; for one without a name, its operator and what it computes.
    """

    node: ir.Node
    path: str
    name: str

    @property
    def where(self) -> str:
        """The node's path and name, for messages."""
        return self.path + self.name

    @property
    def op(self) -> str:
        """The operator, with its domain if that is not ONNX's own."""
        return operator(self.node)

    @property
    def quantized(self) -> QuantizedOperator | None:
        """The row of the operator in the table of quantized ones, None if it is not in it."""
        return quantized_operator(self.node)


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor stored in the model.

    Attributes:
        value: the graph's value that holds it.
        tensor: its data, not yet read.
        path: that of its subgraph.
        stored: `initializer` or `Constant`.
    """

    value: ir.Value
    tensor: ir.TensorProtocol
    path: str
    stored: str

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self.value.name or ""

    @property
    def where(self) -> str:
        """The tensor's path and name, for messages."""
        return self.path + self.name

    @property
    def used(self) -> bool:
        """Whether a node or the graph's outputs read it."""
        return bool(self.value.uses()) or self.value.is_graph_output()


class ModelIndex:
    """A model's nodes and constants, subgraphs and functions included.

    Attributes:
        loaded: the model.
        model: the same as onnx-ir.
    """

    def __init__(self, source: ModelLike) -> None:
        """Index a model.

        Raises:
            GraphError: it cannot be read.
        """
        self.loaded = load_model(source)
        self.model = self.loaded.require()
        self._sources: dict[ir.Value, ir.Value | None] = {}

    @cached_property
    def scopes(self) -> list[tuple[str, ir.Graph]]:
        """Every graph and function with its path, outer before inner."""
        paths = {self.model.graph: ""}
        for function in self.model.functions.values():
            paths[function.graph] = _function_path(function)
        for top in list(paths):
            for node in ir.traversal.RecursiveGraphIterator(top, recursive=_has_its_graphs):
                for name, graph in _subgraphs(node):
                    assert node.graph is not None  # it was reached through one
                    paths[graph] = f"{paths[node.graph]}{_name(node, self._names)}/{name}/"
        return [(path, graph) for graph, path in paths.items()]

    @cached_property
    def places(self) -> list[Place]:
        """Every node."""
        return [Place(node, path, _name(node, self._names)) for path, graph in self.scopes for node in graph]

    @cached_property
    def _functions(self) -> dict[str, ir.Function]:
        """The functions by the path of what lies in them."""
        return {_function_path(function): function for function in self.model.functions.values()}

    def function_of(self, place: Place) -> ir.Function | None:
        """Return the function that a node lies in, None for the main graph and what is in it."""
        return self._functions.get(place.path[: place.path.find("/") + 1])

    @cached_property
    def _calls(self) -> dict[tuple[str, str], list[Place]]:
        found: dict[tuple[str, str], list[Place]] = {}
        names = {(function.domain, function.name) for function in self.model.functions.values()}
        for place in self.places:
            key = (place.node.domain, place.node.op_type)
            if key in names:
                found.setdefault(key, []).append(place)
        return found

    def calls(self, function: ir.Function) -> list[Place]:
        """Return the nodes that call a function."""
        return self._calls.get((function.domain, function.name), [])

    @cached_property
    def where(self) -> dict[ir.Node, str]:
        """What to call each node in a message."""
        return {place.node: place.where for place in self.places}

    @cached_property
    def constants(self) -> list[Constant]:
        """Every initializer and every tensor in a Constant node."""
        found = []
        for path, graph in self.scopes:
            for value in graph.initializers.values():
                if value.const_value is not None:
                    found.append(Constant(value, value.const_value, path, "initializer"))
            for node in graph:
                tensor = _constant_tensor(node)
                if tensor is not None:
                    found.append(Constant(node.outputs[0], tensor, path, "Constant"))
        return found

    @cached_property
    def by_value(self) -> dict[ir.Value, Constant]:
        """The constants by the value that holds them."""
        return {constant.value: constant for constant in self.constants}

    @cached_property
    def by_name(self) -> dict[tuple[str, str], Constant]:
        """The constants by path and name: branches may use one name twice."""
        return {(constant.path, constant.name): constant for constant in self.constants}

    @cached_property
    def constant_names(self) -> frozenset[str]:
        """The names of the constants, of whatever graph."""
        return frozenset(constant.name for constant in self.constants)

    @cached_property
    def patterns(self) -> frozenset[Pattern]:
        """The forms of quantization that its operators belong to."""
        return frozenset(place.quantized.pattern for place in self.places if place.quantized is not None)

    @property
    def quantized(self) -> bool:
        """Whether any node is one that a quantizer writes."""
        return bool(self.patterns)

    @cached_property
    def pattern(self) -> Pattern:
        """How it is quantized, by the operators that say most; QDQ without any."""
        return next((pattern for pattern in get_args(Pattern) if pattern in self.patterns), "QDQ")

    @cached_property
    def opset(self) -> int:
        """The version of ONNX's own operators that the model imports, 0 without one."""
        return max((self.model.opset_imports.get(domain, 0) for domain in ONNX_DOMAINS), default=0)

    @cached_property
    def unreadable(self) -> dict[ir.Value, Problem]:
        """The constants whose data is not where or what the model says, by the value that holds them."""
        found = {}
        for constant in self.constants:
            fault = problem(constant.tensor, self.loaded.path is not None)
            if fault is not None:
                found[constant.value] = fault
        return found

    def constant(self, value: ir.Value | None) -> Constant | None:
        """Return the constant that a value holds, None for a computed one."""
        return None if value is None else self.by_value.get(value)

    def readable(self, value: ir.Value | None) -> Constant | None:
        """Return the constant that a value holds, None for a computed one or one without its data."""
        constant = self.constant(value)
        return None if constant is None or constant.value in self.unreadable else constant

    def source(self, value: ir.Value | None) -> ir.Value | None:
        """Return where a tensor's values come from, past the operators that only pick or move them."""
        passed: dict[ir.Value, None] = {}
        while (
            value is not None and value not in self._sources and value not in passed
        ):  # a broken file may go in circles
            node = value.producer()
            if node is None or node.op_type not in CARRIERS or node.domain not in ONNX_DOMAINS:
                self._sources[value] = value
                break
            passed[value] = None
            value = input_of(node, 0)
        found = None if value is None else self._sources.get(value)
        # A long chain may be asked about at each of its values.
        self._sources.update(dict.fromkeys(passed, found))
        return found

    def dequantizer(self, value: ir.Value | None) -> ir.Node | None:
        """Return the DequantizeLinear that gives a value, None without one.

        Where stored integers are dequantized, it is seen through what runtimes fold into them (seen with ONNX Runtime 1.32).
        """
        node = first = producer(value)
        seen = set()
        while node is not None and node.op_type in _FOLDED and node.domain in ONNX_DOMAINS and node not in seen:
            seen.add(node)
            node = producer(input_of(node, 0))
        if node is None or operator(node).rpartition(".")[2] != DEQUANTIZE:
            return None
        return node if node is first or self.constant(self.source(input_of(node, 0))) is not None else None

    def dtype_of(self, value: ir.Value | None) -> ir.DataType | None:
        """Return a value's dtype, which nothing but the tensor itself says of a Constant in a function."""
        constant = self.constant(value)
        return constant.tensor.dtype if constant is not None else value.dtype if value is not None else None

    def dims_of(self, value: ir.Value | None) -> list[int | ir.SymbolicDim] | None:
        """Return a value's dims, None if they are unknown."""
        constant = self.constant(value)
        if constant is not None:
            return list(constant.tensor.shape.numpy())
        return None if value is None or value.shape is None else list(value.shape)

    @cached_property
    def _names(self) -> frozenset[str]:
        """The names the file gives: onnx-ir makes up names for nodes without one."""
        return frozenset(node.name for node in protobuf.nodes(self.loaded.proto))


def operator(node: ir.Node) -> str:
    """Return a node's operator, with its domain if that is not ONNX's own."""
    return node.op_type if node.domain in ONNX_DOMAINS else f"{node.domain}.{node.op_type}"


def attribute(node: ir.Node, name: str, default: Any) -> Any:
    """Return an attribute's value; the default if it is absent or refers to a function's attribute."""
    found = node.attributes.get(name)
    return default if found is None or found.is_ref() else found.value


def input_of(node: ir.Node, position: int) -> ir.Value | None:
    """Return a node's input, None if it has none there."""
    return node.inputs[position] if position < len(node.inputs) else None


def producer(value: ir.Value | None) -> ir.Node | None:
    """Return the node that computes a value, None for one that is given or stored."""
    return None if value is None else value.producer()


@contextmanager
def reading(tensor: ir.TensorProtocol) -> Iterator[Array]:
    """Give a tensor's values, and let go of the mapped file behind them afterwards.

    Raises:
        ValueError, OSError: the external file is missing, too short, or outside the model's folder.
    """
    try:
        yield tensor.numpy()
    finally:
        if isinstance(tensor, ir.ExternalTensor):
            release(tensor)


def scalar_or_vector(tensor: ir.TensorProtocol) -> Array:
    """Return a scale or zero point as a flat float64 array."""
    with reading(tensor) as values:
        return np.array(values, dtype=np.float64).reshape(-1)


def _function_path(function: ir.Function) -> str:
    return f"function {function.domain}::{function.name}/"


def _subgraphs(node: ir.Node) -> Iterator[tuple[str, ir.Graph]]:
    for item in node.attributes.values():
        if item.is_ref():
            continue
        if item.type == ir.AttributeType.GRAPH:
            yield item.name, item.as_graph()
        elif item.type == ir.AttributeType.GRAPHS:
            yield from ((f"{item.name}[{position}]", graph) for position, graph in enumerate(item.as_graphs()))


def _has_its_graphs(node: ir.Node) -> bool:
    # In a function an attribute may only refer to a graph that the caller gives, which onnx-ir would walk into.
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return not any(item.is_ref() and item.type in graphs for item in node.attributes.values())


def _name(node: ir.Node, names: frozenset[str]) -> str:
    if node.name and node.name in names:
        return node.name
    output = next((value.name for value in node.outputs if value.name), "")
    return f"{node.op_type} of {output!r}"


def _constant_tensor(node: ir.Node) -> ir.TensorProtocol | None:
    if node.op_type != "Constant" or node.domain not in ONNX_DOMAINS or len(node.outputs) != 1:
        return None
    for name, item in node.attributes.items():
        if item.is_ref():
            return None
        if name == "value":
            return item.as_tensor()
        if name in ("value_float", "value_floats"):
            return ir.Tensor(np.array(item.value, dtype=np.float32))
        if name in ("value_int", "value_ints"):
            return ir.Tensor(np.array(item.value, dtype=np.int64))
    return None
