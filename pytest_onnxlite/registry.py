"""The checks and the kinds of variant that a run knows: ours, and those that a project's conftest.py adds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_onnxlite import checks
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.kinds import CHOSEN, KINDS, Kind, stand_in
from pytest_onnxlite.labels import ByName
from pytest_onnxlite.options import PREFIX
from pytest_onnxlite.settings import UsageMistake

# What else stands next to the checks in a baseline file, and in the table of a declared model.
_TAKEN = frozenset(
    {
        "schema",
        "model",
        "variant",
        "artefact",
        "runtime",
        "machines",
        "first",
        "tests",
        "accepted",
        "earlier",
        "description",
    }
)
DECLARED_KEYS = frozenset(
    {
        "trained",
        "onnx",
        "int8",
        "data",
        "calibration",
        "metric",
        "output",
        "batch_size",
        "threads",
        "batched",
        "recipe",
        "runtime",
        "scenarios",
        "state",
        "grows",
    }
) | {"variants", "judge"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def marker_of(check: str) -> str:
    """Return the name of a check's marker."""
    return f"{PREFIX}{check}"


@dataclass(frozen=True)
class Registry:
    """Checks and kinds by name, in the order in which they are judged and shown."""

    checks: ByName[Check[Any, Any]]
    kinds: Mapping[str, Kind] = field(default_factory=lambda: dict(KINDS))

    @classmethod
    def load(cls, more_checks: Iterable[Any] = (), more_kinds: Iterable[Any] = ()) -> Registry:
        """Return ours, and a project's own.

        Raises:
            UsageMistake: one is no check or kind, or its name is taken or cannot be one.
        """
        found: dict[str, Check[Any, Any]] = {name: checks.load(name) for name in checks.NAMES}
        for check in more_checks:
            if not isinstance(check, Check):
                raise UsageMistake(f"pytest_onnxlite_checks returned {check!r}; expected instances of Check.")
            _require_name(check.name, "check", {*found, *_TAKEN, *DECLARED_KEYS})
            found[check.name] = check
        kinds = dict(KINDS)
        for kind in more_kinds:
            if not isinstance(kind, Kind) or kind.build is None:
                raise UsageMistake(f"pytest_onnxlite_kinds returned {kind!r}; expected Kind(..., build=...).")
            _require_name(kind.name, "kind", {*kinds, "model", CHOSEN})
            if kind.made_from not in kinds:
                raise UsageMistake(
                    f"pytest_onnxlite_kinds: {kind.name} is made from {kind.made_from!r}; expected one of "
                    f"{', '.join(kinds)}."
                )
            kinds[kind.name] = kind
        return cls(ByName(found), kinds)

    def kind(self, name: str) -> Kind:
        """Return what is known about a kind; of a variant that a spec gives a name to, nothing yet."""
        return self.kinds[name] if name in self.kinds else stand_in(name)

    def in_order(self, keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Sort pairs of kind and check, which may have a label, as they are shown and judged; named variants come last."""
        kinds = {kind: place for place, kind in enumerate(self.kinds)}
        names = ByName({name: place for place, name in enumerate(self.checks)})

        def place(key: tuple[str, str]) -> tuple[int, str, int, str]:
            return kinds.get(key[0], len(kinds)), key[0], names[key[1]], key[1]

        return sorted(keys, key=place)


def _require_name(name: object, what: str, taken: set[str]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageMistake(f"a {what} is called {name!r}; expected lower-case letters, digits and underscores.")
    if name in taken:
        raise UsageMistake(f"a {what} of yours is called {name!r}, and that name is taken.")
