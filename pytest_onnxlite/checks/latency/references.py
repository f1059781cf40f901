"""What a candidate's times are compared with: which files are timed in turns with it, and what was saved of the last release."""

from __future__ import annotations

import math
from pathlib import Path

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.latency import measure as timing
from pytest_onnxlite.checks.latency.judge import RATIO_SINCE_SAVED, machine_slower
from pytest_onnxlite.checks.latency.judge_total import allowed_today
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import FLOAT, SIBLING, AtShapes, LatencySection
from pytest_onnxlite.checks.reference import Absent, Reference
from pytest_onnxlite.checks.task import Task
from pytest_onnxlite.checks.turns.comparison import LAST_RELEASE
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.text import Shapes
from pytest_onnxlite.variants.variant import Variant

# No ratio is too large where it is only to be stored.
_ANY_RATIO = 1e6


def siblings_of(task: Task[LatencyLimit]) -> dict[str, timing.Reference]:
    """Return the float model to time in turns with: to judge by, or only to be stored."""
    limit, float_model = task.limit, _float_model(task)
    if limit.max_ratio is not None:
        if float_model is None:
            raise OnnxliteError(
                f"max_ratio={limit.max_ratio:g} compares with the float model, and ModelSpec({task.variant.model!r}) "
                "gives none: give onnx= or trained=."
            )
        return {FLOAT: timing.Reference(float_model.kind, float_model.path, limit.max_ratio)}
    if float_model is not None and task.mode == "save":
        # What a machine like this can go by where the file is not kept.
        return {SIBLING: timing.Reference(float_model.kind, float_model.path, _ANY_RATIO)}
    return {}


def best_reference(task: Task[LatencyLimit], saved: AtShapes | None) -> tuple[timing.Reference | None, Reference]:
    """Return what to time in turns with the candidate: the last release's file, else a sibling with a saved ratio.

    Nothing where saved seconds must do; and the reason if there is nothing to compare with at all.
    """
    reference = task.reference
    if isinstance(reference, Absent):
        return None, reference
    if task.last_file is not None:
        return last_release(task, task.last_file), reference
    float_model = _float_model(task)
    if saved is not None and float_model is not None and saved.sibling_ratio:
        most = saved.sibling_ratio * RATIO_SINCE_SAVED
        return timing.Reference(float_model.kind, float_model.path, most), reference
    if saved is not None and task.limit.absolute:
        return None, reference
    instead = (
        "Nothing saved on a machine like this, at this batch size, thread count and shape, can stand in for it."
        if saved is None
        else "The seconds saved on a machine like this can stand in for it: ask with absolute=True."
    )
    return None, Absent(Outcome.NOT_COMPARABLE, f"{task.no_last_file} {instead}")


def last_release(task: Task[LatencyLimit], file: Path) -> timing.Reference:
    """Return the last release's file as what to time in turns with the candidate."""
    return timing.Reference(LAST_RELEASE, file, most_today(task), same=task.is_unchanged)


def most_today(task: Task[LatencyLimit]) -> float:
    """Return the ratio to the last release's time to look for: the smaller one of two limits."""
    left = allowed_today(task.limit, task.reference, task.sha256) if isinstance(task.reference, Baseline) else None
    return min(1 + task.limit.max_slowdown, left or math.inf)


def saved_at(task: Task[LatencyLimit], shapes: Shapes, alone: bool) -> AtShapes | None:
    """Return what was saved on a machine like this under the same conditions."""
    saved = _section(task)
    if saved is None or (saved.batch_size, saved.threads) != (task.batch_size, task.runtime.threads):
        return None
    return saved.at(shapes, alone)


def slower_since_saved(task: Task[LatencyLimit], pace: float | None) -> float:
    """Return how many times slower this machine itself is than when it saved, from the seconds of its fixed work today."""
    saved = _section(task)
    return machine_slower(pace, saved.pace if saved is not None else None)


def _section(task: Task[LatencyLimit]) -> LatencySection | None:
    return task.reference.section(LatencySection, task.machine) if isinstance(task.reference, Baseline) else None


def saved_alike(task: Task[LatencyLimit], shapes: Shapes, alone: bool) -> tuple[float | None, float | None]:
    """Return the longest time that was saved on a machine of this kind under the same conditions, and its pace."""
    assert isinstance(task.reference, Baseline)
    found = [
        (at.fast or at.seconds, section.pace)
        for section in task.reference.sections_alike(LatencySection, task.here)
        if (section.batch_size, section.threads) == (task.batch_size, task.runtime.threads)
        and (at := section.at(shapes, alone)) is not None
    ]
    return max(found, key=lambda pair: pair[0], default=(None, None))


def _float_model(task: Task[LatencyLimit]) -> Variant | None:
    """Return the float variant that one was made from."""
    if not task.builder.kind(task.variant.kind).has_float_model:
        return None
    return task.builder.made_from(task.variant.kind)
