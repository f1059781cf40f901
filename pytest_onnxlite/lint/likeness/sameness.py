"""When two terms, inputs or attributes say the same, and how to call them in a message."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from pytest_onnxlite.lint.likeness.alignment import shallow
from pytest_onnxlite.lint.likeness.rewrites import AFFINE, affine, build, one_number
from pytest_onnxlite.lint.likeness.tensors import Tensor
from pytest_onnxlite.lint.likeness.terms import INPUT, PARAMETER, Term, plain
from pytest_onnxlite.lint.model_index import Array

_AXES = frozenset({"axis", "axes"})
_FEW = 1e-6
_SOFTMAX = frozenset({"Softmax", "LogSoftmax", "Hardmax"})


def written_out(ours: Term, theirs: Term) -> Term | None:
    """Return what an old Softmax over several dims reads, where the other model has it as later opsets need it.

    There it is a Flatten, a Softmax and a Reshape.
    """
    inner = plain(ours.inputs[0]) if ours.op == "Reshape" and ours.inputs[0] is not None else None
    if inner is None or inner.op != theirs.op or inner.op not in _SOFTMAX or inner.inputs[0] is None:
        return None
    flat = plain(inner.inputs[0])
    if flat.op != "Flatten" or inner.attributes.get("axis") != -1:
        return None
    rank = ours.rank or theirs.rank
    return (
        flat.inputs[0] if same("axis", flat.attributes.get("axis", 1), theirs.attributes.get("axis", 1), rank) else None
    )


def taken_in(term: Term) -> Term | None:
    """Return a factor, offset or normalization as part of the product in front; None for another term.

    Integers between the two that keep the product from being negative may stand for a Relu, and do not have to.
    """
    first = term.inputs[0] if term.inputs else None
    # One that trains is given five inputs, and stays as it is.
    if term.op not in ("Add", "Mul", AFFINE) or first is None or (term.op == AFFINE and len(term.inputs) != 3):
        return None
    inner = plain(first)
    inputs = (taken_in(inner) or inner, *term.inputs[1:])
    rule = affine if term.op == AFFINE else partial(build, term.op)
    made = rule(inputs, term.attributes, term.where)
    return made if made.op != term.op else None


def crossed(ours: list[Term | None], theirs: list[Term | None]) -> bool:
    """Tell whether the first of two operands is the other's second."""
    a, b = ([0 if term is None else term.shape for term in side] for side in (ours, theirs))
    if a[0] == b[0] or a[1] == b[1]:
        return False
    if a[0] == b[1] or a[1] == b[0]:
        return True
    one, two = ([0 if term is None else shallow(term) for term in side] for side in (ours, theirs))
    return one[0] != two[0] and one[1] != two[1] and (one[0] == two[1] or one[1] == two[0])


def interval_of(term: Term) -> tuple[float, float] | None:
    """Return between which numbers a Relu or Clip keeps a tensor, None for another node or computed ends."""
    if term.op == "Relu":
        return 0.0, float("inf")
    if term.op != "Clip":
        return None
    ends = []
    for slot, open_end in ((1, -np.inf), (2, np.inf)):
        value = term.inputs[slot] if slot < len(term.inputs) else None
        known = one_number(value)
        if value is not None and known is None:
            return None
        ends.append(open_end if known is None else known)
    return ends[0], ends[1]


def is_reshape(ours: Term, theirs: Term) -> bool:
    """Tell whether stored dims leave open what the source computes of a shape, and have the rest of its dims."""
    parts = theirs.inputs if theirs.op == "Concat" else ()
    dims = (
        [int(dim) for dim in ours.tensor.data().reshape(-1)]
        if ours.tensor is not None and ours.tensor.kind == "i"
        else []
    )
    for part in parts:
        if part is None or not dims:
            return False
        known = part.tensor.data().reshape(-1) if part.is_constant and part.tensor is not None else None
        if known is None and dims[0] not in (0, -1):
            return False
        if known is not None and [int(dim) for dim in known] != dims[: len(known)]:
            return False
        dims = dims[1 if known is None else len(known) :]
    return bool(parts) and not dims


def says_nothing(term: Term | None) -> bool:
    """Tell whether an input gives what its operator does without it: a bias or initial state of zeros."""
    if term is None or not term.is_constant or term.tensor is None or term.tensor.kind not in "fi":
        return False
    return not term.tensor.data().any()


def call(term: Term | None) -> str:
    """Return what to call a term in a message."""
    if term is None:
        return "nothing"
    if term.is_constant and term.tensor is not None:
        return f"the constant {term.tensor.name}"
    if term.op == INPUT:
        return f"input {term.name!r}"
    if term.op == PARAMETER:
        return f"{term.name!r}, which the loop hands on"
    return f"what {term.op} {term.where!r} gives"


def is_neutral(value: Any) -> bool:
    """Tell whether an attribute says what most operators do without it."""
    if isinstance(value, Tensor):
        return not value.data().any()
    return all(bool(item in (0, 1, "", "NOTSET")) for item in (value if isinstance(value, tuple) else (value,)))


def same(name: str, one: Any, other: Any, rank: int | None) -> bool:
    """Tell whether two values of an attribute are the same; axes may be counted from either end."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and _same_numbers(one.data(), other.data())
    if name in _AXES:
        return bool(_axes(one, rank, other) == _axes(other, rank, one))
    if isinstance(one, float) or isinstance(other, float):
        return bool(abs(one - other) <= _FEW * max(abs(one), abs(other)) or one == other)
    if isinstance(one, tuple) and isinstance(other, tuple) and any(isinstance(item, float) for item in one):
        return len(one) == len(other) and all(same("", a, b, None) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _same_numbers(one: Array, other: Array) -> bool:
    """Tell whether two tensors hold the same numbers, of which one may have been rounded to half precision."""
    if one.dtype != other.dtype and np.float16 in (one.dtype, other.dtype):
        return bool(np.array_equal(one.astype(np.float16), other.astype(np.float16)))
    return bool(np.array_equal(one, other))


def _axes(value: Any, rank: int | None, other: Any) -> Any:
    items = value if isinstance(value, tuple) else (value,)
    others = other if isinstance(other, tuple) else (other,)
    if rank is None:
        # Counted from either end they cannot be told apart.
        return "unknown" if [i < 0 for i in items] != [i < 0 for i in others] else items
    return tuple(item % rank for item in items) if rank else items


def spell(value: Any) -> str:
    """Return an attribute's value for a message."""
    if value is None:
        return "none"
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
