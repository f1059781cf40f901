"""The rule for slices: which of them lost more than is allowed, beyond chance, however many are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import LAST_RELEASE, Accuracy, AccuracyEvidence, Score, Slice
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT
from pytest_onnxlite.statistics import holm, mean_exceeds, paired_drop_exceeds
from pytest_onnxlite.text import percent, shortened

# How sure it is that none of the slices that are red lost by chance, if the marker does not say.
_CONFIDENCE = 0.95
_MOST_NAMED = 5


def asks(limit: AccuracyLimit) -> bool:
    """Tell whether a marker asks for slices."""
    return limit.slices or limit.per_class


def with_slices(limit: AccuracyLimit, found: Accuracy | Score, verdict: Verdict) -> Verdict:
    """Return a verdict that fails if a slice lost too much, whatever was won in others.

    Args:
        limit: the marker.
        found: what was counted, in each slice too.
        verdict: what came of all samples, against a variant or the last release.
    """
    if not asks(limit) or verdict.outcome not in (Outcome.PASS, Outcome.IMPROVED):
        return verdict
    against_last = verdict.against == BASELINE
    if against_last and found.last is None:
        message = (
            "slices are compared sample by sample, and the last release's file is not there to be counted. Keep it "
            "(onnxlite_keep_artefact)."
        )
        return replace(verdict, outcome=Outcome.NOT_COMPARABLE, message=message)
    slices = [one for one in found.slices if (one.against == LAST_RELEASE) == against_last]
    large = [one for one in slices if one.samples >= limit.min_samples]
    small = [f"{one.name} ({one.samples})" for one in slices if one.samples < limit.min_samples]
    if small:
        text = f"slices too small to judge (fewer than {limit.min_samples} samples): {shortened(small)}"
        verdict = replace(verdict, remarks=(*verdict.remarks, text))
    lost = lost_slices(limit, large)
    if not lost:
        return verdict
    evidence = verdict.evidence if isinstance(verdict.evidence, AccuracyEvidence) else AccuracyEvidence()
    evidence = structs.replace(evidence, lost_slices=tuple(one.name for one in lost))
    other = "the last release" if against_last else f"the {found.reference} variant"
    lines = [_line(one, other) for one in lost[:_MOST_NAMED]]
    lines += [f"… and {len(lost) - _MOST_NAMED} more slices"] if len(lost) > _MOST_NAMED else []
    which = "max_slice_drop" if limit.max_slice_drop is not None else "max_drop"
    way_out = f"\nIf it is meant, accept it with: {ACCEPT}" if against_last else ""
    message = (
        f"{found.figure} in all is within the limit, and {len(lost)} of {len(large)} slices lost more than allowed "
        f"({which}={_allowed(limit):g}{', relative=True' if limit.relative else ''}), beyond chance "
        f"({percent(limit.confidence or _CONFIDENCE)} for all slices together):\n" + "\n".join(lines) + way_out
    )
    return replace(verdict, outcome=Outcome.FAIL, message=message, evidence=evidence)


def lost_slices(limit: AccuracyLimit, slices: Sequence[Slice]) -> list[Slice]:
    """Return the slices that lost more than is allowed, beyond chance, the surest first.

    How likely each loss is by chance is corrected by Holm's method for how many slices there are.
    """
    chances = [_chance(limit, one) for one in slices]
    beyond = holm(chances, 1 - (limit.confidence or _CONFIDENCE))
    found = [(chance, one) for chance, one, is_lost in zip(chances, slices, beyond, strict=True) if is_lost]
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _allowed(limit: AccuracyLimit) -> float:
    return limit.max_drop if limit.max_slice_drop is None else limit.max_slice_drop


def _chance(limit: AccuracyLimit, one: Slice) -> float:
    """Return how likely such a loss is, if what is allowed is what was really lost."""
    allowed = _allowed(limit) * (abs(one.reference_value) if limit.relative else 1.0)
    if one.loss is None:
        return paired_drop_exceeds(one.only_reference, one.only_candidate, one.samples, min(allowed, 1.0))
    return mean_exceeds(one.loss, one.loss_error, allowed)


def _line(one: Slice, other: str) -> str:
    if one.loss is None:
        right, theirs = round(one.value * one.samples), round(one.reference_value * one.samples)
        return (
            f"  {one.name}: {right} of {one.samples} right, {other} has {theirs}: {one.only_reference} lost, "
            f"{one.only_candidate} won"
        )
    return f"  {one.name}: {one.value:.4g} over {one.samples} samples, {other} has {one.reference_value:.4g}"
