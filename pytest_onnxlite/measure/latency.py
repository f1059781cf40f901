"""Time per inference: pytest-benchmark times the candidate, and the reference runs between its rounds.

The order of things is one generator, `conduct`, which says when a candidate's block is due and is told how
long it took; whoever runs it owns the clock, so that tests drive it with a fake one.
"""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf, sqrt
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any, Protocol

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.judge.limits import CONFIDENCE, is_clear, is_suspicious, is_too_noisy, relative_noise
from pytest_onnxlite.measure.measurement import Comparison, Latency
from pytest_onnxlite.spec import Array
from pytest_onnxlite.statistics import smallest_sample
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.sessions import open_runner

# Long against the timer and the loop around it, short against a scheduler's slice, so that some blocks have the
# machine for themselves.
_BLOCK_SECONDS = 0.001
# Pairs of blocks from one pair of sessions: for this many seconds, within these numbers.
_PAIR_SECONDS = 0.04
_FEWEST_ROUNDS, _MOST_ROUNDS = 5, 40
# How many times as many, once eight pairs have not decided.
_LONGER = 3
# Where the paired ratios spread too far, a session is known by the fast tenth of its blocks: what else runs only ever
# adds time. Not by the fastest: that one is now and then a lucky state of the machine. Measured in
# benchmarks/estimator_study.py.
_FAST = 0.1
# An inference that is longer than this never has a busy machine for itself. And its threads stay where the scheduler
# once put them, for a session's life, unless they rest in between.
_LONG_SECONDS = 0.002
_REST_SECONDS = 0.02
# Session pairs that are added while the bounds do not decide.
_STEP = smallest_sample(CONFIDENCE)
_MAX_PAIRS = 16 * _STEP
# ONNX Runtime plans its memory on the first run; from the second on it runs by that plan.
_WARMUP_RUNS = 2
_WARMUP_SECONDS = 0.005

Conductor = Generator[None, float, Comparison]


class Bench(Protocol):
    """What `conduct` needs from whoever owns the sessions and the clock."""

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


@dataclass(frozen=True)
class Plan:
    """How a comparison is conducted.

    Attributes:
        reference: what the candidate is compared with, for the report.
        most: the ratio that is allowed.
        resolution: the uncertainty of a ratio, relative to it, that is too much to judge by.
        rounds: pairs of blocks from one pair of sessions, to begin with.
        is_long: whether one inference is longer than a busy machine ever leaves alone.
        max_time: seconds after which no more session pairs are added.
    """

    reference: str
    most: float
    resolution: float
    rounds: int
    is_long: bool
    max_time: float


@dataclass(frozen=True)
class _Pair:
    """What one pair of sessions says: the median of its blocks' ratios, and the ratio of their fast tenths."""

    paired: float
    fast: float


def conduct(bench: Bench, plan: Plan, rng: random.Random) -> Conductor:
    """Say when the candidate's blocks are due; is sent their seconds per inference.

    Session pairs are added to the first set until its bounds lie on one side of what is allowed. Where they
    lie beyond it, an independent second set is taken. Where the verdict would be red, or nothing was decided
    because the ratios spread too far, the reference is compared with itself.

    Returns:
        The ratios.
    """
    start = bench.now()

    def in_time() -> bool:
        return bench.now() - start < plan.max_time

    def take_pair(candidate_first: bool, longer: bool) -> Generator[None, float, _Pair]:
        bench.open_pair(candidate_first)
        candidate: list[float] = []
        reference: list[float] = []
        for _ in range(plan.rounds * (_LONGER if longer else 1)):
            for turn in rng.sample((candidate, reference), 2):
                if longer and plan.is_long:
                    bench.rest(_REST_SECONDS)
                turn.append((yield) if turn is candidate else bench.time_reference())
        return _compare(candidate, reference)

    def take_set() -> Generator[None, float, list[float]]:
        candidate_first = rng.random() < 0.5
        found: list[_Pair] = []
        while len(found) < _STEP or (
            not _decided(_ratios(found, plan), plan) and len(found) < _MAX_PAIRS and in_time()
        ):
            longer = bool(found)
            for _ in range(_STEP):
                found.append((yield from take_pair(candidate_first, longer)))
                candidate_first = not candidate_first
        return _ratios(found, plan)

    first = yield from take_set()
    second = (yield from take_set()) if is_suspicious(first, plan.most) else []
    self_check: list[float] = []
    if is_suspicious(second or first, plan.most) or any(
        is_too_noisy(ratios, plan.resolution) and not is_clear(ratios, plan.most)
        for ratios in (first, second)
        if ratios
    ):
        self_check = _check_itself(bench, plan, rng)
    return Comparison(plan.reference, plan.most, tuple(first), tuple(second), tuple(self_check))


def _compare(one: Sequence[float], other: Sequence[float]) -> _Pair:
    ratios = [a / b for a, b in zip(one, other, strict=True)]
    return _Pair(median(ratios), quantile(one, _FAST) / quantile(other, _FAST))


def _ratios(pairs: Sequence[_Pair], plan: Plan) -> list[float]:
    """Return one ratio for each replicate, by the first of these that is steady, or else by the steadiest.

    The paired medians of the session pairs; the ratios of their fast tenths; and the same with each two successive
    session pairs taken together.
    """
    estimates = [[pair.paired for pair in pairs]]
    if not plan.is_long:
        estimates.append([pair.fast for pair in pairs])
    if len(pairs) >= 2 * _STEP:
        estimates += [_coupled(ratios) for ratios in estimates]
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


def quantile(times: Sequence[float], share: float) -> float:
    """Return the time below which a share of the blocks lie, between the two nearest in proportion."""
    ordered = sorted(times)
    position = (len(ordered) - 1) * share
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _decided(ratios: Sequence[float], plan: Plan) -> bool:
    return is_suspicious(ratios, plan.most) or is_clear(ratios, plan.most)


def _check_itself(bench: Bench, plan: Plan, rng: random.Random) -> list[float]:
    found: list[_Pair] = []
    start = bench.now()
    while len(found) < _STEP or (
        is_too_noisy(_ratios(found, plan), plan.resolution)
        and len(found) < _MAX_PAIRS
        and bench.now() - start < plan.max_time
    ):
        longer = bool(found)
        for _ in range(_STEP):
            bench.open_self_pair()
            one: list[float] = []
            twin: list[float] = []
            for _ in range(plan.rounds * (_LONGER if longer else 1)):
                for turn in rng.sample((one, twin), 2):
                    if longer and plan.is_long:
                        bench.rest(_REST_SECONDS)
                    turn.append(bench.time_reference() if turn is one else bench.time_reference_twin())
            # In turns, as candidate and reference are created in turns: see _coupled.
            found.append(_compare(twin, one) if len(found) % 2 else _compare(one, twin))
    return _ratios(found, plan)


class _Enough(BaseException):
    """Ends pytest-benchmark's rounds.

    No `Exception`, because pytest-benchmark marks a benchmark as failed when one of those passes through it.
    """


class Stopwatch:
    """Sessions of candidate and reference, and a pytest-benchmark fixture as the candidate's clock."""

    def __init__(
        self,
        candidate: Path,
        feeds: Mapping[str, Array],
        threads: int,
        benchmark: Any,
    ) -> None:
        self._candidate_path = candidate
        self._reference_path = candidate
        self._feeds = dict(feeds)
        self._threads = threads
        self._benchmark = benchmark
        self._candidate: Callable[[], Any] = _nothing
        self._reference: Callable[[], Any] = _nothing
        self._twin: Callable[[], Any] = _nothing
        self._hurried = False
        self.iterations = 1
        self.data: list[float] = []
        self.sessions: list[int] = []

    def compare_with(self, reference: Path) -> None:
        """Take another reference from here on."""
        self._reference_path = reference

    def calibrate(self) -> float:
        """Choose how many inferences make a block; returns the seconds of one."""
        run = self._open(self._candidate_path)
        seconds = min(self._timed(run, 1) for _ in range(5))
        if seconds < _BLOCK_SECONDS:
            trial = max(1, int(_BLOCK_SECONDS / seconds / 2))
            seconds = min(self._timed(run, trial) for _ in range(3))
        self.iterations = max(1, round(_BLOCK_SECONDS / seconds))
        return seconds

    def _open(self, path: Path) -> Callable[[], Any]:
        try:
            run = open_runner(path, self._threads, self._feeds)
            start = perf_counter()
            for number in range(1000):
                if number >= _WARMUP_RUNS and perf_counter() - start > _WARMUP_SECONDS:
                    break
                run()
        except Exception as error:
            raise OnnxliteError(f"{_runtime(path)} cannot run {path.name} to time it: {first_line(error)}") from None
        return run

    def close(self) -> None:
        """Let all sessions go."""
        self._candidate = self._reference = self._twin = _nothing

    def open_alone(self) -> None:
        """Open a fresh session of the candidate."""
        self.close()
        self._open_candidate()

    def _open_candidate(self) -> None:
        self._candidate = self._open(self._candidate_path)
        self.sessions.append(len(self.data))

    def open_pair(self, candidate_first: bool) -> None:
        """Open fresh sessions of both, in the order given."""
        self.close()
        if candidate_first:
            self._open_candidate()
        self._reference = self._open(self._reference_path)
        if not candidate_first:
            self._open_candidate()

    def open_self_pair(self) -> None:
        """Open two fresh sessions of the reference."""
        self.close()
        self._reference = self._open(self._reference_path)
        self._twin = self._open(self._reference_path)

    def time_reference(self) -> float:
        """Time a block of the reference."""
        return self._timed(self._run_reference, self.iterations)

    def time_reference_twin(self) -> float:
        """Time a block of the reference's second session."""
        return self._timed(self._run_twin, self.iterations)

    def rest(self, seconds: float) -> None:
        """Let the machine's scheduler place the threads anew."""
        sleep(seconds)

    def now(self) -> float:
        """Return the time in seconds."""
        return inf if self._hurried else perf_counter()

    def hurry(self) -> None:
        """Let the time be up: what is under way is finished, and nothing is begun."""
        self._hurried = True

    def _timed(self, run: Callable[[], Any], iterations: int) -> float:
        stats = self._benchmark.stats
        # The candidate's clock, whatever --benchmark-timer says.
        timer = perf_counter if stats is None else stats.options["timer"]
        loop = range(iterations)
        nothing: dict[str, Any] = {}
        start = timer()
        # To the letter what pytest-benchmark does for the candidate: an inference of 20 µs shows a call more.
        for _ in loop:
            run(*(), **nothing)
        end = timer()
        return float(end - start) / iterations

    def run_candidate(self) -> Any:
        """Run the candidate once: what pytest-benchmark times."""
        return self._candidate()

    def _run_reference(self) -> Any:
        return self._reference()

    def _run_twin(self) -> Any:
        return self._twin()

    def drive(self, conductor: Generator[None, float, dict[str, Comparison]]) -> dict[str, Comparison]:
        """Let pytest-benchmark time a block whenever the conductor says one is due.

        Returns:
            What the conductor concluded; `data` then holds the candidate's seconds per inference, by round.
        """
        result: list[dict[str, Comparison]] = []

        def advance(step: Callable[[], None]) -> None:
            try:
                step()
            except StopIteration as stop:
                result.append(stop.value)
                raise _Enough from None

        def after_round() -> None:
            self.data.append(self._benchmark.stats.stats.data[-1])
            advance(lambda: conductor.send(self.data[-1]))

        enabled = gc.isenabled()
        gc.disable()
        try:
            advance(lambda: next(conductor))
            # Ends by _Enough: how many rounds are needed shows on the way.
            self._benchmark.pedantic(
                self.run_candidate, teardown=after_round, rounds=1_000_000_000, iterations=self.iterations
            )
        except _Enough:
            pass
        finally:
            if enabled:
                gc.enable()
            self.close()
        return result[0]

    def session_medians(self) -> tuple[float, ...]:
        """Return the candidate's median seconds per inference in each of its sessions."""
        ends = [*self.sessions[1:], len(self.data)]
        return tuple(median(self.data[a:b]) for a, b in zip(self.sessions, ends, strict=True) if b > a)


def _runtime(path: Path) -> str:
    return "LiteRT" if path.suffix == ".tflite" else "ONNX Runtime"


def _nothing() -> None:
    raise AssertionError("no session is open")


@dataclass(frozen=True)
class Reference:
    """What a candidate is compared with.

    Attributes:
        name: for the report.
        path: the ONNX file.
        most: the ratio that is allowed.
    """

    name: str
    path: Path
    most: float


def measure(
    benchmark: Any,
    candidate: Path,
    references: Mapping[str, Reference],
    feeds: Mapping[str, Array],
    *,
    batch_size: int,
    threads: int,
    resolution: float,
    max_time: float,
    rng: random.Random | None = None,
) -> Latency:
    """Time the candidate, and compare it with each reference.

    Args:
        benchmark: pytest-benchmark's fixture, unused so far and enabled.
        candidate: the ONNX file.
        references: what it is compared with, by what for.
        feeds: one batch, by input name.
        batch_size: samples in it.
        threads: intra-op threads.
        resolution: the uncertainty of a ratio that is too much to judge by.
        max_time: seconds for each comparison after which no more session pairs are added.
        rng: decides the order of blocks.

    Raises:
        OnnxliteError: a model cannot be loaded or run.
    """
    stopwatch = Stopwatch(candidate, feeds, threads, benchmark)

    def measured() -> Latency:
        # As pytest-benchmark does around the candidate's rounds: a coverage tool would slow the reference alone.
        sys.settrace(None)
        sys.setprofile(None)
        return _measure(stopwatch, references, batch_size, threads, resolution, max_time, rng or random.Random())

    # In a thread of its own, whose stack is nearly empty. CPython (3.11 and later) keeps its frames in chunks, and a
    # call that crosses the end of a chunk allocates one and frees it again, each time: up to 25 µs. The candidate's
    # blocks and the reference's lie at different depths below pytest, so that one of the two would pay for it.
    with ThreadPoolExecutor(1, thread_name_prefix="onnxlite-timing") as pool:
        future = pool.submit(measured)
        try:
            return future.result()
        except KeyboardInterrupt:
            stopwatch.hurry()
            raise


def _measure(
    stopwatch: Stopwatch,
    references: Mapping[str, Reference],
    batch_size: int,
    threads: int,
    resolution: float,
    max_time: float,
    rng: random.Random,
) -> Latency:
    start = perf_counter()
    seconds = stopwatch.calibrate()
    rounds = round(_PAIR_SECONDS / max(seconds, _BLOCK_SECONDS))
    rounds = min(max(rounds, _FEWEST_ROUNDS), _MOST_ROUNDS)

    def in_turn() -> Generator[None, float, dict[str, Comparison]]:
        found = {}
        for purpose, reference in references.items():
            stopwatch.compare_with(reference.path)
            plan = Plan(
                reference.name,
                reference.most,
                resolution,
                rounds,
                is_long=seconds > _LONG_SECONDS,
                max_time=max_time,
            )
            found[purpose] = yield from conduct(stopwatch, plan, rng)
        if not references:
            for _ in range(_STEP):
                stopwatch.open_alone()
                for _ in range(rounds):
                    yield
        return found

    comparisons = stopwatch.drive(in_turn())
    return Latency(
        seconds=median(stopwatch.data),
        sessions=stopwatch.session_medians(),
        rounds=len(stopwatch.data),
        iterations=stopwatch.iterations,
        batch_size=batch_size,
        threads=threads,
        comparisons=comparisons,
        duration=perf_counter() - start,
    )
