"""What a change gives back: nodes left in float, other calibration data, weights that saturate nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.accuracy.layer_causes import MOST_LAYERS
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, Score
from pytest_onnxlite.checks.accuracy.reasons import Trial, Tried
from pytest_onnxlite.checks.task import Case
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.explain.layer import Layer
from pytest_onnxlite.lint.protobuf import load_graph
from pytest_onnxlite.lint.protobuf import nodes as nodes_of
from pytest_onnxlite.spec.dataset import Inputs, count_samples, take
from pytest_onnxlite.spec.recipes import AnyRecipe, Float16, Recipe, StaticInt8, leaving
from pytest_onnxlite.text import listed, percent
from pytest_onnxlite.variants.deadline import OutOfTime
from pytest_onnxlite.workspace import working_folder

Found = Accuracy | Score

# A gain of this share of what was lost ends the search.
_ENOUGH = 0.5
# Layers that are tried where the worst ones give too little back, and chains.
_MORE_LAYERS, _MOST_CHAINS, _LONGEST_CHAIN, _MOST_TOGETHER = 4, 2, 6, 3
# What links a chain: nodes between products.
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Evaluation samples to calibrate with.
_SAMPLES = 128


def escape(name: str) -> str:
    """Return a glob that means one name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def with_excluded(recipe: AnyRecipe, nodes: Sequence[str]) -> AnyRecipe:
    """Return a recipe that leaves some more nodes in float."""
    return leaving(recipe, [escape(node) for node in nodes])


def figure_of(found: Found) -> float:
    """Return the right answers of a measurement, or its metric's value, larger for better."""
    if isinstance(found, Accuracy):
        return float(found.correct)
    return found.value if found.higher_is_better else -found.value


def recipe_of(case: Case[Found]) -> AnyRecipe | None:
    """Return the recipe that the variant is made by here; None for one that none makes."""
    return case.task.builder.recipe_of(case.task.variant.kind)


def try_layers(
    case: Case[Found], suspects: Sequence[Layer], source: Path | None = None, lost: float = 0.0
) -> tuple[list[Trial], int]:
    """Leave layers in float: the worst each by itself; then chains and other layers, until most of the loss comes back.

    Args:
        case: the verdict.
        suspects: layers, the largest own error first.
        source: the float model, whose chains are looked for; None for none.
        lost: what was lost, as `figure_of` counts.

    Returns:
        What came of it, the best first, and how many could not be tried.
    """
    trials: list[Trial] = []
    recipe = recipe_of(case)
    # Half precision is no operator that tells itself.
    every = isinstance(recipe, Float16)
    names = list(dict.fromkeys(layer.node for layer in suspects if every or layer.quantized or layer.is_drowned))
    if recipe is None or not names:
        return trials, 0
    case.task.progress(f"trying the worst layers of {case.task.builder.spec.name} in float")
    skipped = 0

    def attempt(groups: Sequence[tuple[str, ...]], until: float) -> None:
        nonlocal skipped
        for group in groups:
            if any(trial.gain >= until > 0 for trial in trials):
                return
            try:
                if case.budget.left <= 0:
                    raise OutOfTime("the time given is up.")
                trials.append(_try_nodes(case, group))
            except OnnxliteError:
                skipped += 1

    attempt([(name,) for name in names[:MOST_LAYERS]], 0.0)
    if lost > 0:
        attempt(_chains(names, source), _ENOUGH * lost)
        attempt([(name,) for name in names[MOST_LAYERS : MOST_LAYERS + _MORE_LAYERS]], _ENOUGH * lost)
        # Everything in float gives everything back: only a few of many are worth naming together.
        best = sorted((trial for trial in trials if trial.gain > 0 and len(trial.nodes) == 1), key=lambda t: -t.gain)
        together = tuple(trial.node for trial in best[: min(_MOST_TOGETHER, len(names) // 4)])
        if len(together) > 1:
            attempt([together], _ENOUGH * lost)
    # Of what gives back as much, the fewest nodes.
    trials.sort(key=lambda trial: (-trial.gain, len(trial.nodes), trial.bytes))
    return trials, skipped


def _chains(names: Sequence[str], source: Path | None) -> list[tuple[str, ...]]:
    """Return the chains of quantized nodes around the worst layers."""
    if source is None:
        return []
    edges = [(node.name, node.op_type, tuple(node.input), tuple(node.output)) for node in nodes_of(load_graph(source))]
    found = [chain(name, frozenset(names), edges) for name in names[:MOST_LAYERS]]
    # As sets: each of its nodes leads to the same chain.
    distinct = {frozenset(nodes): nodes for nodes in found if len(nodes) > 1}
    return list(distinct.values())[:_MOST_CHAINS]


def chain(
    name: str, quantized: frozenset[str], nodes: Sequence[tuple[str, str, tuple[str, ...], tuple[str, ...]]]
) -> tuple[str, ...]:
    """Return a node with the quantized ones that feed it or read it, on either side as far as the next product.

    Args:
        name: the node.
        quantized: the names of the nodes that are quantized.
        nodes: of each node of the graph, in its order, the name, the operator, what it reads and what it writes.
    """
    members = {entry[0]: entry for entry in nodes if entry[0] in quantized and entry[1] not in _PRODUCTS}
    if name not in members:
        return (name,)
    found, waiting = [name], [name]
    while waiting and len(found) < _LONGEST_CHAIN:
        _, _, reads, writes = members[waiting.pop(0)]
        for other, _, theirs, given in members.values():
            if other not in found and (set(given) & set(reads) or set(writes) & set(theirs)):
                found.append(other)
                waiting.append(other)
    return tuple(entry[0] for entry in nodes if entry[0] in found[:_LONGEST_CHAIN])


def try_calibration(case: Case[Found]) -> Tried | None:
    """Calibrate with some of the evaluation data; None if that is not possible."""
    builder, recipe = case.task.builder, recipe_of(case)
    if not isinstance(recipe, StaticInt8) or not builder.spec.batched:
        return None
    x = builder.evaluation.x
    count = count_samples(x)
    step = max(count // _SAMPLES, 1)
    case.task.progress(f"trying {builder.spec.name} calibrated with evaluation data")
    return _tried(case, "evaluation data", recipe, take(x, slice(0, step * _SAMPLES, step)))


def try_reduced(case: Case[Found]) -> Tried | None:
    """Quantize with weights of 7 bits, which saturate nowhere; None if that is not possible."""
    recipe = recipe_of(case)
    if not isinstance(recipe, Recipe):
        return None
    case.task.progress(f"trying {case.task.builder.spec.name} with reduce_range=True")
    return _tried(case, "reduce_range=True", replace(recipe, reduce_range=True))


def _tried(case: Case[Found], change: str, recipe: AnyRecipe, calibration: Inputs | None = None) -> Tried | None:
    if case.budget.left <= 0:
        return None
    try:
        found, _ = _measure(case, recipe, calibration)
    except OnnxliteError:
        return None
    return Tried(change, figure_of(found) - figure_of(case.found), figure_text(found))


def figure_text(found: Found) -> str:
    """Return the figure with how many samples it is of."""
    if isinstance(found, Accuracy):
        return f"{percent(found.share)} of {found.total} right"
    return f"{found.value:.4g} {found.metric}"


def _measure(case: Case[Found], recipe: AnyRecipe, calibration: Inputs | None = None) -> tuple[Found, int]:
    with working_folder() as folder:
        builder = case.task.builder.with_recipe(recipe, folder, calibration)
        variant = builder.made_by(recipe, case.task.variant.kind)
        found = accuracy.measure(builder, variant, case.task.batch_size)
        size = variant.size
        variant.release()
    return found, size


def _try_nodes(case: Case[Found], nodes: tuple[str, ...]) -> Trial:
    recipe = recipe_of(case)
    assert recipe is not None
    found, size = _measure(case, with_excluded(recipe, nodes))
    value = found.share if isinstance(found, Accuracy) else found.value
    gain = figure_of(found) - figure_of(case.found)
    return Trial(listed(nodes), value, gain, size, nodes, size - case.task.variant.size, figure_text(found))


def as_tried(trials: Sequence[Trial]) -> list[Tried]:
    """Return what the order of causes knows of trials."""
    return [Tried(trial.node, trial.gain, trial.figure, trial.nodes) for trial in trials]


def remarks_of(case: Case[Found], suspects: Sequence[Layer], skipped: int) -> list[str]:
    """Say what was not tried: an INT8 file of the user's, or what there was no time for."""
    given = recipe_of(case) is None and case.task.builder.kind(case.task.variant.kind).quantized
    if given and any(layer.quantized for layer in suspects):
        what = "an INT8 file" if case.task.variant.kind == "int8" else "a file"
        return [f"They are ranked by their own error alone: {what} of yours is not quantized anew here."]
    if not skipped:
        return []
    return [f"{skipped} more could not be tried in float, or not in the time given (--onnxlite-explain-time)."]
