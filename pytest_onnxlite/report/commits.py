"""What every commit of a git repository has of the baselines in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_onnxlite import git
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.text import shown

# Git's own separators could stand in a file's name; these cannot.
_COMMIT = "\x01"
# Names in one command.
_AT_ONCE = 200


@dataclass(frozen=True)
class Version:
    """A baseline file as a commit has it: where it was committed, when, and its text; None where it was deleted there."""

    commit: str
    date: str
    model: str
    variant: str
    name: str
    text: str | None


def versions(folder: Path) -> Iterator[Version]:
    """Yield what each commit changed of the baselines in a folder, oldest first.

    Raises:
        OnnxliteError: no git, or no repository.
    """
    log = _git(folder, "log", "--reverse", f"--format={_COMMIT}%H %cs", "--name-only", "--relative", "-z", "--", ".")
    for commit, date, names in _commits(log):
        for name in names:
            parts = Path(name).parts
            if len(parts) == 2 and name.endswith(".json"):
                yield Version(commit, date, parts[0], Path(name).stem, name, _show(folder, commit, name))


def release_names(folder: Path, commits: Sequence[str]) -> dict[str, str]:
    """Return the names of releases by commit: the first tag that has it; of several commits of one tag the newest is the release.

    Args:
        folder: in the repository.
        commits: oldest first.
    """
    distinct = list(dict.fromkeys(commits))
    found: dict[str, str] = {}
    for start in range(0, len(distinct), _AT_ONCE):
        some = distinct[start : start + _AT_ONCE]
        try:
            told = _git(folder, "name-rev", "--tags", "--name-only", *some).splitlines()
        except OnnxliteError:
            return {}
        # "v1.2~3" is three commits before that tag.
        names = (shown(re.split(r"[~^]", line)[0]) for line in told)
        found |= {name: commit for name, commit in zip(names, some, strict=False) if name != "undefined"}
    return {commit: name for name, commit in found.items()}


def _git(folder: Path, *arguments: str) -> str:
    return git.ask(folder, *arguments, what=f"the history of {folder}")


def _commits(log: str) -> list[tuple[str, str, list[str]]]:
    found = []
    for block in log.split(_COMMIT)[1:]:
        head, *names = block.split("\0")
        commit, date = head.split()
        found.append((commit, date, [name.strip("\n") for name in names if name.strip("\n")]))
    return found


def _show(folder: Path, commit: str, name: str) -> str | None:
    """Return a file as a commit has it; None if it has none, because it deleted it."""
    try:
        return _git(folder, "show", f"{commit}:./{name}")
    except OnnxliteError:
        return None
