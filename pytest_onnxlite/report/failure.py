"""What a failed test says."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pytest_onnxlite.checks import NAMES
from pytest_onnxlite.checks.verdict import Outcome, Verdict
from pytest_onnxlite.labels import unlabelled
from pytest_onnxlite.records import Record
from pytest_onnxlite.text import shown_lines
from pytest_onnxlite.topics import of_verdict, see


def failure_text(records: Sequence[Record]) -> str:
    """Return the text of all red verdicts of a test; empty if there is none."""
    # Checks that fail for one reason, such as a baseline that is missing, give it once.
    checks: dict[tuple[str, str, str], list[str]] = {}
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        for verdict in record.verdicts:
            if verdict.red:
                key = record.name, str(verdict.outcome), verdict.message
                checks.setdefault(key, []).append(verdict.check)
                reasons.setdefault(key, explanation_lines(verdict))
    blocks = []
    failed: dict[str, list[str]] = {}
    told_of: set[str] = set()  # each part of the documentation is named once
    for key, names in checks.items():
        failed.setdefault(key[0], []).extend(names)
        name, outcome, message = key
        state = "" if outcome == "fail" else f" {outcome}"
        more = see(of_verdict(unlabelled(names[0]), outcome, NAMES))
        body = [*message.split("\n"), *reasons[key], *([] if more in told_of else [more])]
        told_of.add(more)
        blocks.append("\n  ".join([f"{name}: {', '.join(dict.fromkeys(names))}{state}", *body]))
    # pytest's short summary shows the first line alone, and that should name all that failed.
    if len(failed) > 1 or any(len(set(names)) > len(set(checks[next(iter(checks))])) for names in failed.values()):
        blocks.insert(0, "; ".join(f"{name}: {', '.join(dict.fromkeys(names))}" for name, names in failed.items()))
    changes = {record.name: record.runtime_change for record in records if record.is_red and record.runtime_change}
    blocks += [f"{name}: runtime changed {change} since the last release" for name, change in changes.items()]
    for record in records:
        lines = suggestion_lines(record)
        if lines and blocks:
            blocks.append("\n  ".join([f"{record.name}: suggestion", *lines]))
    return "\n".join(blocks)


def suggestion_lines(record: Record) -> list[str]:
    """Return the way out that was found for a record, or what stands in its way; none if none was looked for."""
    # Code to be copied is never cut.
    return shown_lines(record.suggestion.text, sys.maxsize).split("\n") if record.suggestion else []


def explanation_lines(verdict: Verdict) -> list[str]:
    """Return a verdict's explanation as lines, the first cause first; none if it has none."""
    explanation = verdict.explanation
    if explanation is None:
        return []
    return [f"Why: {explanation.why}", *(f"  {line}" for line in (*explanation.lines, *explanation.details))]


def skip_text(records: Sequence[Record]) -> str:
    """Return why a test judged nothing; empty if it judged something."""
    verdicts = [verdict for record in records for verdict in record.verdicts]
    if not verdicts or any(verdict.outcome not in (Outcome.NOT_COMPARED, Outcome.NOT_MEASURED) for verdict in verdicts):
        return ""
    checks = ", ".join(sorted({verdict.check for verdict in verdicts}))
    return f"{checks} {verdicts[0].outcome}: {verdicts[0].message}"


def told(verdict: Verdict, refused: bool) -> str:
    """Return a verdict's message, with the way to keep an improvement; there is none while its variant would not be saved."""
    if not verdict.keep:
        return verdict.message
    way = "It can be saved when what fails here is mended." if refused else f"Keep it with: {verdict.keep}"
    return f"{verdict.message} {way}"
