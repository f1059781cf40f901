"""Whether the last release can still be run: its inputs may be others than today's."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pytest_onnxlite.checks.limit import Limit
from pytest_onnxlite.checks.reference import ACCEPT_IT, Absent
from pytest_onnxlite.checks.task import Task
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.interruption import TooLong, interruptible
from pytest_onnxlite.runtime.sessions import open_runner
from pytest_onnxlite.spec.dataset import Array, take
from pytest_onnxlite.variants.variant import OnnxVariant

L = TypeVar("L", bound=Limit)
# Of what ONNX Runtime says, which names the dims a line each.
_MOST_TEXT = 300


def with_last_that_runs(task: Task[L], feeds: Sequence[Mapping[str, Array]]) -> Task[L]:
    """Return the task, without the last release where that cannot be fed as the candidate is.

    Inputs that were named anew are matched by their places and shapes. With other shapes or types there is nothing to
    time or to measure next to the candidate: that is said, and can be accepted.

    Args:
        task: what is judged.
        feeds: what is fed in one run, by input, at each shape that is measured.
    """
    if task.last_file is None:
        return task
    try:
        for one in feeds:
            _run_once(task, one)
    except (Exception, TooLong) as error:
        why = (
            "the last release cannot be run on what this one is fed, so that the two cannot be measured next to each other: "
            f"{' '.join(str(error).split())[:_MOST_TEXT].rstrip('.')}. {ACCEPT_IT}"
        )
        return replace(task, reference=Absent(Outcome.NOT_COMPARABLE, why), last_file=None)
    return task


def _run_once(task: Task[Any], feeds: Mapping[str, Array]) -> None:
    assert task.last_file is not None
    run = open_runner(task.last_file, task.runtime, feeds)
    began = time.monotonic()
    interruptible(run, lambda: (began, 0), lambda: None)


def runs_today(task: Task[Any], last: OnnxVariant) -> bool:
    """Tell whether the last release can be run on today's evaluation data."""
    try:
        last.answer(take(task.builder.evaluation.x, slice(task.batch_size)), task.batch_size)
    except OnnxliteError:
        return False
    return True
