"""What a check says that measures the last release's file anew, next to the candidate, if it cannot."""

from __future__ import annotations

from typing import Any

from pytest_onnxlite.checks.reference import Absent, Reference
from pytest_onnxlite.checks.task import Judged, Task
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict


def with_file(task: Task[Any]) -> Reference:
    """Return the baseline if its file is there to be measured, or why there is nothing to compare with."""
    if isinstance(task.reference, Absent) or task.last_file is not None:
        return task.reference
    return Absent(Outcome.NOT_COMPARABLE, task.no_last_file)


def not_measured(check: str, why: Absent) -> Judged[Any]:
    """Return what came of a limit for which nothing was measured."""
    return Judged(None, [Verdict(check, BASELINE, why.outcome, "not measured", why.reason)])
