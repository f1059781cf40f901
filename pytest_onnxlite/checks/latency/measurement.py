"""Times per inference with their conditions; what a baseline keeps of them, and a verdict's evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import msgspec

from pytest_onnxlite.baseline.record import Count, Factor, Positive
from pytest_onnxlite.checks.turns.comparison import Comparison, Interval
from pytest_onnxlite.text import Shapes

# What a comparison is for: the marker's max_ratio=, what a baseline stores, or the last release.
FLOAT, SIBLING = "float", "sibling"


@dataclass(frozen=True)
class Latency:
    """Time per inference of a candidate, alone and in turns with what it is compared with.

    Attributes:
        seconds: median time of one inference, a batch of `batch_size`.
        sessions: the same for each fresh session.
        rounds: blocks that were timed.
        iterations: inferences in a block.
        batch_size: samples per inference.
        threads: ONNX Runtime's intra-op threads.
        comparisons: by what for: `baseline`, `float` or `sibling`.
        duration: seconds that measuring took.
        shapes: what it was fed with, by input; empty in reports of versions that did not say.
        others: the same at the other shapes that count, where samples differ in shape; this one is the longest.
        pace: seconds that the machine takes for a fixed piece of work, see `pace`; None where a report does not say.
        fast: seconds of one inference in the fast tenth of the blocks; None where a report does not say.
        phase: what was timed instead of an inference, each time in a fresh process: `load` or `first`; empty for none.
        percentile: of which `seconds` and `sessions` are, such as 99; None for the median.
        lower: the lower bound of the percentile, seconds; None where it is the median.
        upper: the upper bound.
        typical: the median of the same inferences.
    """

    seconds: float
    sessions: tuple[float, ...]
    rounds: int
    iterations: int
    batch_size: int
    threads: int
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    duration: float = 0.0
    shapes: Shapes = field(default_factory=dict)
    others: tuple[Latency, ...] = ()
    pace: float | None = None
    fast: float | None = None
    phase: str = ""
    percentile: float | None = None
    lower: float | None = None
    upper: float | None = None
    typical: float | None = None

    @property
    def per(self) -> str:
        """What a time is of, as it is told."""
        if self.percentile is not None:
            return f"at percentile {self.percentile:g} of {self.rounds:,} inferences"
        return {"load": "to create a session", "first": "for the first run"}.get(self.phase, "per inference")

    @property
    def each(self) -> tuple[Latency, ...]:
        """The times at each shape, the longest first."""
        return (self, *self.others)

    def at(self, shapes: Shapes) -> Latency:
        """Return the times at these shapes; those at the longest if there are none."""
        return next((one for one in self.each if one.shapes == shapes), self)


class AtShapes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a baseline keeps of the times at one more shape; see `LatencySection`."""

    shapes: Mapping[str, tuple[Count, ...]]
    seconds: Factor
    sibling_ratio: Factor | None = None
    fast: Factor | None = None


class LatencySection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a baseline keeps, on one machine.

    Attributes:
        seconds: per inference.
        batch_size: samples per inference.
        threads: intra-op threads.
        sibling_ratio: to the time of the float model; None if that was not timed.
        shapes: what it was fed with, by input; empty in baselines of versions that did not say.
        others: the same at the other shapes that count, where samples differ in shape.
        pace: seconds that the machine took for a fixed piece of work; None in baselines of versions that did not say.
        fast: per inference, in the fast tenth of the blocks; None in baselines of versions that did not say.
        phase: what was timed instead of an inference.
        percentile: of which `seconds` are; None for the median.
    """

    seconds: Factor
    batch_size: Positive
    threads: Positive
    sibling_ratio: Factor | None = None
    shapes: Mapping[str, tuple[Count, ...]] = {}
    others: tuple[AtShapes, ...] = ()
    pace: Factor | None = None
    fast: Factor | None = None
    phase: str = ""
    percentile: Factor | None = None

    @property
    def all_shapes(self) -> tuple[Shapes, ...]:
        """What it was fed with, the longest first."""
        return (self.shapes, *(other.shapes for other in self.others))

    def at(self, shapes: Shapes, alone: bool) -> AtShapes | None:
        """Return what was saved at these shapes; None for nothing.

        Args:
            shapes: what is timed.
            alone: whether it is all that is timed. What does not say its shape was timed with the first samples: it
                means something where all have one shape.
        """
        if self.shapes == shapes or (alone and not self.shapes):
            return AtShapes(shapes=shapes, seconds=self.seconds, sibling_ratio=self.sibling_ratio, fast=self.fast)
        return next((other for other in self.others if other.shapes == shapes), None)


def section_of(found: Latency) -> LatencySection:
    """Return what a baseline keeps of times: three digits of each, and the ratio to the float model."""
    main, *others = (
        AtShapes(
            shapes=one.shapes,
            seconds=float(f"{one.seconds:.3g}"),
            sibling_ratio=_sibling_ratio(one),
            fast=_three_digits(one.fast),
        )
        for one in found.each
    )
    return LatencySection(
        seconds=main.seconds,
        batch_size=found.batch_size,
        threads=found.threads,
        sibling_ratio=main.sibling_ratio,
        shapes=main.shapes,
        others=tuple(others),
        pace=_three_digits(found.pace),
        fast=main.fast,
        phase=found.phase,
        percentile=found.percentile,
    )


def _sibling_ratio(found: Latency) -> float | None:
    """Return the ratio to the float model; None if that was not timed."""
    sibling = found.comparisons.get(FLOAT) or found.comparisons.get(SIBLING)
    return round(median(sibling.first), 4) if sibling else None


def _three_digits(seconds: float | None) -> float | None:
    return float(f"{seconds:.3g}") if seconds else None


class LatencyEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The numbers behind a verdict.

    Attributes:
        reference: what it was timed in turns with; `absolute` for saved seconds, `budget` for the marker's own number.
        most: the ratio that is allowed.
        first: bounds of the first set.
        second: of the independent second set.
        self_check: of the reference against itself.
        ratio_since_first: how much slower than the first release it is, each release's ratio multiplied.
        saved: the saved seconds, if nothing was timed in turns with it, or where the last release itself is held against them.
        ratio_since_saved: how much slower the last release itself is than when it was saved.
        budget: the seconds that the marker allows.
        lower: the lower bound of the median, in seconds.
        upper: the upper bound.
        shapes: what it was fed with, by input: of several shapes those that decided.
        runtime: what the reference ran in, if that is not what the candidate ran in.
        percentile: of which the ratios or the bounds are; None for the median.
        queries: how many inferences of the candidate that is of; 0 for the median.
        typical: the ratio of the medians of the same inferences.
    """

    reference: str
    most: float | None = None
    first: Interval | None = None
    second: Interval | None = None
    self_check: Interval | None = None
    ratio_since_first: float | None = None
    saved: float | None = None
    ratio_since_saved: float | None = None
    budget: float | None = None
    lower: float | None = None
    upper: float | None = None
    shapes: Mapping[str, tuple[int, ...]] = {}
    runtime: str = ""
    percentile: float | None = None
    queries: int = 0
    typical: float | None = None
