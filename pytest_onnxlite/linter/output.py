"""How findings are written: for a person, and in the forms that other tools read."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources

from pytest_onnxlite.github import note
from pytest_onnxlite.lint.finding import Finding
from pytest_onnxlite.lint.rules import Rule
from pytest_onnxlite.linter import Report
from pytest_onnxlite.sarif import LEVELS, SarifResult, log, rule_of
from pytest_onnxlite.text import shown, shown_lines
from pytest_onnxlite.variants.cache import version_of

# What GitHub calls a severity.
_NOTES = {"error": "error", "warning": "warning", "info": "notice"}


def as_text(report: Report) -> str:
    """Return what was found in each file, and a line that sums it up."""
    lines = []
    for file in report.files:
        name = shown(str(file.path))
        if file.unreadable:
            lines.append(f"{name}: not checked: {shown_lines(file.unreadable)}")
        lines += [f"{name}: {finding.render()}" for finding in file.findings]
    return "\n".join([*lines, _summary(report)])


def _summary(report: Report) -> str:
    counts = [(report.count(severity), severity) for severity in ("error", "warning", "info")]
    said = [
        f"{count} {severity}{'s' if count > 1 and severity != 'info' else ''}" for count, severity in counts if count
    ]
    unread = sum(bool(file.unreadable) for file in report.files)
    said += [f"{unread} not checked"] if unread else []
    return f"{len(report.files)} file{'s' if len(report.files) > 1 else ''}: {', '.join(said) or 'sound'}"


def as_json(report: Report) -> str:
    """Return the findings of each file as JSON."""
    files = [
        {
            "path": file.path.as_posix(),
            "findings": [finding.as_dict() for finding in file.findings],
            **({"unreadable": file.unreadable} if file.unreadable else {}),
        }
        for file in report.files
    ]
    return json.dumps({"schema": 1, "version": version_of("pytest-onnxlite"), "files": files}, indent=1)


def as_sarif(report: Report) -> str:
    """Return a SARIF log: a result for each finding, and the rules that were broken."""
    codes = sorted({finding.code for file in report.files for finding in file.findings})
    results = [
        SarifResult(
            finding.code,
            LEVELS[finding.severity],
            f"{_place(finding)}. {finding.why}. Do: {finding.hint}.",
            file.path.as_posix(),
            1,  # A model has no lines; what shows results asks for one.
            finding.where,
        )
        for file in report.files
        for finding in file.findings
    ]
    failures = [(file.unreadable, file.path.as_posix()) for file in report.files if file.unreadable]
    return log(version_of("pytest-onnxlite"), [rule_of(code) for code in codes], results, failures)


def _place(finding: Finding) -> str:
    return f"{finding.where}: expected {finding.expected}, found {finding.found}"


def as_notes(report: Report) -> str:
    """Return a note for each finding, which GitHub Actions shows, and the summary."""
    lines = []
    for file in report.files:
        path = file.path.as_posix()
        if file.unreadable:
            lines.append(note(file.unreadable, "onnxlite: not checked", path, 1))
        lines += [
            note(f"{_place(f)}\n{f.why}\nDo: {f.hint}", f"onnxlite {f.code}", path, 1, _NOTES[f.severity])
            for f in file.findings
        ]
    return "\n".join([*lines, _summary(report)])


FORMATS: dict[str, Callable[[Report], str]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
    "github": as_notes,
}


def explained(rule: Rule) -> str:
    """Return a rule for a person, with what it says of a model that breaks it."""
    example = examples()[rule.code]
    return (
        f"{rule.code} ({rule.severity}): {rule.title}\n\nWhy: {rule.why}.\n\nA model that breaks it:\n  {example}\n\n"
        f"What to do: {rule.hint}."
    )


def examples() -> dict[str, str]:
    """Return what is said about a model that breaks a rule, by the rule's code."""
    text = resources.files("pytest_onnxlite.linter").joinpath("examples.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found
