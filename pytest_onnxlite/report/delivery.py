"""Brings a run's reports to where they were asked for, and to where CI looks for them."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

from pytest_onnxlite import git
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import write_atomically
from pytest_onnxlite.records import Checks
from pytest_onnxlite.report import document, markdown
from pytest_onnxlite.report.annotations import annotate, workspace_prefix
from pytest_onnxlite.report.formats import FORMATS
from pytest_onnxlite.run import Run
from pytest_onnxlite.settings import Settings
from pytest_onnxlite.topics import NOT_WRITTEN, told


def deliver(run: Run, settings: Settings, checks: Checks, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Write each report that was asked for; under GitHub Actions also the job summary and the annotations.

    Args:
        run: what happened; gets `annotations`, and a remark where the job summary cannot be written.
        settings: which files.
        checks: the checks by name.
        environ: tells whether this is CI.

    Returns:
        What could not be written although it was asked for.
    """
    commit = _commit(settings.rootdir, environ)
    content = document.build(run, settings.mode, checks, commit, settings.runtime, settings.target)
    problems: list[str] = []
    prefix = workspace_prefix(settings.rootdir, environ)
    for name, path in settings.reports.items():
        try:
            write(path, FORMATS[name](content, checks, prefix, path), f"--onnxlite-{name}")
        except OnnxliteError as error:
            problems.append(told(str(error), NOT_WRITTEN))
    summary = environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(markdown.render(content, checks) + "\n")
        except OSError as error:
            run.remarks.append(f"the job summary {summary} cannot be written: {error.strerror or error}.")
    if environ.get("GITHUB_ACTIONS") == "true":
        run.annotations = annotate(content, checks, prefix)
    return problems


def _commit(folder: Path, environ: Mapping[str, str]) -> str:
    """Return the commit that is checked out, as CI names it or git does; empty where neither does."""
    named = environ.get("GITHUB_SHA") or environ.get("CI_COMMIT_SHA")
    if named:
        return named
    try:
        return git.ask(folder, "rev-parse", "HEAD", seconds=10).strip()
    except git.GitError:
        return ""


def write(path: Path, text: str, what: str) -> None:
    """Write a file in one step, with the folders above it.

    Raises:
        OnnxliteError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, io.BytesIO(text.encode()))
    except OSError as error:
        raise OnnxliteError(f"{what}: {path} cannot be written: {error.strerror or error}.") from None
