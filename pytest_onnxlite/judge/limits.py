"""The rules: when a measurement is within its limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.judge.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.limits import AccuracyLimit, GraphLimit, LatencyLimit, MemoryLimit, SizeLimit
from pytest_onnxlite.measure.measurement import Accuracy, Comparison, Graph, GraphChanges, Latency, Memory, Peak, Size
from pytest_onnxlite.statistics import median_interval, paired_drop_interval
from pytest_onnxlite.text import percent, size_text, time_text

SAVE = "pytest --onnxlite-save-baseline"

# The best reference: the file that the last accepted release shipped.
PREVIOUS = "previous artefact"
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


def absent(check: str, figure: str, why: Absent) -> Verdict:
    """Return the verdict where there is no baseline to compare with."""
    return Verdict(check, BASELINE, why.outcome, figure, why.reason)


def missing(check: str, figure: str, baseline: Baseline) -> Verdict:
    """Return the verdict where the baseline lacks a check."""
    reason = (
        f"the baseline of {baseline.model} {baseline.variant} has no {check}: it was saved by a run that did not "
        f"measure it. Save it with: {SAVE}"
    )
    return Verdict(check, BASELINE, Outcome.MISSING, figure, reason)


# -- accuracy ------------------------------------------------------------------------------------------------


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
        return [*verdicts, absent("size", figure, reference)]
    if reference.size is None:
        return [*verdicts, missing("size", figure, reference)]
    lines: list[str] = []
    if not any(verdict.outcome is Outcome.FAIL for verdict in verdicts):  # which has said it
        # A float model has nothing left in float.
        lines = [*(_contents(found) if variant.endswith("int8") else ()), *_waste(found)]
    return [*verdicts, _judge_size_baseline(limit, found, figure, reference, lines)]


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
        f"{found.bytes - int(most * found.reference_bytes):,} bytes too many."
    )
    message = "\n".join([message, *_contents(found), *_waste(found)])
    return Verdict("size", found.reference, Outcome.FAIL, figure, message, evidence)


def _contents(found: Size) -> list[str]:
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
    return lines


def _waste(found: Size) -> list[str]:
    if not found.waste:
        return []
    return [
        f"Beside it {size_text(found.waste)} of its data files are referred to by nothing. They are not counted, and ship all "
        "the same: delete the data files before the model is saved anew."
    ]


def _judge_size_baseline(
    limit: SizeLimit, found: Size, figure: str, baseline: Baseline, lines: Sequence[str]
) -> Verdict:
    assert baseline.size is not None
    saved = baseline.size["bytes"]
    growth = found.bytes / saved - 1
    start = baseline.first.get("size", {}).get("bytes")
    evidence = {"bytes": found.bytes, "saved": saved, "growth": round(growth, 6), "first": start}
    since = f" Since the first accepted release: {found.bytes - start:+,} bytes." if start else ""
    if found.bytes > saved * (1 + limit.tolerance):
        head = (
            f"{found.bytes:,} bytes, the last accepted release had {saved:,}: {percent(growth)} more, at most "
            f"{percent(limit.tolerance)} allowed (tolerance={limit.tolerance}).{since}"
        )
        message = "\n".join([head, *lines, f"If the growth is meant, accept it with: {SAVE} --onnxlite-accept"])
        return Verdict("size", BASELINE, Outcome.FAIL, figure, message, evidence)
    if found.bytes < saved * (1 - limit.tolerance):
        message = f"{percent(-growth)} smaller than the last accepted release. Keep it with: {SAVE}"
        return Verdict("size", BASELINE, Outcome.IMPROVED, figure, message, evidence)
    return Verdict("size", BASELINE, Outcome.PASS, figure, "", evidence)


# -- latency -------------------------------------------------------------------------------------------------


def is_suspicious(ratios: Sequence[float], most: float) -> bool:
    """Tell whether ratios show more than is allowed: median and lower bound both exceed it."""
    interval = median_interval(ratios, CONFIDENCE)
    return interval.median > most and interval.lower > most


def is_clear(ratios: Sequence[float], most: float) -> bool:
    """Tell whether ratios rule out more than is allowed."""
    return median_interval(ratios, CONFIDENCE).upper <= most


def is_too_noisy(ratios: Sequence[float], resolution: float) -> bool:
    """Tell whether the bounds lie so far apart that a difference of the resolution could hide between them."""
    return relative_noise(ratios) > resolution


def relative_noise(ratios: Sequence[float]) -> float:
    """Return half the distance between the bounds on a median, as a share of it."""
    interval = median_interval(ratios, CONFIDENCE)
    return interval.noise / interval.median


def ratio_text(comparison: Comparison, second: bool = False) -> str:
    """Say how sure a ratio is: `1.12x (99.5 % ≥ 1.09x, 24 replicates, against the onnx variant, noise ±1.4 %)`."""
    interval = median_interval(comparison.second if second else comparison.first, CONFIDENCE)
    against = {"previous artefact": "the previous release"}.get(
        comparison.reference, f"the {comparison.reference} variant"
    )
    return (
        f"{interval.median:.2f}x ({percent(CONFIDENCE)} ≥ {interval.lower:.2f}x, {interval.count} replicates, against {against}, "
        f"noise ±{percent(interval.noise / interval.median)})"
    )


def _intervals(comparison: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = {"reference": comparison.reference, "most": comparison.most}
    for name in ("first", "second", "self_check"):
        ratios = getattr(comparison, name)
        if ratios:
            interval = median_interval(ratios, CONFIDENCE)
            found[name] = {
                "median": round(interval.median, 5),
                "lower": round(interval.lower, 5),
                "upper": round(interval.upper, 5),
                "confidence": CONFIDENCE,
                "replicates": interval.count,
            }
    return found


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
    limit: LatencyLimit, found: Latency, reference: Reference, saved: Mapping[str, Any] | None = None
) -> list[Verdict]:
    """Judge the paired ratios: to the float model where the marker asks, and to the baseline's reference.

    Args:
        limit: the marker.
        found: the times.
        reference: the baseline, or why there is none.
        saved: the latency that was saved on a machine like this; needed only where nothing ran beside.
    """
    figure = time_text(found.seconds)
    conditions = f"batch size {found.batch_size}, {found.threads} thread{'s' if found.threads > 1 else ''}"
    verdicts = []
    sibling = found.comparisons.get("float")
    if sibling is not None and limit.max_ratio is not None:
        outcome, text = _judge_comparison(limit, found, sibling)
        if outcome is Outcome.FAIL:
            text = (
                f"{figure} per inference, {ratio_text(sibling)}; at most {limit.max_ratio:g}x allowed "
                f"(max_ratio={limit.max_ratio:g}, {conditions}).\n{text}\nINT8 is not always faster: dynamic quantization "
                "slows convolutions down; leave them in float (recipe exclude=['Conv'])."
            )
        verdicts.append(Verdict("latency", sibling.reference, outcome, figure, text, _intervals(sibling)))
    if isinstance(reference, Absent):
        return [*verdicts, absent("latency", figure, reference)]
    comparison = found.comparisons.get(BASELINE)
    if comparison is None:
        assert saved is not None
        return [*verdicts, _judge_absolute(limit, found, saved["seconds"], figure)]
    outcome, text = _judge_comparison(limit, found, comparison)
    interval = median_interval(comparison.first, CONFIDENCE)
    evidence = _intervals(comparison)
    since = reference.first.get("latency_ratio")
    if since is not None and comparison.reference == PREVIOUS:
        evidence["ratio_since_first"] = round(since * interval.median, 4)
    if outcome is Outcome.FAIL:
        drift = "" if since is None else f" Since the first accepted release: {since * interval.median:.2f}x."
        text = (
            f"{figure} per inference, {ratio_text(comparison)}; at most {comparison.most:.2f}x allowed "
            f"(max_slowdown={limit.max_slowdown}, {conditions}).\n{text}{drift}\n"
            "Look for operators that were added or that lost their fused or quantized form; if the cost is meant, "
            f"accept it with: {SAVE} --onnxlite-accept"
        )
    elif interval.upper < comparison.most / (1 + limit.max_slowdown) * (1 - limit.max_slowdown):
        outcome, text = Outcome.IMPROVED, f"{ratio_text(comparison)}. Keep it with: {SAVE}"
    return [*verdicts, Verdict("latency", BASELINE, outcome, figure, text, evidence)]


def _judge_absolute(limit: LatencyLimit, found: Latency, saved: float, figure: str) -> Verdict:
    """Judge by the seconds that were saved on a machine like this."""
    interval = median_interval(found.sessions, CONFIDENCE)
    evidence = {"reference": "absolute", "saved": saved, "sessions": list(found.sessions)}
    if interval.lower > saved * (1 + limit.max_slowdown):
        message = (
            f"{figure} per inference ({percent(CONFIDENCE)} ≥ {time_text(interval.lower)}), {time_text(saved)} were saved "
            f"on a machine like this; at most {percent(limit.max_slowdown)} more allowed. A saved time is a weak "
            "reference: keep the artefact (onnxlite_keep_artefact) to have the previous release timed beside this one."
        )
        return Verdict("latency", BASELINE, Outcome.FAIL, figure, message, evidence)
    return Verdict("latency", BASELINE, Outcome.PASS, figure, "", evidence)


# -- memory --------------------------------------------------------------------------------------------------


def judge_memory(limit: MemoryLimit, found: Memory, reference: Reference) -> list[Verdict]:
    """Judge the peaks of loading and of running, each against the previous artefact's."""
    figure = size_text(max(found.candidate.load, found.candidate.run))
    if isinstance(reference, Absent):
        return [absent("memory", figure, reference)]
    assert found.reference is not None
    evidence = found.as_dict()
    was = max(found.reference.load, found.reference.run)
    now = max(found.candidate.load, found.candidate.run)
    since = reference.first.get("memory_ratio")
    if since is not None:
        evidence["ratio_since_first"] = round(since * now / max(was, 1), 4)

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
            f"{_node_bytes(found.candidate, found.reference)}"
            "Growth while loading comes from weights, growth while running from activations: look for wider layers, "
            f"a larger batch, or operators that keep copies. If it is meant, accept it with: {SAVE} --onnxlite-accept",
        )
    if was - now > max(limit.max_growth * was, MEMORY_FLOOR):
        return verdict(Outcome.IMPROVED, f"{size_text(was - now)} less than the previous release. Keep it with: {SAVE}")
    return verdict(Outcome.PASS)


def _node_bytes(candidate: Peak, reference: Peak) -> str:
    """Say what ONNX Runtime itself counted, where it did."""
    if candidate.node_bytes is None or reference.node_bytes is None:
        return ""
    most = ", ".join(f"{name} ({size_text(count)})" for name, count in candidate.nodes[:3])
    return (
        f"Allocated by nodes in one run: {size_text(candidate.node_bytes)}, was {size_text(reference.node_bytes)}; "
        f"most by {most}.\n"
    )


def _growth(phase: str, candidate: Peak, reference: Peak, max_growth: float) -> str | None:
    now, was = getattr(candidate, phase), getattr(reference, phase)
    if now - was <= max(max_growth * was, MEMORY_FLOOR):
        return None
    doing = {"load": "loading", "run": "running"}[phase]
    return f"peak while {doing} {size_text(now)}, was {size_text(was)} ({percent(now / max(was, 1) - 1)} more)"


# -- graph ---------------------------------------------------------------------------------------------------


def judge_graph(limit: GraphLimit, found: Graph, changes: GraphChanges | None, reference: Reference) -> list[Verdict]:
    """Judge the findings, and what callers and readers of the graph rely on against the baseline's.

    Args:
        limit: the marker.
        found: what the graph checks found.
        changes: how the graph differs from the baseline's; None where there is none to compare with.
        reference: the baseline, or why there is none.
    """
    errors = [text for finding, text in zip(found.findings, found.texts, strict=True) if finding["severity"] == "error"]
    figure = "sound" if not errors else f"{len(errors)} finding{'s' if len(errors) > 1 else ''}"
    outcome = Outcome.FAIL if errors else Outcome.PASS
    own = Verdict("graph", "limit", outcome, figure, "\n".join(errors), found.as_dict())
    if isinstance(reference, Absent):
        return [own, absent("graph", figure, reference)]
    if reference.graph is None or changes is None:
        return [own, missing("graph", figure, reference)]
    evidence = {"signature_changes": list(changes.signature), "operator_changes": changes.operators}
    lines = []
    if changes.signature:
        lines.append("inputs or outputs changed since the last accepted release, which breaks who calls the model:")
        lines += [f"  {change.replace(chr(10), chr(10) + '  ')}" for change in changes.signature]
        lines.append(f"Give them back their form, or accept the new one with: {SAVE} --onnxlite-accept")
    if changes.operators and limit.structure == "frozen":
        lines.append(
            f"the operators changed since the last accepted release (structure='frozen'): {changes.operators}.\n"
            f"Look for a new converter or quantizer version, or a changed layer; if it is meant, accept it with: "
            f"{SAVE} --onnxlite-accept"
        )
    return [
        own,
        Verdict("graph", BASELINE, Outcome.FAIL if lines else Outcome.PASS, figure, "\n".join(lines), evidence),
    ]
