"""The rule for answers on another processor: the limit that holds here, against the reference variant that ran here."""

from __future__ import annotations

from msgspec import structs

from pytest_onnxlite.checks.accuracy.judge import NAME, allowed_drop, judge_accuracy
from pytest_onnxlite.checks.accuracy.judge_floor import judge_floor
from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measure import HERE
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, AccuracyEvidence, Elsewhere, Score
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.verdict import Outcome, Verdict
from pytest_onnxlite.text import percent, score_text

# What a mean of fewer samples says of the others hangs on which they are.
_FEWEST = 30
_MORE_TIME = "Give it more time with --onnxlite-processor-time=SECONDS, or a runner that is faster."
_NOTHING_SAVED = Absent(Outcome.NOT_COMPARED, "")


def judge_processor(limit: AccuracyLimit, found: Elsewhere) -> Verdict:
    """Judge a variant's answers on another processor by the limit of its accuracy."""
    where = AccuracyEvidence(processor=found.processor, emulated=found.emulated, problem=found.problem or None)
    if found.rated is None:
        message = f"Accuracy could not be counted on {found.processor}, {found.place}: {found.problem}"
        return Verdict(NAME, found.processor, Outcome.FAIL, "not counted", message, where)
    rated: Accuracy | Score = found.rated
    figure = f"{rated.figure} of {rated.total:,} samples" if found.cut else rated.figure
    first, *_ = judge_accuracy(limit, rated, _NOTHING_SAVED)
    assert isinstance(first.evidence, AccuracyEvidence | None)
    if isinstance(rated, Accuracy):
        base = rated.reference_correct if rated.reference else rated.correct
        is_enough = limit.max_drop == 0 or allowed_drop(limit, rated.total, base) >= 1
    else:
        is_enough = not found.cut or rated.total >= _FEWEST
    evidence = structs.replace(
        first.evidence or AccuracyEvidence(),
        processor=found.processor,
        runs_on=found.runs_on,
        emulated=found.emulated,
        here=found.here,
        of=found.of,
        seconds=round(found.seconds, 1),
    )

    def verdict(outcome: Outcome, message: str = "") -> Verdict:
        return Verdict(NAME, found.processor, outcome, figure, message, evidence)

    if not is_enough:
        return verdict(Outcome.INCONCLUSIVE, _too_few(limit, found, rated))
    floor = judge_floor(limit, rated, NAME)
    if floor is not None and floor.outcome is Outcome.FAIL:
        return verdict(Outcome.FAIL, f"On {found.processor}, {found.place}: {floor.message}")
    if not rated.reference or first.outcome is not Outcome.FAIL:
        return verdict(Outcome.PASS)
    if evidence.flips is not None:
        return verdict(Outcome.FAIL, f"On {found.processor}, {found.place}: {first.message}")
    return verdict(Outcome.FAIL, "\n".join([_loss(limit, found, rated, evidence), *_advice(found, rated)]))


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
    if found.cut == "time":
        return f"{text} {_MORE_TIME}"
    return text if cut else f"{text} Give more evaluation samples."


def _loss(limit: AccuracyLimit, found: Elsewhere, rated: Accuracy | Score, evidence: AccuracyEvidence) -> str:
    """Say what was counted there and here, what is allowed, and how sure it is."""
    lost, allowed = evidence.lost or 0.0, evidence.allowed or 0.0
    reference = "" if rated.reference == HERE else f", the {rated.reference} variant"
    some = f" Counted on {rated.total:,} of {found.of:,} samples." if found.cut else ""
    is_within = lost <= allowed
    unsure = f" A larger loss cannot be ruled out (confidence={limit.confidence})." if is_within else ""
    asked = f"max_drop={limit.max_drop:g}{', relative=True' if limit.relative else ''}, batch size {rated.batch_size}"
    if isinstance(rated, Accuracy):
        here = int(found.here)
        text = (
            f"On {found.processor}, {found.place}: {rated.figure} ({rated.correct} of {rated.total} right), here "
            f"{percent(here / rated.total)} ({here})"
        )
        if reference:
            text += f"{reference} {percent(rated.reference_correct / rated.total)} ({rated.reference_correct})"
        low, high = evidence.interval or (0.0, 0.0)
        sure = (
            f"Drop: {percent(low / rated.total)} to {percent(high / rated.total)} "
            f"({percent(evidence.interval_confidence or 0.0)} interval)."
        )
        return f"{text}: {lost:g} fewer right, at most {allowed:g} allowed ({asked}).{some}\n{sure}{unsure}"
    text = f"On {found.processor}, {found.place}: {score_text(rated.value, rated.metric)} over {rated.total} samples, here {found.here:.4g}"
    if reference:
        text += f"{reference} {rated.reference_value:.4g}"
    return f"{text}: {lost:.4g} worse, at most {allowed:.4g} allowed ({asked}).{some}{unsure}"


def _advice(found: Elsewhere, rated: Accuracy | Score) -> list[str]:
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
