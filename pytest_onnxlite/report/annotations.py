"""Notes at a test's file and line, in the form that GitHub Actions reads from a job's output.

The form: `::error file=F,line=L,title=T::message`, with percent signs, line ends, and in properties also
colons and commas, as percent escapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.records import Checks
from pytest_onnxlite.report.document import Document
from pytest_onnxlite.report.failure import explanation_lines
from pytest_onnxlite.text import shown, shown_lines

# A verdict's explanation may be long, and a note beside a line of code is read at a glance.
_MOST_LINES = 12


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def workspace_prefix(root: Path, environ: Mapping[str, str]) -> str:
    """Return what leads from the repository's root, to which annotations are relative, to pytest's root folder."""
    workspace = environ.get("GITHUB_WORKSPACE")
    try:
        inner = root.resolve().relative_to(Path(workspace).resolve()).as_posix() if workspace else "."
    except ValueError:
        return ""
    return "" if inner == "." else f"{inner}/"


def _note(text: str, title: str, file: str = "", line: int = 0, level: str = "error") -> str:
    lines, title = shown_lines(text).split("\n"), shown(title)
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], "..."]
    place = f"file={_property(file)},line={line}," if file else ""
    return f"::{level} {place}title={_property(title)}::{_message(chr(10).join(lines))}"


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
            if not verdict.red and verdict.check in checks:
                for text in checks[verdict.check].warnings(verdict):
                    title = f"{record.name}: {verdict.check} warning"
                    notes.append(_note(text, title, f"{prefix}{record.file}", record.line, "warning"))
            if verdict.red:
                state = "" if verdict.outcome is Outcome.FAIL else f" {verdict.outcome}"
                title = f"{record.name}: {verdict.check}{state}"
                text = "\n".join([verdict.message, *explanation_lines(verdict)])
                notes.append(_note(text, title, f"{prefix}{record.file}", record.line))
            elif verdict.remarks:
                title, text = f"{record.name}: {verdict.check}", "\n".join(verdict.remarks)
                notes.append(_note(text, title, f"{prefix}{record.file}", record.line, "notice"))
    for entry in document.unjudged:
        title = f"{entry.test.split('::')[-1]}: {entry.what}"
        # The last line of a traceback says what was wrong.
        reason = entry.reason.splitlines()[-1:] or [""]
        notes.append(_note(reason[0], title, f"{prefix}{entry.file}", entry.line))
    notes += [_note(text, "pytest-onnxlite") for text in document.session]
    partial = document.coverage.if_partial if document.coverage is not None else ""
    if partial:
        notes.append(_note(partial, "pytest-onnxlite", level="notice"))
    return notes
