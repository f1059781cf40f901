"""What became of each check of each baseline.

A baseline names the tests that guard it. What was in reach of the run's arguments and did not come is missing; what came
and was left out, or was never in reach, makes the run a partial one.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
