"""The data files that declared models name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_onnxlite.errors import OnnxliteError, hide_mistakes
from pytest_onnxlite.files import problem_with
from pytest_onnxlite.text import first_line, listed

if TYPE_CHECKING:
    from pytest_onnxlite.spec.dataset import Array, Inputs

__tracebackhide__ = hide_mistakes


@dataclass(frozen=True)
class DataFile:
    """An `.npz` file and which of its arrays are what.

    Attributes:
        path: the file.
        x: the name of the inputs' array, or such names by the model's inputs.
        y: the name of the labels' array; None for `y` if there is one.
        slices: the name of the array of each slice.
        labels: the names of the arrays of more labels.
    """

    path: Path
    x: str | Mapping[str, str] = "x"
    y: str | None = None
    slices: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def read_arrays(
    data: DataFile, where: str, *, labelled: bool
) -> tuple[Inputs, Array | None, dict[str, Array], dict[str, Array]]:
    """Return the inputs in a file, the labels if there are any, the slices, and more labels.

    Raises:
        OnnxliteError: it cannot be read, or lacks an array.
    """
    import zipfile

    import numpy as np

    try:
        problem = problem_with(data.path)
        if problem:
            raise OnnxliteError(f"{where}: {data.path} {problem}.")
        if not zipfile.is_zipfile(data.path):
            raise OnnxliteError(
                f"{where}: {data.path} is no .npz file. Write it with numpy.savez(path, x=inputs, y=labels)."
            )
        with np.load(data.path, allow_pickle=False) as arrays:

            def array(name: str) -> Array:
                if name not in arrays.files:
                    raise OnnxliteError(f"{where}: {data.path} has no array {name!r}; it has {listed(arrays.files)}.")
                found: Array = arrays[name]
                return found

            x: Inputs = array(data.x) if isinstance(data.x, str) else {k: array(v) for k, v in data.x.items()}
            slices = {name: array(source) for name, source in data.slices.items()}
            more = {name: array(source) for name, source in data.labels.items()}
            if not labelled or (data.y is None and "y" not in arrays.files):
                return x, None, slices, more
            return x, array(data.y or "y"), slices, more
    except FileNotFoundError:
        raise OnnxliteError(f"{where}: there is no file {data.path}; paths start from pyproject.toml.") from None
    except OnnxliteError:
        raise
    except Exception as error:  # zip, zlib, numpy and the system have each their own
        reason = "an array in it holds Python objects" if "allow_pickle" in str(error) else first_line(error)
        raise OnnxliteError(
            f"{where}: {data.path} cannot be read as an .npz file of plain arrays: {reason}. "
            "Write it with numpy.savez(path, x=inputs, y=labels), of arrays of numbers."
        ) from None
