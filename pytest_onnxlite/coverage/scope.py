"""What a run was to look at: what was collected, the tests of declared models, and what its arguments reach."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What a test asks for: a kind of variant, and a check.
Asks = tuple[tuple[str, str], ...]
# What the ids of declared models' tests start with, in the place of a file.
DECLARED = "onnxlite::"


@dataclass(frozen=True)
class Collected:
    """What pytest collected, taken down before anybody left a part of it out.

    Attributes:
        came: guarded tests by id, and what each asks for.
        refused: by id, files and other collectors that skipped themselves or could not be collected, and why.
        hidden: paths that the project itself keeps from being collected.
        spared: paths that an option or a plugin kept from being collected.
        last_failed: whether `--lf` left out what passed last time, which it does without telling.
        removed: guarded tests that were removed after they had been collected, without pytest's being told.
        elsewhere: files that declare models, and that nobody reads: they are not at pytest's root.
    """

    came: Mapping[str, Asks] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    last_failed: bool = False
    removed: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()

    def and_also(self, other: Collected) -> Collected:
        """Return what either of two processes collected."""
        return Collected(
            {**self.came, **other.came},
            {**self.refused, **other.refused},
            (*self.hidden, *(path for path in other.hidden if path not in self.hidden)),
            (*self.spared, *(path for path in other.spared if path not in self.spared)),
            self.last_failed or other.last_failed,
            (*self.removed, *(test for test in other.removed if test not in self.removed)),
            (*self.elsewhere, *(path for path in other.elsewhere if path not in self.elsewhere)),
        )


@dataclass(frozen=True)
class Reach:
    """What a run's arguments reach.

    Attributes:
        root: pytest's root folder, to which ids are relative.
        arguments: the files and folders, each with the names within a file that were asked for, if any.
        everything: whether the run was to reach whatever the project has.
        declaring: the file that declares models, or would.
        covers_every_file: tells whether the arguments reach every test file of the project; asked only where it matters.
    """

    root: Path
    arguments: tuple[tuple[Path, tuple[str, ...]], ...] = ()
    everything: bool = True
    declaring: Path | None = None
    covers_every_file: Callable[[], bool] = lambda: False

    def path(self, test: str) -> Path:
        """Return the file of a test."""
        if test.startswith(DECLARED) and self.declaring is not None:
            return self.declaring
        return self.root / test.partition("[")[0].split("::")[0]

    def holds(self, test: str) -> bool:
        """Tell whether a test is in reach, were it there."""
        if self.everything:
            return True
        base, bracket, parameters = test.partition("[")
        names = tuple(base.split("::")[1:])
        path = self.path(test)
        for given, wanted in self.arguments:
            if not wanted and is_below(path, given):
                return True
            if wanted and same_path(path, given) and _starts_with(names, bracket + parameters, wanted):
                return True
        return False


def _starts_with(names: tuple[str, ...], parameters: str, wanted: tuple[str, ...]) -> bool:
    """Tell whether names, the last one with its parameters, are among those that an argument asks for."""
    *first, last = wanted
    if names[: len(first)] != tuple(first) or len(names) < len(wanted):
        return False
    return last in (names[len(first)], names[-1] + parameters if len(names) == len(wanted) else "")


def same_path(one: Path, other: Path) -> bool:
    """Tell whether two absolute paths are one, as they are written or with links followed."""
    return any(form(one) == form(other) for form in (os.path.normpath, os.path.realpath))


def is_below(path: Path, folder: Path) -> bool:
    """Tell whether an absolute path is a folder, or in it, as they are written or with links followed."""
    return any(Path(form(path)).is_relative_to(form(folder)) for form in (os.path.normpath, os.path.realpath))


@dataclass(frozen=True)
class Scope:
    """What a run was to look at: what was collected, the tests of declared models, and what its arguments reach."""

    collected: Collected
    declared: Mapping[str, Asks]
    reach: Reach
