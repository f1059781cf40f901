"""Inputs of a model with their labels: what they must be, their parts, and the hash that names them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_onnxlite.errors import OnnxliteError, hide_mistakes

__tracebackhide__ = hide_mistakes

Array = npt.NDArray[Any]
Inputs = Array | Mapping[str, Array]


def as_texts(array: Array) -> Array:
    """Return Python's texts as an array of texts; anything else as it is."""
    is_text = array.dtype == object and array.size and all(isinstance(entry, str) for entry in array.flat)
    return array.astype(str) if is_text else array


def _as_array(value: Any, what: str) -> Array:
    ragged = _as_ragged(value, what)
    if ragged is not None:
        return ragged
    array = as_texts(np.asarray(value))
    if array.dtype == object:
        raise OnnxliteError(
            f"{what} is an array of Python objects; expected numbers of one shape per sample. "
            "Stack the samples into one array, the first axis counting them."
        )
    if array.dtype.kind in "mM" or array.dtype.names:
        raise OnnxliteError(
            f"{what} holds {array.dtype}, which no model takes; expected numbers, truth values or text."
        )
    if array.ndim == 0 or len(array) == 0:
        raise OnnxliteError(f"{what} holds no samples (shape {array.shape}); the first axis must count them.")
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
        raise OnnxliteError(f"{what} holds NaN or infinity, first in sample {bad}. Clean the data set.")
    return array


def _as_ragged(value: Any, what: str) -> Array | None:
    """Return samples of different lengths as an array of arrays; None for anything else."""
    if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.dtype == object):
        return None
    if not all(isinstance(sample, np.ndarray) and sample.dtype != object for sample in value):
        return None
    if len({sample.shape for sample in value}) < 2:
        return None
    if len({sample.ndim for sample in value}) > 1:
        raise OnnxliteError(f"{what} has samples with different numbers of dims; they may differ in length alone.")
    for number, sample in enumerate(value):
        if sample.dtype.kind == "f" and not np.isfinite(sample).all():
            raise OnnxliteError(f"{what} holds NaN or infinity, first in sample {number}. Clean the data set.")
    array = np.empty(len(value), object)
    array[:] = list(value)
    return array


def as_inputs(value: Any, what: str) -> Inputs:
    """Check inputs of a model: one array, or arrays by input name, the first axis counting samples.

    Raises:
        OnnxliteError: no samples, an array of objects, NaN or infinity, or unequal numbers of samples.
    """
    if not isinstance(value, Mapping):
        return _as_array(value, what)
    if not value:
        raise OnnxliteError(f"{what} is an empty mapping; expected one array for each input of the model.")
    arrays = {str(name): _as_array(array, f"{what}[{name!r}]") for name, array in value.items()}
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise OnnxliteError(f"{what} has unequal numbers of samples: {counts}.")
    return arrays


def count_samples(inputs: Inputs) -> int:
    """Return the length of the first axis, which all inputs share."""
    return len(next(iter(inputs.values()))) if isinstance(inputs, Mapping) else len(inputs)


def take(inputs: Inputs, rows: slice) -> Inputs:
    """Return some of the samples."""
    return {k: v[rows] for k, v in inputs.items()} if isinstance(inputs, Mapping) else inputs[rows]


def hash_arrays(arrays: Mapping[str, Array]) -> str:
    """Return the SHA-256 of named arrays: names, dtypes, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        whole = arrays[name]
        for array in map(np.ascontiguousarray, whole if whole.dtype == object else [whole]):
            digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
            digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def hash_inputs(x: Inputs, y: Array | None = None) -> str:
    """Return the SHA-256 of inputs, and of labels if there are any."""
    named = {f"x.{k}": v for k, v in x.items()} if isinstance(x, Mapping) else {"x": x}
    return hash_arrays(named if y is None else {**named, "y": y})


# More are no slices, but samples.
_MOST_SLICES = 1000


def _as_slices(slices: Any, count: int) -> dict[str, Array]:
    """Check slices: arrays by name, one boolean, integer or string for each sample."""
    if not isinstance(slices, Mapping):
        raise OnnxliteError(
            f'Dataset.slices is a {type(slices).__name__}; expected arrays by name, such as {{"night": mask}}.'
        )
    found = {}
    for name, values in slices.items():
        array = np.asarray(values)
        what = f"Dataset.slices[{name!r}]"
        if array.shape != (count,) or array.dtype.kind not in "biuU":
            raise OnnxliteError(
                f"{what} has shape {array.shape} and dtype {array.dtype}; expected one boolean, integer or string for each of "
                f"the {count} samples."
            )
        if array.dtype == bool and not array.any():
            raise OnnxliteError(f"{what} holds no sample: nothing would be judged by it.")
        if array.dtype != bool and len(np.unique(array)) > _MOST_SLICES:
            raise OnnxliteError(f"{what} has {len(np.unique(array)):,} values; expected at most {_MOST_SLICES:,}.")
        found[str(name)] = array
    return found


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with their labels.

    Args:
        x: inputs of the model, the first axis counting samples, e.g. `(N, 28, 28, 1) float32`; a mapping
            from input name to array where the model has several.
        y: for the metric `top1` the class indices, `(N,) int`.
        slices: parts of the samples that are judged by themselves, by name: `(N,) bool` for one slice, or `(N,)` of
            integers or strings for one slice a value, which is called `region=eu`.
        labels: more labels, by a name, such as the model's output that they are of: `onnxlite_accuracy(output="score")`
            compares with `labels["score"]`.

    Raises:
        OnnxliteError: no samples, NaN or infinity, an array of objects, `x`, `y` and slices of unequal length, or a slice
            that is none.
    """

    x: Inputs
    y: Array | None = None
    slices: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", as_inputs(self.x, "Dataset.x"))
        object.__setattr__(self, "slices", _as_slices(self.slices, len(self)))
        if not isinstance(self.labels, Mapping):
            raise OnnxliteError(f"Dataset.labels is a {type(self.labels).__name__}; expected arrays by name.")
        more = {str(name): self._as_labels(array, f"Dataset.labels[{name!r}]") for name, array in self.labels.items()}
        object.__setattr__(self, "labels", more)
        if self.y is not None:
            object.__setattr__(self, "y", self._as_labels(self.y, "Dataset.y"))

    def _as_labels(self, value: Any, what: str) -> Array:
        labels = _as_array(value, what)
        if len(labels) != len(self):
            raise OnnxliteError(
                f"Dataset.x has {len(self)} samples and {what} has {len(labels)} labels; expected as many."
            )
        return labels

    def __len__(self) -> int:
        return count_samples(self.x)

    @property
    def masks(self) -> dict[str, Array]:
        """The rows of each slice, `(N,) bool`, by name."""
        found: dict[str, Array] = {}
        for name, values in self.slices.items():
            if values.dtype == bool:
                found[name] = values
            else:
                found.update({f"{name}={value}": values == value for value in np.unique(values)})
        return found

    @cached_property
    def inputs_sha256(self) -> str:
        """The hash of the inputs alone, on which outputs depend."""
        return hash_inputs(self.x)

    @cached_property
    def sha256(self) -> str:
        """The hash of inputs and labels: two data sets are the same when it is."""
        return hash_inputs(self.x, self.y)
