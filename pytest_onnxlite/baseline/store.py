"""Baseline files and their artefacts on disk.

The artefact is written first, under a name made from its hash, and so are the data files that checks keep; then the JSON
is replaced in one step; then the files before are removed. Whenever a save is stopped, the JSON names files that are there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_onnxlite.baseline.record import Artefact, Baseline, BrokenBaseline, KeptFile, Sections, decode, parse
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import is_settled, problem_with, remove_leftovers, write_atomically
from pytest_onnxlite.text import twin
from pytest_onnxlite.variants.cache import hash_file
from pytest_onnxlite.variants.external import hash_model


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
        artefact_folder: holds `<model>/<variant>-<hash>.onnx`; the same folder where None.
    """

    def __init__(self, folder: Path, checks: Mapping[str, Sections], artefact_folder: Path | None = None) -> None:
        self.folder = folder
        self._checks = checks
        self._artefacts = artefact_folder or folder

    def path(self, model: str, variant: str) -> Path:
        """Return the place of a baseline file."""
        return self.folder / model / f"{variant}.json"

    def artefact_folder(self, model: str) -> Path:
        """Return the folder of a model's artefacts."""
        return self._artefacts / model

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

    def load(self, model: str, variant: str) -> Baseline | None:
        """Read a baseline; None where there is none.

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
                f"{path} cannot be read: {error.strerror}. Mend its permissions, or restore it (git checkout)."
            ) from None
        if problem:
            raise BrokenBaseline(f"{path} cannot be read: it {problem}. Restore it (git checkout).")
        return parse(decode(text, str(path)), model, variant, str(path), self._checks)

    def artefact(self, baseline: Baseline) -> Path:
        """Return the artefact of a baseline.

        Raises:
            NoArtefact: it was not kept, on purpose.
            BrokenBaseline: it should be there and is not, or is another file.
        """
        saved = baseline.artefact
        path = self.artefact_folder(baseline.model) / saved.file
        if path.is_dir():
            path = next(iter(sorted(path.glob("*.onnx"))), path)
        if not saved.kept:
            raise NoArtefact(
                f"the baseline of {baseline.model} {baseline.variant} was saved without its file "
                "(onnxlite_keep_artefact = false), so that there is nothing to measure next to the candidate. Keep it "
                "(onnxlite_artefact_dir can name a folder outside the repository) and save anew."
            )
        try:
            found = hash_model(path) if path.parent.name == saved.file else hash_file(path)
        except (OSError, OnnxliteError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise BrokenBaseline(
                f"the last release's file {path} cannot be read: {reason}. Restore it (git checkout, "
                "git lfs pull, or the CI cache that onnxlite_artefact_dir names), or save anew."
            ) from None
        if found != saved.sha256:
            raise BrokenBaseline(
                f"the last release's file {path} is not the file that was measured: expected SHA-256 "
                f"{saved.sha256[:12]}…, found {found[:12]}…. It {problem_with(path) or 'was changed'}. Restore it."
            )
        return path

    def data(self, baseline: Baseline) -> dict[str, Path]:
        """Return the data files that checks kept, by their names.

        Raises:
            BrokenBaseline: one is not there, or is another file.
        """
        found = {}
        for name, kept in self._kept(baseline).values():
            path = found[kept.file] = self.artefact_folder(baseline.model) / kept.file
            try:
                problem = problem_with(path)
                is_it = not problem and hash_file(path) == kept.sha256
            except OSError as error:
                problem, is_it = f"cannot be read: {error.strerror or 'there is none'}", False
            if problem:
                raise BrokenBaseline(
                    f"{path}, which the check {name} kept of the last release, {problem}. Restore it (git checkout, "
                    "git lfs pull, or the CI cache that onnxlite_artefact_dir names), or save anew."
                )
            if not is_it:
                raise BrokenBaseline(
                    f"{path} is not the file that the check {name} kept of the last release: expected SHA-256 "
                    f"{kept.sha256[:12]}…. It was changed. Restore it."
                )
        return found

    def _kept(self, baseline: Baseline | None) -> dict[str, tuple[str, KeptFile]]:
        """Return the data files that a baseline names, by their names, each with its check."""
        found = {}
        for name, section in baseline.all_sections() if baseline is not None else ():
            kept = self._checks[name].kept(section) if name in self._checks else None
            if kept is not None:
                found[kept.file] = name, kept
        return found

    def save(self, baseline: Baseline, files: Sequence[Path], data: Collection[Path] = ()) -> bool:
        """Write a baseline and its artefact; an equal file is left alone.

        Args:
            baseline: the content.
            files: what was measured, the file that the model is opened by first.
            data: where the data files are that checks keep and that are not here yet.

        Returns:
            Whether anything was written.

        Raises:
            BrokenBaseline: the baseline there is cannot be read; it is left as it is.
            OnnxliteError: the folder cannot be written.
        """
        self.require_own_name(baseline.model)
        before = self.load(baseline.model, baseline.variant)
        path = self.path(baseline.model, baseline.variant)
        text = json.dumps(baseline.as_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        artefact = self.artefact_folder(baseline.model) / baseline.artefact.file
        try:
            changed = self._place_artefact(baseline.artefact, files, artefact)
            changed = self._place_data(baseline, data) or changed
            if before is None or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, io.BytesIO(text.encode()))
                changed = True
        except OSError as error:
            raise OnnxliteError(f"the baseline {path} cannot be written: {error.strerror or error}.") from None
        self._clean(baseline, before)
        return changed

    def _clean(self, baseline: Baseline, before: Baseline | None) -> None:
        """Remove released files of a variant that no baseline names any more, and what dead processes left.

        Only what we would have called so ourselves: a name in a JSON may be anybody's file. A folder that the user names may
        hold released files of other branches, and of these only the one that was replaced goes.
        """
        folder = self.artefact_folder(baseline.model)
        own = re.compile(rf"{re.escape(baseline.variant)}-([a-z][a-z0-9_]*-)?[0-9a-f]{{16}}(\.[A-Za-z0-9]{{1,16}})?")
        stale = [before.artefact.file] if before is not None and before.artefact.kept else []
        stale += self._kept(before)
        try:
            remove_leftovers(self.folder / baseline.model)
            if self._artefacts == self.folder:
                remove_leftovers(folder)
                stale += [path.name for path in folder.iterdir() if is_settled(path)]
            named = b"\n".join(path.read_bytes() for path in (self.folder / baseline.model).glob("*.json"))
        except OSError:
            return  # then they stay, which harms nobody
        for name in dict.fromkeys(stale):
            if own.fullmatch(name) and name.encode() not in named:
                _remove(folder / name)

    def _place_data(self, baseline: Baseline, data: Collection[Path]) -> bool:
        wanted, folder = self._kept(baseline), self.artefact_folder(baseline.model)
        missing = {kept.sha256: folder / name for name, (_, kept) in wanted.items() if not _is(folder / name, kept)}
        sources = {hash_file(path): path for path in data} if missing else {}
        for sha256, target in missing.items():
            if sha256 not in sources:
                raise OnnxliteError(f"the data file {target.name}, which a check keeps, is not there to be saved.")
            target.parent.mkdir(parents=True, exist_ok=True)
            with sources[sha256].open("rb") as original:
                write_atomically(target, original)
        return bool(missing)

    def _place_artefact(self, artefact: Artefact, files: Sequence[Path], target: Path) -> bool:
        if not artefact.kept:
            return False
        if len(files) > 1:
            return _place_files(files, target)
        if target.is_file() and hash_file(target) == artefact.sha256:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        with files[0].open("rb") as original:
            write_atomically(target, original)
        return True


def _is(path: Path, kept: KeptFile) -> bool:
    return path.is_file() and hash_file(path) == kept.sha256


def _place_files(files: Sequence[Path], folder: Path) -> bool:
    """Copy a model of several files into a folder; the one it is opened by comes last, so that it is never half there."""
    main, changed = files[0], False
    for file in [*files[1:], main]:
        target = folder / (file.relative_to(main.parent.resolve()) if file is not main else main.name)
        if target.is_file() and hash_file(target) == hash_file(file):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as original:
            write_atomically(target, original)
        changed = True
    return changed


def _remove(artefact: Path) -> None:
    if artefact.is_dir():
        shutil.rmtree(artefact, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        artefact.unlink()
