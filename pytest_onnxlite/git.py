"""What a git repository says of itself and holds: asked of git, which changes nothing of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pytest_onnxlite.errors import OnnxliteError

# A hook of git's sets these, and git then takes the hook's repository for that of any folder.
_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
_CHUNK = 1 << 20


class GitError(OnnxliteError):
    """Git cannot be run, or says no."""


@dataclass(frozen=True)
class Entry:
    """A file in a commit: what git has it as (`100644`, `120000` for a link, `160000` for a submodule), where, and its object."""

    mode: str
    object: str
    path: str


def ask(folder: Path, *arguments: str, what: str = "", seconds: float | None = None) -> str:
    """Return what git answers in a folder.

    Args:
        folder: the folder.
        arguments: the command; it must be one that only reads.
        what: what is asked for, for the message; the folder if nothing is said.
        seconds: how long it may take; None for ever.

    Raises:
        GitError: git is not there, is too slow, or says no.
    """
    return _run(folder, arguments, what, seconds).decode("utf-8", "replace")


def root_of(folder: Path) -> Path | None:
    """Return the top folder of the work tree that a folder is in, links resolved; None where there is no repository.

    Raises:
        GitError: there is one, and git refuses it, as where it belongs to another user.
    """
    if not folder.is_dir():
        return None
    try:
        return Path(ask(folder, "rev-parse", "--show-toplevel").rstrip("\r\n")).resolve()
    except GitError as error:
        if "not a git repository" in str(error) or "must be run in a work tree" in str(error):
            return None
        raise


def commit_of(folder: Path, ref: str = "HEAD") -> str:
    """Return the commit that a name stands for; empty where it stands for none.

    Raises:
        GitError: it stands for several.
    """
    if not ref or ref.startswith("-"):
        return ""
    try:
        done = _call(folder, ("rev-parse", "--verify", f"{ref}^{{commit}}"), None)
    except GitError:
        return ""
    if done.returncode == 0 and b"is ambiguous" in done.stderr:
        raise GitError(f"{ref} is a branch and a tag: write refs/heads/{ref} or refs/tags/{ref}.")
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def entries(root: Path, commit: str, folder: str) -> list[Entry]:
    """Return the files that a commit has below a folder, which is told from the repository's top; `.` for all of them.

    Raises:
        GitError: git cannot read them.
    """
    where = ["--", folder] if folder != "." else []
    listed = _run(root, ("ls-tree", "-r", "-z", "--full-tree", commit, *where), f"the files of {commit[:12]}", None)
    found = []
    for line in filter(None, listed.split(b"\0")):
        head, _, path = line.partition(b"\t")
        mode, _, name = head.decode().split()
        found.append(Entry(mode, name, os.fsdecode(path)))
    return found


class Objects:
    """Reads the contents of objects, one after another."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def copy(self, name: str, target: IO[bytes]) -> None:
        """Write an object's content to a file.

        Raises:
            GitError: the repository does not have it.
        """
        given, said = self._process.stdin, self._process.stdout
        assert given is not None
        assert said is not None
        try:
            given.write(f"{name}\n".encode())
            given.flush()
            head = said.readline().split()
        except OSError:
            head = []
        if len(head) != 3 or head[1] != b"blob":
            raise GitError(f"the repository does not hold the object {name[:12]}")
        left = int(head[2])
        while left:
            part = said.read(min(left, _CHUNK))
            if not part:
                raise GitError(f"git stopped within the object {name[:12]}")
            target.write(part)
            left -= len(part)
        said.read(1)  # a line end


@contextmanager
def objects(root: Path) -> Iterator[Objects]:
    """Give what reads a repository's objects.

    Raises:
        GitError: git cannot be run.
    """
    try:
        process = subprocess.Popen(
            ["git", "-C", str(root), "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror or error}.") from None
    try:
        yield Objects(process)
    finally:
        process.kill()
        process.communicate()


def _run(folder: Path, arguments: tuple[str, ...], what: str, seconds: float | None) -> bytes:
    done = _call(folder, arguments, seconds)
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason given"]
        raise GitError(f"git cannot read {what or folder}: {reason[0]}")
    return done.stdout


def _call(folder: Path, arguments: tuple[str, ...], seconds: float | None) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise GitError(f"git takes more than {seconds:g} s to answer in {folder}.") from None
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror or error}.") from None


def _environment() -> dict[str, str]:
    """Return the environment of git: its own words, no question to a person, and no lock, with which it would write the index."""
    kept = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1"}
