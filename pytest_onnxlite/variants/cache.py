"""A folder of built things, each under a name made from what it was made from.

An entry is written next to its place and moved there whole, so that two runs at once never see half of one. It is
believed only if its manifest was written for this very name, and lists the files that are there with their hashes;
a damaged one is built again. Who builds one holds its
lock, so that workers that want the same build it once; the system frees the lock of a process that dies.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import msgspec

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import no_room

# Raised whenever what we build from the same inputs changes.
_RECIPE_VERSION = 3
_MANIFEST = "manifest.json"
_LOCKS = "locks"
_BUILDING = ".building-"
# Runs at once do not know of each other: what was used this recently may be in use.
_RECENT = 3600.0


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        OSError: it cannot be read, or is a pipe or a device, which would be read for ever.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    if distribution == "onnxruntime" and (own := _onnxruntime_version()):
        return own
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


def onnxruntime_distribution() -> str:
    """Return the name of the distribution that holds ONNX Runtime here: `onnxruntime`, or such as `onnxruntime-openvino`."""
    return _said_by_onnxruntime("package_name") or "onnxruntime"


def _onnxruntime_version() -> str:
    return _said_by_onnxruntime("__version__")


@lru_cache(maxsize=2)
def _said_by_onnxruntime(what: str) -> str:
    """Return what the module says of itself, without importing it; empty if it says nothing.

    Several distributions hold that module (onnxruntime-gpu, -openvino, -directml), and each installs over the others.
    """
    try:
        found = importlib.util.find_spec("onnxruntime")
    except ValueError:  # somebody put another module in its place
        found = None
    for folder in (found.submodule_search_locations if found else None) or ():
        for name in ("capi/build_and_package_info.py", "__init__.py"):
            try:
                text = Path(folder, name).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            said = re.findall(rf"""^{what} = ["']([^"']+)["']""", text, re.MULTILINE)
            if said:
                return str(said[-1])
    return ""


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an entry says about itself.

    Attributes:
        key: the SHA-256 of what it was made for.
        files: the SHA-256 of each of its files, by name.
    """

    key: str
    files: dict[str, str]


class Cache:
    """Entries in a folder; see the module's docstring."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entry(
        self, kind: str, inputs: Mapping[str, object], build: Callable[[Path], None], holds: Collection[str] = ()
    ) -> Path:
        """Return the folder of an entry, built by `build(folder)` if it is not there or is damaged.

        Args:
            kind: what it is, for people who look into the folder.
            inputs: everything the content depends on, as JSON.
            build: writes the content into an empty folder; what it raises passes through.
            holds: the names of the files that the content has at least.

        Raises:
            OnnxliteError: the cache folder cannot be written.
        """
        text = json.dumps({"recipe": _RECIPE_VERSION, "kind": kind, **inputs}, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()
        place = self.folder / f"{kind}-{key[:24]}"
        if not self._usable(place, key, holds):
            try:
                (self.folder / _LOCKS).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._not_writable(error) from None
            with self._lock(place):
                # Another process may have built it meanwhile.
                if not self._usable(place, key, holds):
                    self._build(place, key, build, holds)
        return place

    def _build(self, place: Path, key: str, build: Callable[[Path], None], holds: Collection[str]) -> None:
        try:
            work = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=self.folder))
        except OSError as error:
            raise self._not_writable(error) from None
        try:
            build(work)
            manifest = _Manifest(key, {name: hash_file(work / name) for name in _names(work)})
            assert manifest.files.keys() >= set(holds), f"{place.name} was built without {set(holds)}"
            (work / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
            _move_into_place(work, place, key, holds)
        except OSError as error:
            full = no_room(error, self.folder)
            if not full:
                raise
            raise OnnxliteError(f"{full}, or point --onnxlite-cache-dir to another folder.") from None
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _not_writable(self, error: OSError) -> OnnxliteError:
        return OnnxliteError(
            f"the cache folder {self.folder} cannot be written: {error.strerror}. "
            "Point --onnxlite-cache-dir to a folder that can."
        )

    def _usable(self, place: Path, key: str, holds: Collection[str]) -> bool:
        """Tell whether an entry is there and whole, and note that it is used."""
        if not _is_whole(place, key, holds):
            return False
        with suppress(OSError):  # a cache that is only read
            os.utime(place / _MANIFEST)
        return True

    @contextmanager
    def _lock(self, place: Path) -> Iterator[None]:
        from filelock import FileLock

        lock = FileLock(self._lock_file(place))
        # A file system may have no locks; an entry is then built twice, and still moved into place whole.
        with suppress(OSError, NotImplementedError):
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _lock_file(self, place: Path) -> Path:
        return self.folder / _LOCKS / f"{place.name}.lock"

    def trim(self, most: int, since: float) -> list[Path]:
        """Delete the entries that were not used for the longest, until the others are small enough.

        Args:
            most: bytes that all entries may take.
            since: the time, in seconds since the epoch, at which this run began; what was used after it stays, and so
                does what another run at once may use.

        Returns:
            The deleted entries.
        """
        recent = min(since, time.time() - _RECENT)
        entries = []
        for place in self._folders():
            used = _last_used(place)
            if place.name.startswith("."):
                if used < recent:
                    shutil.rmtree(place, ignore_errors=True)  # of a run that was killed
                continue
            entries.append((used, place, sum(f.stat().st_size for f in place.rglob("*") if f.is_file())))
        total = sum(size for _, _, size in entries)
        deleted = []
        for used, place, size in sorted(entries):
            if total <= most or used >= recent:
                break
            # Out of the way first, so that nobody sees half of it.
            aside = place.with_name(f"{_BUILDING}{place.name}")
            try:
                place.replace(aside)
            except OSError:
                continue
            shutil.rmtree(aside, ignore_errors=True)
            self._lock_file(place).unlink(missing_ok=True)
            total -= size
            deleted.append(place)
        return deleted

    def _folders(self) -> list[Path]:
        try:
            return [path for path in self.folder.iterdir() if path.is_dir() and path.name != _LOCKS]
        except OSError:
            return []


def _last_used(place: Path) -> float:
    for path in (place / _MANIFEST, place):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _names(folder: Path) -> list[str]:
    """Return the names of an entry's files but for its manifest."""
    files = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    return [name for name in files if name != _MANIFEST]


def _is_whole(place: Path, key: str, holds: Collection[str]) -> bool:
    """Tell whether an entry was written for a key, and has the files that it was written with."""
    try:
        manifest = msgspec.json.decode((place / _MANIFEST).read_bytes(), type=_Manifest)
        if manifest.key != key or not manifest.files or not manifest.files.keys() >= set(holds):
            return False
        # What is listed and missing, and what is there and not listed, are both damage.
        return sorted(manifest.files) == _names(place) and all(
            hash_file(place / name) == sha for name, sha in manifest.files.items()
        )
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False


def _move_into_place(work: Path, place: Path, key: str, holds: Collection[str]) -> None:
    for _ in range(3):
        try:
            work.replace(place)
        except OSError:
            # Another run built the same entry, or a damaged one lies there.
            if _is_whole(place, key, holds):
                return
            shutil.rmtree(place, ignore_errors=True)
        else:
            return
    raise OnnxliteError(f"the cache entry {place} cannot be replaced; delete that folder and run again.")
