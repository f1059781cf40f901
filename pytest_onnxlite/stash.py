"""What pytest's config and tests carry for the plugin, and what a project adds to it. Loads with the plugin, and is light."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from pytest_onnxlite.declared.tests import DeclaredFile
    from pytest_onnxlite.markers import Guard
    from pytest_onnxlite.registry import Registry
    from pytest_onnxlite.settings import Settings, UsageMistake

Result = TypeVar("Result")

# On pytest's config: the models that pyproject.toml declares, if it declares any.
DECLARED: pytest.StashKey[DeclaredFile] = pytest.StashKey()
# On it too: what the user asked of the run.
SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
# On it too: the table of the runtime that --onnxlite-runtime names.
RUNTIME: pytest.StashKey[Mapping[str, object]] = pytest.StashKey()
_OWN: pytest.StashKey[Own] = pytest.StashKey()
_REGISTRY: pytest.StashKey[Registry] = pytest.StashKey()
# On a test: the limits it is judged by.
GUARD: pytest.StashKey[Guard] = pytest.StashKey()


class Own:
    """The checks and kinds that a project adds."""

    def __init__(self, checks: list[Any], kinds: list[Any]) -> None:
        self.checks = checks
        self.kinds = kinds


def own_of(config: pytest.Config) -> Own:
    """Return what a project's conftest.py files add, by the hooks `pytest_onnxlite_checks` and `pytest_onnxlite_kinds`."""
    if _OWN not in config.stash:
        hooks = config.hook.pytest_onnxlite_checks, config.hook.pytest_onnxlite_kinds
        config.stash[_OWN] = Own(*([one for found in hook() for one in found or ()] for hook in hooks))
    return config.stash[_OWN]


def pyproject_of(config: pytest.Config) -> Path:
    """Return where models can be declared."""
    path = config.inipath
    return path if path is not None and path.name == "pyproject.toml" else config.rootpath / "pyproject.toml"


def may_declare(config: pytest.Config) -> bool:
    """Whether the file there mentions the plugin at all.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    return b"onnxlite" in pyproject_of(config).read_bytes()


def refusal(error: UsageMistake) -> pytest.UsageError:
    """Return what ends the run for a user's mistake."""
    from pytest_onnxlite.topics import of_error, see

    return pytest.UsageError(f"{error}\n{see(of_error(error))}")


def registry_of(config: pytest.Config) -> Registry:
    """Return the checks and kinds of this run.

    Raises:
        UsageError: one that a project adds cannot be used.
    """
    if _REGISTRY not in config.stash:
        from pytest_onnxlite.registry import Registry
        from pytest_onnxlite.settings import UsageMistake

        own = own_of(config)
        try:
            config.stash[_REGISTRY] = Registry.load(own.checks, own.kinds)
        except UsageMistake as error:
            raise refusal(error) from None
    return config.stash[_REGISTRY]


def or_fail(call: Callable[[], Result]) -> Result:
    """Return what a call returns; a user's mistake ends the test with its text, without our traceback."""
    from pytest_onnxlite.errors import OnnxliteError
    from pytest_onnxlite.text import shown_lines
    from pytest_onnxlite.topics import of_error, see

    __tracebackhide__ = True
    try:
        return call()
    except OnnxliteError as error:
        text = f"{shown_lines(str(error))}\n{see(of_error(error))}"
    # Outside of the handler: pytest would show both exceptions.
    raise pytest.fail.Exception(text, pytrace=False)
