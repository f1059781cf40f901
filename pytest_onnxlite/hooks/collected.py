"""What pytest collects, taken down before anybody leaves a part of it out; and what a run's arguments reach."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence
from fnmatch import fnmatch
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from pytest_onnxlite.coverage.scope import Collected, Reach, Scope, is_below
from pytest_onnxlite.labels import labelled
from pytest_onnxlite.markers import Guard
from pytest_onnxlite.options import PREFIX
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.settings import UsageMistake
from pytest_onnxlite.stash import DECLARED, GUARD

# What marks a virtual environment, of venv or of conda; pytest looks into none unless it is told to.
_OF_ENVIRONMENTS = ("pyvenv.cfg", "conda-meta/history")


class Collecting:
    """Hears of every test that is collected, of all that is not, and why; a plugin of pytest's.

    Options and plugins leave tests out afterwards, and most of them without telling.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._items: list[pytest.Item] = []
        self._refused: dict[str, str] = {}
        self._hidden: list[str] = []
        self._spared: list[str] = []
        self._deselected: set[str] = set()
        self._elsewhere: list[str] = []

    def pytest_collect_file(self, file_path: Path) -> None:
        """Take down what declares models for another root than pytest's."""
        if file_path.name == "pyproject.toml" and _declares_for_another_root(file_path, self._config):
            self._elsewhere.append(str(file_path))

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Take it down; it gets its markers later."""
        self._items.append(item)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Take down what an option or a plugin leaves out, and says so."""
        self._deselected.update(item.nodeid for item in items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take down what skips itself, or cannot be collected."""
        if report.skipped:
            reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._refused[report.nodeid] = f"was skipped while it was collected ({reason.removeprefix('Skipped: ')})"
        elif report.failed:
            lines = report.longreprtext.strip().splitlines() or [""]
            self._refused[report.nodeid] = f"could not be collected ({lines[-1].removeprefix('E').strip()})"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> Generator[None, bool | None, bool | None]:
        """Take down what is kept from being collected, by the project for good or by an option for this run."""
        ignored = yield
        if ignored:
            for_good = self._is_hidden(collection_path) and not self._is_ignored_by_option(collection_path)
            (self._hidden if for_good else self._spared).append(str(collection_path))
        return ignored

    def _is_ignored_by_option(self, path: Path) -> bool:
        folder = self._config.invocation_params.dir
        ignored = [os.path.normpath(folder / name) for name in self._config.getoption("ignore") or ()]
        globs = [os.path.normpath(folder / name) for name in self._config.getoption("ignore_glob") or ()]
        return str(path) in ignored or any(fnmatch(str(path), glob) for glob in globs)

    def _is_hidden(self, path: Path) -> bool:
        """Tell whether pytest never looks into a path, or a conftest.py's `collect_ignore` or the ini file's `norecursedirs` names it."""
        if path.name == "__pycache__" or any((path / mark).is_file() for mark in _OF_ENVIRONMENTS):
            return True
        if any(fnmatch(path.name, pattern) for pattern in self._config.getini("norecursedirs")) and path.is_dir():
            return True
        for plugin in self._config.pluginmanager.get_plugins():
            file = Path(getattr(plugin, "__file__", None) or "")
            if isinstance(plugin, ModuleType) and file.name == "conftest.py":
                if path in [file.parent / name for name in getattr(plugin, "collect_ignore", ())]:
                    return True
                globs = [str(file.parent / name) for name in getattr(plugin, "collect_ignore_glob", ())]
                if any(fnmatch(str(path), glob) for glob in globs):
                    return True
        return False

    def taken_down(self, registry: Registry, left: Sequence[pytest.Item]) -> Collected:
        """Return all of it; called when the collection is over, and every conftest.py has added its markers.

        Args:
            registry: the checks and kinds there are.
            left: the tests that are to run.
        """
        came = {}
        for item in self._items:
            guard = item.stash.get(GUARD, None) or _guard_of(item, registry)
            if guard is not None:
                came[item.nodeid] = tuple((kind, labelled(check, limit.label)) for kind, check, limit in guard.limits)
        self._items.clear()
        known = self._deselected.union(item.nodeid for item in left)
        removed = tuple(test for test in came if test not in known)
        # By this name pytest itself leaves out what passed last time, file by file, while it collects.
        last_failed = self._config.pluginmanager.hasplugin("lfplugin-collskip")
        elsewhere = dict.fromkeys((*_declaring_above(self._config), *self._elsewhere))
        return Collected(
            came, dict(self._refused), tuple(self._hidden), tuple(self._spared), last_failed, removed, tuple(elsewhere)
        )


def _declares_for_another_root(path: Path, config: pytest.Config) -> bool:
    """Tell whether a pyproject.toml declares models and is not the one that is read."""
    declared = config.stash.get(DECLARED, None)
    if path in (config.rootpath / "pyproject.toml", config.inipath, declared and declared.path):
        return False
    try:
        return re.search(rb"^\s*\[\s*tool\s*\.\s*onnxlite\b", path.read_bytes(), re.M) is not None
    except OSError:
        return False


def _declaring_above(config: pytest.Config) -> list[str]:
    """Return the files that declare models for another root, in the folders between the arguments and pytest's root."""
    given = [config.invocation_params.dir, *(_resolved(argument, config)[0] for argument in config.args)]
    folders = dict.fromkeys(
        folder for path in given for folder in (path, *path.parents) if folder.is_relative_to(config.rootpath)
    )
    found = (folder / "pyproject.toml" for folder in folders)
    return [str(path) for path in found if path.is_file() and _declares_for_another_root(path, config)]


def _guard_of(item: pytest.Item, registry: Registry) -> Guard | None:
    """Return the guard of a test that was left out; none where its markers cannot be read."""
    if not any(mark.name.startswith(PREFIX) for mark in item.iter_markers()):
        return None
    try:
        return Guard.from_item(item, registry)
    except UsageMistake:
        return None


def scope_of(config: pytest.Config, collected: Collected) -> Scope:
    """Return what a run was to look at."""
    declared = config.stash.get(DECLARED, None)
    return Scope(collected, {} if declared is None else declared.tests(), reach_of(config))


def reach_of(config: pytest.Config) -> Reach:
    """Return what a run's arguments reach; without any, at the project's root, that is all there is."""
    declared = config.stash.get(DECLARED, None)
    arguments = tuple(_resolved(argument, config) for argument in config.args)
    return Reach(
        config.rootpath,
        arguments,
        config.args_source is config.ArgsSource.TESTPATHS,
        config.rootpath / "pyproject.toml" if declared is None else declared.path,
        partial(_covers_every_file, config, [path for path, names in arguments if not names]),
    )


def _resolved(argument: str, config: pytest.Config) -> tuple[Path, tuple[str, ...]]:
    """Return the file or folder of an argument, and the names within it."""
    base, bracket, parameters = argument.partition("[")
    place, *names = base.split("::")
    if names:
        names[-1] += bracket + parameters
    found = _module_path(place) if config.option.pyargs else None
    return found or config.invocation_params.dir / place, tuple(names)


def _module_path(name: str) -> Path | None:
    """Return where `--pyargs` finds a module or package; None where a name is none."""
    try:
        spec = find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)


def _covers_every_file(config: pytest.Config, given: list[Path]) -> bool:
    """Tell whether no test file of the project lies outside of the files and folders that were given."""
    patterns, skipped = config.getini("python_files"), config.getini("norecursedirs")
    for folder, folders, files in os.walk(config.rootpath):
        here = Path(folder)
        folders[:] = [
            name
            for name in folders
            if not any(fnmatch(name, pattern) for pattern in skipped)
            if not (here / name / "pyvenv.cfg").exists() and not any(is_below(here / name, path) for path in given)
        ]
        tests = (here / name for name in files if any(fnmatch(name, pattern) for pattern in patterns))
        if not all(any(is_below(test, path) for path in given) for test in tests):
            return False
    return True
