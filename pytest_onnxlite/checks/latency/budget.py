"""Timing by the marker's own number, `max=`: what does not pass at once is timed again before it is red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_onnxlite.baseline.fingerprint import machine_names
from pytest_onnxlite.checks.check import Task
from pytest_onnxlite.checks.latency.judge import LOOK_SECONDS
from pytest_onnxlite.checks.latency.judge_budget import AgainstBudget, elsewhere, is_within, judge_budget
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measure import look_longer, measure
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.latency.timer import Timer
from pytest_onnxlite.checks.verdict import Verdict
from pytest_onnxlite.spec import Array
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
        if is_within(one.sessions, limit.max):
            found.append(AgainstBudget(one))
            continue
        task.progress(f"timing {task.name} again")
        again = measure(
            Timer(),
            path,
            {},
            batch,
            batch_size=task.batch_size,
            runtime=task.runtime,
            resolution=limit.max_slowdown,
            max_time=limit.max_time,
        )
        fastest = look_longer(path, batch, task.runtime, limit.max, min(LOOK_SECONDS, limit.max_time))
        found.append(AgainstBudget(one, again.sessions, fastest))
    return [judge_budget(limit.max, found)]
