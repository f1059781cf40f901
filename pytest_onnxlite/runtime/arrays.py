"""Outputs in an `.npz` file, those of different lengths too, and no pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pytest_onnxlite.spec.dataset import Array

_SEPARATOR = "@"


def save(path: Path, arrays: dict[str, Array]) -> None:
    """Write arrays by name; an array of arrays becomes one entry for each."""
    entries: dict[str, Array] = {}
    for name, array in arrays.items():
        if array.dtype == object:
            entries |= {f"{name}{_SEPARATOR}{number}": sample for number, sample in enumerate(array)}
        else:
            entries[f"{name}{_SEPARATOR}"] = array
    np.savez(path, **entries)  # type: ignore[arg-type]


def load(path: Path) -> dict[str, Array]:
    """Read what `save` wrote."""
    arrays: dict[str, Array] = {}
    ragged: dict[str, dict[int, Array]] = {}
    with np.load(path, allow_pickle=False) as file:
        for entry in file.files:
            name, _, number = entry.rpartition(_SEPARATOR)
            if number:
                ragged.setdefault(name, {})[int(number)] = file[entry]
            else:
                arrays[name] = file[entry]
    for name, samples in ragged.items():
        arrays[name] = np.empty(len(samples), object)
        arrays[name][:] = [samples[number] for number in range(len(samples))]
    return arrays


def join(arrays: list[Array], batched: bool) -> Array:
    """Join arrays of samples; those of different lengths become an array of arrays."""
    if len({array.shape[1:] if batched else array.shape for array in arrays}) == 1:
        return np.concatenate(arrays) if batched else np.stack(arrays)
    samples = [sample for array in arrays for sample in array] if batched else arrays
    joined = np.empty(len(samples), object)
    joined[:] = samples
    return joined
