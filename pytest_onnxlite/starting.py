"""How a run begins in which something is asked of the plugin, or where pyproject.toml mentions it."""

from __future__ import annotations

import pytest

from pytest_onnxlite.declared.runtimes import runtime_table
from pytest_onnxlite.declared.tests import DeclaredFile
from pytest_onnxlite.fixtures import session_of, settings_of
from pytest_onnxlite.settings import Settings, UsageMistake
from pytest_onnxlite.stash import DECLARED, RUNTIME, may_declare, pyproject_of, refusal, registry_of


def start(config: pytest.Config) -> None:
    """Read the settings, and look for declared models.

    Raises:
        UsageError: options that contradict each other, or a table that cannot be used.
    """
    settings = settings_of(config)
    try:
        _register_declared(config, settings)
    except UsageMistake as error:
        raise refusal(error) from None
    if settings.has_to_speak:
        session_of(config)  # even a run without a guarded test has something to say


def _register_declared(config: pytest.Config, settings: Settings) -> None:
    """Let the models be collected that pyproject.toml declares, if it declares any."""
    path = pyproject_of(config)
    if settings.runtime:
        config.stash[RUNTIME] = runtime_table(path, settings.runtime)
    try:
        mentioned = may_declare(config)
    except FileNotFoundError:
        return
    except OSError as error:
        if settings.mode == "plain":
            return
        raise UsageMistake(f"{path} may declare models, and cannot be read: {error}") from None
    asked = settings.mode != "plain" or bool(settings.reports or settings.processors)
    if not (mentioned or asked):
        return
    found = DeclaredFile.read(path, registry_of(config), strict=asked)
    if found.models:
        found.take_arguments(config)
        config.stash[DECLARED] = found
        config.pluginmanager.register(found)  # without a name, as the session
