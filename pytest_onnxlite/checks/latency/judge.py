"""When a time per inference is within its limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import FLOAT, SIBLING, AtShapes, Latency, LatencyEvidence
from pytest_onnxlite.checks.reference import Absent, Reference, absent, together
from pytest_onnxlite.checks.since_first import sum_since_first
from pytest_onnxlite.checks.turns.comparison import Comparison
from pytest_onnxlite.checks.turns.judge import bounds_of, judge_comparison, ratio_text
from pytest_onnxlite.checks.turns.ratios import CONFIDENCE
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT, SAVE
from pytest_onnxlite.statistics import median_interval
from pytest_onnxlite.text import percent, shapes_text, time_text

NAME = "latency"
FIRST_KEY = "latency_ratio"
_OPERATORS = "Look for operators that were added or that lost their fused or quantized form"
_CURE = "INT8 is not always faster; max_ratio=1.0 makes such a model red."
# By so much the medians of a model and its twin may differ, measured in turns; and where one of them was saved.
_TWINS, _SAVED_TWINS = 0.05, 0.15


# How many times slower than it was saved, on a machine of the same kind, the last release may be: what neighbours, the
# place in memory and the processor's clock do to one file in two processes, with room. Measured by
# benchmarks/runtime_study.py.
SINCE_SAVED = 2.0
# How many times its saved ratio to the float model a file may have where the last release's is not kept. Two models do not
# share a processor's caches and clock as two files of one do: their ratio on one machine differs from run to run by a
# factor of up to 1.9. With room; measured by benchmarks/sibling_study.py.
RATIO_SINCE_SAVED = 2.5
# Before it is believed, it is looked for a block that nothing disturbed, for so long.
LOOK_SECONDS = 20.0
# The worst first: where a model is timed at several shapes, the worst decides.
_WORST_FIRST = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS, Outcome.IMPROVED)


def ratio_since_saved(now: float, saved: float, pace: float | None, saved_pace: float | None) -> float:
    """Return how much slower a file is than it was saved, beyond what the machine itself is slower.

    Args:
        now: seconds per inference today.
        saved: those that were saved.
        pace: seconds of a fixed piece of work today; None where nobody knows.
        saved_pace: those that were saved.
    """
    return now / saved / machine_slower(pace, saved_pace)


def machine_slower(pace: float | None, saved_pace: float | None) -> float:
    """Return how many times slower the machine itself is than when it saved; 1 where it is not, or where nobody knows.

    Args:
        pace: seconds of a fixed piece of work today.
        saved_pace: those that were saved.
    """
    return max(pace / saved_pace, 1.0) if pace and saved_pace else 1.0


def _evidence(found: Latency, comparison: Comparison, since_first: float | None = None) -> LatencyEvidence:
    return LatencyEvidence(
        reference=comparison.reference,
        most=comparison.most,
        first=bounds_of(comparison.first),
        second=bounds_of(comparison.second),
        self_check=bounds_of(comparison.self_check),
        ratio_since_first=since_first,
        shapes=found.shapes,
        runtime=comparison.runtime,
        percentile=found.percentile,
        queries=found.rounds if found.percentile is not None else 0,
        typical=comparison.typical and round(comparison.typical, 5),
    )


def judge_latency(
    limit: LatencyLimit,
    found: Latency,
    reference: Reference,
    saved: Sequence[AtShapes | None] = (),
    cure: Callable[[], str] = str,
    file: str = "",
    slower: float = 1.0,
) -> list[Verdict]:
    """Judge the paired ratios: to the float model where the marker asks, and to the baseline's reference.

    At each shape that was timed; the worst decides.

    Args:
        limit: the marker.
        found: the times.
        reference: the baseline, or why there is none.
        saved: what was saved on a machine like this at each shape, None for nothing; none at all where nothing was.
        cure: says what may make it faster than the float model, see `cure`; asked if it is too slow.
        file: the SHA-256 of the candidate.
        slower: how many times slower the machine itself is than when it saved, see `machine_slower`.
    """
    verdicts = _judge_shapes(limit, found, reference, saved, cure, file, slower)
    beside = saved or [None] * len(found.each)
    remarks = [slower_than_float(one, at) for one, at in zip(found.each, beside, strict=True)]
    remark = next(filter(None, remarks), "")
    if remark and not any(verdict.outcome is Outcome.FAIL for verdict in verdicts):
        # With the verdict that stands for the check.
        verdicts[-1] = replace(verdicts[-1], remarks=(remark,))
    return verdicts


def slower_than_float(found: Latency, saved: AtShapes | None) -> str:
    """Say that a quantized model is slower than the float model it was made from; empty if nothing shows it.

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


def _judge_shapes(
    limit: LatencyLimit,
    found: Latency,
    reference: Reference,
    saved: Sequence[AtShapes | None],
    cure: Callable[[], str],
    file: str,
    slower: float,
) -> list[Verdict]:
    verdicts = []
    if limit.max_ratio is not None and FLOAT in found.comparisons:
        verdicts.append(_worst(found, [_judge_float(limit, one, cure) for one in found.each]))
    if isinstance(reference, Absent):
        return [*verdicts, absent(NAME, time_text(found.seconds), reference)]
    if BASELINE in found.comparisons:
        main = found.comparisons[BASELINE]
        ratio = median_interval(main.first, CONFIDENCE).median
        since = sum_since_first(reference, FIRST_KEY, file, ratio) if main.is_last_release else None
        return [*verdicts, _worst(found, [_judge_last(limit, one, since) for one in found.each])]
    pairs = [(one, at.seconds) for one, at in zip(found.each, saved, strict=True) if at is not None]
    return [*verdicts, _worst(found, [_judge_absolute(limit, one, seconds, slower) for one, seconds in pairs])]


def _worst(found: Latency, verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict that decides; if it is no pass, with the ratios at the other shapes."""

    def badness(verdict: Verdict) -> tuple[int, float]:
        evidence = verdict.evidence
        assert isinstance(evidence, LatencyEvidence)
        ratio = evidence.first.median / (evidence.most or 1.0) if evidence.first else 0.0
        return -_WORST_FIRST.index(verdict.outcome), ratio

    worst = max(verdicts, key=badness)
    if not found.others or worst.outcome not in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        return worst
    others = [
        f"{evidence.first.median:.2f}x at {shapes_text(evidence.shapes)}"
        for verdict in verdicts
        if verdict is not worst and isinstance(evidence := verdict.evidence, LatencyEvidence) and evidence.first
    ]
    return replace(worst, message=f"{worst.message}\nAt other shapes: {'; '.join(others)}.") if others else worst


def at_text(found: Latency) -> str:
    """Return the shapes that a time is at, for the middle of a sentence; empty where nothing says them."""
    return f" at {shapes_text(found.shapes)}" if found.shapes else ""


def _conditions(found: Latency) -> str:
    shapes = [shapes_text(found.shapes)] if found.shapes else []
    return ", ".join([*shapes, load_text(found)])


def load_text(found: Latency) -> str:
    """Return the conditions other than the shapes: `batch size 1, 2 threads`."""
    return f"batch size {found.batch_size}, {found.threads} thread{'s' if found.threads > 1 else ''}"


def _judge_float(limit: LatencyLimit, found: Latency, cure: Callable[[], str]) -> Verdict:
    """Judge the ratio to the float model, as `max_ratio=` asks."""
    comparison, figure = found.comparisons[FLOAT], time_text(found.seconds)
    outcome, text = judge_comparison(limit, comparison, found.duration, at_text(found))
    if outcome is Outcome.FAIL:
        typical = _typical_text(comparison)
        head = (
            f"{figure} {found.per}, {ratio_text(comparison)}; at most {limit.max_ratio:g}x allowed "
            f"(max_ratio={limit.max_ratio:g}, {_conditions(found)})."
        )
        text = "\n".join(filter(None, [head, text, f"{typical}." if typical else "", cure()]))
    return Verdict(NAME, comparison.reference, outcome, figure, text, _evidence(found, comparison))


def _judge_last(limit: LatencyLimit, found: Latency, since: float | None) -> Verdict:
    """Judge the ratio to the last release, or to what stands in for it."""
    comparison, figure = found.comparisons[BASELINE], time_text(found.seconds)
    outcome, text = judge_comparison(limit, comparison, found.duration, at_text(found))
    interval = median_interval(comparison.first, CONFIDENCE)
    if outcome is Outcome.FAIL:
        drift = "" if since is None else f" Since the first release: {since:.2f}x."
        text = (
            f"{figure} {found.per}, {ratio_text(comparison)}; at most {comparison.most:.2f}x allowed "
            f"({f'max_slowdown={limit.max_slowdown}, ' if comparison.is_last_release else ''}{_conditions(found)}).\n{text}{drift}\n"
            f"{_by_saved_ratio(limit, comparison)}{together(comparison.runtime)}"
            f"{_typical_text(comparison) or _OPERATORS}; if the cost is meant, accept it with: {ACCEPT}"
        )
    elif interval.upper < _improved(limit, comparison):
        outcome, text = Outcome.IMPROVED, f"{ratio_text(comparison)}."
    keep = SAVE if outcome is Outcome.IMPROVED else ""
    return Verdict(NAME, BASELINE, outcome, figure, text, _evidence(found, comparison, since), keep=keep)


def _improved(limit: LatencyLimit, comparison: Comparison) -> float:
    """Return the ratio below which a candidate is faster by more than it may be slower."""
    if comparison.is_last_release:
        return comparison.most / (1 + limit.max_slowdown) * (1 - limit.max_slowdown)
    return comparison.most / RATIO_SINCE_SAVED**2


def _by_saved_ratio(limit: LatencyLimit, comparison: Comparison) -> str:
    """Say how coarse the bound is where the last release was not timed itself; empty where it was."""
    if comparison.is_last_release:
        return ""
    return (
        f"The last release's file was not kept; when it was saved, it had {comparison.most / RATIO_SINCE_SAVED:.2f}x, and up "
        f"to {RATIO_SINCE_SAVED:g} times that counts as no change: a ratio to another model differs from run to run. Keep the file "
        f"(onnxlite_keep_artefact) to have it timed in turns with this one, and judged to {percent(limit.max_slowdown)}.\n"
    )


def _typical_text(comparison: Comparison) -> str:
    """Say whether the slow runs alone became slower; empty where nothing is known of others."""
    if comparison.typical is None:
        return ""
    runs = "all runs" if comparison.typical > comparison.most else "the slow runs"
    return (
        f"The median run takes {comparison.typical:.2f}x: {runs} became slower. Look for branches and loops that depend on the input, "
        "and for what is set up anew now and then"
    )


def _judge_absolute(limit: LatencyLimit, found: Latency, saved: float, slower: float) -> Verdict:
    """Judge by the seconds that were saved on a machine like this, which may be slower today."""
    interval, figure = median_interval(found.sessions, CONFIDENCE), time_text(found.seconds)
    evidence = LatencyEvidence(reference="absolute", saved=saved, shapes=found.shapes)
    if interval.lower > saved * slower * (1 + limit.max_slowdown):
        today = f", which is {slower:.2f} times slower today at a fixed piece of work" if slower >= 1.005 else ""
        message = (
            f"{figure} per inference{at_text(found)} ({percent(CONFIDENCE)} ≥ {time_text(interval.lower)}), {time_text(saved)} "
            f"were saved on a machine like this{today}; at most {percent(limit.max_slowdown)} more allowed. A saved time is a weak "
            "reference: keep the file (onnxlite_keep_artefact) to have the last release timed in turns with this one."
        )
        return Verdict(NAME, BASELINE, Outcome.FAIL, figure, message, evidence)
    return Verdict(NAME, BASELINE, Outcome.PASS, figure, "", evidence)
