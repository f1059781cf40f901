"""When what releases became slower since the first is within its limit."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.latency.judge import FIRST_KEY, NAME, at_text
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import Latency, LatencyEvidence
from pytest_onnxlite.checks.since_first import Total, sum_since_first
from pytest_onnxlite.checks.turns.judge import judge_comparison, ratio_text
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.text import time_text


def allowed_today(limit: LatencyLimit, baseline: Baseline, file: str) -> float | None:
    """Return the ratio to the last release that the sum since the first leaves; None if nothing hangs on today's."""
    kept = baseline.first_of(FIRST_KEY, float)
    if limit.max_slowdown_total is None or kept is None or baseline.sum_of(FIRST_KEY, file) is not None:
        return None
    return (1 + limit.max_slowdown_total) / kept


def against_last(limit: LatencyLimit, found: Latency) -> Latency:
    """Return times whose ratio to the last release is held against what the marker allows of that one, and no sum."""
    last = found.comparisons.get(BASELINE)
    if last is None or not last.is_last_release:
        return found
    return replace(found, comparisons={**found.comparisons, BASELINE: replace(last, most=1 + limit.max_slowdown)})


def judge_total(
    limit: LatencyLimit,
    found: Latency,
    baseline: Baseline,
    file: str,
) -> list[Verdict]:
    """Judge how much slower than the first release it is, at the longest shape; nothing where the marker does not ask.

    Args:
        limit: what the marker asks.
        found: the times.
        baseline: the last release's.
        file: the SHA-256 of the candidate.
    """
    if limit.max_slowdown_total is None:
        return []
    total = Total(NAME, "max_slowdown_total", time_text(found.seconds))
    most, kept = 1 + limit.max_slowdown_total, baseline.first_of(FIRST_KEY, float)
    if kept is None:
        return [total.nothing_kept()]
    known = baseline.sum_of(FIRST_KEY, file)
    allowed = f"at most {most:g}x allowed (max_slowdown_total={limit.max_slowdown_total:g})"
    if known is not None:
        evidence = LatencyEvidence(reference="first release", most=most, ratio_since_first=known, shapes=found.shapes)
        text = f"{known:.3g}x the time of the first release, as when this file was released; {allowed}"
        return [total.judge(text, known > most, evidence)]
    comparison = found.comparisons.get(BASELINE)
    if comparison is None or not comparison.is_last_release:
        reason = "the last release's file was not timed, and what stands in for it says nothing of the first release."
        return [total.unknown(Outcome.NOT_COMPARABLE, reason)]
    comparison = replace(comparison, most=most / kept)
    outcome, text = judge_comparison(limit, comparison, found.duration, at_text(found))
    since = sum_since_first(baseline, FIRST_KEY, file, median(comparison.first))
    evidence = LatencyEvidence(
        reference="first release", most=most, ratio_since_first=since, shapes=found.shapes, runtime=comparison.runtime
    )
    if outcome is Outcome.INCONCLUSIVE:
        return [replace(total.unknown(outcome, text), evidence=evidence)]
    text = (
        f"{since:.3g}x the time of the first release: {kept:.3g}x up to the last one, and {ratio_text(comparison)} today; "
        f"{allowed}. {text}".rstrip(" .")
    )
    return [total.judge(text, outcome is Outcome.FAIL, evidence)]
