"""What made a run fail: each red verdict with its causes, and what else went wrong."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_onnxlite.checks.blocks import Table
from pytest_onnxlite.checks.check import against_text
from pytest_onnxlite.checks.verdict import LIMIT, Outcome, Verdict
from pytest_onnxlite.records import Checks, Record
from pytest_onnxlite.report.document import Document
from pytest_onnxlite.report.drawings import Drawing, placed
from pytest_onnxlite.report.failure import explanation_lines, suggestion_lines
from pytest_onnxlite.report.status import FAIL, Status, anchor, status_of

# Of why a recipe could not be built; the JSON has all of it.
_MOST_SAID = 200


@dataclass(frozen=True)
class Problem:
    """A red verdict, or whatever else made the run fail: what, why, where, and what to do.

    Attributes:
        explanation: the causes and their figures in lines, the first cause first.
        why: the first cause.
        others: other causes and remarks.
        drawn: what the figures draw; in its place, of what draws nothing, `details` says them in lines.
        way_out: what was suggested, in lines.
        recipes: what was tried for that.
    """

    title: str
    against: str
    status: Status
    message: str
    explanation: tuple[str, ...] = ()
    test: str = ""
    place: str = ""
    anchor: str = ""
    badge: str = ""
    why: str = ""
    others: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    drawn: tuple[Drawing, ...] = ()
    way_out: tuple[str, ...] = ()
    recipes: Table | None = None


def problems_of(document: Document, checks: Checks) -> tuple[Problem, ...]:
    """Return what made a run fail."""
    problems = []
    for same in _red_verdicts(document).values():
        record, verdict = same[0]
        names = ", ".join(dict.fromkeys(other.check for _, other in same))
        explanation, check = verdict.explanation, checks.get(verdict.check)
        drawn = check.drawn(explanation, record.variant) if explanation is not None and check is not None else []
        place = anchor("variant", record.model, record.variant)
        is_first = verdict is next(other for other in record.verdicts if other.red)
        problems.append(
            Problem(
                f"{record.name}: {names}",
                _against_text(verdict, checks),
                status_of(verdict),
                verdict.message,
                tuple(explanation_lines(verdict)),
                record.test,
                f"{record.file}:{record.line}",
                place,
                str(verdict.outcome),
                why=explanation.why if explanation is not None else "",
                others=explanation.lines if explanation is not None else (),
                details=explanation.details if explanation is not None and not drawn else (),
                drawn=tuple(placed(block, record.model, record.variant) for block in drawn),
                way_out=tuple(suggestion_lines(record)) if is_first else (),
                recipes=_recipes(record) if is_first else None,
            )
        )
    for entry in document.unjudged:
        reason, place = entry.reason or "pytest shows why.", f"{entry.file}:{entry.line}"
        problems.append(Problem(entry.what, "", FAIL, reason, test=entry.test, place=place, badge="not judged"))
    problems += [Problem("the run", "", FAIL, text, badge="fail") for text in document.session]
    return tuple(problems)


def _red_verdicts(document: Document) -> dict[tuple[str, ...], list[tuple[Record, Verdict]]]:
    """Group what is red: checks that fail for one reason, such as a baseline that is missing, give it once."""
    found: dict[tuple[str, ...], list[tuple[Record, Verdict]]] = {}
    for record in document.records:
        for verdict in record.verdicts:
            if verdict.red:
                key = record.name, record.test, str(verdict.outcome), verdict.message
                found.setdefault(key, []).append((record, verdict))
    return found


def _recipes(record: Record) -> Table | None:
    """Return the recipes that were tried for a way out."""
    tried = record.suggestion.tried if record.suggestion is not None else ()
    rows = tuple(
        (
            attempt.recipe,
            f"stopped by {attempt.stopped_by}" if attempt.stopped_by else "passes",
            ", ".join(f"{check} {figure}" for check, figure in attempt.figures.items()) or attempt.message[:_MOST_SAID],
        )
        for attempt in tried
    )
    return Table("Recipes that were tried", ("recipe", "came to", "figures"), rows) if rows else None


def _against_text(verdict: Verdict, checks: Checks) -> str:
    """Say what a verdict is against, unless it is the limit alone or a baseline that is not there."""
    uncertain = verdict.outcome in (Outcome.MISSING, Outcome.NOT_MEASURED)
    return "" if uncertain or verdict.against == LIMIT else f"against {against(verdict, checks)}"


def against(verdict: Verdict, checks: Checks) -> str:
    """Say what a verdict is against."""
    check = checks.get(verdict.check)
    return check.against(verdict) if check is not None else against_text(verdict.against)
