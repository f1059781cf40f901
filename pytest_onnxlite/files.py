"""Files: what is wrong with one before it is opened, writing one so that nobody ever finds half of it, and a folder's lock.

A FIFO or a link to a device would be read for ever; an LFS pointer, an empty file and a web page are told as what they are
and not as a damaged model.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pytest_onnxlite import commands
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.text import size_text

# How the name of a file begins that is being written; one that is older than this many seconds was left by a dead process.
_WORK, _LEFT_AFTER = ".saving-", 3600.0
# The folder of a folder's lock.
LOCKS = ".onnxlite"
# How long a file that somebody reads is waited for before it is replaced, if that cannot be done meanwhile: seconds.
_PAUSES = (0.01, 0.05, 0.1, 0.2, 0.5)
# What Git LFS puts in the place of a file, which is never longer than so many bytes; and how such a file begins.
_POINTER, _POINTER_BYTES = re.compile(rb"version https://git-lfs[^\n]*\noid sha256:([0-9a-f]{64})\n"), 1024
_POINTER_BEGINS = b"version https://git-lfs"
# How files of other kinds begin that are given in the place of a model.
_KINDS = (
    (0, b"PK\x03\x04", "a zip archive, as a .keras file, an .npz file and a checkpoint of PyTorch are"),
    (0, b"\x89HDF", "an HDF5 file, as Keras writes with the ending .h5"),
    (0, b"\x93NUMPY", "an array of NumPy's (.npy)"),
    (4, b"TFL3", "a TFLite model"),
    (0, b"\x80", "a pickle of Python's"),
    (0, b"\x1f\x8b", "a file that gzip packed"),
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "errno: 28", "errno 28")
_PAGES = (b"<!doctype html", b"<html", b"<?xml")


def problem_with(path: Path) -> str:
    """Say what is wrong with a file that a person named, as far as its first bytes tell; empty for nothing.

    Returns:
        The end of a sentence that begins with the file's name, and what to do.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    if path.is_dir():
        return "is a folder"
    if not path.is_file():
        return "is no regular file but a pipe, a device or a socket, which is not opened"
    with path.open("rb") as file:
        begin = file.read(64)
    if not begin:
        return "is empty: it was never written, or cut off; make or fetch it again"
    if begin.startswith(_POINTER_BEGINS):
        return f"is a Git LFS pointer, not the file that it stands for; fetch that with: {commands.LFS_PULL}"
    if begin.lstrip().lower().startswith(_PAGES):
        return "is a web page: a server answered with it in place of the file; fetch the file again"
    return ""


def hash_of_pointer(path: Path) -> str:
    """Return the SHA-256 of the file that a Git LFS pointer stands for; empty for a file that is none, or cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > _POINTER_BYTES:
            return ""
        match = _POINTER.match(path.read_bytes())
    except OSError:
        return ""
    return match[1].decode() if match else ""


def not_unicode(text: str) -> str:
    """Say what is wrong with a path that no runtime can be told, whose names are Unicode; empty for a sound one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        named = text.encode(errors="backslashreplace").decode()
        encoding = sys.getfilesystemencoding()
        locale = f"Python takes names for {encoding} here: set LC_ALL=C.UTF-8 or PYTHONUTF8=1. Or g" * (
            encoding != "utf-8"
        )
        return f"{named} is not the name of a file in Unicode. {locale or 'G'}ive the folder or the file another name"
    return ""


def unicode_of(path: Path) -> str:
    """Return a path as runtimes take it.

    Raises:
        ValueError: see `not_unicode`.
    """
    if problem := not_unicode(str(path)):
        raise ValueError(problem)
    return str(path)


def kind_of(path: Path) -> str:
    """Say what a file looks like that is not what was expected, as `a zip archive`; empty where its beginning tells nothing."""
    with path.open("rb") as file:
        begin = file.read(64)
    if not begin.strip(b"\0 \t\r\n"):
        return "nothing but zeros or white space: it was never written"
    found = next((kind for place, mark, kind in _KINDS if begin[place:].startswith(mark)), "")
    if not found and begin.lstrip()[:1] in (b"{", b"["):
        return "JSON"
    return found


def no_room(error: BaseException, folder: Path) -> str:
    """Say that a disk or the memory is full, where that is what an error means; empty where not.

    Args:
        error: what was raised; libraries in C++ raise errors of their own, and put the system's words into them.
        folder: where was written to.
    """
    if isinstance(error, MemoryError):
        return "this machine has too little memory for it; run it on one with more, or run fewer processes at a time"
    full = isinstance(error, OSError) and error.errno in _FULL
    if not full and not any(words in str(error) for words in _FULL_WORDS):
        return ""
    try:
        free = f", with {size_text(shutil.disk_usage(folder).free)} free"
    except OSError:
        free = ""
    return f"the disk of {folder} is full{free}; make room there"


@dataclass(frozen=True)
class Pending:
    """What is to replace a file: written whole, next to it, and not yet in its place."""

    work: Path
    path: Path

    def commit(self) -> None:
        """Replace the file in one step.

        Raises:
            OSError: it cannot be replaced; it is then as it was.
        """
        for pause in _PAUSES:
            try:
                self.work.replace(self.path)
            except PermissionError:
                if os.name != "nt":
                    raise
                time.sleep(pause)  # Windows replaces no file that somebody reads at this moment
            else:
                return
        self.work.replace(self.path)

    def discard(self) -> None:
        """Leave the file as it is."""
        with contextlib.suppress(OSError):
            self.work.unlink(missing_ok=True)


def prepare(path: Path, content: IO[bytes]) -> Pending:
    """Write what is to replace a file; its folder must exist. A link stays one: what it leads to is replaced.

    Raises:
        OSError: it cannot be written; nothing is left of it then.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    # What every new file gets; a temporary file is made for its owner alone.
    mask = os.umask(0)
    os.umask(mask)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_WORK)
    pending = Pending(Path(name), path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        pending.work.chmod(0o666 & ~mask)
    except BaseException:
        pending.discard()
        raise
    return pending


def write_atomically(path: Path, content: IO[bytes]) -> None:
    """Replace a file in one step; its folder must exist. A link stays one: what it leads to is replaced.

    Raises:
        OSError: it cannot be written; the file is then as it was.
    """
    pending = prepare(path, content)
    try:
        pending.commit()
    except BaseException:
        pending.discard()
        raise


class Busy(OnnxliteError):
    """Another process holds a lock for longer than was waited for."""


@contextlib.contextmanager
def locked(folder: Path, seconds: float) -> Iterator[bool]:
    """Hold the one lock of a folder; the system frees that of a process that dies.

    The lock's file lies in a folder of its own, which tells git to leave it out.

    Args:
        folder: is made if it is not there.
        seconds: how long another process is waited for.

    Yields:
        Whether it is held: not every file system has locks, and not every folder can be written.

    Raises:
        Busy: another process holds it all that time.
    """
    from filelock import FileLock, Timeout

    place, lock = folder / LOCKS, None
    try:
        place.mkdir(parents=True, exist_ok=True)
        ignore = place / ".gitignore"
        if not ignore.is_file():
            ignore.write_text("*\n")
        lock = FileLock(place / "lock", timeout=seconds)
        lock.acquire()
    except Timeout:
        raise Busy(
            f"another process has been writing to {folder} for {seconds:.0f} s. Wait for it, and run again."
        ) from None
    except (OSError, NotImplementedError):
        lock = None
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def is_settled(path: Path) -> bool:
    """Tell whether a file is so old that nobody is still at it."""
    try:
        return time.time() - path.stat().st_mtime > _LEFT_AFTER
    except OSError:
        return False


def leftovers(folder: Path) -> list[Path]:
    """Return the files in a folder that somebody is writing, or died while writing."""
    return [work for work in folder.glob(f"{_WORK}*") if work.is_file() and not work.is_symlink()]


def remove_leftovers(folder: Path, alone: bool) -> None:
    """Remove what processes that died while they wrote left in a folder.

    Args:
        folder: where.
        alone: whether it is known that nobody else writes there; else only what is old is removed.
    """
    for work in leftovers(folder):
        if alone or is_settled(work):
            work.unlink(missing_ok=True)
