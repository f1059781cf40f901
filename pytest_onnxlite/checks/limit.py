"""What a marker asks: the base of every check's limit, and how arguments are checked."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_onnxlite.kinds import Kind
from pytest_onnxlite.labels import LABEL, LABEL_SAYS
from pytest_onnxlite.settings import UsageMistake
from pytest_onnxlite.text import unknown


@dataclass(frozen=True)
class Argument:
    """What a marker's argument may be.

    Attributes:
        type: `int`, `float`, `bool`, `str` or `tuple` (of strings).
        says: what is expected, for a message.
        low: the smallest number.
        high: the largest number.
        choices: the strings that are allowed, by themselves or in a list; any where empty.
        form: what a string must look like; anything if None.
    """

    type: type
    says: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    form: re.Pattern[str] | None = None

    def accept(self, where: str, name: str, value: Any) -> Any:
        """Return a value as the limit keeps it.

        Raises:
            UsageMistake: it is of another type, or out of range.
        """
        if self.type is tuple:
            good = isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(v, str) for v in value)
            value = tuple(sorted(set(value))) if good else value
            for entry in value if good and self.choices else ():
                if entry not in self.choices:
                    raise UsageMistake(f"{where}: {name}: {unknown('name', entry, self.choices, 'There are')}")
        elif self.type is str:
            good = isinstance(value, str) and (not self.choices or value in self.choices)
            good = good and (self.form is None or self.form.fullmatch(value) is not None)
        elif self.type is bool:
            good = isinstance(value, bool)
        else:
            numbers = (int, float) if self.type is float else (int,)
            good = isinstance(value, numbers) and not isinstance(value, bool) and self.low <= value <= self.high
        if not good:
            raise UsageMistake(f"{where}: {name}={value!r}; expected {self.says}.")
        return value


def whole(low: int) -> Argument:
    """Return the rule for a whole number."""
    return Argument(int, f"a whole number from {low}", low)


def number(low: float, high: float, says: str) -> Argument:
    """Return the rule for a number within bounds."""
    return Argument(float, says, low, high)


# What was written in a marker, or in pyproject.toml for one, by argument; a limit checks it.
Arguments = Mapping[str, Any]

# Who writes 5 means 5 %, and would be guarded against nothing.
GROWTH = number(0.0, 1.0, "a number from 0 to 1 (0.05 is 5 %)")
# A sum of several releases.
TOTAL = number(0.0, 10.0, "a number from 0 to 10 (0.1 is 10 %)")
FLAG = Argument(bool, "True or False")
_LABEL = Argument(str, LABEL_SAYS, form=LABEL)
SEQUENCE = "sequence"
SCENARIO = Argument(str, f"the name of a scenario of the model: {LABEL_SAYS}", form=LABEL)
# Where the last release runs: in its own runtime; elsewhere, if nothing is said, in today's.
RUNTIME = Argument(str, "'last': the last release in its own runtime", choices=("last",))


@dataclass(frozen=True)
class Limit:
    """What one marker asks; its fields are the marker's arguments.

    Attributes:
        arguments: by field, what it may be.
        variant: the kind of variant that it judges; the only one that the test takes where None.
        label: tells several markers of one check on one test apart; each has its own section in the baseline. Empty for
            none.
    """

    arguments: ClassVar[Mapping[str, Argument]] = {}

    variant: str | None = None
    label: str = ""

    @property
    def scenario_name(self) -> str:
        """The scenario that it names; empty for none."""
        return str(vars(self).get("scenario", "")) if self.arguments.get("scenario") is SCENARIO else ""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the arguments."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def summary(cls) -> str:
        """Return what it asks, for `pytest --markers`: the docstring's first line, without the marker's name."""
        return (cls.__doc__ or "").split("\n")[0].split(": ", 1)[-1].removesuffix(".")

    @classmethod
    def spread(cls, values: Arguments, where: str) -> Sequence[Arguments]:
        """Return the arguments of each limit that one marker asks for.

        Raises:
            UsageMistake: they cannot be told apart.
        """
        return [values]

    @classmethod
    def filled(cls, values: Arguments) -> Arguments:
        """Return the arguments that were given, with those that follow from them."""
        return values

    def misfit(self, kind: Kind) -> str:
        """Say why the limit, with these arguments, cannot judge a variant of this kind; empty if it can."""
        return ""


def parse_limits(
    limit: type[Limit], arguments: Mapping[str, object], where: str, kinds: tuple[str, ...]
) -> list[Limit]:
    """Turn the arguments of a marker into each limit that it asks for; see `parse_limit`."""
    return [parse_limit(limit, values, where, kinds) for values in limit.spread(arguments, where)]


def parse_limit(limit: type[Limit], arguments: Mapping[str, object], where: str, kinds: tuple[str, ...]) -> Limit:
    """Turn the arguments of a marker, wherever they were written, into its limit.

    Args:
        limit: the check's limit.
        arguments: what was given.
        where: where they are written, for messages.
        kinds: the kinds of variant there are.

    Raises:
        UsageMistake: an unknown argument, or a value of the wrong type or out of range.
    """
    names = limit.names()
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in names:
            raise UsageMistake(f"{where}: {unknown('argument', name, names)}")
        if name == "variant":
            if value is not None and value not in kinds:
                raise UsageMistake(f"{where}: variant={value!r}; expected one of {', '.join(kinds)}.")
            values[name] = value
        elif name == "label":
            values[name] = _LABEL.accept(where, name, value)
        elif value is not None or limit.arguments[name].type in (bool, tuple):
            values[name] = limit.arguments[name].accept(where, name, value)
    if limit.arguments.get("scenario") is SCENARIO:
        # So that markers for several scenarios stand on one test.
        label = "-".join(filter(None, [values.get("scenario"), SEQUENCE if values.get("per") == SEQUENCE else ""]))
        values = {"label": label, **values} if label else values
    return limit(**limit.filled(values))


@dataclass(frozen=True)
class RuledOut:
    """That a limit cannot be kept: why, and the least that the figure comes to, by which what is ruled out is compared."""

    why: str
    least: float
