"""Transposes, moved behind whatever computes the same on either side: ONNX Runtime moves them too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pytest_onnxlite.lint.likeness.tensors import Attributes, exact, moved
from pytest_onnxlite.lint.likeness.terms import Term, constant, quantized

Inputs = tuple[Term | None, ...]
Build = Callable[..., Term]
_UNARY = frozenset(
    {
        "Abs", "Cast", "Ceil", "Celu", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu",
        "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Cos", "Softplus",
        "Softsign", "Sqrt", "Tanh", "ThresholdedRelu", "Clip", "Swish",
    }
)  # fmt: skip
_BINARY = frozenset(
    {
        "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "And", "Or", "Xor", "Equal", "Less", "Greater", "PRelu",
        "LessOrEqual", "GreaterOrEqual",
    }
)  # fmt: skip
_AXIS = frozenset({"Softmax", "LogSoftmax", "Hardmax", "Concat", "LpNormalization"})
_AXES = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceL1"})
_MOVING = frozenset({"Gather", "Slice", "Squeeze", "Unsqueeze", *_AXES})


def transposed(term: Term, perm: tuple[int, ...], where: str, build: Build) -> Term:
    """Return a term with its dims in another order."""
    if term.is_constant and term.tensor is not None:
        shape = tuple(term.tensor.shape[axis] for axis in perm)
        return constant(moved(term.tensor, lambda values: np.transpose(values, perm), shape), term.where, term.name)
    if term.op == "~":
        assert term.inputs[0] is not None
        return quantized(transposed(term.inputs[0], perm, where, build), term.range, term.where)
    if term.op == "Transpose":
        inner, first = term.inputs[0], term.attributes["perm"]
        assert inner is not None
        perm = tuple(first[axis] for axis in perm)
        term = inner
    if perm == tuple(range(len(perm))):
        return term
    return Term("Transpose", (term,), {"perm": perm}, where=where, name=term.name, rank=len(perm))


def _turn(term: Term | None) -> tuple[int, ...] | None:
    """Return the order of dims in which a term is read, None if it is no Transpose."""
    while term is not None and term.op == "~":
        term = term.inputs[0]
    return term.attributes["perm"] if term is not None and term.op == "Transpose" else None


def _back(term: Term, perm: tuple[int, ...], where: str, build: Build) -> Term:
    """Return a term in the order of dims that `perm` brings to its own."""
    inverse = tuple(int(axis) for axis in np.argsort(perm))
    if term.is_constant and term.tensor is not None:
        shape = term.tensor.shape
        if term.tensor.size == 1:
            return term
        full = (1,) * (len(perm) - len(shape)) + shape
        wide = moved(term.tensor, lambda values: np.reshape(values, full), full)
        return transposed(constant(wide, term.where, term.name), inverse, where, build)
    return transposed(term, inverse, where, build)


def _fits(term: Term | None, rank: int) -> bool:
    if term is None:
        return False
    if term.is_constant and term.tensor is not None:
        return len(term.tensor.shape) <= rank
    return term.rank == rank


def sink(op: str, inputs: Inputs, attributes: Attributes, where: str, build: Build) -> Term | None:
    """Return a term with the Transposes of its inputs behind it, None if that is another term."""
    perm = _turn(inputs[0]) if inputs else None
    first = inputs[0] if inputs else None
    if op in _BINARY and len(inputs) == 2 and perm is None and first is not None and first.is_constant:
        perm = _turn(inputs[1])
    if perm is None or first is None:
        return None
    rank = len(perm)

    def behind(terms: Inputs, kept: Attributes) -> Term:
        return transposed(build(op, terms, kept, where, rank=rank), perm, where, build)

    if op in _UNARY:
        return behind((_back(first, perm, where, build), *inputs[1:]), attributes)
    if op in _BINARY and len(inputs) == 2 and all(_fits(term, rank) for term in inputs):
        return behind(tuple(_back(term, perm, where, build) for term in inputs if term), attributes)
    if op == "Concat" and not all(_fits(term, rank) for term in inputs):
        return None
    if op in _AXIS and -rank <= attributes.get("axis", -1) < rank:
        kept = {**attributes, "axis": perm[attributes.get("axis", -1) % rank]}
        return behind(tuple(_back(term, perm, where, build) for term in inputs if term), kept)
    moved_axes = _with_axes(op, inputs, attributes, perm) if op in _MOVING else None
    if moved_axes is None:
        return None
    rest, changed, after = moved_axes
    made = build(op, (_back(first, perm, where, build), *rest), changed, where, rank=len(after))
    return transposed(made, after, where, build)


def _with_axes(
    op: str, inputs: Inputs, attributes: Attributes, perm: tuple[int, ...]
) -> tuple[Inputs, Attributes, tuple[int, ...]] | None:
    """Return further inputs and attributes of an operator in front of a Transpose, and the order of dims behind it."""
    rank = len(perm)
    if op == "Gather" and len(inputs) == 2 and inputs[1] is not None and inputs[1].rank in (0, 1):
        axis = attributes.get("axis", 0) % rank
        after = perm if inputs[1].rank == 1 else _without(perm, {axis})
        return inputs[1:], {**attributes, "axis": perm[axis]}, after
    slot = 3 if op == "Slice" else 1
    term = inputs[slot] if len(inputs) > slot else None
    axes = term.tensor.data().reshape(-1) if term is not None and term.is_constant and term.tensor is not None else None
    if axes is None or (op != "Unsqueeze" and not all(-rank <= axis < rank for axis in axes)):
        return None
    if op == "Unsqueeze":
        return inputs[1:], attributes, _widened(perm, {int(axis) % (rank + len(axes)) for axis in axes})
    turned = [perm[int(axis) % rank] for axis in axes]
    after = perm
    if op == "Squeeze" or (op in _AXES and not attributes.get("keepdims", 1)):
        after = _without(perm, {int(axis) % rank for axis in axes})
    elif op != "Slice" and op not in _AXES:
        return None
    wanted = constant(exact(np.array(turned if op == "Slice" else sorted(turned), np.int64)))
    return (*inputs[1:slot], wanted, *inputs[slot + 1 :]), attributes, after


def _without(perm: tuple[int, ...], axes: set[int]) -> tuple[int, ...]:
    kept = [own for place, own in enumerate(perm) if place not in axes]
    return tuple(sorted(kept).index(own) for own in kept)


def _widened(perm: tuple[int, ...], axes: set[int]) -> tuple[int, ...]:
    places = [place for place in range(len(perm) + len(axes)) if place not in axes]
    found = list(range(len(perm) + len(axes)))
    for number, place in enumerate(places):
        found[place] = places[perm[number]]
    return tuple(found)
