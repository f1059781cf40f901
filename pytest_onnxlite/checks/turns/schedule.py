"""The order of a comparison of times: which block is due, and when enough was seen.

One generator, `take_turns`, says when a candidate's block is due and is told how long it took; whoever runs it owns the
clock, so that tests drive it with a fake one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import median
from typing import Protocol

from pytest_onnxlite.checks.turns.comparison import Comparison
from pytest_onnxlite.checks.turns.ratios import (
    CONFIDENCE,
    is_clear,
    is_decided,
    is_suspicious,
    is_too_noisy,
    relative_noise,
)
from pytest_onnxlite.statistics import quantile, smallest_sample

# How many times as many, once eight pairs have not decided, where a plan says nothing else.
_LONGER = 3


# Where the paired ratios spread too far, a session is known by the fast tenth of its blocks: what else runs only ever
# adds time. Not by the fastest: that one is now and then a lucky state of the machine. Measured in
# benchmarks/estimator_study.py.
FAST = 0.1


_REST_SECONDS = 0.02


# Session pairs that are added while the bounds do not decide, and the most in all.
STEP = smallest_sample(CONFIDENCE)
MOST_PAIRS = 16 * STEP


# Successive session pairs of which the fastest session of each side makes one replicate.
_TOGETHER = 4


Turns = Generator[None, float, Comparison]


class Bench(Protocol):
    """What `take_turns` needs from whoever owns the sessions and the clock."""

    def open_alone(self) -> None:
        """Open a fresh session of the candidate, warmed up, after closing those before."""

    def open_pair(self, candidate_first: bool) -> None:
        """Open fresh sessions of candidate and reference, warmed up, after closing those before."""

    def open_self_pair(self) -> None:
        """Open two fresh sessions of the reference, warmed up, after closing those before."""

    def time_reference(self) -> float:
        """Time a block of the reference; seconds per inference."""

    def time_reference_twin(self) -> float:
        """Time a block of the reference's second session in a self-check; seconds per inference."""

    def rest(self, seconds: float) -> None:
        """Do nothing for a while."""

    def now(self) -> float:
        """Return the time in seconds."""


class TimingBench(Bench, Protocol):
    """A bench that times the candidate as well."""

    def time_candidate(self) -> float:
        """Time a block of the candidate; seconds per inference."""


@dataclass(frozen=True)
class Plan:
    """How a comparison is conducted.

    Attributes:
        reference: what the candidate is compared with, for the report.
        most: the ratio that is allowed.
        resolution: the uncertainty of a ratio, relative to it, that is too much to judge by.
        rounds: pairs of blocks from one pair of sessions, to begin with.
        is_long: whether one inference is longer than a busy machine ever leaves alone.
        rests: whether a longer look rests before each block, so that the system places threads anew.
        max_time: seconds of each set after which no more session pairs are added to it.
        added: pairs of blocks from each pair of sessions that is added where eight have not decided; None for three times as many.
        percentile: what a session pair is known by instead of its median, such as 99; blocks are single inferences then.
        same: whether the reference is the candidate's file, byte for byte, in the same runtime: the candidate is timed alone.
    """

    reference: str
    most: float
    resolution: float
    rounds: int
    is_long: bool
    max_time: float
    percentile: float | None = None
    rests: bool = False
    added: int | None = None
    same: bool = False

    def blocks(self, longer: bool) -> int:
        """Return how many pairs of blocks one pair of sessions has."""
        if not longer:
            return self.rounds
        return self.added if self.added is not None else _LONGER * self.rounds


@dataclass(frozen=True)
class _Pair:
    """What one pair of sessions says.

    Attributes:
        paired: the median of its blocks' ratios, or the ratio of their percentiles.
        typical: the ratio of the medians of its blocks.
        one: seconds that the first session is known by where the second is not beside it: the fast tenth of its blocks.
        other: the second's.
    """

    paired: float
    typical: float
    one: float
    other: float

    @property
    def fast(self) -> float:
        """The ratio of the fast tenths."""
        return self.one / self.other


def rounds_in(seconds: float, block: float, fewest: int, most: int) -> int:
    """Return how many pairs of blocks take so many seconds of each side, within bounds.

    Args:
        seconds: that they should take.
        block: seconds of one.
        fewest: the least.
        most: the largest number.
    """
    return min(max(round(seconds / block), fewest), most)


def compare_in_turns(bench: TimingBench, plan: Plan, rng: random.Random | None = None) -> Comparison:
    """Time candidate and reference in turns until the bounds decide."""
    turns = take_turns(bench, plan, rng or random.Random())
    try:
        next(turns)
        while True:
            turns.send(bench.time_candidate())
    except StopIteration as stop:
        found: Comparison = stop.value
        return found


def take_turns(bench: Bench, plan: Plan, rng: random.Random) -> Turns:
    """Say when the candidate's blocks are due; is sent their seconds per inference.

    Session pairs are added to the first set until its bounds lie on one side of what is allowed. Where they
    lie beyond it, an independent second set is taken. Where the verdict would be red, or nothing was decided
    because the ratios spread too far, the reference is compared with itself.

    Returns:
        The ratios.
    """
    if plan.same:
        return (yield from _take_alone(bench, plan))
    fastest = inf
    seen: list[_Pair] = []

    def time_reference() -> float:
        nonlocal fastest
        seconds = bench.time_reference()
        fastest = min(fastest, seconds)
        return seconds

    def take_pair(candidate_first: bool, longer: bool) -> Generator[None, float, _Pair]:
        bench.open_pair(candidate_first)
        candidate: list[float] = []
        reference: list[float] = []
        for _ in range(plan.blocks(longer)):
            for turn in rng.sample((candidate, reference), 2):
                if longer and plan.rests:
                    bench.rest(_REST_SECONDS)
                turn.append((yield) if turn is candidate else time_reference())
        return _compare(candidate, reference, plan)

    def take_set() -> Generator[None, float, list[float]]:
        # A set of its own has time of its own: cut short by the first, the second would let pass what it has to confirm.
        start, candidate_first = bench.now(), rng.random() < 0.5
        found: list[_Pair] = []
        while len(found) < STEP or (
            not is_decided(_ratios(found, plan), plan.most)
            and len(found) < MOST_PAIRS
            and bench.now() - start < plan.max_time
        ):
            longer = bool(found)
            for _ in range(STEP):
                found.append((yield from take_pair(candidate_first, longer)))
                candidate_first = not candidate_first
        seen.extend(found)
        return _ratios(found, plan)

    first = yield from take_set()
    second = (yield from take_set()) if is_suspicious(first, plan.most) else []
    self_check: list[float] = []
    if is_suspicious(second or first, plan.most) or any(
        is_too_noisy(ratios, plan.resolution) and not is_clear(ratios, plan.most)
        for ratios in (first, second)
        if ratios
    ):
        self_check = _check_itself(bench, plan, rng, time_reference)
    return Comparison(
        plan.reference, plan.most, tuple(first), tuple(second), tuple(self_check), fastest, typical=_typical(seen, plan)
    )


def _take_alone(bench: Bench, plan: Plan) -> Turns:
    """Time the candidate alone, and say that its ratio to the same bytes in the same runtime is 1.

    Timed against itself a file shows the machine's noise and nothing else: all that it could find is a false alarm.
    """
    fastest = inf
    for _ in range(STEP):
        bench.open_alone()
        for _ in range(plan.rounds):
            fastest = min(fastest, (yield))
    typical = None if plan.percentile is None else 1.0
    return Comparison(plan.reference, plan.most, (1.0,) * STEP, fastest=fastest, same=True, typical=typical)


def _typical(pairs: Sequence[_Pair], plan: Plan) -> float | None:
    """Return the ratio of the median inferences, where a percentile is compared; else None."""
    # Not of all inferences together: where the machine's speed changes on the way, their medians are of different states of it.
    return None if plan.percentile is None else median(pair.typical for pair in pairs)


def _compare(one: Sequence[float], other: Sequence[float], plan: Plan) -> _Pair:
    rest = median(one) / median(other), quantile(one, FAST), quantile(other, FAST)
    if plan.percentile is not None:
        share = plan.percentile / 100
        return _Pair(quantile(one, share) / quantile(other, share), *rest)
    return _Pair(median(a / b for a, b in zip(one, other, strict=True)), *rest)


def _ratios(pairs: Sequence[_Pair], plan: Plan) -> list[float]:
    """Return one ratio for each replicate, by the first of these that is steady, or else by the steadiest.

    The paired medians of the session pairs; the ratios of their fast tenths; the same with each two successive session pairs
    taken together; and the fastest session of each side among four successive pairs.
    """
    estimates = [[pair.paired for pair in pairs]]
    if not plan.is_long and plan.percentile is None:
        estimates.append([pair.fast for pair in pairs])
    if len(pairs) >= 2 * STEP:
        estimates += [_coupled(ratios) for ratios in estimates]
    if len(pairs) >= _TOGETHER * STEP and plan.percentile is None:
        estimates.append(_fastest(pairs))
    for ratios in estimates:
        if not is_too_noisy(ratios, plan.resolution):
            return ratios
    return min(estimates, key=relative_noise)


def _coupled(ratios: Sequence[float]) -> list[float]:
    """Return the geometric mean of each two successive ratios, whose sessions were created in opposite order.

    With more threads than one, the session that was created first can be a fifth slower than the other throughout,
    whichever of the two models it holds: such ratios lie in two heaps on both sides of the true one, and bounds on
    their median lie in these heaps.
    """
    return [sqrt(one * other) for one, other in zip(ratios[::2], ratios[1::2], strict=True)]


def _fastest(pairs: Sequence[_Pair]) -> list[float]:
    """Return the ratio of the fastest session of each side, of so many successive pairs.

    Where more threads want to run than there are cores, a session's threads can stay together on one core for all its life,
    whichever file it holds: the same file is 1.5 or 0.65 times itself then, and seldom anything between. Of four sessions one is
    spared, almost always.
    """
    groups = [pairs[start : start + _TOGETHER] for start in range(0, len(pairs) - _TOGETHER + 1, _TOGETHER)]
    return [min(pair.one for pair in group) / min(pair.other for pair in group) for group in groups]


def _check_itself(bench: Bench, plan: Plan, rng: random.Random, time_reference: Callable[[], float]) -> list[float]:
    found: list[_Pair] = []
    start = bench.now()
    while len(found) < STEP or (
        is_too_noisy(_ratios(found, plan), plan.resolution)
        and len(found) < MOST_PAIRS
        and bench.now() - start < plan.max_time
    ):
        longer = bool(found)
        for _ in range(STEP):
            bench.open_self_pair()
            one: list[float] = []
            twin: list[float] = []
            for _ in range(plan.blocks(longer)):
                for turn in rng.sample((one, twin), 2):
                    if longer and plan.rests:
                        bench.rest(_REST_SECONDS)
                    turn.append(time_reference() if turn is one else bench.time_reference_twin())
            # In turns, as candidate and reference are created in turns: see _coupled.
            found.append(_compare(twin, one, plan) if len(found) % 2 else _compare(one, twin, plan))
    return _ratios(found, plan)
