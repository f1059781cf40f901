"""When what was lost since the first release is within its limit."""

from __future__ import annotations

from decimal import Decimal

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, AccuracyEvidence, FirstAccuracy, Score
from pytest_onnxlite.checks.since_first import Total
from pytest_onnxlite.checks.verdict import Outcome, Verdict

# Floating-point sums of equal outputs in another order differ by less, of the values compared.
_ROUNDING = 1e-9


def judge_total(
    limit: AccuracyLimit, found: Accuracy | Score, baseline: Baseline, name: str, outcome: Outcome
) -> list[Verdict]:
    """Judge what was lost since the first release; nothing where the marker does not ask.

    Args:
        limit: what the marker asks.
        found: what was counted.
        baseline: the last release's.
        name: the check's.
        outcome: what came of the comparison with the last release.
    """
    if limit.max_drop_total is None:
        return []
    total = Total(name, "max_drop_total", found.figure)
    first = baseline.first_of(name, FirstAccuracy)
    if outcome is Outcome.NOT_COMPARABLE:
        return [total.unknown(outcome, "the figure cannot be compared with the last release's either.")]
    if first is None or first.data_sha256 != found.data_sha256:
        return [total.nothing_kept()]
    if isinstance(found, Accuracy) and first.correct is not None:
        return [_counted(limit, limit.max_drop_total, found, first, first.correct, total)]
    if isinstance(found, Score) and first.value is not None:
        return [_scored(limit, limit.max_drop_total, found, first, first.value, total)]
    return [total.nothing_kept()]


def _counted(
    limit: AccuracyLimit, most: float, found: Accuracy, first: FirstAccuracy, correct: int, total: Total
) -> Verdict:
    lost = correct - found.correct
    allowed = int(Decimal(str(most)) * (correct if limit.relative else found.total))
    kind = "relative to its right answers" if limit.relative else f"of {found.total} samples"
    text = (
        f"{found.figure} ({found.correct} of {found.total} right), the first release had {first.text} ({correct}): {lost} "
        f"fewer right since then, at most {allowed} allowed (max_drop_total={most} {kind})"
    )
    return total.judge(text, lost > allowed, AccuracyEvidence(lost=lost, allowed=allowed, lost_since_first=lost))


def _scored(
    limit: AccuracyLimit, most: float, found: Score, first: FirstAccuracy, value: float, total: Total
) -> Verdict:
    lost = found.loss(value)
    allowed = most * (abs(value) if limit.relative else 1.0)
    text = (
        f"{found.figure}, the first release had {first.text}: {lost:.4g} worse since then, at most {allowed:.4g} allowed "
        f"(max_drop_total={most:g}{', relative=True' if limit.relative else ''})"
    )
    slack = _ROUNDING * max(abs(value), 1e-12)
    return total.judge(
        text, lost > allowed + slack, AccuracyEvidence(lost=lost, allowed=allowed, lost_since_first=lost)
    )
