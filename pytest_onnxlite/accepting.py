"""What `--onnxlite-accept` lets go: from a run's verdicts to the note that the baseline keeps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pytest_onnxlite.baseline.accepted import DROPPED, MOST_KEPT, Acceptance, Overridden
from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.figures import NONE
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.coverage.tally import Guarded
from pytest_onnxlite.labels import label_of, labelled
from pytest_onnxlite.records import Checks, Record
from pytest_onnxlite.settings import Settings

_WORSE = (Outcome.FAIL, Outcome.NOT_COMPARABLE, Outcome.INCONCLUSIVE)


def accept(
    fresh: Baseline,
    before: Baseline | None,
    records: Sequence[Record],
    lost: Sequence[str],
    dropped: Sequence[Guarded],
    settings: Settings,
    checks: Checks,
) -> tuple[Acceptance, ...]:
    """Return what a baseline keeps of what was accepted: what it kept before, and what this save overrides.

    Args:
        fresh: what is to be saved.
        before: the baseline there was.
        records: what the variant's tests recorded.
        lost: the checks whose figures are dropped.
        dropped: the tests that guarded checks together with others, and do so no longer.
        settings: what was asked of the run.
        checks: the checks by name.
    """
    found = [
        _overridden(record, verdict, checks.get(verdict.check))
        for record in records
        for verdict in record.verdicts
        if verdict.outcome in _WORSE and settings.accepts(verdict.check)
    ]
    found += [_dropped(name, before, checks.get(name), "no longer judged") for name in lost]
    found += [_dropped(one.check, before, checks.get(one.check), f"no longer judged by {one.test}") for one in dropped]
    known = before.accepted if before is not None else ()
    if not found:
        return known
    today = datetime.now(UTC).date().isoformat()
    limits = tuple(dict.fromkeys(found))
    return (*known, Acceptance(today, fresh.artefact.sha256[:16], limits, settings.reason))[-MOST_KEPT:]


def _overridden(record: Record, verdict: Verdict, check: Check[Any, Any] | None) -> Overridden:
    before = allowed = ""
    found = record.measured.get(verdict.check)
    section = record.baseline.sections.get(verdict.check) if record.baseline is not None else None
    if check is not None and found is not None and record.baseline is not None:
        first = record.baseline.first.get(labelled(check.first_key, label_of(verdict.check)))
        figures = check.history(found, section, first, record.limits.get(verdict.check))
        if figures is not None:
            before, allowed = (text if text != NONE else "" for text in (figures.last, figures.allowed))
    if check is not None and section is not None:
        before = before or check.saved_text([section])
    message = (verdict.message.splitlines() or [""])[0]
    return Overridden(verdict.check, verdict.against, str(verdict.outcome), before, verdict.figure, allowed, message)


def _dropped(name: str, before: Baseline | None, check: Check[Any, Any] | None, now: str) -> Overridden:
    sections = [section for own, section in before.all_sections() if own == name] if before is not None else []
    saved = check.saved_text(sections) if check is not None else "saved"
    return Overridden(name, BASELINE, DROPPED, saved, now)
