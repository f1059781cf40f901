"""Released files that no baseline names any more, as a merge or a save that was killed leaves them."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pytest_onnxlite import commands
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import hash_of_pointer
from pytest_onnxlite.text import shortened
from pytest_onnxlite.variants.cache import hash_file
from pytest_onnxlite.variants.external import hash_model

# `int8-0123456789abcdef.onnx`, a folder without an ending, or a check's data file.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*-([0-9a-f]{16})(\.[A-Za-z0-9]{1,16})?")


def is_released(path: Path) -> bool:
    """Tell whether a file, or the folder of a model of several, is one that a save put there: its name has its hash."""
    match = _NAME.fullmatch(path.name)
    if match is None or path.is_symlink():
        return False
    try:
        if path.is_dir():
            return any(hash_model(main).startswith(match[1]) for main in sorted(path.glob("*.onnx")))
        return (hash_of_pointer(path) or hash_file(path)).startswith(match[1])
    except (OSError, OnnxliteError):
        return False


def names_in(folder: Path) -> bytes:
    """Return the text of all baselines in a folder, in which each name that one of them holds can be found.

    Raises:
        OSError: one of them cannot be read, is damaged, or holds conflict marks, and nobody knows what it names.
    """
    paths = sorted(folder.glob("*.json"))
    texts = [path.read_bytes() for path in paths if path.is_file()]  # a pipe would be read for ever
    if len(texts) < len(paths) or not all(map(_names_its_file, texts)):
        raise OSError(errno.EINVAL, "a baseline does not say which file is its own", str(folder))
    return b"\n".join(texts)


def _names_its_file(text: bytes) -> bool:
    try:
        content = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    artefact = content.get("artefact") if isinstance(content, dict) else None
    name = artefact.get("file") if isinstance(artefact, dict) else None
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def remark(folder: Path, paths: Sequence[Path]) -> str:
    """Say which released files no baseline names, and how to remove them."""
    many = len(paths) > 1
    return (
        f"no baseline names {'these released files' if many else 'this released file'} any more: "
        f"{shortened([path.relative_to(folder).as_posix() for path in paths])}. A merge, or a save that was killed, leaves such. "
        f"Remove {'them' if many else 'it'} with: {commands.prune(folder)}"
    )


def unnamed(store: BaselineStore) -> list[Path]:
    """Return the released files in the folder of the baselines that no baseline of their model names."""
    found = []
    try:
        folders = sorted(path for path in store.folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
    for folder in folders:
        try:
            named = names_in(folder)
            others = [path for path in sorted(folder.iterdir()) if path.name.encode() not in named]
        except (OSError, UnicodeEncodeError):
            continue
        found += [path for path in others if is_released(path)]
    return found
