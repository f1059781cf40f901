"""The rule for metrics that are no counts of right answers: errors, agreements, anything of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import Score
from pytest_onnxlite.checks.reference import SAVE, Absent, Reference, absent, missing
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.text import percent, score_text

# Floating-point sums of equal outputs in another order differ by less, of the values compared.
_ROUNDING = 1e-9


def judge_score(limit: AccuracyLimit, found: Score, reference: Reference) -> list[Verdict]:
    """Judge a metric's value against the reference variant's and against the baseline's."""
    figure = score_text(found.value, found.metric)
    verdicts = []
    if found.reference:
        verdicts.append(_judge_beside(limit, found, figure))
    if isinstance(reference, Absent):
        return [*verdicts, absent("accuracy", figure, reference)]
    if reference.accuracy is None:
        return [*verdicts, missing("accuracy", figure, reference)]
    return [*verdicts, _judge_baseline(limit, found, figure, reference.accuracy, reference.first)]


def _allowed(limit: AccuracyLimit, base: float) -> float:
    return limit.max_drop * (base if limit.relative else 1.0)


def _exceeds(loss: float, allowed: float, value: float) -> bool:
    return loss > allowed + _ROUNDING * max(abs(value), 1e-12)


def _limit_text(limit: AccuracyLimit, allowed: float) -> str:
    relative = f", relative=True, which is {allowed:.4g} here" if limit.relative else ""
    return f"max_drop={limit.max_drop:g}{relative}"


def _judge_beside(limit: AccuracyLimit, found: Score, figure: str) -> Verdict:
    assert found.reference_value is not None
    loss = found.loss(found.reference_value)
    allowed = _allowed(limit, found.relative_base)
    evidence: dict[str, Any] = {**found.as_dict(), "loss": loss, "allowed": allowed}
    interval = ""
    high = None
    if found.loss_error is not None:
        confidence = limit.confidence or 0.95
        reach = NormalDist().inv_cdf((1 + confidence) / 2) * found.loss_error
        high = loss + reach
        evidence |= {"loss_interval": [loss - reach, high], "interval_confidence": confidence}
        interval = (
            f"\nLoss: {loss - reach:.4g} to {high:.4g} ({percent(confidence)} interval, from the samples' differences)."
        )
    direction = "higher" if found.higher_is_better else "lower"
    counted = (
        f"{figure} over {found.total} samples, the {found.reference} variant has {found.reference_value:.4g} "
        f"({direction} is better)"
    )
    if _exceeds(loss, allowed, found.reference_value):
        message = (
            f"{counted}: {loss:.4g} worse, at most {allowed:.4g} allowed ({_limit_text(limit, allowed)}, batch size "
            f"{found.batch_size}).{interval}\nLeave the layers that lose most in float (recipe exclude=[...]), quantize "
            "per_channel=True, or give more calibration data."
        )
        return Verdict("accuracy", found.reference, Outcome.FAIL, figure, message, evidence)
    if limit.confidence is not None:
        if high is None:
            message = (
                f"confidence={limit.confidence} asks for an interval, and the metric {found.metric!r} gives one number for all "
                "samples. Let it return one for each sample, or leave confidence= out."
            )
            return Verdict("accuracy", found.reference, Outcome.FAIL, figure, message, evidence)
        if _exceeds(high, allowed, found.reference_value):
            message = (
                f"{counted}: {loss:.4g} worse is within {_limit_text(limit, allowed)}, but a loss of up to {high:.4g} cannot "
                f"be ruled out.{interval}\nEvaluate on more samples, or drop confidence={limit.confidence}."
            )
            return Verdict("accuracy", found.reference, Outcome.FAIL, figure, message, evidence)
    return Verdict("accuracy", found.reference, Outcome.PASS, figure, "", evidence)


def _judge_baseline(
    limit: AccuracyLimit, found: Score, figure: str, saved: Mapping[str, Any], first: Mapping[str, Any]
) -> Verdict:
    def verdict(outcome: Outcome, message: str = "") -> Verdict:
        return Verdict("accuracy", BASELINE, outcome, figure, message, evidence)

    evidence: dict[str, Any] = {"saved": dict(saved), "value": found.value, "total": found.total}
    for name, now in (
        ("data_sha256", found.data_sha256),
        ("metric", found.metric),
        ("batch_size", found.batch_size),
    ):
        if saved[name] != now:
            what = "other evaluation data" if name == "data_sha256" else f"{name} {saved[name]}, now it is {now}"
            return verdict(
                Outcome.NOT_COMPARABLE,
                f"the baseline was measured with {what}, so that the two figures cannot be compared. Use the same, or accept "
                f"the change with: {SAVE} --onnxlite-accept",
            )
    loss = found.loss(saved["value"])
    allowed = _allowed(limit, abs(saved["value"]))
    evidence.update(loss=loss, allowed=allowed)
    since = ""
    start = first.get("accuracy")
    if isinstance(start, dict) and "value" in start and start.get("data_sha256") == found.data_sha256:
        evidence["loss_since_first"] = found.loss(start["value"])
        since = f" Since the first accepted release: {found.loss(start['value']):+.4g}."
    if _exceeds(loss, allowed, saved["value"]):
        return verdict(
            Outcome.FAIL,
            f"{figure}, the last accepted release had {saved['value']:.4g}: {loss:.4g} worse, at most {allowed:.4g} allowed "
            f"({_limit_text(limit, allowed)}).{since}\nFind out what changed in the model since that release; if the loss is "
            f"meant, accept it with: {SAVE} --onnxlite-accept",
        )
    if -loss > allowed and _exceeds(-loss, allowed, saved["value"]):
        return verdict(Outcome.IMPROVED, f"{-loss:.4g} better than the last accepted release. Keep it with: {SAVE}")
    return verdict(Outcome.PASS)
