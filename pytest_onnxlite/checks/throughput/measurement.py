"""Inferences per second with their conditions; what a baseline keeps of them, and a verdict's evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from pytest_onnxlite.baseline.record import Count, Factor, Positive
from pytest_onnxlite.checks.turns.comparison import Comparison, Interval
from pytest_onnxlite.text import Shapes, counted


@dataclass(frozen=True)
class Throughput:
    """Inferences per second of one session that several threads call.

    Attributes:
        per_second: inferences per second, the median of the blocks.
        clients: threads that called it.
        asked: threads that the marker asks for; more than `clients` on a machine of fewer cores.
        batch_size: samples per inference.
        threads: ONNX Runtime's intra-op threads.
        blocks: how many blocks were timed.
        iterations: inferences in a block.
        comparison: the ratios of the time per inference to the last release's; None if that was not timed.
        duration: seconds that measuring took.
        shapes: what it was fed with, by input.
    """

    per_second: float
    clients: int
    asked: int
    batch_size: int
    threads: int
    blocks: int
    iterations: int
    comparison: Comparison | None = None
    duration: float = 0.0
    shapes: Shapes = field(default_factory=dict)

    @property
    def figure(self) -> str:
        """The figure in a few words: `1,980/s with 2 clients`; it says if those are fewer than were asked for."""
        return f"{per_second_text(self.per_second)} with {self.callers}"

    @property
    def callers(self) -> str:
        """How many threads called it, and of how many that were asked for."""
        if self.clients == self.asked:
            return counted(self.clients, "client")
        return f"{self.clients} of {self.asked} clients, as many as there are cores here"


def per_second_text(value: float) -> str:
    """Return inferences per second with three digits: `1,980/s`, `0.25/s`."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}/s" if rounded >= 100 else f"{rounded:g}/s"


class ThroughputSection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a baseline keeps, on one machine.

    Attributes:
        per_second: inferences per second.
        clients: threads that called the session.
        batch_size: samples per inference.
        threads: intra-op threads.
        shapes: what it was fed with, by input.
    """

    per_second: Factor
    clients: Positive
    batch_size: Positive
    threads: Positive
    shapes: Mapping[str, tuple[Count, ...]] = {}

    @property
    def all_shapes(self) -> tuple[Shapes, ...]:
        """What it was fed with."""
        return (self.shapes,)


class ThroughputEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The numbers behind a verdict.

    Attributes:
        most: the ratio of the time per inference that is allowed.
        clients: threads that called each session.
        first: bounds on the ratio, of the first set.
        second: of the independent second set.
        self_check: of the last release against itself.
        ratio_since_first: how many times the first release's time per inference it takes, each release's ratio multiplied.
    """

    most: float
    clients: int
    first: Interval | None = None
    second: Interval | None = None
    self_check: Interval | None = None
    ratio_since_first: float | None = None
