"""What leaving the worst layers in float gives back, each by itself."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, Score
from pytest_onnxlite.checks.check import Case
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.explain.layer import Layer
from pytest_onnxlite.recipes import Recipe
from pytest_onnxlite.text import percent
from pytest_onnxlite.variants.deadline import OutOfTime

Found = Accuracy | Score


@dataclass(frozen=True)
class Trial:
    """What leaving one node in float gives back.

    Attributes:
        node: the node.
        value: the accuracy, or the metric's value, with it in float.
        gain: how much better that is than without: right answers, or of the metric's value.
        bytes: the file's size then.
    """

    node: str
    value: float
    gain: float
    bytes: int


def escape(name: str) -> str:
    """Return a glob that means one name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def with_excluded(recipe: Recipe, nodes: Sequence[str]) -> Recipe:
    """Return a recipe that leaves some more nodes in float."""
    return replace(recipe, exclude=(*recipe.exclude, *map(escape, nodes)))


def figure_of(found: Found) -> float:
    """Return the right answers of a measurement, or its metric's value, larger for better."""
    if isinstance(found, Accuracy):
        return float(found.correct)
    return found.value if found.higher_is_better else -found.value


def try_layers(case: Case[Found], suspects: Sequence[Layer]) -> tuple[list[Trial], int]:
    """Leave the worst layers in float, each by itself; returns what came of it, and how many could not be tried."""
    spec = case.task.builder.spec
    nodes = list(dict.fromkeys(layer.node for layer in suspects if layer.quantized))
    trials: list[Trial] = []
    if case.task.variant.kind != "int8" or not nodes or spec.int8 is not None:
        return trials, 0
    case.task.progress(f"trying the worst layers of {spec.name} in float")
    skipped = 0
    for node in nodes:
        try:
            if case.budget.left <= 0:
                raise OutOfTime("the time given is up.")
            trials.append(_try(case, node, figure_of(case.found)))
        except OnnxliteError:
            skipped += 1
    trials.sort(key=lambda trial: (-trial.gain, trial.bytes))
    return trials, skipped


def lines_of(case: Case[Found], suspects: Sequence[Layer], trials: Sequence[Trial], skipped: int) -> list[str]:
    """Say what leaving nodes in float gives back; of an INT8 file of the user's, that it was not tried."""
    spec = case.task.builder.spec
    if case.task.variant.kind == "int8" and spec.int8 is not None and any(layer.quantized for layer in suspects):
        return ["They are ranked by their own error alone: an INT8 file of yours is not quantized anew here."]
    return _trial_lines(trials, skipped, spec.rating.name, len(case.task.builder.evaluation), case.task.variant.size)


def _try(case: Case[Found], node: str, before: float) -> Trial:
    with tempfile.TemporaryDirectory(prefix="onnxlite-") as folder:
        builder = case.task.builder.with_recipe(with_excluded(case.task.builder.recipe[0], [node]), Path(folder))
        found = accuracy.measure(builder, builder.int8, case.task.batch_size)
        size = builder.int8.size
        builder.int8.release()
    value = found.share if isinstance(found, Accuracy) else found.value
    return Trial(node, value, figure_of(found) - before, size)


def _trial_lines(trials: Sequence[Trial], skipped: int, metric: str, total: int, size: int) -> list[str]:
    """Say what leaving nodes in float gives back, the best first."""
    lines = []
    if trials:
        counted = metric.startswith("top")
        lines.append("Left in float, each by itself, on all evaluation data:")
        for trial in trials:
            gain = f"{trial.gain:+.0f} right" if counted else f"{trial.gain:+.4g}"
            value = percent(trial.value) if counted else f"{trial.value:.4g} {metric}"
            lines.append(f"  {trial.node}: {gain} ({value} of {total}), {trial.bytes - size:+,} bytes")
    if skipped:
        lines.append(f"  {skipped} more could not be tried, or not in the time given (--onnxlite-explain-time)")
    return lines
