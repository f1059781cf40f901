"""The rule for answers on another processor: the limit that holds here, against the reference variant that ran here."""

from __future__ import annotations

from typing import Any

from pytest_onnxlite.judge.limits import Absent, allowed_drop, judge_accuracy
from pytest_onnxlite.judge.scores import judge_score
from pytest_onnxlite.judge.verdict import Outcome, Verdict
from pytest_onnxlite.limits import AccuracyLimit
from pytest_onnxlite.measure.measurement import Accuracy, Elsewhere, Score
from pytest_onnxlite.text import percent, score_text

# What a mean of fewer samples says of the others hangs on which they are.
_FEWEST = 30
_MORE_TIME = "Give it more time with --onnxlite-processor-time=SECONDS, or a runner that is faster."
_NOTHING_SAVED = Absent(Outcome.NOT_COMPARED, "")


def judge_processor(limit: AccuracyLimit, found: Elsewhere) -> Verdict:
    """Judge a variant's answers on another processor by the limit of its accuracy."""
    if found.rated is None:
        message = f"Accuracy could not be counted on {found.processor}, {found.place}: {found.problem}"
        evidence = {"processor": found.processor, "emulated": found.emulated, "problem": found.problem}
        return Verdict("accuracy", found.processor, Outcome.FAIL, "not counted", message, evidence)
    rated = found.rated
    figure = _figure(found, rated)
    if isinstance(rated, Accuracy):
        first, *_ = judge_accuracy(limit, rated, _NOTHING_SAVED)
        base = rated.reference_correct if rated.reference else rated.correct
        is_enough = limit.max_drop == 0 or allowed_drop(limit, rated.total, base) >= 1
    else:
        first, *_ = judge_score(limit, rated, _NOTHING_SAVED)
        is_enough = not found.cut or rated.total >= _FEWEST
    evidence = {
        **first.evidence,
        "processor": found.processor,
        "runs_on": found.runs_on,
        "emulated": found.emulated,
        "here": found.here,
        "of": found.of,
        "seconds": round(found.seconds, 1),
    }

    def verdict(outcome: Outcome, message: str = "") -> Verdict:
        return Verdict("accuracy", found.processor, outcome, figure, message, evidence)

    if not is_enough:
        return verdict(Outcome.INCONCLUSIVE, _too_few(limit, found, rated))
    if not rated.reference or first.outcome is not Outcome.FAIL:
        return verdict(Outcome.PASS)
    return verdict(
        Outcome.FAIL, "\n".join([_loss(limit, found, rated, first.evidence), *_advice(found, rated, evidence)])
    )


def _figure(found: Elsewhere, rated: Accuracy | Score) -> str:
    some = f" of {rated.total:,} samples" if found.cut else ""
    if isinstance(rated, Accuracy):
        return f"{percent(rated.correct / rated.total)}{some}"
    return f"{score_text(rated.value, rated.metric)}{some}"


def _too_few(limit: AccuracyLimit, found: Elsewhere, rated: Accuracy | Score) -> str:
    cut = {
        "time": f" in {found.limit:g} s, which was its time",
        "bytes": ", since the others would not fit into a temporary file",
    }.get(found.cut, "")
    wanted = f"a drop of {percent(limit.max_drop)}" if isinstance(rated, Accuracy) else f"max_drop={limit.max_drop:g}"
    text = (
        f"On {found.processor}, {found.place}: {rated.total:,} of {found.of:,} samples were counted{cut}. They are too few to judge "
        f"{wanted} by."
    )
    return (
        f"{text} {_MORE_TIME}" if found.cut == "time" else f"{text} Give more evaluation samples." if not cut else text
    )


def _loss(limit: AccuracyLimit, found: Elsewhere, rated: Accuracy | Score, evidence: dict[str, Any]) -> str:
    """Say what was counted there and here, what is allowed, and how sure it is."""
    beside = "" if rated.reference == "here" else f", the {rated.reference} variant"
    some = f" Counted on {rated.total:,} of {found.of:,} samples." if found.cut else ""
    if isinstance(rated, Accuracy):
        here = int(found.here)
        text = (
            f"On {found.processor}, {found.place}: {percent(rated.correct / rated.total)} ({rated.correct} of {rated.total} right), here "
            f"{percent(here / rated.total)} ({here})"
        )
        if beside:
            text += f"{beside} {percent(rated.reference_correct / rated.total)} ({rated.reference_correct})"
        low, high = evidence["drop_interval"]
        sure = f"Drop: {percent(low)} to {percent(high)} ({percent(evidence['interval_confidence'])} interval)."
        return (
            f"{text}: {evidence['lost']} fewer right, at most {evidence['allowed']} allowed "
            f"(max_drop={limit.max_drop:g}{', relative=True' if limit.relative else ''}, batch size {rated.batch_size})."
            f"{some}\n{sure}{_unsure(limit, evidence['lost'] <= evidence['allowed'])}"
        )
    text = f"On {found.processor}, {found.place}: {score_text(rated.value, rated.metric)} over {rated.total} samples, here {found.here:.4g}"
    if beside:
        text += f"{beside} {rated.reference_value:.4g}"
    return (
        f"{text}: {evidence['loss']:.4g} worse, at most {evidence['allowed']:.4g} allowed (max_drop={limit.max_drop:g}"
        f"{', relative=True' if limit.relative else ''}, batch size {rated.batch_size})."
        f"{some}{_unsure(limit, evidence['loss'] <= evidence['allowed'])}"
    )


def _unsure(limit: AccuracyLimit, is_within: bool) -> str:
    return f" A larger loss cannot be ruled out (confidence={limit.confidence})." if is_within else ""


def _advice(found: Elsewhere, rated: Accuracy | Score, evidence: dict[str, Any]) -> list[str]:
    worse = found.here - (rated.correct if isinstance(rated, Accuracy) else rated.value)
    if isinstance(rated, Score) and not rated.higher_is_better:
        worse = -worse
    if worse <= 0:
        return ["It answers no better here: what is wrong is not the processor."]
    if found.runs_on == "avx2":
        return [
            "Such processors add two products of uint8 and int8 in 16 bits, which saturates. Quantize with "
            "reduce_range=True or with uint8 weights, which cannot saturate, and judge it again."
        ]
    return [
        "Its answers depend on the processor. Ship it to processors that it was judged on, or quantize it by another recipe."
    ]
