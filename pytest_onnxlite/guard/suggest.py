"""A way out: searches recipes near the one that failed for the smallest change that passes every limit of the test."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from pytest_onnxlite.checks.accuracy.causes import CALIBRATION
from pytest_onnxlite.checks.accuracy.trials import escape
from pytest_onnxlite.checks.latency import measure as timing
from pytest_onnxlite.checks.latency.timer import Timer
from pytest_onnxlite.checks.limit import Limit
from pytest_onnxlite.checks.task import Clock
from pytest_onnxlite.checks.verdict import Explanation
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.guard.attempts import BUILD, nearest, nothing_text
from pytest_onnxlite.labels import labelled
from pytest_onnxlite.records import Attempt, Checks, Record, Suggestion
from pytest_onnxlite.spec.model import ModelSpec
from pytest_onnxlite.spec.recipes import DynamicInt8, Recipe, StaticInt8, recipe_text, recipe_toml
from pytest_onnxlite.text import size_text
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.deadline import Budget
from pytest_onnxlite.variants.running import batches
from pytest_onnxlite.variants.variant import Variant
from pytest_onnxlite.workspace import working_folder

if TYPE_CHECKING:
    from pytest_onnxlite.guard.guardian import Guardian
from pytest_onnxlite.variants.deadline import OutOfTime, time_limit

KINDS: tuple[type[DynamicInt8] | type[StaticInt8], ...] = (DynamicInt8, StaticInt8)
# What the order of a dataclass's fields does not say: which change is most often the cure.
_FIRST = ("per_channel", "method", "weight_type", "activation_type", "format", "reduce_range")
_MOST_CHANGES = 3
# No ratio is too large where it is only to be told.
_ANY_RATIO = 1e6
# Of the time, and at most so many seconds, for what is told of the nearest recipes.
_RESERVED, _MOST_RESERVED = 0.2, 10.0
# So many nodes are left in float together, on top of changes of the weights.
_MOST_NODES = 3


@dataclass(frozen=True)
class Judged:
    """What judging a builder's INT8 variant came to.

    Attributes:
        stopped_by: the first limit that is broken, empty for none.
        message: what it says.
        figures: by check, what was measured in a few words.
        accuracy: the metric's value, None if there is no such limit.
        bytes: the file's size.
    """

    stopped_by: str
    message: str
    figures: dict[str, str]
    accuracy: float | None
    bytes: int


class Trials:
    """Judges the INT8 variants of recipes by the limits of a test.

    Args:
        guardian: judges.
        limits: each check's name and limit, the cheapest first.
    """

    def __init__(self, guardian: Guardian, limits: Sequence[tuple[str, Limit]]) -> None:
        self._guardian = guardian
        self._limits = limits

    def rule_out(self, builder: Builder, recipe: Recipe) -> Attempt | None:
        """Return what comes of a recipe that cannot keep a limit, if that is told without building it; else None."""
        for name, limit in self._limits:
            found = self._guardian.registry.checks[name].rules_out(limit, builder, recipe)
            if found is not None:
                return Attempt(recipe_text(recipe), name, f"{found.why}.", least=found.least)
        return None

    def judge(self, builder: Builder, budget: Budget) -> Judged:
        """Judge a builder's INT8 variant as a test would, and stop at the first limit that is broken."""
        variant = builder.int8
        stopped = message = ""
        rank: float | None = None
        figures: dict[str, str] = {}
        for name, limit in self._limits:
            check = self._guardian.registry.checks[name]
            shorter = check.shorten(limit, budget.left)
            found, verdicts = self._guardian.judge_one(builder, name, shorter, Clock(Timer()))
            figures[labelled(name, limit.label)] = verdicts[-1].figure
            rank = check.rank(found) if rank is None and found is not None else rank
            broken = next((verdict for verdict in verdicts if verdict.red), None)
            if broken is not None:
                stopped, message = broken.check, broken.message
                break
        made_from = builder.made_from("int8")
        assert made_from is not None
        figures["size"] = _size(variant, made_from)
        if not stopped:
            figures["time"] = f"{_ratio_to(builder, made_from):.2f}x of {made_from.kind}"
        return Judged(stopped, message, figures, rank, variant.size)

    def complete(self, builder: Builder, attempt: Attempt, budget: Budget) -> Attempt:
        """Return an attempt with what it is by the other limits, as far as these need no clock."""
        known = dict(attempt.figures)
        rank = attempt.accuracy
        for name, limit in self._limits:
            check = self._guardian.registry.checks[name]
            if name in known or check.timed or budget.left <= 0:
                continue
            found, verdicts = self._guardian.judge_one(builder, name, limit, Clock(Timer()))
            known[name] = f"{verdicts[-1].figure}{' (not enough either)' if any(v.red for v in verdicts) else ''}"
            rank = check.rank(found) if rank is None and found is not None else rank
        made_from = builder.made_from("int8")
        assert made_from is not None
        known["size"] = _size(builder.int8, made_from)
        return dataclasses.replace(attempt, figures=known, accuracy=rank, bytes=builder.int8.size)


def _size(variant: Variant, made_from: Variant) -> str:
    return f"{size_text(variant.size)} ({variant.size / made_from.size:.3f} of {made_from.kind})"


def _ratio_to(builder: Builder, other: Variant) -> float:
    """Return the time of the INT8 variant as a ratio of another's."""
    spec = builder.spec
    variant, (feeds, *_) = batches(builder, builder.int8, spec.batch_size)
    references = {"float": timing.Reference(other.kind, other.path, _ANY_RATIO)}
    found = timing.measure(
        Timer(),
        variant.path,
        references,
        feeds,
        batch_size=spec.batch_size,
        runtime=spec.runtime,
        resolution=1.0,
        max_time=1.0,
    )
    return median(found.comparisons["float"].first)


def changes(recipe: Recipe) -> Iterator[Recipe]:
    """Yield the recipes that differ from one in one argument, exclusions aside."""
    hints = typing.get_type_hints(type(recipe))
    names = [f.name for f in dataclasses.fields(recipe) if f.name != "exclude"]
    for name in sorted(names, key=lambda n: _FIRST.index(n) if n in _FIRST else len(_FIRST)):
        value = getattr(recipe, name)
        if typing.get_origin(hints[name]) is Literal:
            others: Sequence[Any] = [choice for choice in typing.get_args(hints[name]) if choice != value]
        elif isinstance(value, bool):
            others = [not value]
        else:
            continue
        if name == "reduce_range" and isinstance(recipe, StaticInt8) and recipe.weight_type == "auto":
            continue  # it has 7 bits already
        for other in others:
            try:
                yield dataclasses.replace(recipe, **{name: other})
            except OnnxliteError:
                continue  # a pair of values that no kernel takes


def neighbours(recipe: Recipe, calibrated: bool, nodes: Sequence[str], operators: Sequence[str]) -> Iterator[Recipe]:
    """Yield recipes in the order of how much is changed.

    Args:
        recipe: the one that failed.
        calibrated: whether there is calibration data for a static one.
        nodes: nodes that explanations named, the worst first.
        operators: operator types to leave in float as a whole.
    """
    seen = {recipe}
    for size in range(1, _MOST_CHANGES + 1):
        for found in _changed(recipe, calibrated, nodes, operators, size):
            if found not in seen:
                seen.add(found)
                yield found


def _changed(
    recipe: Recipe, calibrated: bool, nodes: Sequence[str], operators: Sequence[str], size: int
) -> Iterator[Recipe]:
    kinds = [kind for kind in KINDS if kind is not type(recipe) and (calibrated or kind is not StaticInt8)]
    others: list[Recipe] = [kind(exclude=recipe.exclude) for kind in kinds]
    if size == 1:
        for position in range(len(recipe.exclude)):
            yield dataclasses.replace(recipe, exclude=(*recipe.exclude[:position], *recipe.exclude[position + 1 :]))
        yield from changes(recipe)
        yield from others
        yield from (_excluding(recipe, [name]) for name in (*map(escape, nodes), *operators))
    elif size == 2:
        if len(recipe.exclude) > 1:
            yield dataclasses.replace(recipe, exclude=())
        globs = [*map(escape, nodes), *operators]
        near = [*others, *changes(recipe)]
        yield from _few_in_float(recipe, nodes)
        yield from (_excluding(recipe, globs[:2]) for _ in [0] if len(globs) > 1)
        yield from (_excluding(other, [glob]) for glob in globs[:3] for other in near)
        yield from (changed for other in others for changed in changes(other))
    else:
        globs = [*map(escape, nodes), *operators]
        yield from (_excluding(recipe, globs[:count]) for count in range(3, len(globs) + 1))
        yield from (_excluding(other, globs[:2]) for other in others)
        if operators:
            yield from (_excluding(other, operators) for other in (recipe, *others))


def _few_in_float(recipe: Recipe, nodes: Sequence[str]) -> Iterator[Recipe]:
    """Yield recipes that leave up to three of the nodes in float, with weights of the same type and of uint8.

    What is lost in a few layers comes back with those alone, and uint8 weights have all their 8 bits on every processor.
    """
    globs = list(map(escape, nodes[:_MOST_NODES]))
    together = [globs[:count] for count in range(2, len(globs) + 1)]
    yield from (_excluding(recipe, names) for names in together)
    try:
        unsigned = dataclasses.replace(recipe, weight_type="uint8")
    except OnnxliteError:  # with activations of int8
        return
    yield from (_excluding(unsigned, names) for names in [globs[:1], *together] if names)


def _excluding(recipe: Recipe, globs: Sequence[str]) -> Recipe:
    return dataclasses.replace(recipe, exclude=tuple(dict.fromkeys((*recipe.exclude, *globs))))


def search(
    builder: Builder,
    trials: Trials,
    nodes: Sequence[str],
    operators: Sequence[str],
    budget: Budget,
    progress: Callable[[str], None],
    declared_in: str = "",
    reasons: Sequence[Explanation] = (),
) -> Suggestion:
    """Search for a recipe that passes.

    Args:
        builder: the model's variants.
        trials: judge the INT8 variant of a builder by every limit of the test, and stop at the first that is broken.
        nodes: nodes that explanations named, the worst first.
        operators: operator types to leave in float as a whole.
        budget: how long to search.
        progress: is told what begins.
        declared_in: the table of pyproject.toml that declares the model; empty where a fixture does.
        reasons: why limits are broken. If calibration is the first cause, no other recipe that calibrates is tried.
    """
    spec = builder.spec
    preface = in_the_way(reasons)
    # A file of the user's was calibrated elsewhere: what the spec gives may be good.
    is_spoilt = bool(preface) and spec.int8 is None
    current = spec.recipe or builder.recipe[0]
    tried: list[Attempt] = []
    first = [current] if spec.int8 is not None else []
    passes: Recipe | None = None
    # What is left is for the nearest ones, of which all is to be told.
    reserve = min(_RESERVED * budget.seconds, _MOST_RESERVED)
    recipes: dict[str, Recipe] = {}
    for recipe in (*first, *neighbours(current, spec.calibration is not None, nodes, operators)):
        if budget.left <= reserve:
            break
        if is_spoilt and isinstance(recipe, StaticInt8):
            continue
        recipes[recipe_text(recipe)] = recipe
        hopeless = trials.rule_out(builder, recipe)
        if hopeless is not None:
            tried.append(hopeless)
            continue
        progress(f"trying {recipe_text(recipe)} ({len(tried)} tried, {budget.left:.0f} s left)")
        try:
            with time_limit(budget.left - reserve):
                tried.append(_attempt(builder, recipe, trials.judge, budget))
        except OutOfTime:
            break
        if not tried[-1].stopped_by:
            passes = recipe
            break
    else:
        reserve = 0.0  # all were tried
    ended = budget.left <= reserve
    if passes is None:
        tried = _completed(builder, trials, tried, recipes, budget, progress)
    found = _result(tried, passes, budget, ended, paste_text(spec, passes, declared_in) if passes else "")
    alone = "Only recipes without calibration were tried. " if is_spoilt else ""
    return dataclasses.replace(found, text=preface + alone + found.text)


def _completed(
    builder: Builder,
    trials: Trials,
    tried: Sequence[Attempt],
    recipes: Mapping[str, Recipe],
    budget: Budget,
    progress: Callable[[str], None],
) -> list[Attempt]:
    """Return the attempts; the nearest by each limit with what they are by the others, as far as there is time."""
    found = list(tried)
    for attempt in nearest(tried).values():
        if budget.left <= 0:
            break
        progress(f"measuring {attempt.recipe}, the nearest by {attempt.stopped_by}")
        with working_folder() as folder:
            other = builder.with_recipe(recipes[attempt.recipe], folder)
            try:
                with time_limit(budget.left):
                    found[found.index(attempt)] = trials.complete(other, attempt, budget)
            except OnnxliteError:
                continue  # what is known of it has to do
            finally:
                other.release()
    return found


def _attempt(builder: Builder, recipe: Recipe, judge: Callable[[Builder, Budget], Judged], budget: Budget) -> Attempt:
    code = recipe_text(recipe)
    with working_folder() as folder:
        other = builder.with_recipe(recipe, folder)
        try:
            found = judge(other, budget)
        except OutOfTime:
            raise
        except OnnxliteError as error:
            return Attempt(code, BUILD, str(error))
        finally:
            other.release()
    return Attempt(code, found.stopped_by, found.message, found.figures, found.accuracy, found.bytes)


def paste_text(spec: ModelSpec, recipe: Recipe, declared_in: str) -> str:
    """Say where to paste a recipe, and in the next lines what."""
    instead = " of int8" + ("" if declared_in else "=")
    instead = f", in the place{instead}" if spec.int8 is not None else ""
    if declared_in:
        return f"in {declared_in}{instead}:\n    recipe = {recipe_toml(recipe)}"
    name = type(recipe).__name__
    return (
        f"in ModelSpec({spec.name!r}, ...){instead}:\n    recipe={recipe_text(recipe)},\n"
        f"  with: from pytest_onnxlite import {name}"
    )


def _result(tried: Sequence[Attempt], passes: Recipe | None, budget: Budget, ended: bool, paste: str) -> Suggestion:
    seconds = round(budget.spent, 1)
    if passes is None:
        return Suggestion(nothing_text(tried, budget.seconds, ended), None, tuple(tried), seconds)
    figures = ", ".join(f"{check} {figure}" for check, figure in tried[-1].figures.items())
    text = (
        f"This passes every limit of the test (tried, {len(tried)} in {budget.spent:.0f} s). Paste {paste}\n"
        f"  It has {figures}."
    )
    return Suggestion(text, tried[-1].recipe, tuple(tried), seconds)


def futile(record: Record, checks: Checks) -> str:
    """Say why no recipe can help a variant; empty if one may."""
    found = (checks[name].futile(record.limits[name], found) for name, found in record.measured.items())
    return next(filter(None, found), "")


def in_the_way(reasons: Sequence[Explanation]) -> str:
    """Say what comes before any recipe: calibration, if that is the first cause of an explanation; empty for nothing."""
    first = next((reason for reason in reasons if reason.kind == CALIBRATION), None)
    return f"First the calibration: {first.short.rstrip('.')}. Recipes are second to that.\n  " if first else ""
