"""When right answers are within their limit."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import Accuracy
from pytest_onnxlite.checks.reference import SAVE, Absent, Reference, absent, missing
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.statistics import paired_drop_interval
from pytest_onnxlite.text import percent


def allowed_drop(limit: AccuracyLimit, total: int, reference_correct: int) -> int:
    """Return how many right answers may be lost: floor of the limit times the samples, exactly, inclusive."""
    base = reference_correct if limit.relative else total
    return int(Decimal(str(limit.max_drop)) * base)


def judge_accuracy(limit: AccuracyLimit, found: Accuracy, reference: Reference) -> list[Verdict]:
    """Judge right answers against the reference variant's and against the baseline's."""
    figure = percent(found.correct / found.total)
    verdicts = []
    unfit = _unfit(limit, found)
    if unfit:
        evidence = found.as_dict()
        verdicts.append(Verdict("accuracy", found.reference or "limit", Outcome.FAIL, figure, unfit, evidence))
    elif found.reference:
        verdicts.append(_judge_drop(limit, found, figure))
    if isinstance(reference, Absent):
        return [*verdicts, absent("accuracy", figure, reference)]
    if reference.accuracy is None:
        return [*verdicts, missing("accuracy", figure, reference)]
    return [
        *verdicts,
        _judge_accuracy_baseline(limit, found, figure, reference.accuracy, reference.first),
    ]


def _unfit(limit: AccuracyLimit, found: Accuracy) -> str | None:
    """Say why a limit cannot be judged on the data, whatever the model answers."""
    if limit.max_drop >= 1:
        return (
            f"max_drop={limit.max_drop:g} would let every answer be wrong: {found.metric} counts right ones, and max_drop "
            "is a share of 1 (0.01 is one point)."
        )
    total, right = found.total, found.reference_correct if found.reference else found.correct
    if limit.max_drop == 0 or allowed_drop(limit, total, right) >= 1:
        return None
    needed = int(1 / Decimal(str(limit.max_drop)))
    needed += 0 if needed * Decimal(str(limit.max_drop)) >= 1 else 1
    return (
        f"{total} evaluation samples are too few to show a drop of {percent(limit.max_drop)}: one wrong answer is "
        f"already {percent(1 / total)}. Give at least {needed} samples, or ask for max_drop=0."
    )


def _judge_drop(limit: AccuracyLimit, found: Accuracy, figure: str) -> Verdict:
    def verdict(outcome: Outcome, message: str = "") -> Verdict:
        return Verdict("accuracy", found.reference, outcome, figure, message, evidence)

    lost = found.reference_correct - found.correct
    allowed = allowed_drop(limit, found.total, found.reference_correct)
    confidence = limit.confidence or 0.95
    low, high = paired_drop_interval(found.only_reference, found.only_candidate, found.total, confidence)
    evidence = {
        **found.as_dict(),
        "lost": lost,
        "allowed": allowed,
        "drop_interval": [round(low, 6), round(high, 6)],
        "interval_confidence": confidence,
    }
    counted = (
        f"{figure} ({found.correct} of {found.total} right), the {found.reference} variant has "
        f"{percent(found.reference_correct / found.total)} ({found.reference_correct})"
    )
    paired = (
        f"Only the {found.reference} variant right: {found.only_reference} samples; only this one: "
        f"{found.only_candidate}. Drop: {percent(low)} to {percent(high)} ({percent(confidence)} interval)."
    )
    if lost > allowed:
        kind = "relative to its right answers" if limit.relative else f"of {found.total} samples"
        return verdict(
            Outcome.FAIL,
            f"{counted}: {lost} fewer right, at most {allowed} allowed (max_drop={limit.max_drop} {kind}, "
            f"batch size {found.batch_size}).\n{paired}\n"
            "Leave the layers that lose most in float (recipe exclude=[...]), quantize per_channel=True, or train with "
            "quantization in mind.",
        )
    if limit.confidence is not None and high > limit.max_drop and not limit.relative:
        return verdict(
            Outcome.FAIL,
            f"{counted}: {lost} fewer right is within max_drop={limit.max_drop}, but a drop of up to {percent(high)} "
            f"cannot be ruled out.\n{paired}\nEvaluate on more samples, or drop confidence={limit.confidence}.",
        )
    return verdict(Outcome.PASS)


def _judge_accuracy_baseline(
    limit: AccuracyLimit,
    found: Accuracy,
    figure: str,
    saved: Mapping[str, Any],
    first: Mapping[str, Any],
) -> Verdict:
    def verdict(outcome: Outcome, message: str = "") -> Verdict:
        return Verdict("accuracy", BASELINE, outcome, figure, message, evidence)

    evidence: dict[str, Any] = {"saved": dict(saved), "correct": found.correct, "total": found.total}
    if saved["data_sha256"] != found.data_sha256:
        return verdict(
            Outcome.NOT_COMPARABLE,
            f"the baseline was counted on other evaluation data ({saved['total']} samples, hash "
            f"{saved['data_sha256'][:12]}; now {found.total} samples, hash {found.data_sha256[:12]}), so that the two "
            f"accuracies cannot be compared. Evaluate on the baseline's data, or accept the new data with: "
            f"{SAVE} --onnxlite-accept",
        )
    for name, now in (("metric", found.metric), ("batch_size", found.batch_size)):
        if saved[name] != now:
            return verdict(
                Outcome.NOT_COMPARABLE,
                f"the baseline was counted with {name} {saved[name]}, now it is {now}. Use the same, or accept the "
                f"change with: {SAVE} --onnxlite-accept",
            )
    lost = saved["correct"] - found.correct
    allowed = allowed_drop(limit, found.total, saved["correct"])
    evidence.update(lost=lost, allowed=allowed)
    since = ""
    start = first.get("accuracy")
    if isinstance(start, dict) and start.get("data_sha256") == found.data_sha256:
        evidence["lost_since_first"] = start["correct"] - found.correct
        since = f" Since the first accepted release: {start['correct'] - found.correct:+d} lost."
    if lost > allowed:
        return verdict(
            Outcome.FAIL,
            f"{figure} ({found.correct} of {found.total} right), the last accepted release had "
            f"{percent(saved['correct'] / saved['total'])} ({saved['correct']}): {lost} fewer right, at most {allowed} "
            f"allowed (max_drop={limit.max_drop}).{since}\nFind out what changed in the model since that release; "
            f"if the loss is meant, accept it with: {SAVE} --onnxlite-accept",
        )
    if -lost > allowed:
        return verdict(Outcome.IMPROVED, f"{-lost} more right than the last accepted release. Keep it with: {SAVE}")
    return verdict(Outcome.PASS)
