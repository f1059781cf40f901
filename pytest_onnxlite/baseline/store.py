"""Baseline files and their artefacts on disk, as they are read; `writing` saves them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pytest_onnxlite import commands
from pytest_onnxlite.baseline.places.folder import LocalFolder
from pytest_onnxlite.baseline.places.place import Place, Wanted
from pytest_onnxlite.baseline.record import Baseline, BrokenBaseline, KeptFile, Sections, decode, parse
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import problem_with
from pytest_onnxlite.labels import ByName
from pytest_onnxlite.text import twin
from pytest_onnxlite.variants.cache import hash_file
from pytest_onnxlite.variants.external import hash_model

T = TypeVar("T")
# A reader that a saver overtakes so often gives up: each time it read a whole release.
_MOST_READS = 100


class NoArtefact(OnnxliteError):
    """A baseline was saved without its file, on purpose."""


@dataclass(frozen=True)
class Held:
    """What a baseline holds.

    Attributes:
        checks: those that it has figures of.
        tests: by id, the tests that guard it, each with its checks.
        digest: the hash of its content; empty for one that cannot be read.
    """

    checks: tuple[str, ...] = ()
    tests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def of(cls, baseline: Baseline) -> Held:
        """Return what a baseline holds."""
        content = json.dumps(baseline.as_dict(), sort_keys=True)
        return cls(baseline.checks, baseline.tests, hashlib.sha256(content.encode()).hexdigest())


class BaselineStore:
    """The baselines of a project.

    Args:
        folder: holds `<model>/<variant>.json`.
        checks: the checks by name, which read their sections.
        place: where released files are kept, `<model>/<variant>-<hash>.onnx`; the same folder where None.
        source: what they are of, if they are not the work tree's own: `origin/main (commit 0123456789ab)`.
    """

    def __init__(self, folder: Path, checks: ByName[Sections], place: Place | None = None, source: str = "") -> None:
        self.folder = folder
        self._checks = checks
        self.place: Place = place or LocalFolder(folder)
        self.source = source

    def path(self, model: str, variant: str) -> Path:
        """Return the place of a baseline file."""
        return self.folder / model / f"{variant}.json"

    def told(self, path: Path) -> str:
        """Return a file's name for messages, with what it is of: the place in which a commit's files are is gone soon."""
        inner = path.relative_to(self.folder).as_posix() if self.source and path.is_relative_to(self.folder) else ""
        return f"{inner} of {self.source}" if inner else str(path)

    def _where(self, model: str, name: str) -> str:
        """Return the place of a released file, for messages."""
        if self.source and self.place.local is not None:
            return f"{model}/{name} of {self.source}"
        return self.place.told(model, name)

    def _restore(self, model: str, name: str) -> str:
        """Say what to do about a released file that is not what it should be."""
        if self.source:
            return "It must be there, or in the folder of the released files here"
        return self.place.advice(model, name)

    def require_own_name(self, model: str, others: Iterable[str] = ()) -> None:
        """Refuse a model whose folder another one's would be where file systems know no case, as on Windows and macOS.

        Args:
            model: its name.
            others: the names of other models of the run.

        Raises:
            OnnxliteError: one of those, or a folder that is there, differs from it by case alone.
        """
        other = twin(model, others)
        if other is not None:
            raise OnnxliteError(
                f"the models {other!r} and {model!r} differ by case alone: on Windows and macOS their baselines would be one "
                "folder. Give one of them another name."
            )
        try:
            other = twin(model, [entry.name for entry in self.folder.iterdir() if entry.is_dir()])
        except OSError:
            return  # nothing is saved yet, or what is cannot be read, which is told where it is
        if other is not None:
            raise OnnxliteError(
                f"the model {model!r} and the baselines in {self.folder / other} differ by case alone: on Windows and macOS "
                f"they would be one folder. Call the model {other!r}, or delete that folder if its model is retired."
            )

    def saved(self) -> list[tuple[str, str]]:
        """Return model and variant of every baseline file there is."""
        return sorted((path.parent.name, path.stem) for path in self.folder.glob("*/*.json"))

    def held(self) -> dict[tuple[str, str], Held]:
        """Return what each baseline file holds; nothing is known of one that cannot be read."""
        found = {}
        for model, variant in self.saved():
            try:
                baseline = self.load(model, variant)
            except BrokenBaseline:
                baseline = None
            found[model, variant] = Held() if baseline is None else Held.of(baseline)
        return found

    def steady(self, model: str, variant: str, read: Callable[[], T], failed: Callable[[T], bool]) -> T:
        """Read a baseline and its files; again, if that failed and somebody saved meanwhile.

        A save replaces the JSON, and then removes the file that the old one names: who read the old one must read again.
        """
        for _ in range(_MOST_READS):
            stamp = self._stamp(model, variant)
            found = read()
            if not failed(found) or self._stamp(model, variant) == stamp:
                break
        return found

    def _stamp(self, model: str, variant: str) -> tuple[int, int, int] | None:
        """Return what a baseline file does not share with the one before it, though their content be the same."""
        try:
            found = self.path(model, variant).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def load(self, model: str, variant: str) -> Baseline | None:
        """Read a baseline; None if there is none.

        Raises:
            BrokenBaseline: it cannot be read, is no JSON, or is not a baseline of this model and variant.
        """
        path = self.path(model, variant)
        try:
            problem = problem_with(path)
            text = b"" if problem else path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BrokenBaseline(
                f"{self.told(path)} cannot be read: {error.strerror}. Mend its permissions, or restore it ({commands.restore(path)})."
            ) from None
        if problem:
            raise BrokenBaseline(
                f"{self.told(path)} cannot be read: it {problem}. Restore it ({commands.restore(path)})."
            )
        where = self.told(path)
        return parse(decode(text, where), model, variant, where, self._checks)

    def artefact(self, baseline: Baseline) -> Path:
        """Return the artefact of a baseline.

        Raises:
            NoArtefact: it was not kept, on purpose.
            BrokenBaseline: it should be there and is not, or is another file.
        """
        saved = baseline.artefact
        if not saved.kept:
            raise NoArtefact(
                f"the baseline of {baseline.model} {baseline.variant} was saved without its file "
                "(onnxlite_keep_artefact = false), so that there is nothing to measure next to the candidate. Keep it "
                "(onnxlite_artefact_dir can name a folder outside the repository) and save anew."
            )
        where = self._where(baseline.model, saved.file)
        try:
            path = self.place.obtain(baseline.model, Wanted.of(saved))
            if path.is_dir():
                path = next(iter(sorted(path.glob("*.onnx"))), path)
                where = f"{where}/{path.name}"
            found = hash_model(path) if path.parent.name == saved.file else hash_file(path)
        except (OSError, OnnxliteError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise BrokenBaseline(
                f"the last release's file {where} cannot be read: {reason}. {self._restore(baseline.model, saved.file)}."
            ) from None
        if found != saved.sha256:
            raise BrokenBaseline(
                f"the last release's file {where} is not the file that was measured: expected SHA-256 "
                f"{saved.sha256[:12]}…, found {found[:12]}…. It {problem_with(path) or 'was changed'}. {self._restore(baseline.model, saved.file)}."
            )
        return path

    def data(self, baseline: Baseline) -> dict[str, Path]:
        """Return the data files that checks kept, by their names.

        Raises:
            BrokenBaseline: one is not there, or is another file.
        """
        return {
            kept.file: self._data_file(baseline.model, name, kept) for name, kept in self.kept_data(baseline).values()
        }

    def _data_file(self, model: str, name: str, kept: KeptFile) -> Path:
        where = self._where(model, kept.file)
        try:
            path = self.place.obtain(model, Wanted.of(kept))
            problem = problem_with(path)
            is_it = not problem and hash_file(path) == kept.sha256
        except (OSError, OnnxliteError) as error:
            reason = (error.strerror or "there is none") if isinstance(error, OSError) else error
            problem, is_it = f"cannot be read: {reason}", False
        if problem:
            raise BrokenBaseline(
                f"{where}, which the check {name} kept of the last release, {problem}. {self._restore(model, kept.file)}."
            )
        if not is_it:
            raise BrokenBaseline(
                f"{where} is not the file that the check {name} kept of the last release: expected SHA-256 "
                f"{kept.sha256[:12]}…. It was changed. {self._restore(model, kept.file)}."
            )
        return path

    def require_data(self, model: str, name: str, kept: KeptFile) -> None:
        """Refuse to save a baseline that names a data file which is nowhere.

        Raises:
            OnnxliteError: the file is not there, or is another one.
        """
        try:
            self._data_file(model, name, kept)
        except BrokenBaseline:
            raise OnnxliteError(f"the data file {kept.file}, which a check keeps, is not there to be saved.") from None

    def kept_data(self, baseline: Baseline | None) -> dict[str, tuple[str, KeptFile]]:
        """Return the data files that a baseline names, by their names, each with its check."""
        found = {}
        for name, section in baseline.all_sections() if baseline is not None else ():
            check = self._checks.get(name)
            kept = check.kept(section) if check is not None else None
            if kept is not None:
                found[kept.file] = name, kept
        return found
