"""Baselines are saved here: all of a save or nothing, one save at a time.

First everything new is written next to what is there: the released files, under names made from their hashes, the data files
that checks keep, and each JSON under a temporary name. Then the JSONs are replaced, each in one step. Then the files before
are removed. Whenever a save is stopped, each JSON names files that are there; `unfinished` tells if they are of two saves.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pytest_onnxlite.baseline import unfinished
from pytest_onnxlite.baseline.places.place import Wanted
from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.baseline.released import is_released, names_in, unnamed
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import (
    Busy,
    Pending,
    is_settled,
    leftovers,
    locked,
    prepare,
    remove_leftovers,
)
from pytest_onnxlite.text import listed
from pytest_onnxlite.variants.cache import hash_file

# Another save is waited for so long: one copies its files in seconds.
_WAIT = 60.0


@dataclass(frozen=True)
class Entry:
    """One baseline to be saved.

    Attributes:
        baseline: the content.
        files: what was measured, the file that the model is opened by first.
        data: where the data files are that checks keep and that are not in the store yet.
    """

    baseline: Baseline
    files: Sequence[Path]
    data: Collection[Path] = ()


@contextlib.contextmanager
def saving(store: BaselineStore, seconds: float = _WAIT) -> Iterator[Saver]:
    """Hold the lock of a store while baselines are read, changed and saved.

    Raises:
        OnnxliteError: another process holds it for too long.
    """
    with contextlib.ExitStack() as stack:
        alone = stack.enter_context(locked(store.folder, seconds))
        elsewhere = store.place.local
        if elsewhere is not None and elsewhere.resolve() != store.folder.resolve():
            alone = stack.enter_context(locked(elsewhere, seconds)) and alone
        yield Saver(store, alone)


def save(store: BaselineStore, baseline: Baseline, files: Sequence[Path], data: Collection[Path] = ()) -> bool:
    """Save one baseline; see `Saver.save`."""
    with saving(store) as saver:
        return saver.save([Entry(baseline, files, data)])[0]


def prune(store: BaselineStore) -> list[Path]:
    """Remove the released files that no baseline names, and return them.

    Raises:
        OnnxliteError: another process is saving, or one of them cannot be removed.
    """
    with locked(store.folder, _WAIT):
        found = unnamed(store)
        for path in found:
            remove(path)
    stayed = [path for path in found if path.exists()]
    if stayed:
        raise OnnxliteError(f"{stayed[0]} cannot be removed. Mend the permissions of its folder.")
    return found


def left_behind(store: BaselineStore) -> str:
    """Say what a save that was killed left half done, and remove the files that it was at; empty if there is nothing.

    A save that is still going on is waited for.
    """
    folders = [store.folder, *(path for path in store.folder.glob("*") if path.is_dir())]
    written = [folder for folder in folders if leftovers(folder)]
    if not written and not unfinished.describe(store.folder):
        return ""
    try:
        with locked(store.folder, _WAIT) as alone:
            for folder in written:
                with contextlib.suppress(OSError):
                    remove_leftovers(folder, alone)
    except Busy:
        pass  # then what is there now is told
    return unfinished.describe(store.folder)


class Saver:
    """Saves baselines, while it holds the lock of a store.

    Args:
        store: where to.
        alone: whether the lock is held: not every file system has one.
    """

    def __init__(self, store: BaselineStore, alone: bool) -> None:
        self.store = store
        self._alone = alone

    def shared(self, baselines: Sequence[Baseline]) -> list[Baseline]:
        """Return baselines of one save such that a released file that two variants of a model have is kept once.

        A file that a baseline names already keeps its name.
        """
        done: list[Baseline] = []
        for baseline in baselines:
            variants = [path.stem for path in self.store.path(baseline.model, "*").parent.glob("*.json")]
            found = [self._readable(baseline.model, variant) for variant in sorted(variants)]
            # Its own name comes first: what does not change keeps it.
            saved = sorted((f for f in found if f is not None), key=lambda f: f.variant != baseline.variant)
            others = [other.artefact for other in (*saved, *done) if other.model == baseline.model]
            same = [a for a in others if a.kept and a.sha256 == baseline.artefact.sha256]
            if baseline.artefact.kept and same:
                artefact = msgspec.structs.replace(baseline.artefact, file=same[0].file)
                baseline = replace(baseline, artefact=artefact)
            done.append(baseline)
        return done

    def _readable(self, model: str, variant: str) -> Baseline | None:
        try:
            return self.store.load(model, variant)
        except OnnxliteError:
            return None

    def save(self, entries: Sequence[Entry]) -> list[bool]:
        """Write baselines and their files, all of them or none; what is there already is left alone.

        Returns:
            For each, whether anything was written.

        Raises:
            BrokenBaseline: a baseline that there is cannot be read; all is left as it is.
            OnnxliteError: the folder cannot be written.
        """
        store = self.store
        for entry in entries:
            store.require_own_name(entry.baseline.model)
        before = [store.load(entry.baseline.model, entry.baseline.variant) for entry in entries]
        placed: list[Path] = []
        pending: dict[str, Pending] = {}
        covered: dict[str, str] = {}
        try:
            changed = []
            for entry in entries:
                path = store.path(entry.baseline.model, entry.baseline.variant)
                files = self._place(entry, placed)
                text = as_text(entry.baseline)
                name = path.relative_to(store.folder).as_posix()
                covered[name] = unfinished.digest(text)
                new = not path.is_file() or path.read_bytes() != text
                if new:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    pending[name] = prepare(path, io.BytesIO(text))
                changed.append(files or new)
            unfinished.begin(store.folder, covered, pending)
        except BaseException as error:
            _undo(placed, pending)
            if isinstance(error, OSError):
                raise self._not_written(error) from None
            raise
        self._commit(pending)
        unfinished.end(store.folder)
        for entry, last in zip(entries, before, strict=True):
            self._clean(entry.baseline, last)
        return changed

    def _commit(self, pending: dict[str, Pending]) -> None:
        done: list[str] = []
        try:
            for name, one in pending.items():
                one.commit()
                done.append(name)
        except OSError as error:
            raise self._not_written(error, done) from None
        finally:
            for one in pending.values():
                one.discard()

    def _not_written(self, error: OSError, done: Sequence[str] = ()) -> OnnxliteError:
        place = error.filename2 or error.filename or self.store.folder
        left = f"Of this save, {listed(done)} is written: mend it and save again" if done else "Nothing was changed"
        return OnnxliteError(
            f"the baselines in {self.store.folder} cannot be written: {error.strerror or error} ({place}). {left}."
        )

    def _place(self, entry: Entry, placed: list[Path]) -> bool:
        """Put the files of a baseline where they belong, and note which are new."""
        artefact, model = entry.baseline.artefact, entry.baseline.model
        changed = artefact.kept and self.store.place.put(model, Wanted.of(artefact), entry.files, placed)
        return self._place_data(entry, placed) or changed

    def _place_data(self, entry: Entry, placed: list[Path]) -> bool:
        """Put the data files of checks that this run measured where they belong; others must be there already."""
        store, model, changed = self.store, entry.baseline.model, False
        sources = {hash_file(path): path for path in entry.data}
        for name, kept in store.kept_data(entry.baseline).values():
            if kept.sha256 in sources:
                changed = store.place.put(model, Wanted.of(kept), [sources[kept.sha256]], placed) or changed
                continue
            store.require_data(model, name, kept)
        return changed

    def _clean(self, baseline: Baseline, before: Baseline | None) -> None:
        """Remove released files of a variant that no baseline names any more, and what dead processes left.

        Only what we would have called so ourselves: a name in a JSON may be anybody's file. A folder that the user names may
        hold released files of other branches, and of these only the one that was replaced goes.
        """
        store = self.store
        if store.place.local is None:
            with contextlib.suppress(OSError):
                remove_leftovers(store.folder / baseline.model, self._alone)
            return  # what others compare with until they have this save's JSON is not removed from a server
        folder = store.place.local / baseline.model
        own = re.compile(rf"{re.escape(baseline.variant)}-([a-z][a-z0-9_]*-)?[0-9a-f]{{16}}(\.[A-Za-z0-9]{{1,16}})?")
        replaced = [before.artefact.file] if before is not None and before.artefact.kept else []
        stale = [*replaced, *store.kept_data(before)]
        try:
            remove_leftovers(store.folder / baseline.model, self._alone)
            if store.place.local == store.folder:
                stale += [path.name for path in folder.iterdir() if is_settled(path)]
            elif folder.is_dir():
                remove_leftovers(folder, self._alone)
            named = names_in(store.folder / baseline.model)
        except OSError:
            return  # then they stay, which harms nobody
        for name in dict.fromkeys(stale):
            if name.encode() in named:
                continue
            # The file of two variants has the name of the one that was saved first.
            if own.fullmatch(name) or (name in replaced and is_released(folder / name)):
                remove(folder / name)


def as_text(baseline: Baseline) -> bytes:
    """Return the content of a baseline's file."""
    return (json.dumps(baseline.as_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _undo(placed: Sequence[Path], pending: dict[str, Pending]) -> None:
    """Take back what was written for a save that comes to nothing."""
    for one in pending.values():
        one.discard()
    for path in reversed(placed):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def remove(artefact: Path) -> None:
    """Remove a released file, or the folder of a model of several; what cannot be removed stays."""
    if artefact.is_dir() and not artefact.is_symlink():
        shutil.rmtree(artefact, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        artefact.unlink()
