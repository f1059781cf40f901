"""Notes at a test's file and line, in the forms in which CI services read them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_onnxlite import github, sarif
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.labels import unlabelled
from pytest_onnxlite.lint.finding import Finding
from pytest_onnxlite.records import Checks, Record
from pytest_onnxlite.report.document import Document
from pytest_onnxlite.report.failure import explanation_lines
from pytest_onnxlite.text import shown, shown_lines

# What each service calls a level.
_GITHUB = {"error": "error", "warning": "warning", "info": "notice"}
_GITLAB = {"error": "critical", "warning": "minor", "info": "info"}
# Rules that are no check.
_RUN, _NOT_JUDGED = "run", "not-judged"
_RULES = {
    _RUN: ("the run looked at everything", "A guard that did not look says nothing of a release."),
    _NOT_JUDGED: ("a guarded test is judged", "A test that failed before its limits were judged says nothing of them."),
}
# Where what has no test of its own is shown; both services ask for a place.
_NOWHERE = "pyproject.toml"


@dataclass(frozen=True)
class Note:
    """Something to show at a test.

    Attributes:
        rule: the check's name, `run` or `not-judged`.
        level: `error`, `warning` or `info`.
        title: the variant and its limit.
        text: what is wrong, and why.
        file: the test's, from pytest's root folder; empty for what belongs to the run.
        line: in the file, from 1.
        findings: the rules of the graph checks that it is about.
    """

    rule: str
    level: str
    title: str
    text: str
    file: str = ""
    line: int = 0
    findings: tuple[Finding, ...] = ()


def notes(document: Document, checks: Checks) -> Iterator[Note]:
    """Yield a note for each red verdict, warning, guarded test that failed without a verdict, and for the run.

    Remarks on limits that hold, and that the run is partial, are of the level `info`.

    Args:
        document: the report's content.
        checks: the checks by name, which know what to warn of.
    """
    for record in document.records:
        for verdict in record.verdicts:
            yield from _of_verdict(record, verdict, checks, document.against.text if document.against else "")
    for entry in document.unjudged:
        title = f"{entry.test.split('::')[-1]}: {entry.what}"
        # The last line of a traceback says what was wrong.
        reason = entry.reason.splitlines()[-1:] or [""]
        yield Note(_NOT_JUDGED, "error", title, reason[0], entry.file, entry.line)
    for text in document.session:
        yield Note(_RUN, "error", "pytest-onnxlite", text)
    partial = document.coverage.if_partial if document.coverage is not None else ""
    if partial:
        yield Note(_RUN, "info", "pytest-onnxlite", partial)


def _of_verdict(record: Record, verdict: Verdict, checks: Checks, against: str) -> Iterator[Note]:
    check, title, place = checks.get(verdict.check), f"{record.name}: {verdict.check}", (record.file, record.line)
    found = tuple(check.findings(verdict)) if check is not None else ()
    if verdict.red:
        state = "" if verdict.outcome is Outcome.FAIL else f" {verdict.outcome}"
        source = [f"The last release is that of {against}."] if against and verdict.against == BASELINE else []
        text = "\n".join([verdict.message, *source, *explanation_lines(verdict)])
        yield Note(verdict.check, "error", f"{title}{state}", text, *place, found)
        return
    warned = [finding for finding in found if finding.severity == "warning"]
    for number, text in enumerate(check.warnings(verdict) if check is not None else ()):
        yield Note(verdict.check, "warning", f"{title} warning", text, *place, tuple(warned[number : number + 1]))
    if verdict.remarks:
        yield Note(verdict.check, "info", title, "\n".join(verdict.remarks), *place)


def workspace_prefix(root: Path, environ: Mapping[str, str]) -> str:
    """Return what leads from the repository's root, to which annotations are relative, to pytest's root folder."""
    workspace = environ.get("GITHUB_WORKSPACE") or environ.get("CI_PROJECT_DIR")
    try:
        inner = root.resolve().relative_to(Path(workspace).resolve()).as_posix() if workspace else "."
    except ValueError:
        return ""
    return "" if inner == "." else f"{inner}/"


def annotate(document: Document, checks: Checks, prefix: str = "") -> list[str]:
    """Return the notes as GitHub Actions reads them from a job's output, a line each.

    Args:
        document: the report's content.
        checks: the checks by name.
        prefix: from the repository's root to pytest's root folder, see `workspace_prefix`.
    """
    return [
        github.note(note.text, note.title, f"{prefix}{note.file}" if note.file else "", note.line, _GITHUB[note.level])
        for note in notes(document, checks)
    ]


def as_sarif(document: Document, checks: Checks, prefix: str = "") -> str:
    """Return the notes as a SARIF log, which code scanning reads; graph faults by their own rules. Arguments as above."""
    results = [result for note in notes(document, checks) for result in _results(note, prefix)]
    rules = [_rule(name, checks) for name in sorted({result.rule for result in results})]
    return sarif.log(document.version, rules, results)


def as_code_quality(document: Document, checks: Checks, prefix: str = "") -> str:
    """Return the notes as GitLab reads them from a code quality report, a JSON list. Arguments as above."""
    levels = {level: _GITLAB[severity] for severity, level in sarif.LEVELS.items()}
    entries = [
        {
            "description": result.text,
            "check_name": result.rule,
            "fingerprint": result.fingerprint,
            "severity": levels[result.level],
            "location": {"path": result.file, "lines": {"begin": result.line}},
        }
        for note in notes(document, checks)
        for result in _results(note, prefix)
    ]
    return json.dumps(entries, indent=1)


def _results(note: Note, prefix: str) -> Iterator[sarif.SarifResult]:
    file, line = (f"{prefix}{note.file}", max(note.line, 1)) if note.file else (f"{prefix}{_NOWHERE}", 1)
    title = shown(note.title)
    # A warning is about one finding; a red verdict may be about more than its findings.
    if not note.findings or note.level == "error":
        rule, level = f"onnxlite/{unlabelled(note.rule)}", sarif.LEVELS[note.level]
        text = f"{title}: {shown_lines(note.text)}"
        yield sarif.SarifResult(rule, level, text, file, line, title, _identity(rule, title))
    for finding in note.findings:
        text = f"{title}: {shown_lines(finding.render())}"
        level, identity = sarif.LEVELS[finding.severity], _identity(finding.code, title, finding.where)
        yield sarif.SarifResult(finding.code, level, text, file, line, shown(finding.where), identity)


def _identity(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


def _rule(name: str, checks: Checks) -> sarif.SarifRule:
    own = name.removeprefix("onnxlite/")
    if own == name:
        return sarif.rule_of(name)
    if own in _RULES:
        return sarif.SarifRule(name, *_RULES[own], "See the message.", "error")
    check = checks.get(own)
    title = check.limit.summary() if check is not None else own
    return sarif.SarifRule(name, title, f"A limit of the release: {title}.", "See the message.", "error")
