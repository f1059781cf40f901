"""The rules that need nothing to compare with, or look at single samples: `min=`, `max=` and `max_flips=`."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from math import ceil

from msgspec import structs

from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, AccuracyEvidence, Score
from pytest_onnxlite.checks.verdict import BASELINE, LIMIT, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT
from pytest_onnxlite.statistics import share_interval
from pytest_onnxlite.text import percent

# Floating-point sums of equal outputs in another order differ by less, of the value.
_ROUNDING = 1e-9


def judge_floor(limit: AccuracyLimit, found: Accuracy | Score, check: str) -> Verdict | None:
    """Judge a figure by the marker's own number; None if it gives none.

    Args:
        limit: the marker.
        found: what was counted.
        check: the check's name.
    """
    if limit.min is None and limit.max is None:
        return None
    outcome, message = Outcome.FAIL, _unfit(limit, found)
    if not message:
        message = _too_few_right(limit, found) if isinstance(found, Accuracy) else _beyond(limit, found)
        outcome = Outcome.FAIL if message else Outcome.PASS
    bound = limit.min if limit.min is not None else limit.max
    return Verdict(check, LIMIT, outcome, found.figure, message, AccuracyEvidence(bound=bound))


def _unfit(limit: AccuracyLimit, found: Accuracy | Score) -> str:
    """Say why the number cannot be meant for the metric; empty if it can."""
    if isinstance(found, Score) and not found.higher_is_better:
        if limit.min is not None:
            return f"min={limit.min:g} lets every error pass above it: {found.metric} is better when it is lower. Use max=."
        return ""
    if limit.max is not None:
        return f"max={limit.max:g} is for an error, and {found.metric} is better when it is higher. Use min=."
    if isinstance(found, Accuracy) and limit.min is not None and not 0 < limit.min <= 1:
        return f"min={limit.min:g}: {found.metric} counts right answers, and min is a share of 1 (0.95 is 95 %)."
    return ""


def _too_few_right(limit: AccuracyLimit, found: Accuracy) -> str:
    """Say how many right answers are missing; empty if none is."""
    assert limit.min is not None
    needed = ceil(Decimal(str(limit.min)) * found.total)
    had = f"{found.figure} ({found.correct} of {found.total} right), at least {percent(limit.min)} asked (min={limit.min:g})"
    if found.correct < needed:
        return f"{had}: {needed - found.correct} right answers too few. {_reference_text(limit, found)}"
    if limit.confidence is None:
        return ""
    low, _ = share_interval(found.correct, found.total, limit.confidence)
    if low >= limit.min:
        return ""
    return (
        f"{had}, but less than that cannot be ruled out: {percent(low)} at least ({percent(limit.confidence)} interval). "
        f"Evaluate on more samples, or drop confidence={limit.confidence}."
    )


def _reference_text(limit: AccuracyLimit, found: Accuracy) -> str:
    """Say whether what it was made from would pass."""
    if not found.reference:
        return "Train the model further, or lower min= if that is enough."
    share = found.reference_correct / found.total
    assert limit.min is not None
    if share < limit.min:
        return (
            f"The {found.reference} variant has {percent(share)} and would not pass either: the model has to get better, "
            "not how it is converted."
        )
    return f"The {found.reference} variant has {percent(share)} and would pass: what is missing was lost since."


def _beyond(limit: AccuracyLimit, found: Score) -> str:
    """Say how far a value is beyond the number; empty if it is within."""
    if found.higher_is_better:
        assert limit.min is not None
        over, asked = limit.min - found.value, f"at least {limit.min:g} asked (min=)"
    else:
        assert limit.max is not None
        over, asked = found.value - limit.max, f"at most {limit.max:g} allowed (max=)"
    if over <= _ROUNDING * max(abs(found.value), 1e-12):
        return ""
    other = "" if not found.reference else f" The {found.reference} variant has {found.reference_value:.4g}."
    return f"{found.figure} over {found.total} samples, {asked}: {over:.4g} beyond it.{other}"


def with_flips(limit: AccuracyLimit, found: Accuracy | Score, verdict: Verdict) -> Verdict:
    """Return a verdict that fails where too many samples are wrong that its reference has right, whatever was won.

    Args:
        limit: the marker.
        found: what was counted.
        verdict: what came of the right answers in all, against a variant or the last release.
    """
    if limit.max_flips is None or verdict.outcome not in (Outcome.PASS, Outcome.IMPROVED):
        return verdict
    against_last = verdict.against == BASELINE
    if isinstance(found, Score):
        message = (
            f"max_flips={limit.max_flips} counts samples, and {found.metric} says of none whether it is right. Leave "
            "max_flips= out."
        )
        return replace(verdict, outcome=Outcome.FAIL, message=message)
    if against_last and found.last is None:
        message = (
            f"max_flips={limit.max_flips} compares sample by sample, and the last release's file is not there to be counted. "
            "Keep it (onnxlite_keep_artefact)."
        )
        return replace(verdict, outcome=Outcome.NOT_COMPARABLE, message=message)
    other = "the last release" if against_last else f"the {found.reference} variant"
    lost, won = (
        (found.last.only_last, found.last.only_candidate)
        if against_last and found.last
        else (found.only_reference, found.only_candidate)
    )
    evidence = verdict.evidence if isinstance(verdict.evidence, AccuracyEvidence) else AccuracyEvidence()
    evidence = structs.replace(evidence, flips=lost)
    if lost <= limit.max_flips:
        return replace(verdict, evidence=evidence)
    way_out = f" If it is meant, accept it with: {ACCEPT}" if against_last else ""
    message = (
        f"{found.figure} ({found.correct} of {found.total} right): {lost} samples that {other} has right are wrong now, at "
        f"most {limit.max_flips} allowed (max_flips={limit.max_flips}); {won} others were won.{way_out}"
    )
    return replace(verdict, outcome=Outcome.FAIL, message=message, evidence=evidence)
