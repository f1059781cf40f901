"""Quantities that a marker writes with their unit: `"2 MB"`, `"64 MiB"`, `"10 ms"`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_onnxlite.checks.limit import Argument
from pytest_onnxlite.settings import UsageMistake

_NUMBER = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-zµμ]+)\s*")
_BYTES = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3}
# Of the two signs for micro, one is a Greek letter; keyboards have either.
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6}


@dataclass(frozen=True)
class Quantity(Argument):
    """A number with a unit, which a limit keeps in the smallest unit that all are multiples of.

    A bare number is refused: whether 2 means bytes or megabytes, nobody knows who reads it.

    Attributes:
        units: by name, how many of what the limit keeps each is.
    """

    units: Mapping[str, float] = field(default_factory=dict)

    def accept(self, where: str, name: str, value: Any) -> Any:
        """Return a quantity as a number.

        Raises:
            UsageMistake: it is no text, has no unit or an unknown one, or is not above 0.
        """
        match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        if match is not None and match[2] in self.units:
            amount = float(match[1]) * self.units[match[2]]
            if 0 < amount < math.inf:
                return amount
        raise UsageMistake(f"{where}: {name}={value!r}; expected {self.says}.")


BYTES = Quantity(float, f'a number above 0 with a unit ({", ".join(_BYTES)}), such as "2 MB"', units=_BYTES)
SECONDS = Quantity(float, 'a number above 0 with a unit (s, ms, us), such as "10 ms"', units=_SECONDS)
