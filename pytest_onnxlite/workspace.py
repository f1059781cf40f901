"""Where a process keeps what it needs for a while: one folder, with its children's in it, that no dead process leaves behind.

A process that is killed cleans nothing up. So its folder has a lock that ends with it, and the next one removes the folders
whose locks nobody holds. A folder that processes share has a lock of each.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pytest_onnxlite.errors import OnnxliteError

PREFIX = "onnxlite-"
_LOCK = "lock"
# For children, where their parent keeps its own: they need no lock, and what one leaves goes with the parent's.
_OF_PARENT = "ONNXLITE_WORKING_FOLDER"
# A folder that is younger than this many seconds may be one that is not locked yet.
_YOUNG = 60.0


class _Own:
    """This process's folder, and its lock."""

    folder: Path | None = None
    lock: Any = None
    process = 0
    shared: ClassVar[dict[Path, Any]] = {}


def own_folder() -> Path:
    """Return this process's folder; made when first asked for, after those of dead processes were removed.

    Raises:
        OnnxliteError: nothing can be written for a while anywhere.
    """
    parent = os.environ.get(_OF_PARENT)
    if parent and Path(parent).is_dir():
        return Path(parent)
    if _Own.folder is None or _Own.process != os.getpid() or not _Own.folder.is_dir():
        from filelock import FileLock

        try:
            remove_left(Path(tempfile.gettempdir()))
            _Own.folder, _Own.process = Path(tempfile.mkdtemp(prefix=PREFIX)), os.getpid()
            _Own.lock = FileLock(_Own.folder / _LOCK, thread_local=False)
            _Own.lock.acquire()
        except OSError as error:
            raise OnnxliteError(
                f"no temporary folder can be written: {error.strerror or error}. Make room, or name another with TMPDIR."
            ) from None
        atexit.register(_remove, _Own.folder, _Own.lock, os.getpid())
    return _Own.folder


def _remove(folder: Path, lock: Any, process: int) -> None:
    if process == os.getpid():  # and no copy of it that was forked
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def name_of_shared() -> Path:
    """Return where processes can have a folder together, which nobody else has; it is not made."""
    return Path(tempfile.gettempdir(), f"{PREFIX}{os.urandom(8).hex()}")


def enter_shared(folder: Path) -> Path:
    """Make a folder that other processes enter too, if it is not there, and hold it as long as this process lives.

    Args:
        folder: what `name_of_shared` gave to one of them. Whoever asked for it removes it; if it cannot, since it was killed,
            `remove_left` does when all that entered are gone.

    Raises:
        OSError: it cannot be made.
    """
    from filelock import FileLock

    lock = _Own.shared.get(folder)
    if lock is None or not Path(lock.lock_file).is_file():
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = FileLock(folder / f"{_LOCK}-{os.urandom(4).hex()}", thread_local=False)
        lock.acquire()
        _Own.shared[folder] = lock
    return folder


def leave_shared(folder: Path) -> None:
    """Remove such a folder, and let go of it first, if this process holds it."""
    lock = _Own.shared.pop(folder, None)
    if lock is not None:
        lock.release()
    shutil.rmtree(folder, ignore_errors=True)


def remove_left(place: Path) -> None:
    """Remove the folders of processes that are dead, of this user alone; who cannot be removed stays."""
    from filelock import FileLock, Timeout

    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, Timeout):
            found, locks = folder.lstat(), [path for path in folder.glob(f"{_LOCK}*") if path.is_file()]
            own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
            is_young = time.time() - found.st_mtime < _YOUNG
            if folder.is_symlink() or not own or is_young or not locks:
                continue
            with contextlib.ExitStack() as held:
                for path in locks:
                    held.enter_context(FileLock(path, timeout=0, thread_local=False))
                if folder.lstat().st_mtime != found.st_mtime:
                    continue  # somebody entered it just now
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """Give a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=own_folder(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def libraries_folder() -> Iterator[Path]:
    """Give a folder that is gone afterwards, which libraries take for the place of temporary files meanwhile."""
    with working_folder() as folder:
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before


def environment_of_children() -> dict[str, str]:
    """Return the environment of a child process: all that it writes for a while is in this process's folder."""
    folder = str(own_folder())
    return {**os.environ, **dict.fromkeys((_OF_PARENT, "TMPDIR", "TEMP", "TMP"), folder)}
