"""Time per inference: pytest-benchmark times the candidate, and the reference runs between its rounds."""

from __future__ import annotations

import os
import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from pytest_onnxlite.baseline.fingerprint import usable_cpus
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.latency.own_thread import in_a_thread
from pytest_onnxlite.checks.latency.pace import pace
from pytest_onnxlite.checks.latency.stopwatch import BLOCK_SECONDS, Stopwatch
from pytest_onnxlite.checks.latency.timer import Timer
from pytest_onnxlite.checks.turns.comparison import Comparison
from pytest_onnxlite.checks.turns.schedule import FAST, STEP, Plan, rounds_in, take_turns
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.statistics import quantile
from pytest_onnxlite.variants.running import shapes_of

# Pairs of blocks from one pair of sessions: for this many seconds of each side, within these numbers. Those that are added
# where eight have not decided have six times as many: with more threads than free cores a session's threads stay together on a core
# for a while, and short looks fall into heaps (1.5 and 0.65 of the same file).
_PAIR_SECONDS, _FEWEST_ROUNDS, _MOST_ROUNDS, _ADDED = 0.02, 5, 20, 6
# Of long inferences, each of which says less.
_LONG_PAIR_SECONDS, _FEWEST_LONG_ROUNDS = 0.16, 4


# An inference that is longer than this never has a busy machine for itself. And its threads stay where the scheduler
# once put them, for a session's life, unless they rest in between.
_LONG_SECONDS = 0.002


# Between two blocks of a longer look, so that the scheduler's next slice begins with one.
_LOOK_REST = 0.005


@dataclass(frozen=True)
class Reference:
    """What a candidate is compared with.

    Attributes:
        name: for the report.
        path: the ONNX file.
        most: the ratio that is allowed.
        same: whether it is the candidate's file, byte for byte: it is not timed then.
    """

    name: str
    path: Path
    most: float
    same: bool = False


def measure(
    benchmark: Any,
    candidate: Path,
    references: Mapping[str, Reference],
    feeds: Mapping[str, Array],
    *,
    batch_size: int,
    runtime: Runtime,
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
        runtime: how the models are run.
        resolution: the uncertainty of a ratio that is too much to judge by.
        max_time: seconds of each set after which no more session pairs are added to it.
        rng: decides the order of blocks.

    Raises:
        OnnxliteError: a model cannot be loaded or run.
    """
    stopwatch = Stopwatch(candidate, feeds, runtime, benchmark)

    def measured() -> Latency:
        found = _measure(stopwatch, references, batch_size, runtime, resolution, max_time, rng or random.Random())
        return replace(found, shapes=shapes_of(feeds), pace=pace())

    return in_a_thread(stopwatch.stop, measured)


def _measure(
    stopwatch: Stopwatch,
    references: Mapping[str, Reference],
    batch_size: int,
    runtime: Runtime,
    resolution: float,
    max_time: float,
    rng: random.Random,
) -> Latency:
    start = perf_counter()
    seconds = stopwatch.calibrate()
    is_long, rests = seconds > _LONG_SECONDS, seconds > _LONG_SECONDS and runtime.threads > 1
    rounds = _rounds(seconds, is_long)
    # Blocks of long inferences of one thread differ as much within a session as between two: short steps decide sooner
    # (benchmarks/latency_study.py --long).
    added = None if rests else rounds if is_long else _ADDED * rounds

    def in_turn() -> Generator[None, float, dict[str, Comparison]]:
        found = {}
        for purpose, reference in references.items():
            stopwatch.compare_with(reference.path)
            plan = Plan(
                reference.name,
                reference.most,
                resolution,
                rounds,
                is_long=is_long,
                max_time=max_time,
                rests=rests,
                added=added,
                same=reference.same,
            )
            found[purpose] = yield from take_turns(stopwatch, plan, rng)
        if not references:
            for _ in range(STEP):
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
        threads=runtime.threads,
        comparisons=comparisons,
        duration=perf_counter() - start,
        fast=quantile(stopwatch.data, FAST),
    )


def _rounds(seconds: float, is_long: bool) -> int:
    """Return how many pairs of blocks a pair of sessions has, to begin with."""
    if is_long:
        return rounds_in(_LONG_PAIR_SECONDS, seconds, _FEWEST_LONG_ROUNDS, _MOST_ROUNDS)
    return rounds_in(_PAIR_SECONDS, max(seconds, BLOCK_SECONDS), _FEWEST_ROUNDS, _MOST_ROUNDS)


def _is_crowded() -> bool:
    """Tell whether more wants to run than there are processors; no where the system does not say."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > usable_cpus()


def look_longer(path: Path, feeds: Mapping[str, Array], runtime: Runtime, until: float, seconds: float) -> float:
    """Time a file in fresh sessions until a block is as fast as that, or the time is up; returns the fastest.

    What else runs on a machine only ever adds time, and sooner or later leaves a block alone. With one thread the time on
    the processor counts too: an inference that is longer than a busy machine leaves alone waits in every block. With more,
    it counts where more runs than there are processors, as each thread's share: elsewhere a runtime that lost its
    parallelism would hide behind it.

    Args:
        path: the model's file.
        feeds: one batch, by input name.
        runtime: how it is run.
        until: seconds per inference that are fast enough.
        seconds: after which it is given up.

    Raises:
        OnnxliteError: the model cannot be loaded or run.
    """
    stopwatch = Stopwatch(path, feeds, runtime, Timer())

    def look() -> float:
        stopwatch.calibrate()
        start, fastest = stopwatch.now(), inf
        while fastest > until and stopwatch.now() - start < seconds:
            stopwatch.open_reference()
            for _ in range(_FEWEST_ROUNDS):
                began = process_time()
                wall = stopwatch.time_reference()
                on_processor = (process_time() - began) / stopwatch.iterations / runtime.threads
                fastest = min(fastest, wall, on_processor if runtime.threads == 1 or _is_crowded() else wall)
                stopwatch.rest(_LOOK_REST)
        stopwatch.close()
        return fastest

    return in_a_thread(stopwatch.stop, look)
