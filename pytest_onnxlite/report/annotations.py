"""Notes at a test's file and line, which GitHub Actions reads from a job's output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.github import note
from pytest_onnxlite.labels import look_up
from pytest_onnxlite.records import Checks
from pytest_onnxlite.report.document import Document
from pytest_onnxlite.report.failure import explanation_lines


def workspace_prefix(root: Path, environ: Mapping[str, str]) -> str:
    """Return what leads from the repository's root, to which annotations are relative, to pytest's root folder."""
    workspace = environ.get("GITHUB_WORKSPACE")
    try:
        inner = root.resolve().relative_to(Path(workspace).resolve()).as_posix() if workspace else "."
    except ValueError:
        return ""
    return "" if inner == "." else f"{inner}/"


def annotate(document: Document, checks: Checks, prefix: str = "") -> list[str]:
    """Return a line for each red verdict, warning, guarded test that failed without a verdict, and for the run.

    Remarks on limits that hold, and that the run is partial, are notices.

    Args:
        document: the report's content.
        checks: the checks by name, which know what to warn of.
        prefix: from the repository's root to pytest's root folder, see `workspace_prefix`.
    """
    notes = []
    for record in document.records:
        for verdict in record.verdicts:
            check = look_up(checks, verdict.check)
            if not verdict.red and check is not None:
                for text in check.warnings(verdict):
                    title = f"{record.name}: {verdict.check} warning"
                    notes.append(note(text, title, f"{prefix}{record.file}", record.line, "warning"))
            if verdict.red:
                state = "" if verdict.outcome is Outcome.FAIL else f" {verdict.outcome}"
                title = f"{record.name}: {verdict.check}{state}"
                text = "\n".join([verdict.message, *explanation_lines(verdict)])
                notes.append(note(text, title, f"{prefix}{record.file}", record.line))
            elif verdict.remarks:
                title, text = f"{record.name}: {verdict.check}", "\n".join(verdict.remarks)
                notes.append(note(text, title, f"{prefix}{record.file}", record.line, "notice"))
    for entry in document.unjudged:
        title = f"{entry.test.split('::')[-1]}: {entry.what}"
        # The last line of a traceback says what was wrong.
        reason = entry.reason.splitlines()[-1:] or [""]
        notes.append(note(reason[0], title, f"{prefix}{entry.file}", entry.line))
    notes += [note(text, "pytest-onnxlite") for text in document.session]
    partial = document.coverage.if_partial if document.coverage is not None else ""
    if partial:
        notes.append(note(partial, "pytest-onnxlite", level="notice"))
    return notes
