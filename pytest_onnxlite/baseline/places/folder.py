"""Released files in a folder of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_onnxlite import commands
from pytest_onnxlite.baseline.places.place import Wanted
from pytest_onnxlite.files import write_atomically
from pytest_onnxlite.variants.cache import hash_file


@dataclass(frozen=True)
class LocalFolder:
    """Released files in a folder.

    Args:
        local: the folder.
    """

    local: Path

    def advice(self, model: str, name: str) -> str:
        """Return what to do about a file that cannot be read there."""
        back = f"{commands.restore(self.local / model / name)}, {commands.LFS_PULL}"
        return f"Restore it ({back}, or the CI cache that onnxlite_artefact_dir names), or save anew"

    def told(self, model: str, name: str) -> str:
        """Return the path of a file."""
        return str(self.local / model / name)

    def obtain(self, model: str, wanted: Wanted) -> Path:
        """Return the path of a file, which need not be there."""
        return self.local / model / wanted.file

    def put(self, model: str, wanted: Wanted, files: Sequence[Path], placed: list[Path]) -> bool:
        """Copy a file into the folder, unless it is there already.

        Raises:
            OSError: it cannot be written.
        """
        target = self.local / model / wanted.file
        if len(files) > 1:
            return _put_files(files, target, placed)
        if target.is_file() and hash_file(target) == wanted.sha256:
            return False
        _copy(files[0], target, placed)
        return True


def inner_names(files: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return the files of a model with their names in its folder; the one that it is opened by comes last."""
    main = files[0]
    others = [(file, file.relative_to(main.parent.resolve()).as_posix()) for file in files[1:]]
    return [*others, (main, main.name)]


def _put_files(files: Sequence[Path], folder: Path, placed: list[Path]) -> bool:
    """Copy a model of several files into a folder; the one it is opened by comes last, so that it is never half there."""
    changed = False
    for file, name in inner_names(files):
        target = folder / name
        if target.is_file() and hash_file(target) == hash_file(file):
            continue
        _copy(file, target, placed)
        changed = True
    return changed


def _copy(source: Path, target: Path, placed: list[Path]) -> None:
    there = target.exists()
    placed += [folder for folder in reversed(target.parents) if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as original:
        write_atomically(target, original)
    if not there:
        placed.append(target)
