"""When a time per inference is within its limit."""

from __future__ import annotations

from dataclasses import replace

from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import (
    FLOAT,
    SIBLING,
    Comparison,
    Interval,
    Latency,
    LatencyEvidence,
    LatencySection,
)
from pytest_onnxlite.checks.latency.ratios import CONFIDENCE, is_clear, is_suspicious, is_too_noisy
from pytest_onnxlite.checks.reference import SAVE, Absent, Reference, absent
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.statistics import median_interval
from pytest_onnxlite.text import percent, time_text

NAME = "latency"
FIRST_KEY = "latency_ratio"
_CURE = "INT8 is not always faster; max_ratio=1.0 makes such a model red."
# By so much the medians of a model and its twin may differ, measured in turns; and where one of them was saved.
_TWINS, _SAVED_TWINS = 0.05, 0.15


def ratio_text(comparison: Comparison, second: bool = False) -> str:
    """Say how sure a ratio is: `1.12x (99.5 % ≥ 1.09x, 24 replicates, against the onnx variant, noise ±1.4 %)`."""
    interval = median_interval(comparison.second if second else comparison.first, CONFIDENCE)
    against = "the last release" if comparison.is_last_release else f"the {comparison.reference} variant"
    return (
        f"{interval.median:.2f}x ({percent(CONFIDENCE)} ≥ {interval.lower:.2f}x, {interval.count} replicates, against {against}, "
        f"noise ±{percent(interval.noise / interval.median)})"
    )


def _interval(ratios: tuple[float, ...]) -> Interval | None:
    if not ratios:
        return None
    found = median_interval(ratios, CONFIDENCE)
    return Interval(round(found.median, 5), round(found.lower, 5), round(found.upper, 5), CONFIDENCE, found.count)


def _evidence(comparison: Comparison, since_first: float | None = None) -> LatencyEvidence:
    return LatencyEvidence(
        reference=comparison.reference,
        most=comparison.most,
        first=_interval(comparison.first),
        second=_interval(comparison.second),
        self_check=_interval(comparison.self_check),
        ratio_since_first=since_first,
    )


def _judge_comparison(limit: LatencyLimit, found: Latency, comparison: Comparison) -> tuple[Outcome, str]:
    """Judge one set of ratios, or two where the first is suspicious; the text says what was seen."""
    first, most = comparison.first, comparison.most
    if is_clear(first, most):
        return Outcome.PASS, ""
    suspicious = is_suspicious(first, most)
    undecided = comparison.second if suspicious else first
    confirmed = suspicious and is_suspicious(comparison.second, most)
    if not confirmed and (is_clear(undecided, most) or not is_too_noisy(undecided, limit.max_slowdown)):
        return Outcome.PASS, ""
    itself = median_interval(comparison.self_check, CONFIDENCE)
    restless = is_too_noisy(comparison.self_check, limit.max_slowdown) or abs(itself.median - 1) > limit.max_slowdown
    if confirmed and not restless:
        return Outcome.FAIL, f"An independent second set agrees: {ratio_text(comparison, second=True)}."
    what = "the reference against itself" if restless else "the candidate, on a machine that is quiet enough,"
    spread = max(itself.noise, abs(itself.median - 1)) if restless else median_interval(undecided, CONFIDENCE).noise
    return Outcome.INCONCLUSIVE, (
        f"a difference of {percent(limit.max_slowdown)} cannot be shown here: {what} varies by ±{percent(spread)} after "
        f"{found.duration:.0f} s of measuring. Run it on a quieter machine or with nothing beside it, allow longer with "
        f"max_time= (now {limit.max_time:g} s), or raise max_slowdown=."
    )


def judge_latency(
    limit: LatencyLimit, found: Latency, reference: Reference, saved: LatencySection | None = None
) -> list[Verdict]:
    """Judge the paired ratios: to the float model where the marker asks, and to the baseline's reference.

    Args:
        limit: the marker.
        found: the times.
        reference: the baseline, or why there is none.
        saved: what was saved on a machine like this; None for nothing.
    """
    verdicts = _judge_ratios(limit, found, reference, saved)
    remark = slower_than_float(found, saved)
    if remark and not any(verdict.outcome is Outcome.FAIL for verdict in verdicts):
        # With the verdict that stands for the check.
        verdicts[-1] = replace(verdicts[-1], remarks=(remark,))
    return verdicts


def slower_than_float(found: Latency, saved: LatencySection | None) -> str:
    """Say that a quantized model is slower than the float model it was made from; empty where nothing shows it.

    Both bounds of a ratio hold by themselves, and a session's place in memory makes medians of twins differ by a few per
    cent: the lower bound must exceed 1 by more than that. A ratio that was saved has no bounds, and is taken lower.
    """
    for purpose, comparison in found.comparisons.items():
        if purpose in (FLOAT, SIBLING) or (purpose == BASELINE and not comparison.is_last_release):
            interval = median_interval(comparison.first, CONFIDENCE)
            if interval.lower > 1 + _TWINS:
                return (
                    f"slower than the {comparison.reference} model it was made from: {ratio_text(comparison)}. {_CURE}"
                )
            return ""
    beside = found.comparisons.get(BASELINE)
    if beside is None or saved is None or saved.sibling_ratio is None:
        return ""
    interval = median_interval(beside.first, CONFIDENCE)
    if saved.sibling_ratio * interval.lower <= 1 + _SAVED_TWINS:
        return ""
    ratio = f"{saved.sibling_ratio * interval.median:.2f}x"
    return (
        f"slower than the float model it was made from: {ratio}, by the last release, which had {saved.sibling_ratio:.2f}x "
        f"when it was saved. {_CURE}"
    )


def _judge_ratios(
    limit: LatencyLimit, found: Latency, reference: Reference, saved: LatencySection | None
) -> list[Verdict]:
    figure = time_text(found.seconds)
    conditions = f"batch size {found.batch_size}, {found.threads} thread{'s' if found.threads > 1 else ''}"
    verdicts = []
    sibling = found.comparisons.get(FLOAT)
    if sibling is not None and limit.max_ratio is not None:
        outcome, text = _judge_comparison(limit, found, sibling)
        if outcome is Outcome.FAIL:
            text = (
                f"{figure} per inference, {ratio_text(sibling)}; at most {limit.max_ratio:g}x allowed "
                f"(max_ratio={limit.max_ratio:g}, {conditions}).\n{text}\nINT8 is not always faster: dynamic quantization "
                "slows convolutions down; leave them in float (recipe exclude=['Conv'])."
            )
        verdicts.append(Verdict(NAME, sibling.reference, outcome, figure, text, _evidence(sibling)))
    if isinstance(reference, Absent):
        return [*verdicts, absent(NAME, figure, reference)]
    comparison = found.comparisons.get(BASELINE)
    if comparison is None:
        assert saved is not None
        return [*verdicts, _judge_absolute(limit, found, saved.seconds, figure)]
    outcome, text = _judge_comparison(limit, found, comparison)
    interval = median_interval(comparison.first, CONFIDENCE)
    kept = reference.first_of(FIRST_KEY, float) if comparison.is_last_release else None
    since = None if kept is None else round(kept * interval.median, 4)
    if outcome is Outcome.FAIL:
        drift = "" if since is None else f" Since the first release: {since:.2f}x."
        text = (
            f"{figure} per inference, {ratio_text(comparison)}; at most {comparison.most:.2f}x allowed "
            f"(max_slowdown={limit.max_slowdown}, {conditions}).\n{text}{drift}\n"
            "Look for operators that were added or that lost their fused or quantized form; if the cost is meant, "
            f"accept it with: {SAVE} --onnxlite-accept"
        )
    elif interval.upper < comparison.most / (1 + limit.max_slowdown) * (1 - limit.max_slowdown):
        outcome, text = Outcome.IMPROVED, f"{ratio_text(comparison)}. Keep it with: {SAVE}"
    return [*verdicts, Verdict(NAME, BASELINE, outcome, figure, text, _evidence(comparison, since))]


def _judge_absolute(limit: LatencyLimit, found: Latency, saved: float, figure: str) -> Verdict:
    """Judge by the seconds that were saved on a machine like this."""
    interval = median_interval(found.sessions, CONFIDENCE)
    evidence = LatencyEvidence(reference="absolute", saved=saved)
    if interval.lower > saved * (1 + limit.max_slowdown):
        message = (
            f"{figure} per inference ({percent(CONFIDENCE)} ≥ {time_text(interval.lower)}), {time_text(saved)} were saved "
            f"on a machine like this; at most {percent(limit.max_slowdown)} more allowed. A saved time is a weak "
            "reference: keep the file (onnxlite_keep_artefact) to have the last release timed in turns with this one."
        )
        return Verdict(NAME, BASELINE, Outcome.FAIL, figure, message, evidence)
    return Verdict(NAME, BASELINE, Outcome.PASS, figure, "", evidence)
