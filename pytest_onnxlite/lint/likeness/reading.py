"""A model, read as terms: functions written out, branches and loop bodies as terms of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from pytest_onnxlite.lint.likeness import quantized
from pytest_onnxlite.lint.likeness.attributes import modern, plain_attributes
from pytest_onnxlite.lint.likeness.rewrites import build
from pytest_onnxlite.lint.likeness.tensors import Attributes, stored
from pytest_onnxlite.lint.likeness.terms import INPUT, SCALE, SUMS, Body, Term, constant, parameter
from pytest_onnxlite.lint.model_index import FLOATS, ModelIndex, operator
from pytest_onnxlite.lint.operators import ONNX_DOMAINS, quantized_operator
from pytest_onnxlite.lint.precision import Precisions

# As many nodes, functions written out wherever they are called, are read.
_LIMIT = 2_000_000
_SINGLE_OR_HALF = (ir.DataType.FLOAT.value, ir.DataType.FLOAT16.value)


class TooLarge(Exception):
    """Written out, the model's functions have too many nodes."""


class NotYet(Exception):
    """A node reads what is not there yet."""


@dataclass
class Terms:
    """A model as terms.

    Attributes:
        outputs: its outputs by name, in order.
        inputs: the bit of each input by its name.
        optional: inputs that have a value of their own, which the caller may replace.
        unread: why it could not be read, empty if it was.
    """

    outputs: dict[str, Term] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    unread: str = ""


def read(index: ModelIndex, optional: Iterable[str] | None = None, *, halves: bool = False) -> Terms:
    """Read a model.

    Args:
        index: the model.
        optional: the inputs that may be left out; None to find them out.
        halves: whether single and half precision are one and the same, and casts between them nothing.
    """
    terms = Terms(optional=frozenset(optional_inputs(index) if optional is None else optional))
    reader = _Reader(index, terms, halves)
    try:
        reader.read_model()
    except TooLarge:
        terms.unread = "its functions, written out, are too large"
    except (NotYet, RecursionError):
        terms.unread = "its nodes are not sorted, or too deeply nested"
    return terms


def optional_inputs(index: ModelIndex) -> list[str]:
    """Return the inputs that have a value of their own, on purpose.

    Exporters of long ago list every initializer as an input.
    """
    graph = index.model.graph
    given = {value.name for value in graph.inputs}
    both = [name for name in graph.initializers if name in given]
    modern = (index.model.ir_version or 0) >= 4
    return both if modern and len(both) < len(graph.initializers) else []


class _Reader:
    def __init__(self, index: ModelIndex, terms: Terms, halves: bool) -> None:
        self.index, self.terms = index, terms
        self.precisions = Precisions(index) if halves else None
        self.known: dict[ir.Value, Term] = {}
        self.count = self.depth = 0
        self.calls: dict[Any, tuple[Term | None, ...]] = {}

    def read_model(self) -> None:
        graph = self.index.model.graph
        for position, value in enumerate(graph.inputs):
            name = value.name or ""
            bit = 2 << position
            own = self._stored(value) if name in graph.initializers else None
            if own is not None and name not in self.terms.optional:
                self.known[value] = own
                continue
            self.terms.inputs[name] = bit
            tensor = own.tensor if own is not None else None
            rank = None if value.shape is None else len(value.shape)
            self.known[value] = Term(INPUT, name=name, where=name, bit=bit, tensor=tensor, rank=rank)
        self._graph(graph, {})
        self.terms.outputs = {value.name or "": self._of(value) for value in graph.outputs}

    def _stored(self, value: ir.Value) -> Term | None:
        found = self.index.constant(value)
        if found is None:
            return None
        if value in self.index.unreadable:
            return Term("unreadable", name=found.name, where=found.where)
        return constant(stored(found), found.where, found.name)

    def _of(self, value: ir.Value) -> Term:
        found = self.known.get(value)
        if found is None:
            own = self._stored(value)
            if own is None:
                raise NotYet
            found = self.known[value] = own
        return found

    def _graph(self, graph: Iterable[ir.Node], arguments: Mapping[str, ir.Attr]) -> None:
        nodes = list(graph)
        while nodes:
            # Quantizers leave nodes behind others whose branches read them: then they are read in a second round.
            later = []
            for node in nodes:
                try:
                    self._node(node, arguments)
                except NotYet:
                    later.append(node)
            if len(later) == len(nodes) or (len(later) > 100 and len(later) * 2 > len(nodes)):
                raise NotYet
            nodes = later

    def _node(self, node: ir.Node, arguments: Mapping[str, ir.Attr]) -> None:
        self.count += 1
        if self.count > _LIMIT:
            raise TooLarge
        if len(node.outputs) == 1 and self.index.constant(node.outputs[0]) is not None:
            return
        inputs = tuple(None if value is None else self._of(value) for value in node.inputs)
        own = {name: self._resolved(item, arguments) for name, item in node.attributes.items()}
        items = {name: item for name, item in own.items() if item is not None}
        outputs: Sequence[Term | None]
        function = self.index.model.functions.get(node.op_identifier())
        if function is not None:
            outputs = self._call(function, inputs, items)
        else:
            outputs = self._operator(node, inputs, items, arguments)
        for value, term in zip(node.outputs, outputs, strict=False):
            if term is not None:
                self.known[value] = term

    def _resolved(self, item: ir.Attr, arguments: Mapping[str, ir.Attr]) -> ir.Attr | None:
        return arguments.get(item.ref_attr_name or "") if item.is_ref() else item

    def _call(
        self, function: ir.Function, inputs: tuple[Term | None, ...], items: dict[str, ir.Attr]
    ) -> list[Term | None]:
        key = (
            function.identifier(),
            tuple(id(term) for term in inputs),
            tuple((n, repr(i.value)) for n, i in items.items()),
        )
        found = self.calls.get(key)
        if found is None:
            if self.depth > 50:
                raise TooLarge
            outer, self.known = self.known, {}
            self.depth += 1
            for value, term in zip(function.inputs, inputs, strict=False):
                if term is not None:
                    self.known[value] = term
            defaults = {name: item for name, item in function.attributes.items() if item.value is not None}
            try:
                self._graph(function, {**defaults, **items})
                found = tuple(self._of(value) for value in function.outputs)
            finally:
                self.known = outer
                self.depth -= 1
            # The terms of the key are kept, so that no other one comes to stand at their place.
            self.calls[key] = found
            self.calls[key, "kept"] = inputs
        return list(found)

    def _operator(
        self,
        node: ir.Node,
        inputs: tuple[Term | None, ...],
        items: dict[str, ir.Attr],
        arguments: Mapping[str, ir.Attr],
    ) -> Sequence[Term | None]:
        where = self.index.where.get(node, node.name or node.op_type)
        bodies = self._bodies(node, items, arguments)
        row = quantized_operator(node)
        attributes = plain_attributes(node, items, self.index.opset if node.domain in ONNX_DOMAINS else 1)
        if row is not None:
            found = quantized.read_quantized(row, inputs, attributes, where)
            if found is not None:
                return found
        op, inputs, attributes = modern(operator(node), inputs, attributes)
        if op == "If" and inputs and inputs[0] is not None and inputs[0].is_constant and inputs[0].tensor is not None:
            chosen = "then_branch" if inputs[0].tensor.data().reshape(-1)[:1].any() else "else_branch"
            return bodies[chosen].outputs
        name = (node.outputs[0].name or "") if node.outputs else ""
        sums = _sums(op, inputs, attributes, where)
        if sums is not None:
            return [sums]
        rank = _rank(node.outputs[0]) if node.outputs else None
        if op == "Cast" and (_needless(node) or self._is_between_floats(node)):
            return [inputs[0]]
        if self.precisions is not None:
            attributes = {name: _single(name, given) for name, given in attributes.items()}
        alone = not any(value.name for value in node.outputs[1:])  # an LSTM may give its second output alone
        if (alone and not bodies) or op in (
            "Dropout",
            "BatchNormalization",
        ):
            made = build(op, inputs, attributes, where, name, rank if rank is not None else _same_rank(op, inputs))
            if op == "Mul" and made.is_constant:
                made.attributes = {"parts": inputs}  # of two scales, each is another operand's
            return [made]
        return [
            Term(
                op,
                inputs,
                attributes,
                position=at,
                bodies=bodies,
                where=where,
                name=value.name or "",
                rank=_rank(value),
            )
            for at, value in enumerate(node.outputs)
        ]

    def _is_between_floats(self, node: ir.Node) -> bool:
        """Tell whether a Cast goes from one of single and half precision to the other, where that means nothing."""
        to = node.attributes.get("to")
        if self.precisions is None or to is None or to.is_ref() or to.value not in _SINGLE_OR_HALF:
            return False
        given = self.precisions.of(node.inputs[0])
        return given is not None and given.value in _SINGLE_OR_HALF

    def _bodies(self, node: ir.Node, items: dict[str, ir.Attr], arguments: Mapping[str, ir.Attr]) -> dict[str, Body]:
        found = {}
        for name, item in items.items():
            if item.type != ir.AttributeType.GRAPH:
                continue
            graph = item.as_graph()
            self.depth += 1
            if self.depth > 50:
                raise TooLarge
            for position, value in enumerate(graph.inputs):
                self.known[value] = parameter(f"{self.depth}:{position}", value.name or "")
            for value in graph.initializers.values():
                own = self._stored(value)
                if own is not None:
                    self.known[value] = own
            try:
                self._graph(graph, arguments)
                found[name] = Body(tuple(self._of(value) for value in graph.outputs), len(graph.inputs))
            finally:
                self.depth -= 1
        return found


def _single(name: str, given: Any) -> Any:
    """Return an attribute with single precision in the place of half."""
    is_half = name in ("to", "dtype") and given == ir.DataType.FLOAT16.value
    return ir.DataType.FLOAT.value if is_half else given


def _rank(value: ir.Value) -> int | None:
    return None if value.shape is None else len(value.shape)


def _same_rank(op: str, inputs: tuple[Term | None, ...]) -> int | None:
    first = inputs[0] if inputs else None
    if op in ("MatMul", "Gemm", "Expand", "Gather", "Reshape", "Squeeze", "Unsqueeze", "Where") or first is None:
        if op == "Reshape" and len(inputs) > 1 and inputs[1] is not None and inputs[1].tensor is not None:
            return inputs[1].tensor.size
        return None
    ranks = [term.rank for term in inputs if term is not None]
    if len(inputs) == 2 and op in ("Add", "Sub", "Mul", "Div", "Pow"):
        return None if any(rank is None for rank in ranks) else max(rank or 0 for rank in ranks)
    return first.rank if op in ("Conv", "Relu", "Sigmoid", "Tanh", "Softmax", "MaxPool", "AveragePool") else None


def _needless(node: ir.Node) -> bool:
    """Tell whether a Cast gives the type that it is given."""
    given = node.inputs[0].dtype if node.inputs and node.inputs[0] is not None else None
    to = node.attributes.get("to")
    return given is not None and to is not None and not to.is_ref() and to.value == given.value


def _sums(op: str, inputs: tuple[Term | None, ...], attributes: Attributes, where: str) -> Term | None:
    """Return an integer product while its sums are cast and scaled, None for anything else."""
    first = inputs[0] if inputs else None
    if op == "Cast" and first is not None:
        pending = first.op.startswith(SUMS)
        return first if pending and attributes.get("to") in {item.value for item in FLOATS} else None
    if op != "Mul" or len(inputs) != 2:
        return None
    for one, other in (inputs, inputs[::-1]):
        if one is None or other is None or not one.op.startswith(SUMS):
            continue
        factors = _factors(other)
        if factors is None:
            continue
        whole = [*one.attributes.get("factors", ()), *factors]
        found = quantized.scaled_sums(one, whole, where)
        return found or Term(one.op, one.inputs, {**one.attributes, "factors": tuple(whole)}, where=one.where)
    return None


def _factors(term: Term) -> list[Term] | None:
    if term.is_constant and "parts" in term.attributes:
        return [factor for part in term.attributes["parts"] if part is not None for factor in _factors(part) or [part]]
    if term.op == SCALE or (term.is_constant and term.tensor is not None and term.tensor.kind == "f"):
        return [term]
    if term.op == "Mul" and len(term.inputs) == 2 and all(item is not None for item in term.inputs):
        found = [_factors(item) for item in term.inputs if item is not None]
        if all(part is not None for part in found):
            return [factor for part in found if part is not None for factor in part]
    return None
