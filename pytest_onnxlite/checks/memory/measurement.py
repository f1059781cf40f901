"""Peaks of memory with their conditions; what a baseline keeps of them, and a verdict's evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from pytest_onnxlite.baseline.record import Count, Positive
from pytest_onnxlite.text import Shapes


@dataclass(frozen=True)
class Peak:
    """Peak resident bytes of a child process, above what it held before the model was loaded.

    Attributes:
        load: the peak while loading.
        run: the peak while running, what loading left behind included.
        settled: whether repeated measurements agree.
        node_bytes: what ONNX Runtime itself counts as allocated by nodes in one run: exact, and blind to
            all else; None if it does not count.
        nodes: the nodes that allocate most of it, with their bytes.
    """

    load: int
    run: int
    settled: bool
    node_bytes: int | None = None
    nodes: tuple[tuple[str, int], ...] = ()

    @property
    def highest(self) -> int:
        """The higher of both."""
        return max(self.load, self.run)


@dataclass(frozen=True)
class Soak:
    """What is resident while a model is run many times in one session: before the first quarter, and after each.

    Attributes:
        runs: bytes, while one and the same is run.
        shapes: bytes, while each run has another shape, the longest first; empty if there are too few shapes.
        repeats: how many runs the former are.
        kinds: how many shapes the latter are.
    """

    runs: tuple[int, ...]
    shapes: tuple[int, ...]
    repeats: int
    kinds: int


@dataclass(frozen=True)
class Memory:
    """Peaks of a candidate and of a reference that was measured in the same way.

    Attributes:
        candidate: the candidate's.
        reference: the last release's; None if there is none.
        method: how the child read its peak; figures of different methods are never compared.
        reference_method: how the reference's child did.
        batch_size: samples per inference.
        threads: intra-op threads.
        shapes: what the model was fed with, by input; empty in reports of versions that did not say.
        runtime: what the reference ran in, if that is not what the candidate ran in; empty if it is.
        others: the same at the other shapes that count, where samples differ in shape; this one is the longest.
        soak: what many runs do, where they were asked for.
    """

    candidate: Peak
    reference: Peak | None
    method: str
    reference_method: str | None
    batch_size: int
    threads: int
    shapes: Shapes = field(default_factory=dict)
    others: tuple[Memory, ...] = ()
    runtime: str = ""
    soak: Soak | None = None

    @property
    def each(self) -> tuple[Memory, ...]:
        """The peaks at each shape, the longest first."""
        return (self, *self.others)

    def at(self, shapes: Shapes) -> Memory:
        """Return the peaks at these shapes; those at the longest if there are none."""
        return next((one for one in self.each if one.shapes == shapes), self)


class MemorySection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a baseline keeps, on one machine: bytes, how they were read, and the longest shape that was run."""

    load: Count
    run: Count
    method: str
    batch_size: Positive
    threads: Positive
    shapes: Mapping[str, tuple[Count, ...]] = {}

    @property
    def highest(self) -> int:
        """The higher of both."""
        return max(self.load, self.run)

    @property
    def all_shapes(self) -> tuple[Shapes, ...]:
        """What was run, as far as it is kept."""
        return (self.shapes,)


class MemoryEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The numbers behind a verdict.

    Attributes:
        load: the candidate's peak while loading, bytes.
        run: its peak while running.
        reference_load: the last release's while loading.
        reference_run: its peak while running.
        ratio_since_first: how much more than the first release it needs, each release's ratio multiplied.
        shapes: what the model was fed with, by input: of several shapes those that decided.
        saved: the saved peak, where the last release itself is held against it.
        runtime: what the last release ran in, if that is not what the candidate ran in.
        ratio_since_saved: how much more the last release itself needs than when it was saved.
        budget: the bytes that the marker allows.
        grown: how much more was resident after many runs than after the first of them, bytes.
        runs: how many those were.
    """

    load: int | None = None
    run: int | None = None
    reference_load: int | None = None
    reference_run: int | None = None
    ratio_since_first: float | None = None
    shapes: Mapping[str, tuple[int, ...]] = {}
    saved: int | None = None
    ratio_since_saved: float | None = None
    budget: int | None = None
    grown: int | None = None
    runs: int | None = None
    runtime: str = ""
