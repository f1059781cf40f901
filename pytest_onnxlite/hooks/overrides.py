"""Lets each test have the variants of its own model, where several folders, modules or classes of a run give one.

pytest keeps the value of a session-scoped fixture although a fixture that it was made from is overridden for the next
test (pytest issues 2844, 5203, 6707): `onnxlite_int8` would be that of the model which came first. Before a test is set
up, what was made from other fixtures than the test's own is finished here, as pytest itself does if a parameter
changes. What was built stays built: the fixture runs again, and gets it from the run's own store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

_MODEL = "onnxlite_model"

# A fixture's definition, and those of all that it is made from.
Origin = tuple[Any, ...]


class Overrides:
    """Knows what each fixture that has to do with a model was made from; a plugin of pytest's.

    Args:
        variants: the names of the variants' fixtures, which a test may also ask for while it runs.
    """

    def __init__(self, variants: Sequence[str]) -> None:
        self._variants = variants
        self._made_from: dict[Any, Origin] = {}
        # By definition, what it asked for while it ran: its arguments do not tell.
        self._asked: dict[Any, list[str]] = {}
        self._last: pytest.Item | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Finish what was made from another override than this test's."""
        if self._last is not None:  # something was asked for in the last test, and is now known
            self._made_from.update(self._concerned(self._last))
            self._last = None
        for definition, origin in self._concerned(item).items():
            if definition.cached_result is not None and self._made_from.get(definition) != origin:
                definition.finish(item._request)  # type: ignore[attr-defined]
            self._made_from[definition] = origin

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> None:
        """Note what a fixture asks for while it runs."""
        if "request" not in fixturedef.argnames or request.scope == "function":
            return
        asked = self._asked[fixturedef] = []
        get = request.getfixturevalue

        def noted(argname: str) -> Any:
            asked.append(argname)
            self._last = request._pyfuncitem
            return get(argname)

        request.getfixturevalue = noted

    def _concerned(self, item: Any) -> dict[Any, Origin]:
        """Return what a model is made from, and what is made from one, among the fixtures that a test may ask for."""
        names = getattr(item, "fixturenames", ())
        if _MODEL not in names and not ("request" in names and _has_model(item)):
            return {}
        found: dict[Any, Origin] = {}
        for name in [*names, _MODEL, *self._variants] if "request" in names else names:
            self._follow(item, name, (), found)
        model = next((origin for one, origin in reversed(found.items()) if one.argname == _MODEL), ())
        return {
            one: origin
            for one, origin in found.items()
            if one in model or any(other.argname == _MODEL for other in origin)
        }

    def _follow(self, item: Any, name: str, above: tuple[str, ...], found: dict[Any, Origin]) -> Origin:
        """Return what a fixture is made from if this test asks for it; notes the same of all that it is made from.

        Args:
            item: the test.
            name: the fixture's name.
            above: the fixtures that ask for it; one that asks for its own name gets the definition that it overrides.
            found: takes each definition with its origin.
        """
        definitions = _definitions(item, name)
        level = 1 + above.count(name)
        if level > len(definitions):
            return ()  # what pytest itself refuses
        definition = definitions[-level]
        if definition not in found:
            asked = dict.fromkeys((*definition.argnames, *self._asked.get(definition, ())))
            parts = [self._follow(item, argument, (*above, name), found) for argument in asked]
            found[definition] = (definition, *dict.fromkeys(one for part in parts for one in part))
        return found[definition]


def _definitions(item: Any, name: str) -> Sequence[Any]:
    """Return the definitions of a fixture that a test sees, the closest last; none of `request`."""
    known = item._fixtureinfo.name2fixturedefs.get(name)
    # Not known when the test was collected: it is asked for while something runs.
    return known or item.session._fixturemanager.getfixturedefs(name, item) or ()


def _has_model(item: Any) -> bool:
    """Tell whether a test that may ask for a variant while it runs has a model to ask for."""
    definitions = _definitions(item, _MODEL)
    return bool(definitions) and definitions[-1].func.__module__ != "pytest_onnxlite.fixtures"
