"""The note of a save that replaces several baselines: written first and removed last, so that one that was killed is told.

A save replaces one file after the other. Killed in between, it leaves one new baseline next to an old one, and each of them is
whole: only the note knows that they belong together.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from pytest_onnxlite import commands
from pytest_onnxlite.files import write_atomically
from pytest_onnxlite.text import listed

NAME = "unfinished-save.json"


class Change(msgspec.Struct, frozen=True):
    """What a baseline file held before a save, and what it will hold: SHA-256, empty if there is no file."""

    before: str
    after: str


class Note(msgspec.Struct, frozen=True):
    """What a save is about to write, by the paths in the folder of the baselines."""

    baselines: dict[str, Change]


_DECODER = msgspec.json.Decoder(Note)


def digest(content: bytes) -> str:
    """Return the SHA-256 of a baseline file's content."""
    return hashlib.sha256(content).hexdigest()


def load(folder: Path) -> Note:
    """Read the note; an empty one if there is none, or it says nothing."""
    try:
        return _DECODER.decode((folder / NAME).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Note({})


def begin(folder: Path, covered: Mapping[str, str], writing: Collection[str]) -> None:
    """Note what a save is about to write, and what an unfinished one before left undone.

    Args:
        folder: holds the baselines.
        covered: by their paths in it, the SHA-256 of what the save's baselines will hold.
        writing: those of them that it changes.

    Raises:
        OSError: it cannot be written.
    """
    known = load(folder)
    left = known.baselines if mixture(folder, known) else {}
    changes = {
        name: Change(left[name].before if name in left else _digest_of(folder / name), after)
        for name, after in covered.items()
        if name in left or name in writing
    }
    note = Note({**left, **changes})
    if len(note.baselines) > 1:
        write_atomically(folder / NAME, io.BytesIO(msgspec.json.format(msgspec.json.encode(note), indent=2) + b"\n"))
    elif known.baselines:
        (folder / NAME).unlink(missing_ok=True)  # of a save that was killed before it replaced anything


def end(folder: Path) -> None:
    """Remove the note, unless what it names is still partly old."""
    if (folder / NAME).exists() and not mixture(folder, load(folder)):
        with contextlib.suppress(OSError):
            (folder / NAME).unlink()


def mixture(folder: Path, note: Note) -> tuple[list[str], list[str]] | None:
    """Return which baselines of a save are new and which are not; None if it is all of them, or none."""
    found = {name: _digest_of(folder / name) for name in sorted(note.baselines)}
    if all(found[name] == change.before for name, change in note.baselines.items()):
        return None
    new = [name for name, sha256 in found.items() if sha256 == note.baselines[name].after]
    old = [name for name in found if name not in new]
    return (new, old) if new and old else None


def _digest_of(path: Path) -> str:
    try:
        return digest(path.read_bytes())
    except (OSError, ValueError):  # there is none; a name with NUL
        return ""


def describe(folder: Path) -> str:
    """Say what a save that did not come to its end left; empty if there is nothing."""
    found = mixture(folder, load(folder))
    if found is None:
        return ""
    new, old = found
    return (
        f"a save in {folder} did not come to its end: of the baselines that belong together, it wrote {listed(new)}, and not "
        f"{listed(old)}. Save again with the tests of all of them: {commands.SAVE}; or go back to the release "
        f"before ({commands.restore(folder)}). If they are meant to stay so, delete {folder / NAME}."
    )
