"""Models whose weights lie in files next to them: which files, which bytes of them, and none elsewhere."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

from pytest_onnxlite.errors import OnnxliteError, hide_mistakes
from pytest_onnxlite.files import problem_with
from pytest_onnxlite.lint.protobuf import load_graph, tensors
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.cache import hash_file, hash_tree

__tracebackhide__ = hide_mistakes


@dataclass(frozen=True)
class ExternalFile:
    """A file of weights.

    Attributes:
        path: the file.
        used: bytes of it that tensors refer to, each counted once.
        size: bytes of it.
    """

    path: Path
    used: int
    size: int


def external_files(path: Path, proto: onnx.ModelProto | None = None) -> list[ExternalFile]:
    """Return the files that a model's weights lie in; reads none of them.

    Raises:
        OnnxliteError: one is missing, too short, or lies outside of the model's folder, where a file that is not
            the model's could be read.
    """
    proto = load_graph(path) if proto is None else proto
    ranges: dict[Path, set[tuple[int, int | None]]] = defaultdict(set)
    folder = path.parent.resolve()
    for tensor in tensors(proto):
        if not uses_external_data(tensor):
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        try:
            file = (folder / location).resolve()
            found = file.is_file()
            length = int(entries["length"]) if "length" in entries else None
            start = int(entries.get("offset", 0))
        except (ValueError, OSError) as error:  # no number, a NUL, a name that is too long
            raise OnnxliteError(
                f"{path}: where the weights of {tensor.name!r} are stored makes no sense: {first_line(error)[:200]}. Save the model "
                "again, with its data next to it."
            ) from None
        if start < 0 or (length is not None and length < 0):
            raise OnnxliteError(
                f"{path}: the weights of {tensor.name!r} are said to begin at byte {start} and to be {length} bytes long. Save "
                "the model again, with its data next to it."
            )
        if not location or Path(location).is_absolute() or not file.is_relative_to(folder):
            raise OnnxliteError(
                f"{path}: the weights of {tensor.name!r} are stored in {location!r}, outside of the model's folder. Nothing "
                "is read from there. Save the model again, with its data next to it."
            )
        if not found:
            raise OnnxliteError(
                f"{path}: the weights of {tensor.name!r} should be in {location!r} next to it, and there is no such file. "
                "Copy it there: a model with external data ships as several files."
            )
        ranges[file].add((start, length))
    return [_measured(file, parts, path) for file, parts in sorted(ranges.items())]


def _measured(file: Path, parts: set[tuple[int, int | None]], model: Path) -> ExternalFile:
    size = file.stat().st_size
    used = end = 0
    for start, stop in sorted((start, size if length is None else start + length) for start, length in parts):
        if stop > size:
            problem = problem_with(file) or "was cut short: fetch or save it again"
            raise OnnxliteError(
                f"{model}: its weights reach to byte {stop:,} of {file.name}, which has {size:,} and {problem}."
            )
        used += max(0, stop - max(start, end))
        end = max(end, stop)
    return ExternalFile(file, used, size)


def files_of(path: Path) -> list[Path]:
    """Return the files that a variant consists of, the one it is opened by first.

    Raises:
        OnnxliteError: see `external_files`.
    """
    if path.suffix != ".onnx":
        return [path]
    return [path, *(file.path for file in external_files(path))]


def hash_model(path: Path) -> str:
    """Return the SHA-256 of a model: of its file, or of all its files with their names.

    Raises:
        OnnxliteError: see `external_files`.
    """
    files = files_of(path)
    if len(files) == 1:
        return hash_tree(path)
    # How the first is called says nothing; the others are called so in it.
    digest = hashlib.sha256(hash_file(path).encode())
    for file in files[1:]:
        digest.update(f";{file.relative_to(path.parent.resolve()).as_posix()}:{hash_file(file)}".encode())
    return digest.hexdigest()


def size_of(path: Path) -> tuple[int, int]:
    """Return the bytes of a model that are used, external data included, and those of its files that are not.

    Raises:
        OnnxliteError: see `external_files`.
    """
    if path.is_dir():
        return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()), 0
    if path.suffix != ".onnx":
        return path.stat().st_size, 0
    files = external_files(path)
    used = sum(file.used for file in files)
    return path.stat().st_size + used, sum(file.size for file in files) - used
