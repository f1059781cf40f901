"""Inferences per second of several callers: candidate and last release in turns."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from pytest_onnxlite.checks.throughput.callers import BLOCK_SECONDS, Callers, Crew
from pytest_onnxlite.checks.throughput.limit import ThroughputLimit
from pytest_onnxlite.checks.throughput.measurement import Throughput
from pytest_onnxlite.checks.turns.comparison import LAST_RELEASE, Comparison
from pytest_onnxlite.checks.turns.schedule import STEP, Plan, compare_in_turns, rounds_in
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.garbage import no_collections
from pytest_onnxlite.runtime.interruption import TooLong, interruptible
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.running import shapes_of

# Pairs of blocks from one pair of sessions: for so many seconds of each side, within these numbers.
_PAIR_SECONDS = 0.06
_FEWEST_ROUNDS, _MOST_ROUNDS = 5, 10


def measure(
    candidate: Path,
    last: Path | None,
    feeds: Mapping[str, Array],
    *,
    same: bool = False,
    limit: ThroughputLimit,
    clients: int,
    batch_size: int,
    runtime: Runtime,
) -> Throughput:
    """Measure a candidate, and the last release between.

    Args:
        candidate: the ONNX file.
        last: the last release's; None to measure the candidate alone.
        feeds: one batch, by input name.
        same: whether the last release's file is the candidate's, byte for byte: it is not timed then.
        limit: what the marker asks.
        clients: threads that call the session.
        batch_size: samples in the batch.
        runtime: how the models are run.

    Raises:
        OnnxliteError: a model cannot be loaded or run, or an inference takes too long.
    """
    crew = Crew(clients)
    bench = Callers(candidate, last or candidate, feeds, runtime, crew)

    def measured() -> Throughput:
        start = time.perf_counter()
        comparison = _compare(bench, limit, alone=last is None, same=same)
        return Throughput(
            per_second=1 / median(bench.seconds),
            clients=clients,
            asked=limit.clients,
            batch_size=batch_size,
            threads=runtime.threads,
            blocks=len(bench.seconds),
            iterations=bench.iterations,
            comparison=comparison,
            duration=time.perf_counter() - start,
            shapes=shapes_of(feeds),
        )

    try:
        with no_collections():
            return interruptible(measured, crew.under_way, crew.stop)
    except TooLong as error:
        raise OnnxliteError(
            f"{candidate.name}: {clients} callers of one session did not get an answer each within {error.seconds:g} s, and were "
            "stopped. Look for what makes callers wait for each other; if an inference needs longer, raise "
            "onnxlite_inference_time."
        ) from None
    finally:
        crew.close()


def _compare(bench: Callers, limit: ThroughputLimit, alone: bool, same: bool) -> Comparison | None:
    bench.require_same_answers()
    block = bench.calibrate()
    rounds = rounds_in(_PAIR_SECONDS, max(block, BLOCK_SECONDS), _FEWEST_ROUNDS, _MOST_ROUNDS)
    try:
        if alone:
            for _ in range(STEP):
                bench.open_alone()
                for _ in range(rounds):
                    bench.time_candidate()
            return None
        # A block is never short enough to have a busy machine for itself.
        most, resolution, seconds = 1 + limit.max_slowdown, limit.max_slowdown, limit.max_time
        plan = Plan(LAST_RELEASE, most, resolution, rounds, True, seconds, rests=True, same=same)
        return compare_in_turns(bench, plan)
    finally:
        bench.close()
