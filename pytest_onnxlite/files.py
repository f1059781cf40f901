"""Files: what is wrong with one before it is opened, and writing one so that nobody ever finds half of it.

A FIFO or a link to a device would be read for ever; an LFS pointer, an empty file and a web page are told as what they are
and not as a damaged model.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO

# How the name of a file begins that is being written; one that is older than this many seconds was left by a dead process.
_WORK, _LEFT_AFTER = ".saving-", 3600.0
# How the files begin that stand where another was meant.
_POINTER = b"version https://git-lfs"
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
    if begin.startswith(_POINTER):
        return "is a Git LFS pointer, not the file that it stands for; fetch that with: git lfs pull"
    if begin.lstrip().lower().startswith(_PAGES):
        return "is a web page: a server answered with it in place of the file; fetch the file again"
    return ""


def write_atomically(path: Path, content: IO[bytes]) -> None:
    """Replace a file in one step; its folder must exist. A link stays one: what it leads to is replaced.

    Raises:
        OSError: it cannot be written; the file is then as it was.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    # What every new file gets; a temporary file is made for its owner alone.
    mask = os.umask(0)
    os.umask(mask)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_WORK)
    work = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        work.chmod(0o666 & ~mask)
        work.replace(path)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


def is_settled(path: Path) -> bool:
    """Tell whether a file is so old that nobody is still at it."""
    try:
        return time.time() - path.stat().st_mtime > _LEFT_AFTER
    except OSError:
        return False


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that died while they wrote left in a folder."""
    for work in folder.glob(f"{_WORK}*"):
        if work.is_file() and is_settled(work):
            work.unlink(missing_ok=True)
