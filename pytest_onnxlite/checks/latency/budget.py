"""Timing by the marker's own number, `max=`: what does not pass at once is timed again before it is red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

from pytest_onnxlite.baseline.fingerprint import machine_names, usable_cpus
from pytest_onnxlite.checks.latency.judge import LOOK_SECONDS
from pytest_onnxlite.checks.latency.judge_budget import AgainstBudget, elsewhere, judge_budget
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measure import look_longer, measure
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.latency.timer import Timer
from pytest_onnxlite.checks.task import Task
from pytest_onnxlite.checks.turns.ratios import is_clear, is_decided
from pytest_onnxlite.checks.turns.schedule import MOST_PAIRS
from pytest_onnxlite.checks.verdict import Verdict
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.text import time_text


def judged_by_budget(
    task: Task[LatencyLimit], latency: Latency, path: Path, feeds: Sequence[Mapping[str, Array]]
) -> list[Verdict]:
    """Judge times by the marker's own number, on machines that it is for; no verdict where it gives none.

    Args:
        task: what is judged.
        latency: the times at each shape.
        path: the candidate's file.
        feeds: one batch, by input name, for each shape.
    """
    limit = task.limit
    if limit.max is None:
        return []
    away = elsewhere(limit, time_text(latency.seconds), machine_names())
    if away is not None:
        return [away]
    found = []
    for one, batch in zip(latency.each, feeds, strict=True):
        if not is_clear(one.sessions, limit.max):
            task.progress(f"timing {task.name} again")
        found.append(against_budget(limit, one, path, batch, task.runtime))
    return [judge_budget(limit.max, found)]


def against_budget(
    limit: LatencyLimit, first: Latency, path: Path, feeds: Mapping[str, Array], runtime: Runtime
) -> AgainstBudget:
    """Return times with what is needed to judge them; where the first set is not within, of sessions that are timed again.

    What the second set waits for a processor is left out, as far as the system says it: the machine for which the number was
    written may be busy today.

    Args:
        limit: what the marker asks.
        first: the times.
        path: the candidate's file.
        feeds: one batch, by input name.
        runtime: how it is run.
    """
    assert limit.max is not None
    if is_clear(first.sessions, limit.max):
        return AgainstBudget(first)
    again, start = _sessions(first, path, feeds, runtime, limit), perf_counter()
    while (
        not is_decided(again, limit.max) and len(again) < MOST_PAIRS and perf_counter() - start < limit.max_time
    ):  # one session that was disturbed is no reason to say nothing
        again += _sessions(first, path, feeds, runtime, limit)
    if is_clear(again, limit.max):
        return AgainstBudget(first, again)
    fastest = look_longer(path, feeds, runtime, limit.max, min(LOOK_SECONDS, limit.max_time))
    return AgainstBudget(first, again, fastest)


def _sessions(
    first: Latency, path: Path, feeds: Mapping[str, Array], runtime: Runtime, limit: LatencyLimit
) -> tuple[float, ...]:
    """Time fresh sessions by themselves; returns the median seconds of each."""
    clock = Timer(leaves_waiting_out=runtime.threads <= usable_cpus())
    return measure(
        clock,
        path,
        {},
        feeds,
        batch_size=first.batch_size,
        runtime=runtime,
        resolution=limit.max_slowdown,
        max_time=limit.max_time,
    ).sessions
