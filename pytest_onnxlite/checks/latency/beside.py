"""What is needed to run a candidate next to the last release's file, if nothing else can stand in for that file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_onnxlite.checks.last_file import not_measured, with_file
from pytest_onnxlite.checks.last_inputs import with_last_that_runs
from pytest_onnxlite.checks.latency.judge import NAME
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import Latency, LatencySection
from pytest_onnxlite.checks.reference import Absent, Reference
from pytest_onnxlite.checks.scenario import changed_scenario
from pytest_onnxlite.checks.task import Judged, Task
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.text import Shapes
from pytest_onnxlite.variants.running import Feeds, batches, shapes_of, size_of


@dataclass(frozen=True)
class Ready:
    """A candidate and what it is compared with.

    Attributes:
        task: what is judged; its last release can be run on the same feeds.
        reference: the baseline, or why there is nothing to compare with.
        path: the candidate's file.
        feeds: one batch each, by input name.
    """

    task: Task[LatencyLimit]
    reference: Reference
    path: Path
    feeds: list[Feeds]


def made_ready(task: Task[LatencyLimit], needs_baseline: bool, most: int = 0) -> Ready | Judged[Latency]:
    """Choose what is fed, and see whether the last release runs on it; or say why nothing is measured.

    Args:
        task: what is judged.
        needs_baseline: whether there is nothing to judge without one.
        most: how many batches of all evaluation data; one for each shape that counts where 0.

    Raises:
        OnnxliteError: the candidate cannot be run on it.
    """
    reference = task.reference
    if isinstance(reference, Absent) and needs_baseline:
        return not_measured(NAME, reference)
    if task.clock.missing:
        return not_measured(NAME, Absent(Outcome.NOT_MEASURED, task.clock.missing))
    variant, found = batches(task.builder, task.variant, task.batch_size, task.scenario_name, most=most)
    shapes = _shapes(found)
    reference = changed_scenario(task, LatencySection, shapes) or reference
    if not isinstance(reference, Absent):
        task = with_last_that_runs(
            task, [next(one for one in found if shapes_of(one) == shapes[end]) for end in (0, -1)]
        )
        reference = with_file(task)
    if isinstance(reference, Absent) and needs_baseline:
        return not_measured(NAME, reference)
    return Ready(task, reference, variant.path, found)


def _shapes(feeds: Sequence[Feeds]) -> list[Shapes]:
    """Return each shape that there is, the longest first."""
    found = {tuple(sorted(shapes_of(one).items())): shapes_of(one) for one in feeds}
    return sorted(found.values(), key=size_of, reverse=True)
