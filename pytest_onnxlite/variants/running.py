"""What a variant is timed and measured with: batches of its evaluation data, no session left open next to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.sequences import without_mark
from pytest_onnxlite.spec.dataset import Array, Inputs, count_samples, take
from pytest_onnxlite.text import Shapes
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.scenario_inputs import inputs_of
from pytest_onnxlite.variants.stateful import StatefulVariant
from pytest_onnxlite.variants.variant import RuntimeVariant, Variant

# A dim that is not so much larger than in any shape chosen so far is no reason for one more.
_MUCH_LONGER = 1.25

Feeds = dict[str, Array]


def shapes_of(feeds: Mapping[str, Array]) -> Shapes:
    """Return the shapes of what a model is fed with in one run, by input."""
    return {name: tuple(map(int, array.shape)) for name, array in without_mark(feeds).items()}


def size_of(shapes: Shapes) -> int:
    """Return how many numbers are fed in one run of these shapes."""
    return sum(map(prod, shapes.values()))


def batches(
    builder: Builder,
    variant: Variant,
    batch_size: int,
    scenario: str = "",
    every_shape: bool = False,
    *,
    sequence: bool = False,
    most: int = 0,
) -> tuple[RuntimeVariant, list[Feeds]]:
    """Return a variant with the feeds of one batch for each shape that counts, and close every session of the model.

    Where all samples have one shape, that is the first batch. Where they differ, it is one of the longest shape, one
    of the median shape, and one for each dim that is much longer in another sample than in those.

    Args:
        builder: the model's variants.
        variant: what is run.
        batch_size: samples in a batch.
        scenario: the spec's scenario that says what it is fed with; the evaluation data where empty.
        every_shape: return a batch of each shape that there is, the longest first.
        sequence: whether a run is all steps of a model with a state, and not the last one.
        most: return so many batches instead, spread over all samples, or as many as there are, see `rows_of_many`.

    Raises:
        OnnxliteError: no runtime runs the variant, there are fewer samples than the batch needs, or there is no such
            scenario, or the model cannot take it.
    """
    if not isinstance(variant, RuntimeVariant):
        raise OnnxliteError(f"{variant.model} {variant.kind}: no runtime loads it, so that it cannot be measured.")

    def choose(inputs: Inputs) -> list[Sequence[int]]:
        return rows_of_many(inputs, batch_size, most) if most else rows_to_run(inputs, batch_size, every_shape)

    if scenario:
        found = _batches_of(builder, variant, batch_size, scenario, _feeding(variant, sequence), choose)
        builder.release()
        variant.release()
        return variant, found
    data = builder.evaluation.x
    if count_samples(data) < batch_size:
        raise OnnxliteError(
            f"{variant.model} {variant.kind}: a batch of {batch_size} needs as many evaluation samples; there are "
            f"{count_samples(data)}."
        )
    feeds_of = _feeding(variant, sequence)
    found = [feeds_of(_take_rows(data, rows)) for rows in choose(data)]
    builder.release()
    variant.release()
    return variant, found


def _feeding(variant: RuntimeVariant, sequence: bool) -> Callable[[Inputs], Feeds]:
    """Return what makes the feeds of a run from samples.

    Raises:
        OnnxliteError: all steps are asked for of a model without a state.
    """
    if not sequence:
        return variant.feeds
    if not isinstance(variant, StatefulVariant):
        raise OnnxliteError(
            f"{variant.model} {variant.kind}: per='sequence' times all steps of a model with a state, and the model has none: give "
            "ModelSpec(stateful=Stateful(...)), or leave per= out."
        )
    return variant.sequence_feeds


def _batches_of(
    builder: Builder,
    variant: RuntimeVariant,
    batch_size: int,
    name: str,
    feeds_of: Callable[[Inputs], Feeds],
    choose: Callable[[Inputs], list[Sequence[int]]],
) -> list[Feeds]:
    """Return the batches of a scenario, each of which the variant has run once: a shape may be new to it."""
    scenario = builder.spec.scenario(name)
    samples = builder.evaluation.x if scenario.inputs is None else scenario.inputs
    try:
        data = inputs_of(scenario, samples, variant.inputs_info, batch_size, batched=variant.batched)
        found = [_take_rows(data, rows) for rows in choose(data)]
        for batch in found:
            variant.answer(batch, batch_size)
        return [feeds_of(batch) for batch in found]
    except OnnxliteError as error:
        model = f"{variant.model} {variant.kind}: "
        reason = str(error).removeprefix(model).rstrip(".")
        raise OnnxliteError(f"{model}the scenario {name!r} ({scenario.asks}) cannot be run: {reason}.") from None


def batch_at(
    builder: Builder, variant: Variant, batch_size: int, shapes: Shapes, scenario: str = "", *, sequence: bool = False
) -> tuple[RuntimeVariant, Feeds]:
    """Return the batch of these shapes among those of `batches`; the first if there is none.

    Raises:
        OnnxliteError: see `batches`.
    """
    running, found = batches(builder, variant, batch_size, scenario, sequence=sequence)
    return running, next((feeds for feeds in found if shapes_of(feeds) == shapes), found[0])


def _take_rows(inputs: Inputs, rows: Sequence[int]) -> Inputs:
    if rows == range(len(rows)):
        return take(inputs, slice(len(rows)))
    index = np.asarray(rows)
    return {name: array[index] for name, array in inputs.items()} if isinstance(inputs, Mapping) else inputs[index]


def rows_to_run(inputs: Inputs, batch_size: int, every_shape: bool = False) -> list[Sequence[int]]:
    """Choose the samples of each batch: one batch for each shape that counts, or for each there is, the longest first.

    Where a shape has fewer samples than a batch, they are repeated. Where no shape has as many, the first samples are
    returned, which do not fit into one batch.
    """
    arrays = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    first = range(batch_size)
    if all(array.dtype != object for array in arrays):
        return [first]
    rows = _by_shape(arrays)
    if max(map(len, rows.values())) < batch_size:
        return [first]
    by_size = sorted(rows, key=lambda shapes: (sum(map(prod, shapes)), shapes))
    samples = [shapes for shapes in by_size for _ in rows[shapes]]
    chosen = by_size[::-1] if every_shape else list(dict.fromkeys([by_size[-1], samples[len(samples) // 2]]))
    for number, shape in enumerate(by_size[-1]):
        for axis in range(len(shape)):
            # The largest of those that are longest there.
            longest = max(reversed(by_size), key=lambda shapes: shapes[number][axis])
            if longest[number][axis] > _MUCH_LONGER * max(shapes[number][axis] for shapes in chosen):
                chosen.append(longest)
    return [[rows[shapes][n % len(rows[shapes])] for n in range(batch_size)] for shapes in chosen]


def _by_shape(arrays: Sequence[Array]) -> dict[tuple[tuple[int, ...], ...], list[int]]:
    """Return the samples of each shape."""
    rows: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for row in range(len(arrays[0])):
        rows.setdefault(tuple(array[row].shape for array in arrays), []).append(row)
    return rows


# Of what is fed in different runs, so much is kept at a time.
_MOST_BYTES = 128 * 1024**2


def rows_of_many(inputs: Inputs, batch_size: int, most: int) -> list[Sequence[int]]:
    """Choose the samples of many batches, each of one shape, spread evenly over all that there are.

    No sample is in two of them, unless a shape has fewer than a batch: they are repeated then. Where no shape has as many, the
    first samples are returned, which do not fit into one batch.

    Args:
        inputs: the samples.
        batch_size: samples in a batch.
        most: so many batches at most, and as many as fit into 128 MiB.
    """
    arrays = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    groups = [list(range(count_samples(inputs)))]
    if any(array.dtype == object for array in arrays):
        groups = list(_by_shape(arrays).values())
    if max(map(len, groups)) < batch_size:
        return [range(batch_size)]
    found: list[Sequence[int]] = []
    for rows in groups:
        whole = [rows[start : start + batch_size] for start in range(0, len(rows) - batch_size + 1, batch_size)]
        found += whole or [[rows[n % len(rows)] for n in range(batch_size)]]
    size = sum(row.nbytes if array.dtype == object else row.itemsize * row.size for array in arrays for row in array)
    most = max(1, min(most, int(_MOST_BYTES / max(size / count_samples(inputs) * batch_size, 1)), len(found)))
    return [found[number * len(found) // most] for number in range(most)]
