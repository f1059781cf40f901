"""The figures behind an explanation of time: what a report keeps, and what a page draws of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from pytest_onnxlite.checks.blocks import Block, Compared, ComparedRow, Mark
from pytest_onnxlite.text import time_text

MOST_OPERATORS, MOST_NODES = 6, 5
# Of the largest difference; what is less is the profile's noise.
_TRIFLE = 0.05
# Seconds. Times in a profile are whole microseconds, so that less in their mean is rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class OperatorDifference:
    """The time of one operator in both models.

    Attributes:
        operator: its name.
        nodes: how many the candidate has.
        reference_nodes: how many the reference has.
        seconds: per inference in all of them, the candidate's.
        reference_seconds: the reference's.
        was: what the reference has in the place of the candidate's nodes, by operator with how many of each.
    """

    operator: str
    nodes: int
    reference_nodes: int
    seconds: float
    reference_seconds: float
    was: dict[str, int] = field(default_factory=dict)

    @property
    def change(self) -> float:
        """How much more it takes."""
        return self.seconds - self.reference_seconds


@dataclass(frozen=True)
class NodeDifference:
    """The time of one node of the file in both models, with what helps it: casts, scales, reorders.

    Attributes:
        node: its name.
        operators: what computes it in the candidate.
        reference_operators: what does in the reference.
        seconds: per inference, the candidate's.
        reference_seconds: the reference's.
    """

    node: str
    operators: tuple[str, ...]
    reference_operators: tuple[str, ...]
    seconds: float
    reference_seconds: float

    @property
    def change(self) -> float:
        """How much more it takes."""
        return self.seconds - self.reference_seconds


class LatencyReasons(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Two profiles.

    Attributes:
        reference: what the other one is of.
        seconds: per inference in all operators, the candidate's.
        reference_seconds: the reference's.
        operators: what takes longest more first.
        nodes: likewise.
        wanted: the sign that figures must have to agree with the verdict; 0 where any may be shown.
    """

    reference: str
    seconds: float
    reference_seconds: float
    operators: tuple[OperatorDifference, ...] = ()
    nodes: tuple[NodeDifference, ...] = ()
    wanted: int = 0

    @property
    def agrees(self) -> bool:
        """Whether the profiles say what the verdict says."""
        return (self.seconds - self.reference_seconds) * self.wanted >= 0

    @property
    def shown_operators(self) -> Sequence[OperatorDifference]:
        """The operators whose differences agree with the verdict, as many as a person reads."""
        if not self.agrees:
            return []
        sign = self.wanted or 1
        told = [entry for entry in self.operators if abs(entry.change) >= _ROUNDING]
        shown = [entry for entry in told if entry.change * sign > 0 or not self.wanted]
        return shown[:MOST_OPERATORS]

    @property
    def slower_nodes(self) -> Sequence[NodeDifference]:
        """The nodes that take longer, if the verdict does not say the contrary."""
        if not self.agrees or self.wanted < 0:
            return []
        most = max((entry.change for entry in self.nodes), default=0.0)
        return [entry for entry in self.nodes if entry.change > max(_TRIFLE * most, 0)][:MOST_NODES]


def blocks(reasons: LatencyReasons) -> list[Block]:
    """Return operators and nodes as bars, each marked with the reference's time."""
    parts: list[tuple[str, Sequence[OperatorDifference] | Sequence[NodeDifference]]] = [
        ("Time in operators, profiled", reasons.shown_operators),
        ("Nodes that take longer, with what surrounds them", reasons.slower_nodes),
    ]
    return [_bars(title, entries, reasons.reference) for title, entries in parts if entries]


def _bars(title: str, entries: Sequence[OperatorDifference] | Sequence[NodeDifference], name: str) -> Compared:
    most = max(max(entry.seconds, entry.reference_seconds) for entry in entries) or 1.0
    rows = tuple(
        ComparedRow(
            entry.operator if isinstance(entry, OperatorDifference) else entry.node,
            time_text(entry.seconds),
            entry.seconds / most,
            (Mark(name, time_text(entry.reference_seconds), entry.reference_seconds / most),),
            _note(entry),
        )
        for entry in entries
    )
    return Compared(title, rows, f"A bar is the time in one inference, the mark what {name} takes.")


def _note(entry: OperatorDifference | NodeDifference) -> str:
    if isinstance(entry, NodeDifference):
        now, was = (
            ", ".join(dict.fromkeys(names)) or "nothing" for names in (entry.operators, entry.reference_operators)
        )
        return now if now == was else f"{was} → {now}"
    count = entry.nodes or entry.reference_nodes
    nodes = f"{count} node{'s' if count != 1 else ''}"
    if not entry.nodes:
        return f"{nodes}, no longer there"
    if not entry.reference_nodes:
        before = sorted(entry.was, key=lambda name: (-entry.was[name], name))
        return f"{nodes}, was {' and '.join(before[:2])}" if before else f"{nodes}, new"
    return nodes if entry.nodes == entry.reference_nodes else f"{nodes}, were {entry.reference_nodes}"
