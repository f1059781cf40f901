"""The figures behind an explanation of memory: what a report keeps, and what a page draws of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pytest_onnxlite.checks.blocks import Block, Compared, ComparedRow, Mark
from pytest_onnxlite.text import percent, size_text

_MOST_NODES = 5
_LAST = "the last release"


@dataclass(frozen=True)
class NodeBytes:
    """What a node allocates in one run, in both models, and how much more that is."""

    node: str
    bytes: int
    reference: int
    change: int


@dataclass(frozen=True)
class Bytes:
    """Bytes of both."""

    bytes: int
    reference: int


class MemoryReasons(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where the memory goes.

    Attributes:
        load: the peaks while loading.
        run: the peaks while running.
        nodes: what nodes allocate in one run, what grew most first.
        weights: the files' bytes; None where they are no ONNX files.
        is_red: whether the peak is too high: only what grew explains that.
    """

    load: Bytes
    run: Bytes
    nodes: tuple[NodeBytes, ...] = ()
    weights: Bytes | None = None
    is_red: bool = False

    @property
    def shown_peaks(self) -> list[tuple[str, Bytes]]:
        """The peaks, of one that is too high only those that grew."""
        peaks = [("loading", self.load), ("running", self.run)]
        return [(name, peak) for name, peak in peaks if peak.bytes > peak.reference or not self.is_red]

    @property
    def shown_nodes(self) -> Sequence[NodeBytes]:
        """The nodes that allocate most, of a peak that is too high only those that allocate more."""
        ranked = sorted(self.nodes, key=lambda node: -node.bytes)
        return [node for node in ranked if node.change > 0 or not self.is_red][:_MOST_NODES]


def details(reasons: MemoryReasons) -> tuple[str, ...]:
    """Return the figures as lines."""
    peaks = [
        f"{name} {size_text(peak.bytes)}, was {size_text(peak.reference)} "
        f"({percent(peak.bytes / max(peak.reference, 1) - 1, sign=True)})"
        for name, peak in reasons.shown_peaks
    ]
    lines = [f"Peaks: {'; '.join(peaks)}."] if peaks else []
    if reasons.shown_nodes:
        lines.append(f"Nodes that {_what(reasons)} (allocated in one run, was):")
        lines += [f"  {n.node}: {size_text(n.bytes)}, {size_text(n.reference)}" for n in reasons.shown_nodes]
    return tuple(lines)


def _what(reasons: MemoryReasons) -> str:
    return "allocate more" if reasons.is_red else "hold the peak"


def blocks(reasons: MemoryReasons) -> list[Block]:
    """Return peaks and nodes as bars, each marked with the last release's bytes."""
    parts = [
        ("Peaks", [(name, peak.bytes, peak.reference) for name, peak in reasons.shown_peaks]),
        (f"Nodes that {_what(reasons)}, in one run", [(n.node, n.bytes, n.reference) for n in reasons.shown_nodes]),
    ]
    return [_bars(title, rows) for title, rows in parts if rows]


def _bars(title: str, rows: Sequence[tuple[str, int, int]]) -> Compared:
    most = max(max(now, was) for _, now, was in rows) or 1
    return Compared(
        title,
        tuple(
            ComparedRow(name, size_text(now), now / most, (Mark(_LAST, size_text(was), was / most),))
            for name, now, was in rows
        ),
        f"A bar is this file's, the mark what {_LAST} has.",
    )
