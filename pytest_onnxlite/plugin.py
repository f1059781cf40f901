"""pytest's hooks: each hands over to what knows. Imports the standard library and pytest only.

It loads in every run of everybody who installed it, so that it is short, and hears of no single test: `session` does,
which loads where something is guarded.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

import pytest

from pytest_onnxlite.checks import NAMES
from pytest_onnxlite.fixtures import (  # noqa: F401  (pytest finds fixtures in a plugin's module)
    VARIANT_FIXTURES,
    onnxlite_model,
    own_fixtures,
    session_of,
)
from pytest_onnxlite.options import INI_DEFAULTS, INI_ONLY, METAVARS, OPTIONS, PREFIX, ini_name
from pytest_onnxlite.stash import GUARD, may_declare, own_of, registry_of

# pytest finds fixtures in a plugin's module.
globals().update(VARIANT_FIXTURES)


class _Hooks:
    """What a project's conftest.py can implement; see docs/checks.md."""

    def pytest_onnxlite_checks(self) -> list[Any]:  # type: ignore[empty-body]
        """Return checks of the project's own: instances of `pytest_onnxlite.checks.check.Check`."""

    def pytest_onnxlite_kinds(self) -> list[Any]:  # type: ignore[empty-body]
        """Return kinds of variant of the project's own: `pytest_onnxlite.kinds.Kind` with `build=`."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let a project add checks and kinds."""
    pluginmanager.add_hookspecs(_Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options and their ini twins."""
    group = parser.getgroup("onnxlite", "model releases (pytest-onnxlite)")
    for name, is_flag, text in OPTIONS:
        key = ini_name(name)
        if is_flag:
            # None, so that the ini file is heard if nothing is typed.
            group.addoption(f"--onnxlite-{name}", dest=key, action="store_true", default=None, help=text)
        else:
            group.addoption(f"--onnxlite-{name}", dest=key, metavar=METAVARS.get(name, "DIR"), help=text)
        _add_ini(parser, key, text)
    for name, text, _ in INI_ONLY:
        _add_ini(parser, ini_name(name), text)


def _add_ini(parser: pytest.Parser, name: str, text: str) -> None:
    default = INI_DEFAULTS[name]
    kind: Literal["bool"] | None = "bool" if isinstance(default, bool) else None
    parser.addini(name, text, type=kind, default=default)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; what more there is to do waits for somebody who asks for it."""
    _register_markers(config)
    if _is_asked(config) or _is_mentioned(config):
        from pytest_onnxlite.starting import start

        start(config)


def _is_asked(config: pytest.Config) -> bool:
    """Whether an option of ours is given, or an ini value is not what it is by itself."""
    options = vars(config.option).items()
    return any(value is not None for name, value in options if name.startswith(PREFIX)) or any(
        config.getini(name) != default for name, default in INI_DEFAULTS.items()
    )


def _is_mentioned(config: pytest.Config) -> bool:
    try:
        return may_declare(config)
    except OSError:  # where something is asked, it is read once more, and heard of
        return False


def _register_markers(config: pytest.Config) -> None:
    """Make the markers known; what they take is loaded where somebody asks for it (`pytest --markers`)."""
    own = own_of(config)
    if not (own.checks or own.kinds or config.option.markers or config.option.showfixtures):
        for name in NAMES:
            config.addinivalue_line("markers", f"{PREFIX}{name}(...): see pytest --markers")
        return
    registry = registry_of(config)
    for name, check in registry.checks.items():
        values = ", ".join(f"{argument}=..." for argument in check.limit.names())
        config.addinivalue_line("markers", f"{PREFIX}{name}({values}): {check.limit.summary()}")
    if own.kinds:
        config.pluginmanager.register(own_fixtures(own.kinds))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, object, object]:
    """Hand the guarded tests to what guards them, after a conftest.py marked them; if there are none, it is not loaded."""
    result = yield
    guarded = [
        item
        for item in items
        if GUARD in item.stash or any(mark.name.startswith(PREFIX) for mark in item.iter_markers())
    ]
    if guarded:
        session_of(config).read_markers(guarded)
    elif any("onnxlite_model" in getattr(item, "fixturenames", ()) for item in items):
        session_of(config)  # before the first of them is set up, so that each gets its own model's variants
    return result


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Listen on pytest-xdist's controller, which collects nothing itself: guarded tests may run in the workers."""
    session_of(node.config).prepare(node)
