"""What ONNX Runtime gives back, as arrays: maps are read by their keys, texts are texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

# The keys that the columns of an output stand for, by the output's name.
Columns = dict[str, tuple[Any, ...]]


def as_arrays(names: Sequence[str], values: Iterable[Any]) -> tuple[dict[str, npt.NDArray[Any]], Columns]:
    """Return outputs as arrays by name, and what the columns of those that were maps stand for.

    A map, which ONNX-ML's ZipMap gives for each sample, becomes a row of numbers, in the order of its keys.

    Args:
        names: of the outputs.
        values: as ONNX Runtime returns them: an array, a list of maps, a map, a list of arrays, or None.

    Raises:
        ValueError: an output is none of these, or a list of arrays.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    columns: Columns = {}
    for name, value in zip(names, values, strict=True):
        if isinstance(value, Mapping):
            rows, columns[name] = _table(name, [value])
            found[name] = rows[0]
        elif isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            found[name], columns[name] = _table(name, value)
        else:
            found[name] = _array(name, value)
    return found, columns


def _table(name: str, rows: Sequence[Mapping[Any, Any]]) -> tuple[npt.NDArray[Any], tuple[Any, ...]]:
    import numpy as np

    keys = tuple(sorted(rows[0]))
    if any(set(row) != set(keys) for row in rows):
        raise ValueError(f"output {name!r} is a map with other keys from sample to sample, which is no row of numbers")
    return np.array([[row[key] for key in keys] for row in rows], np.float32), keys


def _array(name: str, value: Any) -> npt.NDArray[Any]:
    import numpy as np

    if not isinstance(value, (np.ndarray, np.generic)):
        what = (
            "an empty optional"
            if value is None
            else "a sequence of tensors"
            if isinstance(value, list)
            else type(value)
        )
        raise ValueError(
            f"output {name!r} is {what}, which is not judged; let the model return tensors or maps (a sequence becomes a "
            "tensor by ConcatFromSequence)"
        )
    array = np.asarray(value)
    return array.astype(str) if array.dtype == object else array
