"""What a run was to look at, and what it looked at: full, partial, or with something missing. Pure, and knows no pytest.

A baseline names the tests that guard it. What was in reach of the run's arguments and did not come is missing; what came
and was left out, or was never in reach, makes the run a partial one.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pytest_onnxlite.text import counted, shortened

if TYPE_CHECKING:
    from pytest_onnxlite.baseline.store import Held

# A model and a variant.
Name = tuple[str, str]
# What a test asks for: a kind of variant, and a check.
Asks = tuple[tuple[str, str], ...]
# What the ids of declared models' tests start with, in the place of a file.
DECLARED = "onnxlite::"
# The one check of a baseline that cannot be read: nobody knows what it holds.
_UNKNOWN = ""


@dataclass(frozen=True)
class Collected:
    """What pytest collected, taken down before anybody left a part of it out.

    Attributes:
        came: guarded tests by id, and what each asks for.
        refused: by id, files and other collectors that skipped themselves or could not be collected, and why.
        hidden: paths that the project itself keeps from being collected.
        spared: paths that an option or a plugin kept from being collected.
        last_failed: whether `--lf` left out what passed last time, which it does without telling.
    """

    came: Mapping[str, Asks] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    last_failed: bool = False

    def and_also(self, other: Collected) -> Collected:
        """Return what either of two processes collected."""
        return Collected(
            {**self.came, **other.came},
            {**self.refused, **other.refused},
            (*self.hidden, *(path for path in other.hidden if path not in self.hidden)),
            (*self.spared, *(path for path in other.spared if path not in self.spared)),
            self.last_failed or other.last_failed,
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


class State(enum.Enum):
    """What became of one check of a baseline."""

    LOOKED = enum.auto()
    FAILED = enum.auto()  # its test failed before it was judged, which is red by itself
    LEFT_OUT = enum.auto()
    OUT_OF_REACH = enum.auto()
    NOT_JUDGED = enum.auto()  # its test skipped itself, or is kept from being collected
    GONE = enum.auto()

    @property
    def is_partial(self) -> bool:
        """Whether it was left out on purpose."""
        return self in (State.LEFT_OUT, State.OUT_OF_REACH)

    @property
    def is_missing(self) -> bool:
        """Whether it was to be looked at, and was not."""
        return self in (State.NOT_JUDGED, State.GONE)


@dataclass(frozen=True)
class Coverage:
    """How much of what is guarded a run looked at; in the report.

    Attributes:
        state: `full`, `partial`, or `missing`.
        text: the same in a few words: "partial: 2 of 8 baselines looked at".
        baselines: by name, the hash of what each baseline held when the run looked.
        not_looked: what of them was not looked at.
        left_out: guarded tests that were collected and not run.
    """

    state: Literal["full", "partial", "missing"] = "full"
    text: str = ""
    baselines: Mapping[str, str] = field(default_factory=dict)
    not_looked: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def if_partial(self) -> str:
        """The text where the run was partial; empty if it was not."""
        return self.text if self.state == "partial" else ""


@dataclass(frozen=True)
class Tally:
    """What became of every check of every baseline.

    Attributes:
        states: by baseline and check.
        reasons: why a baseline was not looked at, where it was to be.
        left_out: guarded tests that were collected and not run.
        gone: baselines, and tests and checks that they name, where the test guards them no longer.
        judged: models and variants that were judged.
    """

    states: Mapping[Name, Mapping[str, State]]
    reasons: Mapping[Name, str]
    left_out: tuple[str, ...]
    gone: frozenset[tuple[Name, str, str]]
    judged: frozenset[Name]

    def of(self, *states: State) -> dict[Name, list[str]]:
        """Return the checks that are in one of some states, by baseline."""
        found = {name: [check for check, state in own.items() if state in states] for name, own in self.states.items()}
        return {name: checks for name, checks in found.items() if checks}


class Assessor:
    """Tells what became of each check of each baseline.

    Args:
        held: the baselines there are.
        looked: by model and variant, the checks that tests of the run judged.
        judged: by test, the models and variants that it judged.
        ran: the guarded tests that were started.
        failed: those of them that failed before their limits were judged.
        scope: what the run was to look at.
    """

    def __init__(
        self,
        held: Mapping[Name, Held],
        looked: Mapping[Name, Collection[str]],
        judged: Mapping[str, Collection[Name]],
        ran: Collection[str],
        failed: Collection[str],
        scope: Scope,
    ) -> None:
        self._held, self._looked = held, looked
        self._judged, self._ran, self._failed = judged, ran, failed
        self._collected, self._declared, self._reach = scope.collected, scope.declared, scope.reach
        self._named = {test for own in held.values() for test in own.tests}

    def tally(self) -> Tally:
        """Return what became of all of them."""
        states: dict[Name, dict[str, State]] = {}
        reasons: dict[Name, str] = {}
        for name in sorted(self._held):
            own = states[name] = {}
            for check in self._held[name].checks or (_UNKNOWN,):
                own[check], reason = self._of_check(name, check)
                if own[check].is_missing and reason:
                    reasons.setdefault(name, reason)
        gone = {
            (name, test, check)
            for name, own in self._held.items()
            for test, checks in own.tests.items()
            for check in checks
            if self._of_test(test, name, check)[0] is State.GONE
        }
        left_out = tuple(test for test in self._collected.came if test not in self._ran)
        return Tally(states, reasons, left_out, frozenset(gone), frozenset(self._looked))

    def _of_check(self, name: Name, check: str) -> tuple[State, str]:
        looked = self._looked.get(name)
        if looked is not None and (check in looked or check == _UNKNOWN):
            return State.LOOKED, ""
        tests = [test for test, checks in self._held[name].tests.items() if check in checks]
        found = [self._of_test(test, name, check) for test in tests]
        strangers: list[str] = []
        if all(state is State.GONE for state, _ in found):
            # A test that no baseline names may be the one that guards this, under another name.
            wanted = name[1], check
            came = self._collected.came
            strangers = [
                test
                for test in came
                if test not in self._named and test not in self._judged and _is_asked(wanted, came[test])
                if not test.startswith(DECLARED) or test.split("::")[1] == name[0]
            ]
            found += [(State.FAILED, "") for test in strangers if test in self._failed]
            found += [(State.LEFT_OUT, "") for test in strangers if test not in self._ran]
        for state in (State.FAILED, State.LEFT_OUT, State.OUT_OF_REACH, State.NOT_JUDGED, State.GONE):
            for entry in found:
                if entry[0] is state:
                    return entry
        return self._of_nameless(strangers)

    def _of_nameless(self, strangers: Sequence[str]) -> tuple[State, str]:
        """Judge what a version saved that wrote down no test: it may be anywhere in the project."""
        if self._collected.spared or self._collected.last_failed:
            return State.LEFT_OUT, ""
        if not self._reach.everything and not self._reach.covers_every_file():
            return State.OUT_OF_REACH, ""
        if strangers:
            return State.NOT_JUDGED, f"{strangers[0]} judged nothing"
        refused = next(iter(self._collected.refused.items()), None)
        return (State.NOT_JUDGED, f"{refused[0]}: {refused[1]}") if refused else (State.GONE, "")

    def _of_test(self, test: str, name: Name, check: str) -> tuple[State, str]:
        """Tell what became of a check of a baseline by one test that guards it."""
        wanted = name[1], check
        asks = self._collected.came.get(test)
        if asks is None:
            return self._of_absent(test, wanted)
        if not _is_asked(wanted, asks):
            return State.GONE, f"{test} asks for it no longer"
        if test in self._judged:
            return (State.LOOKED, "") if name in self._judged[test] else (State.GONE, f"{test} judges another model")
        if test in self._failed:
            return State.FAILED, ""
        if test not in self._ran:
            return State.LEFT_OUT, ""
        return State.NOT_JUDGED, f"{test} judged nothing; it was skipped"

    def _of_absent(self, test: str, wanted: tuple[str, str]) -> tuple[State, str]:
        """Tell what became of a test that was not collected."""
        path = self._reach.path(test)
        declared = test.startswith(DECLARED)
        if declared and not _is_asked(wanted, self._declared.get(test, ())):
            return State.GONE, f"{test} is declared no longer"
        if any(is_below(path, Path(other)) for other in self._collected.hidden):
            return State.NOT_JUDGED, f"the project keeps {path.name} from being collected"
        if not self._reach.holds(test):
            return State.OUT_OF_REACH, ""
        for collector, why in self._collected.refused.items():
            if collector in ("", ".", test) or test.startswith((f"{collector}::", f"{collector}/")):
                return State.NOT_JUDGED, f"{collector} {why}"
        if any(is_below(path, Path(other)) for other in self._collected.spared):
            return State.LEFT_OUT, ""
        if self._collected.last_failed and path.exists():
            return State.LEFT_OUT, ""
        if declared:
            return State.LEFT_OUT, ""
        return State.GONE, f"{test} was not collected"


def _is_asked(wanted: tuple[str, str], asks: Asks) -> bool:
    """Tell whether a kind's check is among what a test asks for; of an unknown check the kind decides."""
    kind, check = wanted
    return any(kind == other and check in (_UNKNOWN, asked) for other, asked in asks)


# -- in words ------------------------------------------------------------------------------------------------


def file_of(name: Name) -> str:
    """Return a baseline's file, as it is spoken of."""
    return f"{name[0]}/{name[1]}.json"


def describe(tally: Tally, digests: Mapping[Name, str]) -> Coverage:
    """Return what stands in the reports."""
    unseen = tally.of(*(state for state in State if state.is_partial or state.is_missing))
    kind: Literal["full", "partial", "missing"] = "missing" if unseen else "full"
    if tally.left_out or tally.of(*(state for state in State if state.is_partial)):
        kind = "partial"
    looked = sum(set(own.values()) == {State.LOOKED} for own in tally.states.values())
    text = f"{looked} of {counted(len(tally.states), 'baseline')} looked at"
    names = {f"{model}/{variant}": digest for (model, variant), digest in digests.items()}
    text = f"partial: {text}" if kind == "partial" else text
    return Coverage(kind, text, names, tuple(_places(tally, unseen)), tally.left_out)


def _places(tally: Tally, found: Mapping[Name, Sequence[str]]) -> Iterator[str]:
    for name, checks in sorted(found.items()):
        whole = len(checks) == len(tally.states[name])
        yield file_of(name) if whole else f"{', '.join(checks)} of {file_of(name)}"


def remarks(coverage: Coverage) -> list[str]:
    """Return what a partial run says of itself."""
    if coverage.state != "partial":
        return []
    lines = [f"{coverage.text}."]
    if coverage.not_looked:
        lines.append(f"baselines not looked at in this run: {shortened(coverage.not_looked)}")
    if coverage.left_out:
        lines.append(f"guarded tests that were left out: {shortened(coverage.left_out)}")
    return lines


def findings(tally: Tally) -> list[str]:
    """Return what was to be looked at and was not."""
    missing = tally.of(State.NOT_JUDGED, State.GONE)
    whole = [
        name for name, checks in missing.items() if len(checks) == len(tally.states[name]) and name not in tally.judged
    ]
    parts = {name: checks for name, checks in missing.items() if name not in whole}
    found = []
    if whole:
        why = [f"{file_of(name)}: {tally.reasons[name]}" for name in whole if name in tally.reasons]
        found.append(
            f"no test looked at the baseline{'s' if len(whole) > 1 else ''} {', '.join(map(file_of, whole))}: whatever "
            "was guarded by it is no longer. Bring back its test or its model; if the test has another name now, let it "
            "run, or save anew; delete the file if the model is retired."
            + (f" What became of it: {shortened(why, '; ')}." if why else "")
        )
    if parts:
        names = "; ".join(f"{', '.join(checks)} of {file_of(name)}" for name, checks in parts.items())
        why = [tally.reasons[name] for name in parts if name in tally.reasons]
        found.append(
            f"the baseline holds what no test asked for: {names}. It was guarded and is no longer. Bring back its marker "
            "or its test, or, if it is meant, save anew without it: pytest --onnxlite-save-baseline --onnxlite-accept"
            + (f" What became of it: {shortened(list(dict.fromkeys(why)), '; ')}." if why else "")
        )
    return found


def nothing_guarded(tally: Tally, judged: Collection[str], failed: Collection[str]) -> Iterable[str]:
    """Say so where no test of a run judged a model, and none was left out."""
    partial = tally.left_out or any(state.is_partial for own in tally.states.values() for state in own.values())
    if not judged and not failed and not partial:
        yield (
            "nothing was guarded: no test of this run judged a model. Mark a test that takes a variant, such as "
            "@pytest.mark.onnxlite_accuracy on a test with the argument onnxlite_int8, and check that it is not "
            "skipped or deselected."
        )
