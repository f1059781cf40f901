"""What messages tell the reader to type: all of it here, where tests/integration/test_commands.py runs each. Imports nothing of ours."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SAVE = "pytest --onnxlite-save-baseline"
ACCEPT = f"{SAVE} --onnxlite-accept"
COMPARE = "pytest --onnxlite-baseline"
BUNDLE = "pytest --onnxlite-bundle=DIR"
DECLARED = "pytest onnxlite"
WITH_LAST_RUNTIME = f"{COMPARE} --onnxlite-last-runtime=DIR"
PROGRAM = "python -m pytest_onnxlite"
SHOW = f"{PROGRAM} show"
LFS_PULL = "git lfs pull"
INSTALL_QEMU = "apt-get install qemu-user"


def quoted(path: str | Path) -> str:
    """Return a path as this system's shell takes it."""
    if os.name == "nt":
        import subprocess

        return subprocess.list2cmdline([str(path)])
    return shlex.quote(str(path))


def save_alone() -> str:
    """Return the command that saves in one process."""
    return f"{SAVE} -n 0"  # 0 and not nothing: an ini file may ask for workers


def compare_apart(markers: Sequence[str], workers: int, others: bool) -> list[str]:
    """Return the commands that compare tests with these markers in one process, and the others, if any, in several."""
    if not others:
        return [f"{COMPARE} -n 0"]
    without = " and ".join(f"not {marker}" for marker in markers)
    return [f'{COMPARE} -n 0 -m "{" or ".join(markers)}"', f'{COMPARE} -n {workers} -m "{without}"']


def repeated(config: pytest.Config) -> tuple[str, ...]:
    """Return the options that a suggested command needs to mean what this run does: no workers that `addopts` asks for, the
    same runtime and folder.
    """
    always = " ".join([*config.getini("addopts"), os.environ.get("PYTEST_ADDOPTS", "")])
    workers = re.findall(r"(?:^| )(?:-n|--numprocesses)[ =]?(\S+)", always)
    given = {name: config.getoption(f"onnxlite_{name}") for name in ("runtime", "baseline_dir")}
    options = (f"--onnxlite-{name.replace('_', '-')}={quoted(str(value))}" for name, value in given.items() if value)
    return (*(("-n 0",) if workers and workers[-1] != "0" else ()), *options)


def with_options(text: str, options: Sequence[str]) -> str:
    """Return a text with these options in each command of pytest that it suggests."""
    return text.replace("pytest --onnxlite-", " ".join(["pytest", *options, "--onnxlite-"]))


def report(path: Path) -> str:
    """Return the command that writes a report."""
    return f"pytest --onnxlite-report={quoted(path)}"


def judge_elsewhere(path: Path) -> str:
    """Return the command that judges what a `pyproject.toml` below another root declares."""
    return f"pytest -c {quoted(path)} {quoted(path.parent)}"


def prune(folder: Path) -> str:
    """Return the command that removes the released files that no baseline names."""
    return f"{SHOW} {quoted(folder)} --prune"


def replay(folder: str | Path) -> str:
    """Return the command that judges a failure again."""
    return f"{PROGRAM} replay {quoted(folder)}"


def lint(path: str | Path) -> str:
    """Return the command that checks a graph."""
    return f"{PROGRAM} lint {quoted(path)}"


def restore(path: str | Path) -> str:
    """Return the command that brings a file, or a folder, back as it was committed."""
    return f"git checkout HEAD -- {quoted(path)}"


def save_in(folder: Path) -> str:
    """Return the command that saves the baselines of another checkout."""
    return f"cd {quoted(folder)} && {SAVE}"


def fetch(remote: str, ref: str) -> str:
    """Return the command that fetches what a shallow clone lacks."""
    return f"git fetch --depth=1 {remote} {quoted(ref)}"


def track(patterns: Sequence[str]) -> str:
    """Return the command that lets Git LFS take files."""
    return f"git lfs track {' '.join(map(quoted, patterns))}"


def fetch_lfs(commit: str) -> str:
    """Return the command that fetches what the Git LFS pointers of a commit stand for."""
    return f"git lfs fetch origin {commit}"


def add_ignored(folder: Path) -> str:
    """Return the command that adds what git ignores in a folder."""
    return f"git add -f {quoted(folder)}"


def install(extra: str) -> str:
    """Return the command that installs what an extra brings."""
    return f"pip install 'pytest-onnxlite[{extra}]'" if os.name != "nt" else f'pip install "pytest-onnxlite[{extra}]"'


def install_into(folder: Path, distribution: str) -> str:
    """Return the command that installs a library of some version into a folder."""
    return f"pip install --target {quoted(folder)} {distribution}==VERSION"


def make_environment(python: str, folder: Path) -> str:
    """Return the command that makes a virtual environment of a Python."""
    return f"{quoted(python)} -m venv {quoted(folder)}"
