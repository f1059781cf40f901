"""The figures of the saved baselines over time, from the git history of their folder."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_onnxlite.baseline.record import Baseline, BrokenBaseline, decode, parse
from pytest_onnxlite.checks.check import Trend
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.records import Checks

# Git's own separators could stand in a file's name; these cannot.
_COMMIT = "\x01"


@dataclass(frozen=True)
class Release:
    """A saved baseline: where it was committed, when, its figures by key, and the hash of its evaluation data."""

    commit: str
    date: str
    figures: Mapping[str, Trend]
    data_id: str = ""


@dataclass(frozen=True)
class Series:
    """The releases of one variant, oldest first, and a text for each commit whose file cannot be read."""

    model: str
    variant: str
    releases: tuple[Release, ...] = ()
    broken: tuple[str, ...] = ()


def history(folder: Path, checks: Checks) -> list[Series]:
    """Return for each model and variant what every commit of its baseline saved.

    Args:
        folder: the folder of the baselines, in a git repository.
        checks: the checks by name.

    Returns:
        A series for each. Latency and memory are factors since the first release, as each save multiplied them up:
        unlike seconds they can be compared from machine to machine.

    Raises:
        OnnxliteError: no git, no repository, or no commit that has baselines.
    """
    if not folder.is_dir():
        raise OnnxliteError(f"--history: there is no folder {folder}. Name the folder of the baselines.")
    log = _git(folder, "log", "--reverse", f"--format={_COMMIT}%H %cs", "--name-only", "--relative", "-z", "--", ".")
    releases: dict[tuple[str, str], list[Release]] = {}
    broken: dict[tuple[str, str], list[str]] = {}
    for commit, date, names in _commits(log):
        for name in names:
            parts = Path(name).parts
            if len(parts) != 2 or not name.endswith(".json"):
                continue
            key = parts[0], Path(name).stem
            releases.setdefault(key, [])
            text = _show(folder, commit, name)
            if text is None:
                continue  # deleted there
            where = f"{name} at {commit[:10]}"
            try:
                baseline = parse(decode(text.encode(), where), *key, where, checks)
            except BrokenBaseline as error:
                broken.setdefault(key, []).append(str(error))
                continue
            releases[key].append(_release(baseline, commit, date, checks))
    if not releases:
        raise OnnxliteError(
            f"--history: no commit of the repository has a baseline in {folder}. Save one with: "
            "pytest --onnxlite-save-baseline, and commit it. A shallow clone has no history: fetch it (fetch-depth: 0)."
        )
    return [Series(*key, tuple(releases[key]), tuple(broken.get(key, ()))) for key in sorted(releases)]


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError as error:
        raise OnnxliteError(f"--history: git cannot be run: {error.strerror or error}.") from None
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise OnnxliteError(f"--history: git cannot read the history of {folder}: {reason[0]}")
    return done.stdout


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


def _release(baseline: Baseline, commit: str, date: str, checks: Checks) -> Release:
    figures: dict[str, Trend] = {}
    data_id = ""
    for name, check in checks.items():
        section: Any = baseline.sections.get(name)
        first = baseline.first.get(check.first_key)
        if section is not None or (check.per_machine and first is not None):
            found = check.trend(section, first)
            if found is not None:
                figures[found.key] = found
            data_id = data_id or (check.data_id(section) if section is not None else "")
    return Release(commit, date, figures, data_id)
