"""Two models as terms, compared from the outputs backwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from pytest_onnxlite.lint.likeness.alignment import Alignment, align, shallow
from pytest_onnxlite.lint.likeness.attributes import default
from pytest_onnxlite.lint.likeness.reading import Terms
from pytest_onnxlite.lint.likeness.sameness import (
    call,
    crossed,
    interval_of,
    is_neutral,
    is_reshape,
    same,
    says_nothing,
    spell,
    taken_in,
    written_out,
)
from pytest_onnxlite.lint.likeness.terms import COMMUTATIVE, INPUT, PARAMETER, QUANTIZED, Body, Term, plain
from pytest_onnxlite.lint.model_index import CARRIERS

# What ONNX Runtime's optimizer makes of several operators.
_FUSIONS = frozenset({"LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization", "Gelu", "Attention"})
Ranges: TypeAlias = "tuple[tuple[float, float], ...]"


@dataclass(frozen=True)
class Difference:
    """One difference between two models.

    Attributes:
        code: of the rule.
        where: the node or tensor.
        expected: what the source has.
        found: what the candidate has.
    """

    code: str
    where: str
    expected: str
    found: str


@dataclass(frozen=True)
class Constants:
    """Two constants that stand at the same place, and the node that reads them."""

    ours: Term
    theirs: Term
    reader: str


@dataclass
class Comparison:
    """What came of a comparison.

    Attributes:
        differences: in operators, attributes and wiring.
        constants: pairs to be compared by their numbers.
        matched: the source's nodes that have their like.
        live: those that its outputs need.
        unsure: constants of the candidate, and places, that cannot be compared.
    """

    differences: list[Difference] = field(default_factory=list)
    constants: list[Constants] = field(default_factory=list)
    matched: set[str] = field(default_factory=set)
    live: dict[str, None] = field(default_factory=dict)
    unsure: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Pair:
    ours: Term
    theirs: Term
    reader: str
    is_output: bool = False
    ranges: Ranges = ()


def walk(roots: Iterable[Term]) -> Iterator[Term]:
    """Yield every term that some terms are made of, once, branches and bodies included."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        term = waiting.pop()
        if id(term) not in seen:
            seen.add(id(term))
            yield term
            waiting.extend(term.below())


def is_node(term: Term) -> bool:
    """Tell whether a term is what a node computes."""
    return not term.is_constant and term.op not in (INPUT, PARAMETER, QUANTIZED)


def compare(ours: Terms, theirs: Terms, *, opsets: tuple[int, int]) -> Comparison:
    """Compare a candidate with its source."""
    return _Comparer(ours, theirs, opsets).run()


class _Comparer:
    def __init__(self, ours: Terms, theirs: Terms, opsets: tuple[int, int]) -> None:
        self.ours, self.theirs, self.opsets = ours, theirs, opsets
        self.same_opset = opsets[0] == opsets[1]
        self.result = Comparison()
        self.waiting: list[_Pair] = []
        self.seen: set[tuple[int, int, Ranges]] = set()
        self.shapes: dict[int, Term] = {}
        self.ops: set[str] = set()
        for term in walk(theirs.outputs.values()):
            if is_node(term):
                self.result.live.setdefault(term.where)
                self.ops.add(term.op)
            if not term.is_constant:
                self.shapes.setdefault(term.shape, term)

    def run(self) -> Comparison:
        for name, term in reversed(self.theirs.outputs.items()):
            if name in self.ours.outputs:  # another name is the signature's matter
                self.push(self.ours.outputs[name], term, f"output {name!r}", is_output=True)
        while self.waiting:
            self.step(self.waiting.pop())
        return self.result

    def push(
        self, ours: Term | None, theirs: Term | None, reader: str, *, is_output: bool = False, ranges: Ranges = ()
    ) -> None:
        if ours is not None and theirs is not None and (id(ours), id(theirs), ranges) not in self.seen:
            self.seen.add((id(ours), id(theirs), ranges))
            self.waiting.append(_Pair(ours, theirs, reader, is_output, ranges))

    def differs(self, code: str, where: str, expected: str, found: str) -> None:
        self.result.differences.append(Difference(code, where, expected, found))

    def step(self, pair: _Pair) -> None:
        ours, own = _unwrapped(pair.ours)
        ranges = (*pair.ranges, *own)
        theirs, _ = _unwrapped(pair.theirs)
        whole = taken_in(ours) if ours.op != theirs.op else None
        if whole is not None and whole.op == theirs.op:
            ours = whole
        if ours.is_constant and theirs.is_constant:
            self.result.constants.append(Constants(ours, theirs, pair.reader))
        elif ours.op == theirs.op == INPUT or ours.op == theirs.op == PARAMETER:
            if ours.op == INPUT and ours.name == theirs.name:
                self.defaults(ours, theirs)
            elif ours.op == INPUT or ours.attributes["key"] != theirs.attributes["key"]:
                self.rewired(pair, ours, theirs)
        elif ours.op == theirs.op and ours.position == theirs.position:
            self.same(ours, theirs, ranges)
        elif ours.is_constant and theirs.op == INPUT and theirs.tensor is not None:
            self.differs(
                "OLX806", theirs.where, "an input that callers may leave out", "its default alone, as a constant"
            )
        elif (
            not self.clipped(pair, ours, theirs, ranges)
            and not self.converted(pair, ours, theirs)
            and not self.cast(pair, ours, theirs, ranges)
        ):
            self.mismatch(pair, ours, theirs)

    def defaults(self, ours: Term, theirs: Term) -> None:
        if ours.tensor is not None and theirs.tensor is not None:
            self.result.constants.append(Constants(ours, theirs, ours.where))

    def same(self, ours: Term, theirs: Term, ranges: Ranges) -> None:
        """Compare what two nodes of one operator are given."""
        self.result.matched.add(theirs.where)
        self.attributes(ours, theirs)
        own, other = list(ours.inputs), list(theirs.inputs)
        if ours.op in COMMUTATIVE and len(own) == len(other) == 2 and crossed(own, other):
            own.reverse()
        for position in range(max(len(own), len(other))):
            one = own[position] if position < len(own) else None
            two = other[position] if position < len(other) else None
            if (one is None) != (two is None):
                if not says_nothing(one or two):
                    expected, found = (call(two), call(one))
                    self.differs("OLX804", ours.where, f"{expected} as input {position}", found)
            else:
                # What only moves values keeps them within the range of the integers behind it.
                kept = ranges if ours.op in CARRIERS and position == 0 else ()
                self.push(one, two, ours.where, ranges=kept)
        for name, body in theirs.bodies.items():
            mine = ours.bodies.get(name)
            if mine is not None:
                self.bodies(mine, body, f"{ours.where}/{name}")

    def bodies(self, ours: Body, theirs: Body, where: str) -> None:
        if len(ours.outputs) != len(theirs.outputs) or ours.parameters != theirs.parameters:
            expected = f"{theirs.parameters} inputs and {len(theirs.outputs)} outputs"
            self.differs("OLX807", where, expected, f"{ours.parameters} and {len(ours.outputs)}")
        for position, (one, two) in enumerate(zip(ours.outputs, theirs.outputs, strict=False)):
            self.push(one, two, f"{where}, output {position}", is_output=True)

    def attributes(self, ours: Term, theirs: Term) -> None:
        for name in sorted({*ours.attributes, *theirs.attributes} - {"key", "factors", "operator"}):
            mine, other = ours.attributes.get(name), theirs.attributes.get(name)
            if not self.same_opset and (mine, other) == tuple(default(ours.op, name, opset) for opset in self.opsets):
                continue  # an opset that was raised has a rule of its own
            if mine is None or other is None:
                # Another opset has other attributes.
                if self.same_opset and not is_neutral(mine if other is None else other):
                    self.differs("OLX803", ours.where, f"{name} {spell(other)}", spell(mine))
            elif not same(name, mine, other, ours.rank or theirs.rank):
                self.differs("OLX803", ours.where, f"{name} {spell(other)}, as in {theirs.where!r}", spell(mine))

    def clipped(self, pair: _Pair, ours: Term, theirs: Term, ranges: Ranges) -> bool:
        """Take a Relu or Clip for done by the range of the integers behind it."""
        interval = interval_of(theirs)
        if interval is None or not any(low >= interval[0] and high <= interval[1] for low, high in ranges):
            return False
        self.result.matched.add(theirs.where)
        self.push(pair.ours, theirs.inputs[0], pair.reader, is_output=pair.is_output, ranges=pair.ranges)
        return True

    def cast(self, pair: _Pair, ours: Term, theirs: Term, ranges: Ranges) -> bool:
        """Look past one Cast: where types fit without it, it is one to the same type."""
        if "Cast" not in (ours.op, theirs.op):
            return False
        mine, other = (term.inputs[0] if term.op == "Cast" else term for term in (ours, theirs))
        if mine is None or other is None or (plain(mine).op == "Cast") != (plain(other).op == "Cast"):
            return False
        if theirs.op == "Cast":
            self.result.matched.add(theirs.where)
        self.push(mine, other, pair.reader, is_output=pair.is_output, ranges=ranges)
        return True

    def converted(self, pair: _Pair, ours: Term, theirs: Term) -> bool:
        """Look past what a conversion to a later opset writes out."""
        inner = None if self.same_opset else written_out(ours, theirs)
        if inner is None:
            return False
        self.result.matched.add(theirs.where)
        self.push(inner, theirs.inputs[0], pair.reader)
        return True

    def rewired(self, pair: _Pair, ours: Term, theirs: Term) -> None:
        self.differs("OLX807" if pair.is_output else "OLX804", pair.reader, call(theirs), call(ours))

    def mismatch(self, pair: _Pair, ours: Term, theirs: Term) -> None:
        if self.uncertain(ours, theirs, pair.reader):
            return
        if ours.is_constant or theirs.is_constant:
            self.rewired(pair, ours, theirs)
            return
        found = align(ours, theirs) or align(ours, theirs, of=shallow)
        elsewhere = self.shapes.get(ours.shape)
        near = found is not None and not found.ours and len(found.theirs) <= 3
        if not near and elsewhere is not None and ours.op != PARAMETER:
            self.rewired(pair, ours, theirs)
        elif found is not None:
            self.explain(found)
            self.push(found.mine, found.other, pair.reader)
        elif is_node(ours) and is_node(theirs) and len(ours.inputs) == len(theirs.inputs):
            self.differs("OLX801", theirs.where, theirs.op, f"{ours.op} in its place")
            for one, two in zip(ours.inputs, theirs.inputs, strict=True):
                self.push(one, two, ours.where)
        else:
            self.rewired(pair, ours, theirs)

    def explain(self, found: Alignment) -> None:
        """Say which nodes are missing, and which are there instead."""
        self.result.matched.update(term.where for term in found.theirs)
        if not found.theirs:
            for term in found.ours:
                self.differs("OLX802", term.where, "an operator of the float model or of quantization", term.op)
            return
        instead = ", ".join(term.op for term in found.ours)
        for term in found.theirs:
            text = f"{instead} in its place" if instead else f"{call(found.mine)} without it"
            self.differs("OLX801", term.where, term.op, text)

    def uncertain(self, ours: Term, theirs: Term, reader: str) -> bool:
        """Tell whether a difference may come from an optimizer; what is behind it is compared as far as it is found."""
        if ours.is_constant and not theirs.is_constant:
            if theirs.open and not theirs.shape_only:
                return False
            if is_reshape(ours, theirs):
                self.result.matched.update(term.where for term in walk([theirs]) if is_node(term))
            else:
                self.result.unsure.append(reader)
            return True
        if not ours.is_constant and theirs.is_constant:
            if ours.open and not ours.shape_only:
                return False
            self.result.unsure.append(reader)
            return True
        if ours.shape_only and theirs.shape_only:
            self.result.unsure.append(reader)
            return True
        fused = "." in ours.op or ours.op in _FUSIONS or ours.op.startswith(("sums of", "dequantized", "packed"))
        if not fused or ours.op in self.ops:
            return False
        self.result.unsure.append(ours.where)
        for term in ours.inputs:
            if term is not None and not term.is_constant:
                found = align(term, theirs, only=term)
                if found is not None:
                    self.push(found.mine, found.other, ours.where)
        return True


def _unwrapped(term: Term) -> tuple[Term, Ranges]:
    ranges: list[tuple[float, float]] = []
    while term.op == QUANTIZED:
        if term.range is not None:
            ranges.append(term.range)
        assert term.inputs[0] is not None
        term = term.inputs[0]
    return term, tuple(ranges)
