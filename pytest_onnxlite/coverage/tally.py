"""What became of each check of each baseline.

A baseline names the tests that guard it. What was in reach of the run's arguments and did not come is missing; what came
and was left out, or was never in reach, makes the run a partial one.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_onnxlite.coverage.scope import DECLARED, Asks, Scope, is_below

if TYPE_CHECKING:
    from pytest_onnxlite.baseline.store import Held

# A model and a variant.
Name = tuple[str, str]
# The one check of a baseline that cannot be read: nobody knows what it holds.
_UNKNOWN = ""


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
class Guarded:
    """What became of a check of a baseline by one of the tests that it names.

    Attributes:
        name: the baseline.
        check: the check.
        test: the test.
        state: what became of it, or of the test that stands in for it.
        reason: why so; empty where that goes without saying.
        gone: whether it guards this no longer under its name.
    """

    name: Name
    check: str
    test: str
    state: State
    reason: str = ""
    gone: bool = False


@dataclass(frozen=True)
class Tally:
    """What became of every check of every baseline.

    Attributes:
        states: by baseline and check; of several tests that guard one the worst.
        reasons: why a baseline was not looked at, where it was to be.
        guards: the same by each test that a baseline names.
        left_out: guarded tests that were collected and not run.
        removed: those of them that were removed without pytest's being told.
        not_judged: guarded tests that ran, judged nothing, and that no baseline names.
        looked: by model and variant, the checks that were judged.
    """

    states: Mapping[Name, Mapping[str, State]]
    reasons: Mapping[Name, str]
    guards: tuple[Guarded, ...]
    left_out: tuple[str, ...]
    removed: tuple[str, ...]
    not_judged: tuple[str, ...]
    looked: Mapping[Name, Collection[str]]

    def of(self, *states: State) -> dict[Name, list[str]]:
        """Return the checks that are in one of some states, by baseline."""
        found = {name: [check for check, state in own.items() if state in states] for name, own in self.states.items()}
        return {name: checks for name, checks in found.items() if checks}

    @property
    def gone(self) -> frozenset[tuple[Name, str, str]]:
        """Baselines, and tests and checks that they name, where the test guards them no longer."""
        return frozenset((guarded.name, guarded.test, guarded.check) for guarded in self.guards if guarded.gone)

    def unjudged_of(self, name: Name) -> list[Guarded]:
        """Return by which tests a baseline was not judged, of checks that others of its tests did judge."""
        looked = self.looked.get(name, ())
        return [
            guarded
            for guarded in self.guards
            if guarded.name == name and guarded.check in looked and guarded.state is not State.LOOKED
        ]


# Of a check that several tests guard the worst counts: none of them may be missing.
_WORST_FIRST = [State.NOT_JUDGED, State.GONE, State.FAILED, State.LEFT_OUT, State.OUT_OF_REACH, State.LOOKED]
_STANDING_IN = [State.LOOKED, State.FAILED, State.LEFT_OUT, State.NOT_JUDGED]

# By test, the models and variants that it judged, each with its checks.
Judged = Mapping[str, Mapping[Name, Collection[str]]]


class Assessor:
    """Tells what became of each check of each baseline.

    Args:
        held: the baselines there are.
        judged: what the tests of the run judged.
        ran: the guarded tests that were started.
        failed: those of them that failed before their limits were judged.
        scope: what the run was to look at.
        skipped: by test, why it was skipped.
    """

    def __init__(
        self,
        held: Mapping[Name, Held],
        judged: Judged,
        ran: Collection[str],
        failed: Collection[str],
        scope: Scope,
        skipped: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._skipped = skipped
        self._held, self._judged, self._ran, self._failed = held, judged, ran, failed
        self._collected, self._declared, self._reach = scope.collected, scope.declared, scope.reach
        self._named = {test for own in held.values() for test in own.tests}
        self._looked: dict[Name, set[str]] = {}
        for own in judged.values():
            for name, checks in own.items():
                self._looked.setdefault(name, set()).update(checks)

    def tally(self) -> Tally:
        """Return what became of all of them."""
        states: dict[Name, dict[str, State]] = {}
        reasons: dict[Name, str] = {}
        guards: list[Guarded] = []
        for name in sorted(self._held):
            own = states[name] = {}
            for check in self._held[name].checks or (_UNKNOWN,):
                found = self._guards(name, check)
                guards += found
                own[check], reason = _worst(found) if found else self._of_nameless(name, check)
                if own[check].is_missing and reason:
                    reasons.setdefault(name, reason)
        left_out = tuple(test for test in self._collected.came if test not in self._ran)
        removed = tuple(test for test in left_out if test in self._collected.removed)
        not_judged = tuple(
            test
            for test in self._collected.came
            if test not in self._named and test not in self._judged and self._of_unjudged(test) is State.NOT_JUDGED
        )
        return Tally(states, reasons, tuple(guards), left_out, removed, not_judged, self._looked)

    def _guards(self, name: Name, check: str) -> list[Guarded]:
        """Return what became of a check by each test that the baseline names.

        Each of them has a limit of its own, so that none stands in for another. A test that the baseline does not name may
        be one of them under another name, and stands in for one that is gone.
        """
        tests = [test for test, checks in self._held[name].tests.items() if check in checks]
        newcomers = self._newcomers(name, check, tests)
        found = []
        for test in tests:
            state, reason = self._of_test(test, name, check)
            gone = state is State.GONE
            if gone and newcomers:
                state, reason = newcomers.pop(0), ""
            found.append(Guarded(name, check, test, state, reason, gone))
        return found

    def _newcomers(self, name: Name, check: str, named: Sequence[str]) -> list[State]:
        """Return what became of the tests that may guard a check under another name than the baseline has, the best first."""
        judged = [
            State.LOOKED for test, own in self._judged.items() if test not in named and check in own.get(name, ())
        ]
        others = sorted(self._strangers(name, check).values(), key=_STANDING_IN.index)
        return [*judged, *(state for state in others if state is not State.NOT_JUDGED)]

    def _strangers(self, name: Name, check: str) -> dict[str, State]:
        """Return the tests without a baseline that ask for a check of a kind and judged nothing, and why they did not."""
        return {
            test: self._of_unjudged(test)
            for test, asks in self._collected.came.items()
            if test not in self._named and test not in self._judged and _is_asked((name[1], check), asks)
            if not test.startswith(DECLARED) or test.split("::")[1] == name[0]
        }

    def _of_unjudged(self, test: str) -> State:
        """Tell what became of a test that was collected and judged nothing."""
        if test in self._failed:
            return State.FAILED
        return State.NOT_JUDGED if test in self._ran else State.LEFT_OUT

    def _of_nameless(self, name: Name, check: str) -> tuple[State, str]:
        """Judge what a version saved that wrote down no test: it may be anywhere in the project."""
        looked = self._looked.get(name)
        if looked is not None and (check in looked or check == _UNKNOWN):
            return State.LOOKED, ""
        strangers = self._strangers(name, check)
        for state in (State.FAILED, State.LEFT_OUT):
            if state in strangers.values():
                return state, ""
        if self._collected.spared or self._collected.last_failed:
            return State.LEFT_OUT, ""
        if not self._reach.everything and not self._reach.covers_every_file():
            return State.OUT_OF_REACH, ""
        if strangers:
            return State.NOT_JUDGED, f"{next(iter(strangers))} judged nothing"
        refused = next(iter(self._collected.refused.items()), None)
        return (State.NOT_JUDGED, f"{refused[0]}: {refused[1]}") if refused else (State.GONE, "")

    def _of_test(self, test: str, name: Name, check: str) -> tuple[State, str]:
        """Tell what became of a check of a baseline by one test that guards it."""
        if check in self._judged.get(test, {}).get(name, ()):
            return State.LOOKED, ""
        wanted = name[1], check
        asks = self._collected.came.get(test)
        if asks is None:
            return self._of_absent(test, wanted)
        if not _is_asked(wanted, asks):
            return State.GONE, f"{test} asks for it no longer"
        if test in self._judged:
            return State.GONE, f"{test} judges another model"
        state = self._of_unjudged(test)
        if state is not State.NOT_JUDGED:
            return state, ""
        why = self._skipped.get(test, "").rstrip(".")
        return state, f"{test} judged nothing; it was skipped{f' ({why})' if why else ''}"

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
        return State.GONE, f"{test} was not collected, or its marker is gone"


def _worst(guards: Sequence[Guarded]) -> tuple[State, str]:
    """Return the worst of what became of a check by its tests, and why."""
    found = min(guards, key=lambda guarded: _WORST_FIRST.index(guarded.state))
    return found.state, found.reason


def _is_asked(wanted: tuple[str, str], asks: Asks) -> bool:
    """Tell whether a kind's check is among what a test asks for; of an unknown check the kind decides."""
    kind, check = wanted
    return any(kind == other and check in (_UNKNOWN, asked) for other, asked in asks)
