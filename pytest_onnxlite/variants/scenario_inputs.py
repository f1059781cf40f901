"""What a scenario feeds a model with: samples cut or repeated to a length, as many as its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.sessions import TensorInfo
from pytest_onnxlite.spec.dataset import Array, Inputs, count_samples
from pytest_onnxlite.spec.scenarios import Scenario


def inputs_of(
    scenario: Scenario, samples: Inputs, infos: Sequence[TensorInfo], batch_size: int, *, batched: bool
) -> Inputs:
    """Return what a model is fed with, the first axis counting samples.

    Args:
        scenario: what is asked for.
        samples: the scenario's own, or the evaluation data.
        infos: what the model takes.
        batch_size: samples per inference.
        batched: whether the first dim of the model's inputs counts samples.

    Raises:
        OnnxliteError: the model cannot take it; the text names the input, its axis, and what was asked for.
    """
    if batched:
        _require_batch(infos, batch_size)
    rows = np.arange(max(batch_size, count_samples(samples))) % count_samples(samples)
    if scenario.length is None:
        return _each(samples, infos, lambda array, _: array[rows])
    axes = _open_axes(infos, scenario.length, batched)
    length, first = scenario.length, rows[:batch_size]

    def long_enough(array: Array, info: TensorInfo) -> Array:
        # The data always counts samples first, the model only if it is batched.
        data_axes = [axis if batched else axis + 1 for axis in axes.get(info.name, ())]
        return np.stack([_lengthened(array[row], [axis - 1 for axis in data_axes], length, info) for row in first])

    return _each(samples, infos, long_enough)


def _each(samples: Inputs, infos: Sequence[TensorInfo], change: Callable[[Array, TensorInfo], Array]) -> Inputs:
    if not isinstance(samples, Mapping):
        return change(samples, infos[0])
    known = {info.name: info for info in infos}
    # A name that the model does not have is told by whoever feeds it.
    return {name: change(array, known[name]) if name in known else array for name, array in samples.items()}


def _lengthened(sample: Array, axes: Sequence[int], length: int, info: TensorInfo) -> Array:
    for axis in axes:
        if axis >= sample.ndim or not sample.shape[axis]:
            raise OnnxliteError(
                f"a sample of input {info.name!r} has shape {sample.shape}, and there is nothing in it to be repeated to "
                f"length {length}: give Scenario(inputs=...)"
            )
        sample = np.take(sample, np.arange(length) % sample.shape[axis], axis)
    return sample


def _require_batch(infos: Sequence[TensorInfo], batch_size: int) -> None:
    for info in infos:
        if info.shape and isinstance(info.shape[0], int) and info.shape[0] != batch_size:
            raise OnnxliteError(
                f"input {info.name!r} is frozen at {info.shape[0]} in axis 0, and batch size {batch_size} was asked for. Export "
                "the model with a dynamic first dim, or leave the scenario out"
            )


def _open_axes(infos: Sequence[TensorInfo], length: int, batched: bool) -> dict[str, list[int]]:
    """Return by input the axes that get the length: those that the model leaves open, one or several of one name."""
    found: dict[str, list[int]] = {}
    for info in infos:
        axes = {
            axis: dim for axis, dim in enumerate(info.shape) if isinstance(dim, str) and not (batched and axis == 0)
        }
        if len(axes) > 1 and ("?" in axes.values() or len(set(axes.values())) > 1):
            named = ", ".join(f"axis {axis}{'' if dim == '?' else f' ({dim})'}" for axis, dim in axes.items())
            raise OnnxliteError(
                f"input {info.name!r} leaves several axes open ({named}), and length {length} does not say which is meant: "
                "give Scenario(inputs=...)"
            )
        if axes:
            found[info.name] = list(axes)
    if not found and not any(length in _frozen(info, batched).values() for info in infos):
        told = [
            f"input {info.name!r} is frozen at "
            + ", ".join(f"{dim} in axis {axis}" for axis, dim in _frozen(info, batched).items())
            for info in infos
            if _frozen(info, batched)
        ] or ["its inputs have no axis but the first"]
        raise OnnxliteError(
            f"{'; '.join(told)}, and length {length} was asked for. Export the model with a dynamic axis there, or leave the "
            "scenario out"
        )
    return found


def _frozen(info: TensorInfo, batched: bool) -> dict[int, int]:
    return {axis: dim for axis, dim in enumerate(info.shape) if isinstance(dim, int) and not (batched and axis == 0)}
