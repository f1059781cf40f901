"""The rules: when a measurement is within its limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.judge.statistics import median_interval, paired_drop_interval
from pytest_onnxlite.judge.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.measure.measurement import Accuracy, Graph, Latency, Memory, Peak, Size
from pytest_onnxlite.settings import AccuracyLimit, GraphLimit, LatencyLimit, MemoryLimit, SizeLimit

SAVE = "pytest --onnxlite-save-baseline"

# With this probability each bound on a latency ratio holds.
CONFIDENCE = 0.995
# Growth below this is not told apart from the allocator's granularity, whatever share of a small peak it is.
MEMORY_FLOOR = 1 << 20


@dataclass(frozen=True)
class Absent:
    """Why there is no baseline to compare with."""

    outcome: Outcome
    reason: str


Reference = Baseline | Absent


def _absent(check: str, figure: str, absent: Absent) -> Verdict:
    return Verdict(check, BASELINE, absent.outcome, figure, absent.reason)


def _missing(check: str, figure: str, baseline: Baseline) -> Verdict:
    reason = (
        f"the baseline of {baseline.model} {baseline.variant} has no {check}: it was saved by a run that did not "
        f"measure it. Save it with: {SAVE}"
    )
    return Verdict(check, BASELINE, Outcome.MISSING, figure, reason)


def percent(share: float) -> str:
    """Return a share of 1 as a percentage with one digit."""
    return f"{100 * share:.1f} %"


def size_text(count: float) -> str:
    """Return bytes in the unit that a person would use."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def time_text(seconds: float) -> str:
    """Return seconds in the unit that a person would use."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


# -- accuracy ------------------------------------------------------------------------------------------------


def allowed_drop(limit: AccuracyLimit, total: int, reference_correct: int) -> int:
    """Return how many right answers may be lost: floor of the limit times the samples, exactly, inclusive."""
    base = reference_correct if limit.relative else total
    return int(Decimal(str(limit.max_drop)) * base)


def judge_accuracy(limit: AccuracyLimit, found: Accuracy, metric: str, reference: Reference) -> list[Verdict]:
    """Judge right answers against the reference variant's and against the baseline's."""
    figure = percent(found.correct / found.total)
    verdicts = []
    if found.reference:
        verdicts.append(_judge_drop(limit, found, figure))
    if isinstance(reference, Absent):
        return [*verdicts, _absent("accuracy", figure, reference)]
    if reference.accuracy is None:
        return [*verdicts, _missing("accuracy", figure, reference)]
    return [
        *verdicts,
        _judge_accuracy_baseline(limit, found, metric, figure, reference.accuracy, reference.first),
    ]


def _too_small(limit: AccuracyLimit, total: int, reference_correct: int) -> str | None:
    if limit.max_drop == 0 or allowed_drop(limit, total, reference_correct) >= 1:
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
    small = _too_small(limit, found.total, found.reference_correct)
    if small:
        return verdict(Outcome.FAIL, small)
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
    metric: str,
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
    for name, now in (("metric", metric), ("batch_size", found.batch_size)):
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


# -- size ----------------------------------------------------------------------------------------------------


def judge_size(limit: SizeLimit, variant: str, found: Size, reference: Reference) -> list[Verdict]:
    """Judge bytes as a ratio of the float model's and against the baseline's."""
    figure = size_text(found.bytes)
    verdicts = []
    ratio = limit.ratio if limit.ratio is not None else limit.default_ratios.get(variant)
    if ratio is not None and found.reference is not None:
        verdicts.append(_judge_ratio(ratio, limit.tolerance, found, figure))
    elif limit.ratio is not None:
        verdicts.append(
            Verdict(
                "size",
                "limit",
                Outcome.FAIL,
                figure,
                f"ratio={limit.ratio} asks for a share of the model it was made from, and the spec names none for the "
                f"{variant} variant. Give onnx= or trained=, or leave ratio= out.",
            )
        )
    if isinstance(reference, Absent):
        return [*verdicts, _absent("size", figure, reference)]
    if reference.size is None:
        return [*verdicts, _missing("size", figure, reference)]
    return [*verdicts, _judge_size_baseline(limit, found, figure, reference)]


def _judge_ratio(ratio: float, tolerance: float, found: Size, figure: str) -> Verdict:
    assert found.reference is not None
    assert found.reference_bytes is not None
    share = found.bytes / found.reference_bytes
    most = ratio * (1 + tolerance)
    evidence = {**found.as_dict(), "ratio": round(share, 6), "most": round(most, 6)}
    if share <= most:
        return Verdict("size", found.reference, Outcome.PASS, figure, "", evidence)
    message = (
        f"{found.bytes:,} bytes are {share:.3f} of the {found.reference} variant's {found.reference_bytes:,}; at most "
        f"{most:.3f} allowed (ratio={ratio}, tolerance={tolerance}), which is "
        f"{found.bytes - int(most * found.reference_bytes):,} bytes too many.\n{_contents(found)}"
    )
    return Verdict("size", found.reference, Outcome.FAIL, figure, message, evidence)


def _contents(found: Size) -> str:
    lines = []
    by_type = found.contents.get("weight_bytes", {})
    if by_type:
        lines.append("Weights: " + ", ".join(f"{size_text(count)} {kind}" for kind, count in by_type.items()) + ".")
    left = found.contents.get("float_left", [])
    if left:
        lines.append("Left in float:")
        lines += [f"  {t['tensor']}: {size_text(t['bytes'])}, read by {t['node']} ({t['reason']})" for t in left[:5]]
        lines.append("Quantize them (recipe, exclude=), or raise ratio= if they must stay in float.")
    else:
        lines.append("No weight of 1 KiB or more is left in float: the graph itself or the scales take the room.")
    return "\n".join(lines)


def _judge_size_baseline(limit: SizeLimit, found: Size, figure: str, baseline: Baseline) -> Verdict:
    assert baseline.size is not None
    saved = baseline.size["bytes"]
    growth = found.bytes / saved - 1
    start = baseline.first.get("size", {}).get("bytes")
    evidence = {"bytes": found.bytes, "saved": saved, "growth": round(growth, 6), "first": start}
    since = f" Since the first accepted release: {found.bytes - start:+,} bytes." if start else ""
    if found.bytes > saved * (1 + limit.tolerance):
        message = (
            f"{found.bytes:,} bytes, the last accepted release had {saved:,}: {percent(growth)} more, at most "
            f"{percent(limit.tolerance)} allowed (tolerance={limit.tolerance}).{since}\n{_contents(found)}\n"
            f"If the growth is meant, accept it with: {SAVE} --onnxlite-accept"
        )
        return Verdict("size", BASELINE, Outcome.FAIL, figure, message, evidence)
    if found.bytes < saved * (1 - limit.tolerance):
        message = f"{percent(-growth)} smaller than the last accepted release. Keep it with: {SAVE}"
        return Verdict("size", BASELINE, Outcome.IMPROVED, figure, message, evidence)
    return Verdict("size", BASELINE, Outcome.PASS, figure, "", evidence)


# -- latency -------------------------------------------------------------------------------------------------


def is_suspicious(ratios: tuple[float, ...], limit: float) -> bool:
    """Tell whether a set of ratios shows a slowdown beyond the limit: median and lower bound both exceed it."""
    interval = median_interval(ratios, CONFIDENCE)
    return interval.median > 1 + limit and interval.lower > 1 + limit


def is_clear(ratios: tuple[float, ...], limit: float) -> bool:
    """Tell whether a set of ratios rules out a slowdown beyond the limit."""
    return median_interval(ratios, CONFIDENCE).upper <= 1 + limit


def is_too_noisy(ratios: tuple[float, ...], limit: float) -> bool:
    """Tell whether the bounds lie so far apart that a slowdown of the limit could hide between them."""
    return median_interval(ratios, CONFIDENCE).noise > limit


def ratio_text(ratios: tuple[float, ...]) -> str:
    """Say how sure a ratio is, as `1.12x (99.5 % ≥ 1.09x, 24 session pairs, noise ±1.4 %)`."""
    interval = median_interval(ratios, CONFIDENCE)
    return (
        f"{interval.median:.2f}x ({percent(CONFIDENCE)} ≥ {interval.lower:.2f}x, {interval.count} session pairs, "
        f"noise ±{percent(interval.noise)})"
    )


def judge_latency(limit: LatencyLimit, found: Latency, reference: Reference) -> list[Verdict]:
    """Judge the paired ratios to the previous artefact."""
    figure = time_text(found.seconds)
    if isinstance(reference, Absent):
        return [_absent("latency", figure, reference)]
    evidence = found.as_dict()
    for name in ("first", "second", "self_check"):
        ratios = getattr(found, name)
        if ratios:
            interval = median_interval(ratios, CONFIDENCE)
            evidence[f"{name}_interval"] = {
                "median": round(interval.median, 5),
                "lower": round(interval.lower, 5),
                "upper": round(interval.upper, 5),
                "confidence": CONFIDENCE,
            }
    first = median_interval(found.first, CONFIDENCE)
    since = reference.first.get("latency_ratio")
    if since is not None:
        evidence["ratio_since_first"] = round(since * first.median, 4)
    confirmed = bool(found.second) and is_suspicious(found.second, limit.max_slowdown)
    conditions = f"batch size {found.batch_size}, {found.threads} thread{'s' if found.threads > 1 else ''}"

    def verdict(outcome: Outcome, message: str = "") -> list[Verdict]:
        return [Verdict("latency", BASELINE, outcome, figure, message, evidence)]

    if found.self_check and is_too_noisy(found.self_check, limit.max_slowdown):
        spread = median_interval(found.self_check, CONFIDENCE).noise
        return verdict(
            Outcome.INCONCLUSIVE,
            f"this machine is too noisy to show a slowdown of {percent(limit.max_slowdown)}: the previous release "
            f"against itself varies by ±{percent(spread)} after {found.duration:.0f} s. Run it on a quieter machine or "
            f"with nothing beside it, allow longer with max_time= (now {limit.max_time:g} s), or raise max_slowdown=.",
        )
    if is_suspicious(found.first, limit.max_slowdown) and confirmed:
        drift = "" if since is None else f" Since the first accepted release: {since * first.median:.2f}x."
        return verdict(
            Outcome.FAIL,
            f"{figure} per inference, {ratio_text(found.first)} against the previous release; at most "
            f"{1 + limit.max_slowdown:.2f}x allowed (max_slowdown={limit.max_slowdown}, {conditions}).\n"
            f"An independent second set agrees: {ratio_text(found.second)}.{drift}\n"
            "Look for operators that were added or that lost their fused or quantized form; if the cost is meant, "
            f"accept it with: {SAVE} --onnxlite-accept",
        )
    if first.upper < 1 - limit.max_slowdown:
        return verdict(Outcome.IMPROVED, f"{ratio_text(found.first)} of the previous release. Keep it with: {SAVE}")
    return verdict(Outcome.PASS)


# -- memory --------------------------------------------------------------------------------------------------


def judge_memory(limit: MemoryLimit, found: Memory, reference: Reference) -> list[Verdict]:
    """Judge the peaks of loading and of running, each against the previous artefact's."""
    figure = size_text(max(found.candidate.load, found.candidate.run))
    if isinstance(reference, Absent):
        return [_absent("memory", figure, reference)]
    assert found.reference is not None
    evidence = found.as_dict()

    def verdict(outcome: Outcome, message: str = "") -> list[Verdict]:
        return [Verdict("memory", BASELINE, outcome, figure, message, evidence)]

    if found.method != found.reference_method:
        return verdict(
            Outcome.NOT_COMPARABLE,
            f"the candidate's peak was read by {found.method} and the previous release's by {found.reference_method}, "
            "which do not measure the same. Run again.",
        )
    if not (found.candidate.settled and found.reference.settled):
        return verdict(
            Outcome.INCONCLUSIVE,
            "the peak did not settle: repeated measurements of the same file differ by more than 1 %. Run it on a "
            "machine with free memory and nothing beside it.",
        )
    grown = [
        text
        for phase in ("load", "run")
        if (text := _growth(phase, found.candidate, found.reference, limit.max_growth)) is not None
    ]
    if grown:
        return verdict(
            Outcome.FAIL,
            f"needs more memory than the previous release: {'; '.join(grown)}; at most {percent(limit.max_growth)} "
            f"allowed (max_growth={limit.max_growth}, batch size {found.batch_size}, read by {found.method}).\n"
            "Growth while loading comes from weights, growth while running from activations: look for wider layers, "
            f"a larger batch, or operators that keep copies. If it is meant, accept it with: {SAVE} --onnxlite-accept",
        )
    was = max(found.reference.load, found.reference.run)
    now = max(found.candidate.load, found.candidate.run)
    if was - now > max(limit.max_growth * was, MEMORY_FLOOR):
        return verdict(Outcome.IMPROVED, f"{size_text(was - now)} less than the previous release. Keep it with: {SAVE}")
    return verdict(Outcome.PASS)


def _growth(phase: str, candidate: Peak, reference: Peak, max_growth: float) -> str | None:
    now, was = getattr(candidate, phase), getattr(reference, phase)
    if now - was <= max(max_growth * was, MEMORY_FLOOR):
        return None
    doing = {"load": "loading", "run": "running"}[phase]
    return f"peak while {doing} {size_text(now)}, was {size_text(was)} ({percent(now / max(was, 1) - 1)} more)"


# -- graph ---------------------------------------------------------------------------------------------------


def judge_graph(
    limit: GraphLimit, found: Graph, changes: tuple[str, ...] | None, reference: Reference
) -> list[Verdict]:
    """Judge the findings, and the signature against the baseline's.

    Args:
        limit: the marker.
        found: what the graph checks found.
        changes: how inputs and outputs differ from the baseline's; None where there is none to compare with.
        reference: the baseline, or why there is none.
    """
    errors = [text for finding, text in zip(found.findings, found.texts, strict=True) if finding["severity"] == "error"]
    figure = "sound" if not errors else f"{len(errors)} finding{'s' if len(errors) > 1 else ''}"
    evidence = {"findings": list(found.findings), "operators": found.operators, "signature": found.signature}
    if errors:
        own = Verdict("graph", "limit", Outcome.FAIL, figure, "\n".join(errors), evidence)
    else:
        own = Verdict("graph", "limit", Outcome.PASS, figure, "", evidence)
    if isinstance(reference, Absent):
        return [own, _absent("graph", figure, reference)]
    if reference.graph is None or changes is None:
        return [own, _missing("graph", figure, reference)]
    if changes:
        message = "\n".join(
            (
                "inputs or outputs changed since the last accepted release, which breaks who calls the model:",
                *(f"  {change}" for change in changes),
                f"Give them back their form, or accept the new one with: {SAVE} --onnxlite-accept",
            )
        )
        return [own, Verdict("graph", BASELINE, Outcome.FAIL, figure, message, {"changes": list(changes)})]
    return [own, Verdict("graph", BASELINE, Outcome.PASS, figure)]
