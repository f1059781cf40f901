"""What a place of released files can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_onnxlite.baseline.record import Artefact, KeptFile


@dataclass(frozen=True)
class Wanted:
    """A file that a baseline names.

    Attributes:
        file: its name; a model of several files is a folder of this name.
        sha256: the hash of its bytes; for a folder see `hash_model`.
        bytes: its size; for a folder, the bytes of it that the model uses.
        is_model: whether it is a released model, and not a data file that a check keeps.
    """

    file: str
    sha256: str
    bytes: int
    is_model: bool

    @classmethod
    def of(cls, found: Artefact | KeptFile) -> Wanted:
        """Return what a baseline says of a file."""
        return cls(found.file, found.sha256, found.bytes, isinstance(found, Artefact))


class Place(Protocol):
    """Where released files are kept."""

    @property
    def local(self) -> Path | None:
        """The folder on this machine in which they lie, `<model>/<file>`; None if they lie elsewhere."""

    def advice(self, model: str, name: str) -> str:
        """Return what to do about a file that cannot be read there."""

    def told(self, model: str, name: str) -> str:
        """Return where a file is, for messages: without passwords."""

    def obtain(self, model: str, wanted: Wanted) -> Path:
        """Return the path at which a file, or the folder of a model, can be read on this machine.

        Whether it has the right bytes is not said for a place on this machine, where the reader checks it.

        Raises:
            OnnxliteError: it is not there, or is another file, or the place cannot be reached.
        """

    def put(self, model: str, wanted: Wanted, files: Sequence[Path], placed: list[Path]) -> bool:
        """Keep a file, unless it is there already.

        Args:
            model: the model's name.
            wanted: the file.
            files: where it is now; for a model of several files all of them, the one that it is opened by first.
            placed: takes the files and folders that are new on this machine, for a save that comes to nothing.

        Returns:
            Whether anything was written.

        Raises:
            OSError: it cannot be written on this machine.
            OnnxliteError: it cannot be kept elsewhere.
        """
