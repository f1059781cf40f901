"""Where two graphs meet again behind a difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_onnxlite.lint.likeness.terms import COMMUTATIVE, CONSTANT, FAINT, INPUT, PARAMETER, QUANTIZED, Term, plain

# So many nodes are looked at on either side.
_WIDTH, _DEPTH, _FAR = 60, 8, 400


@dataclass(frozen=True)
class Alignment:
    """Two terms that are alike, and what stands in front of them.

    Attributes:
        mine: the candidate's term.
        other: the source's.
        ours: the candidate's nodes in front of it, the last one first.
        theirs: the source's.
    """

    mine: Term
    other: Term
    ours: tuple[Term, ...]
    theirs: tuple[Term, ...]


def align(
    ours: Term, theirs: Term, *, of: Callable[[Term], int] = lambda term: term.shape, only: Term | None = None
) -> Alignment | None:
    """Return where two terms meet again, the nearest such place; None if they do not.

    Args:
        ours: the candidate's term.
        theirs: the source's.
        of: what is equal for terms that are alike.
        only: the candidate's term that is to be found in the source's, however far.
    """
    mine = [(plain(only), ())] if only is not None else _behind(ours, _WIDTH)
    other: dict[int, tuple[Term, tuple[Term, ...]]] = {}
    for term, path in _behind(theirs, _FAR if only is not None else _WIDTH):
        if term.op not in FAINT:
            other.setdefault(of(term), (term, path))
    best: Alignment | None = None
    for term, path in mine:
        twin = other.get(of(term)) if term.op not in FAINT else None
        if twin is None or (best is not None and len(path) + len(twin[1]) >= len(best.ours) + len(best.theirs)):
            continue
        best = Alignment(term, twin[0], path, twin[1])
    return best


def _behind(term: Term, width: int) -> list[tuple[Term, tuple[Term, ...]]]:
    """Return a term and what it is made of, nearest first, each with the nodes in front of it."""
    found: list[tuple[Term, tuple[Term, ...]]] = []
    waiting: list[tuple[Term, tuple[Term, ...]]] = [(plain(term), ())]
    seen: set[int] = set()
    while waiting and len(found) < width:
        following: list[tuple[Term, tuple[Term, ...]]] = []
        for own, path in waiting:
            if id(own) in seen or own.op == CONSTANT or not own.open:
                continue
            seen.add(id(own))
            found.append((own, path))
            if len(path) < (_DEPTH if width == _WIDTH else width):
                following += [(plain(below), (*path, own)) for below in own.inputs if below is not None]
        waiting = following
    return found


def shallow(term: Term, depth: int = 3) -> int:
    """Return what is equal for terms whose last few operators are the same."""
    term = plain(term)
    if term.op == INPUT:
        return hash((INPUT, term.name))
    if depth == 0 or term.op in (CONSTANT, PARAMETER, QUANTIZED):
        return hash(term.op)
    parts = [0 if below is None else shallow(below, depth - 1) for below in term.inputs]
    if term.op in COMMUTATIVE:
        parts.sort()
    return hash((term.op, term.position, *parts))
