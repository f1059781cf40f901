"""The baselines that `--onnxlite-against` names: those of a git commit, or those that were saved in another checkout.

A commit's are read with git's plumbing into a temporary folder, so that neither work tree nor index changes. What this commit
adds to them or takes away is in the diff that a review sees, and counts: a model that is new here is compared with the baseline
that is committed here, and one that is deleted here with none; both are said.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from pytest_onnxlite import commands, git
from pytest_onnxlite.baseline import unfinished
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import hash_of_pointer
from pytest_onnxlite.text import shortened

OPTION = "--onnxlite-against"
_LINK, _SUBMODULE = "120000", "160000"
_SHORT = 12


class Against(msgspec.Struct, frozen=True):
    """What a run compares with in place of the baselines in its own work tree.

    Attributes:
        name: a git ref, or a folder, as it was given.
        commit: its commit; empty where git knows none.
        is_folder: whether it is a folder.
        changed: whether files of that folder are changed that its commit has.
        new: by file, the baselines that it does not have and that the commit judged here has, which is compared with those.
        deleted: by file, the baselines that it has and that the commit judged here does not.
    """

    name: str
    commit: str
    is_folder: bool = False
    changed: bool = False
    new: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The same in a few words: `origin/main (commit 0123456789ab)`."""
        if not self.commit:
            return f"the folder {self.name} (git knows no commit of it)"
        changed = ", with changes that are not committed" if self.changed else ""
        return f"{'the folder ' if self.is_folder else ''}{self.name} (commit {self.commit[:_SHORT]}{changed})"

    @property
    def remarks(self) -> list[str]:
        """What this commit adds to its baselines, and what it takes away."""
        lines = []
        if self.new:
            lines.append(
                f"{self.name} has no baseline {shortened(self.new)}, which the commit judged here adds: compared with that one"
            )
        if self.deleted:
            lines.append(
                f"{self.name} has the baseline {shortened(self.deleted)}, which the commit judged here does not have: not "
                "looked at. It was deleted here, or is new there"
            )
        return lines


class Found(msgspec.Struct, frozen=True):
    """What was found, and the folders that it is read from, as a run's settings name them."""

    against: Against
    baseline_dir: str
    artefact_dir: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a run's own baselines are.

    Attributes:
        root: pytest's root folder.
        baselines: the folder of the baselines, with the runtime's own part of it.
        artefacts: where the released files are, if elsewhere.
        apart: the runtime's own part, `@NAME`; empty for none.
    """

    root: Path
    baselines: Path
    artefacts: Path | None = None
    apart: str = ""


def find(asked: str, folder: Path | None, place: Place, workspace: Callable[[], Path]) -> Found:
    """Find the baselines to compare with.

    Args:
        asked: a git ref, `REF:FOLDER` where its baselines are in another folder, or a folder.
        folder: the folder, if it is one.
        place: where the run's own baselines are.
        workspace: makes the folder to put files of a commit in.

    Raises:
        OnnxliteError: there is no such thing, it has no baselines, or it is what is to be judged itself.
    """
    here = git.root_of(place.root)
    ref, colon, inner = asked.partition(":")
    commit = git.commit_of(here, ref) if here is not None else ""
    if folder is not None and folder.is_dir():
        if commit and not colon:
            raise OnnxliteError(
                f"{OPTION}={asked} is a folder and a git ref: write ./{asked} for the folder, refs/heads/{asked} for a branch."
            )
        return _in_folder(asked, folder.resolve(), place, here)
    if here is None:
        raise OnnxliteError(f"{OPTION}={asked}: there is no such folder, and {place.root} is in no git repository.")
    if not commit:
        raise OnnxliteError(_no_ref(here, asked, ref))
    _require_other(here, commit, f"{OPTION}={asked}")
    own = _within(place.baselines, here, "the folder of the baselines")
    wanted = PurePosixPath(inner, place.apart).as_posix() if colon else own
    reader = _CommitReader(here, asked, commit, workspace())
    against = reader.baselines(wanted, own)
    artefacts = place.artefacts
    if artefacts is not None and artefacts.resolve().is_relative_to(here):
        reader.files(commit, artefacts.resolve().relative_to(here).as_posix())
    reader.files_of_this_machine(artefacts or place.baselines)
    return Found(against, str(reader.folder))


# -- a folder ------------------------------------------------------------------------------------------------


def _in_folder(asked: str, folder: Path, place: Place, here: Path | None) -> Found:
    """Find the baselines in another checkout, where they are in this one."""
    root = place.root.resolve()
    if folder in (root, here):
        raise OnnxliteError(f"{OPTION}={asked} is this checkout itself; it would be compared with itself.")
    if not place.baselines.resolve().is_relative_to(root):
        raise OnnxliteError(
            f"{OPTION}={asked} looks for the baselines where they are in this checkout, and {place.baselines} is not in "
            f"{root}. Give --onnxlite-baseline-dir alone."
        )
    top = git.root_of(folder)
    is_checkout = top is not None and top != here
    commit = git.commit_of(folder) if is_checkout else ""
    if commit and here is not None:
        _require_other(here, commit, f"{OPTION}={asked}")
    # The top of another checkout stands for what pytest's root is in it.
    inner = root.relative_to(here) if top == folder and is_checkout and here is not None else Path()
    baselines = folder / inner / place.baselines.resolve().relative_to(root)
    if baselines.resolve() == place.baselines.resolve():
        raise OnnxliteError(f"{OPTION}={asked}: {baselines} is the folder of this checkout's own baselines.")
    if not any(baselines.glob("*/*.json")):
        raise OnnxliteError(
            f"{OPTION}={asked}: there are no baselines in {baselines}, so that there is nothing to compare with. Save them "
            f"there: {commands.save_in(folder / inner)}"
        )
    artefacts = place.artefacts
    if artefacts is not None and artefacts.resolve().is_relative_to(root):
        artefacts = folder / inner / artefacts.resolve().relative_to(root)
    changed = bool(commit and git.ask(folder, "status", "--porcelain", "--untracked-files=no"))
    found = Against(asked, commit, is_folder=True, changed=changed)
    return Found(found, str(baselines), None if artefacts is None else str(artefacts))


# -- a commit ------------------------------------------------------------------------------------------------


def _no_ref(here: Path, asked: str, ref: str) -> str:
    """Say that there is no such ref, and how to fetch it."""
    remotes = git.ask(here, "remote").split()
    remote = next((name for name in remotes if ref.startswith(f"{name}/")), "")
    if remote:
        branch = ref.removeprefix(f"{remote}/")
        fetch = commands.fetch(remote, f"{branch}:refs/remotes/{remote}/{branch}")
    else:
        fetch = f"{commands.fetch(remotes[0] if remotes else 'origin', ref)}, and compare with FETCH_HEAD"
    shallow = git.ask(here, "rev-parse", "--is-shallow-repository").strip() == "true"
    why = ", which is a shallow clone" if shallow else ""
    return f"{OPTION}={asked}: there is no such folder, and no commit {ref} in {here}{why}. Fetch it with: {fetch}"


def _require_other(here: Path, commit: str, option: str) -> None:
    """Refuse a commit that has nothing that is not judged here, or that has this one already.

    Raises:
        OnnxliteError: it is such.
    """
    head = git.commit_of(here)
    if not head:
        return
    leave = "Name the commit before it, or compare with the baselines in this work tree: leave the option out."
    itself = f"it would be compared with itself. {leave}"
    if head == commit:
        raise OnnxliteError(f"{option} is the commit {head[:_SHORT]}, which is judged here: {itself}")
    alike = _asked(here, "rev-parse", f"{head}^{{tree}}") == _asked(here, "rev-parse", f"{commit}^{{tree}}")
    merged = _asked(here, "merge-base", head, commit) == head
    told = f"{option} is the commit {commit[:_SHORT]}"
    if alike:
        raise OnnxliteError(f"{told}, which has the same files as {head[:_SHORT]}, which is judged here: {itself}")
    if merged and not git.ask(here, "status", "--porcelain", "--untracked-files=no"):
        raise OnnxliteError(
            f"{told}, which has {head[:_SHORT]} in its history, and nothing is changed here since: what is judged here is "
            f"merged there already. {leave}"
        )


def _asked(here: Path, *arguments: str) -> str:
    """Return what git answers; nothing where it does not know, as of another repository's commit, or in a shallow clone."""
    try:
        return git.ask(here, *arguments).strip()
    except git.GitError:
        return ""


def _within(folder: Path, here: Path, what: str) -> str:
    found = folder.resolve()
    if not found.is_relative_to(here):
        raise OnnxliteError(
            f"{OPTION} reads {what} of a commit, and {folder} is not in the repository {here}. Name a folder in it, or another "
            "checkout's with --onnxlite-baseline-dir alone."
        )
    return found.relative_to(here).as_posix()


class _CommitReader:
    """Puts baselines and released files of commits into a folder, as `<model>/<file>`."""

    def __init__(self, here: Path, asked: str, commit: str, folder: Path) -> None:
        self.folder = folder
        self._here = here
        self._asked = asked
        self._commit = commit

    def baselines(self, wanted: str, own: str) -> Against:
        """Read the baselines, and the released files next to them.

        Args:
            wanted: where the commit has them.
            own: where the commit judged here has them.
        """
        theirs = self._below(self._commit, wanted)
        jsons = {path for path in theirs if _is_baseline(path)}
        if not jsons:
            raise OnnxliteError(self._none(wanted, own))
        head = git.commit_of(self._here)
        ours = self._below(head, own) if head else theirs
        new = sorted(path for path in ours if _is_baseline(path) and path not in jsons)
        deleted = sorted(path for path in jsons if path not in ours)
        if len(deleted) == len(jsons):
            raise OnnxliteError(
                f"{OPTION}={self._asked}: the commit judged here has none of its baselines in {own}: nothing would be "
                "compared. If the folder was moved, name the old one: "
                f"{OPTION}={self._asked.partition(':')[0]}:{'FOLDER' if wanted == own else wanted}"
            )
        # With the note of a save that did not come to its end, if somebody committed one.
        kept = {path for path in jsons if path not in deleted} | {unfinished.NAME}
        self._put({path: entry for path, entry in theirs.items() if path in kept})
        self._put({path: ours[path] for path in new})
        self._put(self._named(theirs))
        self._put(self._named(ours))
        return Against(self._asked, self._commit, new=tuple(new), deleted=tuple(deleted))

    def files(self, commit: str, folder: str) -> None:
        """Read the released files that a commit has in a folder of their own."""
        self._put(self._named(self._below(commit, folder)))
        head = git.commit_of(self._here)
        self._put(self._named(self._below(head, folder)) if head else {})

    def files_of_this_machine(self, folder: Path) -> None:
        """Take what the commits do not have from a folder; whoever reads it checks the hash."""
        for model, text in self._texts().items():
            for path in sorted(folder.joinpath(model).glob("*")):
                target = self.folder / model / path.name
                if path.suffix == ".json" or target.exists() or not _names(text, path.name):
                    continue
                _link(path, target)
        missing = [path for path in sorted(self.folder.glob("*/*")) if hash_of_pointer(path)]
        if missing:
            names = [path.relative_to(self.folder).as_posix() for path in missing]
            raise OnnxliteError(
                f"{OPTION}={self._asked}: the commit has Git LFS pointers in place of {shortened(names)}, and this clone does not "
                f"have what they stand for. Fetch it with: {commands.fetch_lfs(self._commit)}"
            )

    def _below(self, commit: str, folder: str) -> dict[str, git.Entry]:
        """Return the files that a commit has below a folder, by their paths in it."""
        start = "" if folder == "." else f"{folder}/"
        found = {entry.path.removeprefix(start): entry for entry in git.entries(self._here, commit, folder)}
        return {
            path: entry
            for path, entry in found.items()
            if len(PurePosixPath(path).parts) > 1 or path == unfinished.NAME
        }

    def _none(self, wanted: str, own: str) -> str:
        """Say that a commit has no baselines, and where it may have some."""
        text = f"{OPTION}={self._asked} (commit {self._commit[:_SHORT]}) has no baselines in {wanted}: there is nothing to compare with."
        parts = PurePosixPath(wanted).parts
        for length in range(1, len(parts) + 1):
            above = "/".join(parts[:length])
            if any(
                entry.mode == _SUBMODULE
                for entry in git.entries(self._here, self._commit, above)
                if entry.path == above
            ):
                return f"{text} {above} is a submodule, whose files it does not hold: check it out elsewhere, and name that folder."
        files = [entry.path for entry in git.entries(self._here, self._commit, ".")]
        known = {path for path in self._below(git.commit_of(self._here) or self._commit, own) if _is_baseline(path)}
        others = {str(PurePosixPath(file).parents[1]) for file in files for path in known if file.endswith(f"/{path}")}
        if others:
            ref, other = self._asked.partition(":")[0], sorted(others)[0]
            return f"{text} It has some of the same names in {shortened(sorted(others))}: {OPTION}={ref}:{other}"
        return f"{text} Save and commit some there, or name a checkout in which they were saved."

    def _texts(self) -> dict[str, bytes]:
        """Return by model the text of its baselines that were put here."""
        return {
            folder.name: b"\n".join(path.read_bytes() for path in sorted(folder.glob("*.json")))
            for folder in self.folder.glob("*/")
        }

    def _named(self, found: Mapping[str, git.Entry]) -> dict[str, git.Entry]:
        """Return what the baselines that were put here name, and that is not here yet."""
        texts = self._texts()
        named = {}
        for path, entry in found.items():
            model, name, *_ = (*PurePosixPath(path).parts, "")
            if not _is_baseline(path) and _names(texts.get(model, b""), name) and not (self.folder / path).exists():
                named[path] = entry
        return named

    def _put(self, found: Mapping[str, git.Entry]) -> None:
        if not found:
            return
        with git.objects(self._here) as objects:
            for path, entry in found.items():
                _require_plain(path, entry, self._asked)
                target = self.folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with target.open("wb") as file:
                        objects.copy(entry.object, file)
                except git.GitError as error:
                    raise OnnxliteError(
                        f"{OPTION}={self._asked}: {entry.path} cannot be read: {error}. Fetch the whole commit: "
                        f"{commands.fetch('origin', self._commit)}"
                    ) from None
                self._resolve(target, entry)

    def _resolve(self, target: Path, entry: git.Entry) -> None:
        """Put what a Git LFS pointer stands for in its place, if this clone or its work tree has it."""
        name = hash_of_pointer(target)
        if not name:
            return
        common = Path(git.ask(self._here, "rev-parse", "--git-common-dir").rstrip("\r\n"))
        kept = self._here / common / "lfs" / "objects" / name[:2] / name[2:4] / name
        if kept.is_file():
            target.unlink()
            _link(kept, target)
        elif (self._here / entry.path).is_file() and not hash_of_pointer(self._here / entry.path):
            target.unlink()
            _link(self._here / entry.path, target)


def _is_baseline(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return len(parts) == 2 and parts[1].endswith(".json") and not parts[0].startswith(".")


def _names(text: bytes, name: str) -> bool:
    return bool(text) and name.encode(errors="surrogateescape") in text


def _require_plain(path: str, entry: git.Entry, asked: str) -> None:
    """Refuse what is no file, or would be written elsewhere."""
    parts: Sequence[str] = PurePosixPath(path).parts
    odd = any(part in ("..", ".git") or (os.sep != "/" and re.search(r'[\\:*?"<>|]', part)) for part in parts)
    if odd or entry.mode in (_LINK, _SUBMODULE):
        kind = {_LINK: "a symbolic link", _SUBMODULE: "a submodule"}.get(entry.mode, "a name that is no file's")
        raise OnnxliteError(f"{OPTION}={asked}: {entry.path} is {kind} there, which is not followed.")


def _link(source: Path, target: Path) -> None:
    """Put a file, or a model's folder, in a second place: as a link where both are on one disk, else as a copy."""
    if source.is_dir():
        shutil.copytree(source, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
