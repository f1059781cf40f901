"""A folder of built things, each under a name made from what it was made from.

An entry is written beside its place and moved there whole, so that two runs at once never see half of one;
its files are checked against their hashes when it is read, and a damaged one is built again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pytest_onnxlite.errors import OnnxliteError

# Raised whenever what we build from the same inputs changes.
_RECIPE_VERSION = 1
_MANIFEST = "manifest.json"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _hash(file)


def _hash(file: Any) -> str:
    digest = hashlib.sha256()  # Python 3.10 has no file_digest
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def hash_tree(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files with their relative names."""
    if path.is_file():
        return hash_file(path)
    digest = hashlib.sha256()
    for file in sorted(f for f in path.rglob("*") if f.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}:{hash_file(file)};".encode())
    return digest.hexdigest()


def version_of(distribution: str) -> str:
    """Return an installed distribution's version without importing it, or `absent`."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


class Cache:
    """Entries in a folder; see the module's docstring."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entry(self, kind: str, inputs: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
        """Return the folder of an entry, built by `build(folder)` where it is not there or is damaged.

        Args:
            kind: what it is, for people who look into the folder.
            inputs: everything the content depends on, as JSON.
            build: writes the content into an empty folder; what it raises passes through.

        Raises:
            OnnxliteError: the cache folder cannot be written.
        """
        key = json.dumps({"recipe": _RECIPE_VERSION, **inputs}, sort_keys=True)
        place = self.folder / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:24]}"
        if _is_whole(place):
            return place
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=".building-", dir=self.folder))
        except OSError as error:
            raise OnnxliteError(
                f"the cache folder {self.folder} cannot be written: {error.strerror}. "
                "Point --onnxlite-cache-dir to a folder that can."
            ) from None
        try:
            build(work)
            files = sorted(f for f in work.rglob("*") if f.is_file())
            manifest = {f.relative_to(work).as_posix(): hash_file(f) for f in files}
            (work / _MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
            _move_into_place(work, place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return place


def _is_whole(place: Path) -> bool:
    try:
        manifest = json.loads((place / _MANIFEST).read_text(encoding="utf-8"))
        return all(hash_file(place / name) == sha for name, sha in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def _move_into_place(work: Path, place: Path) -> None:
    for _ in range(3):
        try:
            work.replace(place)
        except OSError:
            # Another run built the same entry, or a damaged one lies there.
            if _is_whole(place):
                return
            shutil.rmtree(place, ignore_errors=True)
        else:
            return
    raise OnnxliteError(f"the cache entry {place} cannot be replaced; delete that folder and run again.")
