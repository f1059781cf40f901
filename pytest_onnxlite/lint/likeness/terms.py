"""What a graph computes, as terms: operators over terms, constants, inputs. Names of tensors do not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_onnxlite.lint.likeness.tensors import Attributes, Tensor

INPUT, CONSTANT, PARAMETER, QUANTIZED = "input", "constant", "parameter", "~"
# The result does not depend on the order of the two.
COMMUTATIVE = frozenset({"Add", "Mul", "And", "Or", "Xor", "Equal", "Max", "Min", "Sum", "Mean", "BitwiseAnd"})
# Left to the range of the integers behind them, or needless: a term with one and the same without it are likely one.
FAINT = frozenset({"Relu", "Clip", "Cast"})
SCALE, ZERO, SUMS = "scale of", "zero point of", "sums of "
PENDING = (SCALE, SUMS)
_SIZES = frozenset({"Shape", "Size"})
# The bit of whatever a loop hands to its body.
_INNER = 1


class Body:
    """A branch or a loop's body.

    Attributes:
        outputs: what it gives.
        parameters: how many tensors it is handed.
    """

    __slots__ = ("outputs", "parameters")

    def __init__(self, outputs: tuple[Term | None, ...], parameters: int) -> None:
        """Take what it gives."""
        self.outputs, self.parameters = outputs, parameters


class Term:
    """One tensor, and how it is computed.

    Attributes:
        op: the operator, with its domain if that is not ONNX's own.
        inputs: what it reads; None for an input that is left out.
        attributes: the operator's, defaults filled in.
        position: which of the operator's outputs it is.
        bodies: branches and loop bodies by name.
        where: the node or tensor, for messages.
        name: the tensor's name, for messages.
        tensor: the numbers of a constant; of an input that may be left out, what it is then.
        range: between which numbers integers keep it.
        rank: how many dims it has, None if that is unknown.
        reached: a bit for each input that has a part in its numbers.
        open: whether an input has a part in it at all, if by its shape alone.
        shape: equal for terms of the same operators in the same wiring.
    """

    __slots__ = (
        "attributes",
        "bodies",
        "inputs",
        "name",
        "op",
        "open",
        "position",
        "range",
        "rank",
        "reached",
        "shape",
        "tensor",
        "where",
    )

    def __init__(
        self,
        op: str,
        inputs: tuple[Term | None, ...] = (),
        attributes: Attributes | None = None,
        *,
        position: int = 0,
        bodies: Mapping[str, Body] | None = None,
        where: str = "",
        name: str = "",
        tensor: Tensor | None = None,
        ends: tuple[float, float] | None = None,
        rank: int | None = None,
        bit: int = 0,
    ) -> None:
        """Take an operator and what it reads."""
        self.op, self.inputs, self.attributes = op, inputs, attributes or {}
        self.position, self.bodies, self.where, self.name = position, bodies or {}, where, name
        self.tensor, self.range, self.rank = tensor, ends, rank
        self.reached, self.open = bit, op in (INPUT, PARAMETER)
        for term in self.below():
            self.open = self.open or term.open
            if op not in _SIZES:
                self.reached |= term.reached
        self.shape = self._shape()

    def below(self) -> Iterator[Term]:
        """Yield what it reads, and what its bodies give."""
        yield from (term for term in self.inputs if term is not None)
        for body in self.bodies.values():
            yield from (term for term in body.outputs if term is not None)

    def _shape(self) -> int:
        if self.op == QUANTIZED or (self.op in FAINT and self.inputs and self.inputs[0] is not None):
            assert self.inputs[0] is not None
            return self.inputs[0].shape
        if self.op == INPUT:
            return hash((INPUT, self.name))
        if self.op in (CONSTANT, PARAMETER):
            return hash((self.op, self.attributes.get("key", "")))
        parts = [0 if term is None else term.shape for term in self.inputs]
        if self.op in COMMUTATIVE:
            parts.sort()
        inner = [hash(tuple(0 if t is None else t.shape for t in body.outputs)) for body in self.bodies.values()]
        return hash((self.op, self.position, *parts, "|", *inner))

    @property
    def shape_only(self) -> bool:
        """Whether inputs have a part in it by their shape alone."""
        return self.open and self.reached == 0

    @property
    def is_constant(self) -> bool:
        """Whether it is a stored tensor, or one computed from such."""
        return self.op == CONSTANT


def constant(tensor: Tensor, where: str = "", name: str = "") -> Term:
    """Return the term of a tensor."""
    return Term(CONSTANT, tensor=tensor, where=where, name=name, rank=len(tensor.shape))


def parameter(key: str, name: str) -> Term:
    """Return what a loop hands to its body."""
    return Term(PARAMETER, attributes={"key": key}, name=name, where=name, bit=_INNER)


def quantized(term: Term, ends: tuple[float, float] | None, where: str) -> Term:
    """Return a term that integers stand for from here on."""
    return Term(QUANTIZED, (term,), ends=ends, where=where, name=term.name, rank=term.rank)


def plain(term: Term) -> Term:
    """Return a term without the integers that stand for it."""
    while term.op == QUANTIZED:
        assert term.inputs[0] is not None
        term = term.inputs[0]
    return term
