"""A sample of a release's outputs in a file: what the next release is compared with."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.variants.variant import Outputs

# Samples, and bytes where samples are large; one sample at least.
_MOST = 256
_MOST_BYTES = 1 << 21
_ROWS = "rows"


def choose(outputs: Outputs, batch_size: int) -> Array:
    """Return the samples to record: whole batches, spread evenly over the data, as far as they fit.

    Whole, because what dynamic quantization makes of a sample depends on the others in its batch.

    Returns:
        `(M,) int64`, rising.
    """
    total = len(next(iter(outputs.values())))
    size = sum(sum(s.nbytes for s in a) if a.dtype == object else a.nbytes for a in outputs.values())
    most = int(min(_MOST, max(_MOST_BYTES * total // max(size, 1), 1)))
    starts = np.arange(0, total, batch_size)
    count = min(max(most // batch_size, 1), len(starts))
    picked = starts[np.unique(np.linspace(0, len(starts) - 1, count).round().astype(np.int64))]
    return rows_of(picked, batch_size, total)[:most]


def rows_of(starts: Array, batch_size: int, total: int) -> Array:
    """Return the samples of the batches that begin at `starts`."""
    return np.concatenate([np.arange(start, min(start + batch_size, total)) for start in starts])


def batches_around(rows: Array, batch_size: int, total: int) -> Array:
    """Return the samples of all batches that hold some of these."""
    return rows_of(np.unique(rows // batch_size) * batch_size, batch_size, total)


def encode(rows: Array, outputs: Outputs) -> bytes:
    """Return the file's content: the same for the same outputs, to the byte.

    Args:
        rows: which samples, `(M,) int64`.
        outputs: the outputs of these samples.
    """
    # By position: a name may hold what an archive takes for a folder.
    entries: dict[str, Array] = {_ROWS: rows}
    for position, array in enumerate(outputs.values()):
        if array.dtype == object:
            entries |= {f"{position}.{number}": sample for number, sample in enumerate(array)}
        else:
            entries[str(position)] = array
    content = io.BytesIO()
    np.savez_compressed(content, **entries)  # type: ignore[arg-type]
    return content.getvalue()


def decode(path: Path, names: tuple[str, ...]) -> tuple[Array, Outputs]:
    """Return which samples a file holds, and the outputs for them, by name.

    Raises:
        OnnxliteError: it holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            rows: Array = file[_ROWS]
            outputs = {}
            for position, name in enumerate(names):
                if str(position) in file.files:
                    outputs[name] = file[str(position)]
                    continue
                outputs[name] = np.empty(len(rows), object)
                outputs[name][:] = [file[f"{position}.{number}"] for number in range(len(rows))]
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise OnnxliteError(
            f"{path} holds no outputs that were recorded here: {error}. Restore it, or save anew."
        ) from None
    if rows.ndim != 1 or not len(rows) or any(len(array) != len(rows) for array in outputs.values()):
        raise OnnxliteError(f"{path} holds no outputs that were recorded here. Restore it, or save anew.")
    return rows, outputs
