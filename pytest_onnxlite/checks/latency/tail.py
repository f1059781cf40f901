"""The slow runs: a percentile of single inferences of the candidate, in turns with what it is compared with."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import ceil
from pathlib import Path
from statistics import median
from time import perf_counter

from pytest_onnxlite.baseline.fingerprint import machine_names, usable_cpus
from pytest_onnxlite.checks.latency.beside import Ready, made_ready
from pytest_onnxlite.checks.latency.cure import cure_for
from pytest_onnxlite.checks.latency.judge import judge_latency
from pytest_onnxlite.checks.latency.judge_budget import elsewhere, judge_tail_budget
from pytest_onnxlite.checks.latency.judge_total import against_last, judge_total
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measure import Reference
from pytest_onnxlite.checks.latency.measurement import FLOAT, Latency
from pytest_onnxlite.checks.latency.own_thread import in_a_thread
from pytest_onnxlite.checks.latency.queries import Queries
from pytest_onnxlite.checks.latency.references import last_release, siblings_of
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.task import Judged, Task
from pytest_onnxlite.checks.turns.comparison import Comparison
from pytest_onnxlite.checks.turns.schedule import STEP, Plan, compare_in_turns
from pytest_onnxlite.checks.verdict import BASELINE, Verdict
from pytest_onnxlite.garbage import no_collections
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.statistics import fewest_queries, quantile, quantile_interval
from pytest_onnxlite.text import time_text

# From how many different batches of the evaluation data the inferences are.
MOST_BATCHES = 1000
# One side of a session pair takes about so long, if that is more than the fewest inferences and less than LoadGen's number.
_SECONDS = 0.1
# So many slow runs are expected in each session, so that its percentile is more than its slowest run.
_SLOW_RUNS = 2
# As many times as in the first set are run again before a budget is red.
_AGAIN = 2


@dataclass(frozen=True)
class Asked:
    """How a percentile is measured.

    Attributes:
        percentile: such as 99.
        batch_size: samples per inference.
        runtime: how the models are run.
        resolution: the uncertainty of a ratio that is too much to judge by.
        max_time: seconds of each set after which no more session pairs are added to it.
    """

    percentile: float
    batch_size: int
    runtime: Runtime
    resolution: float
    max_time: float

    def queries(self, seconds: float) -> int:
        """Return how many inferences of a side make a session, so that eight of them are as many as LoadGen asks, and more."""
        share = self.percentile / 100
        least = max(ceil(_SLOW_RUNS / (1 - share) - 1e-6), ceil(fewest_queries(share) / STEP))
        return max(least, min(round(_SECONDS / seconds), fewest_queries(share)))


def judge_tail(task: Task[LatencyLimit]) -> Judged[Latency]:
    """Time single inferences over the evaluation data, and judge their percentile."""
    limit = task.limit
    needs_baseline = limit.max_ratio is None and limit.max is None and task.mode != "save"
    ready = made_ready(task, needs_baseline, most=MOST_BATCHES)
    if not isinstance(ready, Ready):
        return ready
    task, reference = ready.task, ready.reference
    references = {purpose: one for purpose, one in siblings_of(task).items() if purpose == FLOAT}
    if not isinstance(reference, Absent) and task.last_file is not None:
        references[BASELINE] = last_release(task, task.last_file)
    assert limit.percentile is not None
    asked = Asked(limit.percentile, task.batch_size, task.runtime, limit.max_slowdown, limit.max_time)
    task.progress(f"timing {task.name}, single inferences")
    latency = against_last(limit, measure(ready.path, references, ready.feeds, asked))
    verdicts = judge_latency(limit, latency, reference, cure=partial(cure_for, task), file=task.sha256)
    totals = [] if isinstance(reference, Absent) else judge_total(limit, latency, reference, task.sha256)
    return Judged(latency, [*_judge_budget(task, latency, ready.path, ready.feeds, asked), *totals, *verdicts])


def _judge_budget(
    task: Task[LatencyLimit], latency: Latency, path: Path, feeds: Sequence[Mapping[str, Array]], asked: Asked
) -> list[Verdict]:
    most = task.limit.max
    if most is None:
        return []
    away = elsewhere(task.limit, time_text(latency.seconds), machine_names())
    if away is not None:
        return [away]
    assert latency.upper is not None
    if latency.upper <= most:
        return [judge_tail_budget(most, latency)]
    task.progress(f"timing {task.name} again")
    return [judge_tail_budget(most, latency, measure(path, {}, feeds, asked, sessions=_AGAIN * STEP))]


def measure(
    candidate: Path,
    references: Mapping[str, Reference],
    feeds: Sequence[Mapping[str, Array]],
    asked: Asked,
    sessions: int = STEP,
    rng: random.Random | None = None,
) -> Latency:
    """Time single inferences of a candidate, and in turns with each reference.

    Args:
        candidate: its file.
        references: what it is compared with, by what for.
        feeds: what is fed in one inference each, by input name.
        asked: how it is measured.
        sessions: how many there are, if there is nothing to compare with.
        rng: decides the order of inferences.

    Raises:
        OnnxliteError: a model cannot be loaded or run.
    """
    # A thread of the runtime's own that waits for a processor is not seen; with as many processors as threads, the calling one
    # never waits for those.
    bench = Queries(candidate, feeds, asked.runtime, has_waiting=asked.runtime.threads <= usable_cpus())
    return in_a_thread(bench.stop, partial(_measure, bench, references, asked, sessions, rng or random.Random()))


def _measure(
    bench: Queries, references: Mapping[str, Reference], asked: Asked, sessions: int, rng: random.Random
) -> Latency:
    start, comparisons = perf_counter(), {}
    try:
        with no_collections():
            queries = asked.queries(bench.calibrate())
            for purpose, reference in references.items():
                comparisons[purpose] = _compare(bench, reference, asked, queries, rng)
            for _ in range(0 if references else sessions):
                bench.open_alone()
                for _ in range(queries):
                    bench.time_candidate()
    finally:
        bench.end()
    share = asked.percentile / 100
    times = list(chain.from_iterable(bench.data))
    bounds = quantile_interval(times, share)
    return Latency(
        seconds=bounds.quantile,
        sessions=tuple(quantile(session, share) for session in bench.data),
        rounds=len(times),
        iterations=1,
        batch_size=asked.batch_size,
        threads=asked.runtime.threads,
        comparisons=comparisons,
        duration=perf_counter() - start,
        shapes=bench.longest,
        percentile=asked.percentile,
        lower=bounds.lower,
        upper=bounds.upper,
        typical=median(times),
    )


def _compare(bench: Queries, reference: Reference, asked: Asked, queries: int, rng: random.Random) -> Comparison:
    bench.compare_with(reference.path)
    plan = Plan(
        reference.name,
        reference.most,
        asked.resolution,
        queries,
        is_long=False,
        max_time=asked.max_time,
        percentile=asked.percentile,
        same=reference.same,
    )
    return compare_in_turns(bench, plan, rng)
