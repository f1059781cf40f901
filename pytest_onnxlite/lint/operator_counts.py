"""Operators by count, and the readable difference of two such counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_onnxlite.lint.operators import READ_DOMAINS

if TYPE_CHECKING:
    from pytest_onnxlite.lint.model_index import ModelIndex


@dataclass(frozen=True)
class OperatorChange:
    """What appeared and what went, by operator."""

    added: Mapping[str, int]
    removed: Mapping[str, int]

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.added or self.removed)

    def __str__(self) -> str:
        """Return `+4 DynamicQuantizeLinear, -2 Conv`, the largest changes first; `no change` for none."""
        parts = [f"{sign}{count} {name}" for sign, side in (("+", self.added), ("-", self.removed))
                 for name, count in sorted(side.items(), key=lambda item: (-item[1], item[0]))]  # fmt: skip
        return ", ".join(parts) or "no change"


def count_operators(index: ModelIndex) -> dict[str, int]:
    """Return how often each operator occurs, subgraphs and functions included, by name."""
    return dict(sorted(Counter(place.op for place in index.places).items()))


@dataclass(frozen=True)
class Unread:
    """Operators whose numbers no check reads.

    Attributes:
        operators: their names without a domain, each once, by name.
        all: whether no other node of the graph computes with a number that is stored in it.
    """

    operators: tuple[str, ...] = ()
    all: bool = False


def unread_operators(index: ModelIndex) -> Unread:
    """Return the operators of domains that no check knows, such as trees and linear models; functions of the model are known."""
    from pytest_onnxlite.lint.model_index import FLOATS  # loads onnx, and what is found is read without it

    functions = {(domain, name) for domain, name, *_ in index.model.functions}
    nodes = [place.node for place in index.places]
    found = {n.op_type for n in nodes if n.domain not in READ_DOMAINS and (n.domain, n.op_type) not in functions}
    floats = any(constant.used and constant.tensor.dtype in FLOATS for constant in index.constants)
    return Unread(tuple(sorted(found)), bool(found) and not floats)


def compare_operators(before: Mapping[str, int], after: Mapping[str, int]) -> OperatorChange:
    """Return which operators appeared and which went, with how many of each."""
    was, now = Counter(dict(before)), Counter(dict(after))
    return OperatorChange(dict(now - was), dict(was - now))
