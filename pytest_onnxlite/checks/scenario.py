"""Whether a scenario is still the one that the last release was measured at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.task import Task
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.commands import ACCEPT
from pytest_onnxlite.text import Shapes, listed, shapes_text


class Section(Protocol):
    """What a baseline keeps of something that is measured at shapes."""

    @property
    def batch_size(self) -> int:
        """Samples per inference."""

    @property
    def all_shapes(self) -> Sequence[Shapes]:
        """What the model was fed with, by input, the longest first."""


def changed_scenario(task: Task[Any], kind: type[Section], shapes: Sequence[Shapes]) -> Absent | None:
    """Say that a marker's scenario is not what it was; None if it is, or if nothing is known of it.

    Args:
        task: what is judged.
        kind: the type of the check's section.
        shapes: what the model is fed with today, the longest first.
    """
    name = task.scenario_name
    if not name or not isinstance(task.reference, Baseline):
        return None
    found = [
        section
        for on in task.reference.machines.values()
        for section in on.sections.values()
        if isinstance(section, kind)
    ]
    if not found or any(_is_same(section, task.batch_size, shapes) for section in found):
        return None
    before, now = (
        f"{listed(map(shapes_text, of))}, batch size {size}"
        for of, size in ((found[0].all_shapes, found[0].batch_size), (shapes, task.batch_size))
    )
    reason = (
        f"the scenario {name!r} of {task.name} is not what it was: the last release was measured at {before}, and today it is "
        f"{now}. The two cannot be compared. Bring the scenario back, give the new one another name, or, if the change is "
        f"meant, save anew: {ACCEPT}"
    )
    return Absent(Outcome.NOT_COMPARABLE, reason)


def _is_same(section: Section, batch_size: int, shapes: Sequence[Shapes]) -> bool:
    saved = [dict(one) for one in section.all_shapes]
    # Memory keeps the longest alone.
    return section.batch_size == batch_size and saved == [dict(one) for one in shapes[: len(saved)]]
