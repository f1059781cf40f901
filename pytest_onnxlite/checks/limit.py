"""What a marker asks: the base of every check's limit, and how values are checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_onnxlite.settings import KINDS, UsageMistake

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Limit:
    """What one marker asks; its fields are the marker's arguments."""

    check: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = KINDS
    rules: ClassVar[dict[str, Any]] = {}

    variant: str | None = None


def whole(low: int) -> Any:
    """Return the rule for a whole number."""
    return {"type": int, "low": low, "high": math.inf, "says": f"a whole number from {low}"}


def number(low: float, high: float, says: str) -> Any:
    """Return the rule for a number within bounds."""
    return {"type": float, "low": low, "high": high, "says": says}


# Who writes 5 means 5 %, and would be guarded against nothing.
GROWTH = number(0.0, 1.0, "a number from 0 to 1 (0.05 is 5 %)")


FLAG = {"type": bool, "says": "True or False"}


def check_value(where: str, name: str, value: Any, rule: dict[str, Any]) -> Any:
    """Return a marker's argument as its rule wants it.

    Raises:
        UsageMistake: it is of another type, or out of range.
    """
    wanted = rule["type"]
    if wanted is tuple:
        good = isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(v, str) for v in value)
        value = tuple(sorted(value)) if good else value
    elif wanted is str:
        good = value in rule["choices"]
    elif wanted is bool:
        good = isinstance(value, bool)
    else:
        numbers = (int, float) if wanted is float else (int,)
        good = isinstance(value, numbers) and not isinstance(value, bool) and rule["low"] <= value <= rule["high"]
    if not good:
        raise UsageMistake(f"{where}: {name}={value!r}; expected {rule['says']}.")
    return value
