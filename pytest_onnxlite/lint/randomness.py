"""The nodes that draw random numbers: with them, two runs on the same inputs give different outputs."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.finding import Finding, report
from pytest_onnxlite.lint.loading import ModelLike
from pytest_onnxlite.lint.model_index import ModelIndex, Place, attribute, input_of, reading
from pytest_onnxlite.lint.operators import random_operator


def random_nodes(model: ModelLike) -> list[str]:
    """Return the nodes of a model that draw random numbers, those of subgraphs and functions included.

    Returns:
        A text for each: its path and name, its operator, and whether it has a seed.

    Raises:
        GraphError: the model cannot be read.
    """
    return [describe(place) for place in random_places(ModelIndex(model))]


def random_places(index: ModelIndex) -> list[Place]:
    """Return the nodes that draw random numbers; of those that do so in training alone, the ones that may be in training."""
    return [place for place in index.places if _draws(index, place)]


def describe(place: Place) -> str:
    """Return a random node as a message names it."""
    seed = attribute(place.node, "seed", None)
    return f"{place.where} ({place.op}, {'no seed' if seed is None else f'seed {seed:g}'})"


def check_randomness(context: Context) -> Iterator[Finding]:
    """No node draws random numbers; what does so in training alone is said by the check of training mode."""
    for place in random_places(context.index):
        row = random_operator(place.node)
        if row is not None and row.training_mode is None:
            yield report(
                "OLX118", place.where, "outputs that depend on the inputs alone", f"{place.op}, which is random"
            )


def _draws(index: ModelIndex, place: Place) -> bool:
    row, node = random_operator(place.node), place.node
    if row is None:
        return False
    if row.training_mode is None:
        return True
    if row.name == "Dropout" and node.attributes.get("is_test") is not None:  # before opset 7
        return not attribute(node, "is_test", 0)
    if input_of(node, row.training_mode) is None or _known(index, place, row.training_mode) == 0:
        return False
    return row.ratio is None or _known(index, place, row.ratio) != 0


def _known(index: ModelIndex, place: Place, position: int) -> float | None:
    """Return the number that an input always is; None if that depends on what the model is fed with."""
    value = input_of(place.node, position)
    constant = index.readable(value)
    if constant is None or constant.tensor.size != 1 or (value is not None and value.is_graph_input()):
        return None
    with reading(constant.tensor) as found:
        return float(found.reshape(-1)[0])
