"""When right answers, or a metric's value, are within their limit: one rule for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from statistics import NormalDist
from typing import Any

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.accuracy.judge_floor import judge_floor, with_flips
from pytest_onnxlite.checks.accuracy.judge_labels import misfit_message, with_doubts
from pytest_onnxlite.checks.accuracy.judge_slices import with_slices
from pytest_onnxlite.checks.accuracy.judge_total import judge_total
from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import (
    Accuracy,
    AccuracyEvidence,
    AccuracySection,
    FirstAccuracy,
    Recount,
    Rescore,
    Score,
)
from pytest_onnxlite.checks.reference import ACCEPT_IT, Absent, Reference, absent, missing
from pytest_onnxlite.checks.verdict import BASELINE, LIMIT, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT, SAVE
from pytest_onnxlite.statistics import paired_drop_interval
from pytest_onnxlite.text import percent

NAME = "accuracy"
# Floating-point sums of equal outputs in another order differ by less, of the values compared.
_ROUNDING = 1e-9
# How sure the bounds in a message are, where the marker does not say.
_CONFIDENCE = 0.95


def allowed_drop(limit: AccuracyLimit, total: int, reference_correct: int) -> int:
    """Return how many right answers may be lost: floor of the limit times the samples, exactly, inclusive."""
    base = reference_correct if limit.relative else total
    return int(Decimal(str(limit.max_drop)) * base)


@dataclass(frozen=True)
class Loss:
    """How much worse than another figure a candidate's is: in right answers, or in the metric's own unit.

    Attributes:
        amount: how much worse.
        allowed: how much of that is allowed.
        bound: what the upper end of its interval must not exceed: `allowed`, before it is rounded to whole answers.
        low: the lower end of its interval; None if there is none.
        high: the upper end.
        slack: what floating-point sums alone can differ by.
    """

    amount: float
    allowed: float
    bound: float
    low: float | None = None
    high: float | None = None
    slack: float = 0.0

    @property
    def is_too_much(self) -> bool:
        """Whether it exceeds what is allowed."""
        return self.amount > self.allowed + self.slack

    @property
    def may_be_too_much(self) -> bool:
        """Whether its interval reaches beyond what is allowed."""
        return self.high is not None and self.high > self.bound + self.slack

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its bounds, rounded."""
        return None if self.low is None or self.high is None else (round(self.low, 6), round(self.high, 6))


def _counted(limit: AccuracyLimit, total: int, other: int, correct: int, only: tuple[int, int] | None) -> Loss:
    """Return right answers lost; `only` counts the samples that only the other, and only the candidate has right."""
    lost = other - correct
    low = high = None
    if only is not None:
        # What the other lost by itself since it was counted is no sample's chance.
        moved = lost - (only[0] - only[1])
        ends = paired_drop_interval(*only, total, limit.confidence or _CONFIDENCE)
        low, high = (total * end + moved for end in ends)
    bound = float(Decimal(str(limit.max_drop)) * (other if limit.relative else total))
    return Loss(lost, allowed_drop(limit, total, other), bound, low, high)


def _scored(limit: AccuracyLimit, found: Score, other: float, base: float, error: float | None) -> Loss:
    amount = found.loss(other)
    allowed = limit.max_drop * (base if limit.relative else 1.0)
    low = high = None
    if error is not None:
        reach = NormalDist().inv_cdf((1 + (limit.confidence or _CONFIDENCE)) / 2) * error
        low, high = amount - reach, amount + reach
    return Loss(amount, allowed, allowed, low, high, _ROUNDING * max(abs(other), 1e-12))


def judge_accuracy(
    limit: AccuracyLimit, found: Accuracy | Score, reference: Reference, advice: Callable[[], str] = str
) -> list[Verdict]:
    """Judge a figure against the reference variant's and against the baseline's.

    Args:
        limit: what the marker asks.
        found: what was counted.
        reference: the baseline, or why there is none.
        advice: says what may give back what was lost, see `advice`; asked if too much was.
    """
    verdicts = []
    unfit = _unfit(limit, found) if isinstance(found, Accuracy) else None
    misfit = misfit_message(limit, found)
    if unfit:
        verdicts.append(Verdict(NAME, found.reference or LIMIT, Outcome.FAIL, found.figure, unfit, AccuracyEvidence()))
    elif misfit:
        # Without evidence, so that nobody looks for layers: the cause is known.
        verdicts.append(Verdict(NAME, found.reference or LIMIT, Outcome.FAIL, found.figure, misfit))
    elif found.reference:
        verdicts.append(_with_samples(limit, found, _judge_reference(limit, found, advice)))
    floor = judge_floor(limit, found, NAME)
    if floor is not None:
        verdicts.append(floor)
    if isinstance(reference, Absent):
        return [*verdicts, absent(NAME, found.figure, reference)]
    saved = reference.section(AccuracySection)
    if saved is None:
        return [*verdicts, missing(NAME, found.figure, reference)]
    against_last = _judge_baseline(limit, found, saved, reference)
    verdicts += judge_total(limit, found, reference, NAME, against_last.outcome)
    return [*verdicts, against_last if misfit else _with_samples(limit, found, against_last)]


def _with_samples(limit: AccuracyLimit, found: Accuracy | Score, verdict: Verdict) -> Verdict:
    """Return a verdict about all samples with what single ones, and parts of them, say."""
    return with_doubts(limit, found, with_slices(limit, found, with_flips(limit, found, verdict)))


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


# -- against the variant it was made from --------------------------------------------------------------------


def _judge_reference(limit: AccuracyLimit, found: Accuracy | Score, advice: Callable[[], str]) -> Verdict:
    if isinstance(found, Accuracy):
        only = found.only_reference, found.only_candidate
        loss = _counted(limit, found.total, found.reference_correct, found.correct, only)
    else:
        assert found.reference_value is not None
        loss = _scored(limit, found, found.reference_value, found.relative_base, found.loss_error)
    outcome, message = _decide(limit, found, loss, _beside_text(found), _pairs_text(limit, found, loss))
    if outcome is Outcome.FAIL and loss.is_too_much:
        message = "\n".join(filter(None, [message, advice()]))
    return Verdict(NAME, found.reference, outcome, found.figure, message, _evidence(limit, loss))


def _beside_text(found: Accuracy | Score) -> str:
    """Say both figures."""
    if isinstance(found, Accuracy):
        return (
            f"{found.figure} ({found.correct} of {found.total} right), the {found.reference} variant has "
            f"{percent(found.reference_correct / found.total)} ({found.reference_correct})"
        )
    direction = "higher" if found.higher_is_better else "lower"
    return (
        f"{found.figure} over {found.total} samples, the {found.reference} variant has {found.reference_value:.4g} "
        f"({direction} is better)"
    )


def _pairs_text(limit: AccuracyLimit, found: Accuracy | Score, loss: Loss) -> str:
    """Say what the samples that differ show."""
    if isinstance(found, Score):
        return _interval_text(limit, found, loss)
    return (
        f"Only the {found.reference} variant right: {found.only_reference} samples; only this one: "
        f"{found.only_candidate}. {_interval_text(limit, found, loss)}"
    )


def _interval_text(limit: AccuracyLimit, found: Accuracy | Score, loss: Loss) -> str:
    if loss.low is None or loss.high is None:
        return ""
    confidence = percent(limit.confidence or _CONFIDENCE)
    if isinstance(found, Accuracy):
        return f"Drop: {percent(loss.low / found.total)} to {percent(loss.high / found.total)} ({confidence} interval)."
    return f"Loss: {loss.low:.4g} to {loss.high:.4g} ({confidence} interval, from the samples' differences)."


def _decide(
    limit: AccuracyLimit, found: Accuracy | Score, loss: Loss, figures: str, interval: str
) -> tuple[Outcome, str]:
    """Judge a loss; the text says what was lost, how much is allowed, and how sure that is."""
    below = f"\n{interval}" if interval else ""
    if loss.is_too_much:
        return Outcome.FAIL, f"{figures}: {_amount_text(limit, found, loss)}.{below}"
    if limit.confidence is None:
        return Outcome.PASS, ""
    if loss.high is None:
        return Outcome.FAIL, (
            f"confidence={limit.confidence} asks for an interval, and {_no_interval(found)} Leave confidence= out."
        )
    if loss.may_be_too_much:
        worst = percent(loss.high / found.total) if isinstance(found, Accuracy) else f"{loss.high:.4g}"
        lost = f"{loss.amount:g} fewer right" if isinstance(found, Accuracy) else f"{loss.amount:.4g} worse"
        return Outcome.FAIL, (
            f"{figures}: {lost} is within {_limit_text(limit, found, loss)}, but a drop of up to {worst} cannot be ruled "
            f"out.{below}\nEvaluate on more samples, or drop confidence={limit.confidence}."
        )
    return Outcome.PASS, ""


def _no_interval(found: Accuracy | Score) -> str:
    if isinstance(found, Accuracy):
        return (
            "the last release's file is not there to be counted on the same samples. Keep it (onnxlite_keep_artefact)."
        )
    return f"the metric {found.metric!r} gives one number for all samples. Let it return one for each sample."


def _amount_text(limit: AccuracyLimit, found: Accuracy | Score, loss: Loss) -> str:
    """Say what was lost and how much is allowed."""
    if isinstance(found, Score):
        return (
            f"{loss.amount:.4g} worse, at most {loss.allowed:.4g} allowed ({_limit_text(limit, found, loss)}, batch size "
            f"{found.batch_size})"
        )
    kind = "relative to its right answers" if limit.relative else f"of {found.total} samples"
    return (
        f"{loss.amount:g} fewer right, at most {loss.allowed:g} allowed (max_drop={limit.max_drop} {kind}, batch size "
        f"{found.batch_size})"
    )


def _limit_text(limit: AccuracyLimit, found: Accuracy | Score, loss: Loss) -> str:
    relative = f", relative=True, which is {loss.bound:.4g} here" if limit.relative else ""
    return f"max_drop={limit.max_drop:g}{relative}"


def _evidence(limit: AccuracyLimit, loss: Loss, **more: Any) -> AccuracyEvidence:
    confidence = None if loss.interval is None else limit.confidence or _CONFIDENCE
    return AccuracyEvidence(
        lost=loss.amount, allowed=loss.allowed, interval=loss.interval, interval_confidence=confidence, **more
    )


# -- against the last release --------------------------------------------------------------------------------


def _judge_baseline(
    limit: AccuracyLimit, found: Accuracy | Score, saved: AccuracySection, baseline: Baseline
) -> Verdict:
    other = _other_conditions(found, saved)
    if other:
        evidence = AccuracyEvidence(saved=saved)
        return Verdict(NAME, BASELINE, Outcome.NOT_COMPARABLE, found.figure, f"{other} {ACCEPT_IT}", evidence)
    if isinstance(found, Accuracy):
        assert saved.correct is not None
        only = None if found.last is None else (found.last.only_last, found.last.only_candidate)
        loss = _counted(limit, found.total, saved.correct, found.correct, only)
        had = f"{found.figure} ({found.correct} of {found.total} right), the last release had {saved.text} ({saved.correct})"
    else:
        assert saved.value is not None
        error = None if found.last is None else found.last.loss_error
        loss = _scored(limit, found, saved.value, abs(saved.value), error)
        had = f"{found.figure}, the last release had {saved.value:.4g}"
    since, text = _since_first(found, baseline)
    evidence = _evidence(limit, loss, saved=saved, lost_since_first=since)
    outcome, message = _decide(limit, found, loss, had, _interval_text(limit, found, loss))
    if outcome is Outcome.FAIL:
        message += f"{text}\n{_today(found, saved, baseline)}If the loss is meant, accept it with: {ACCEPT}"
    elif -loss.amount > loss.allowed + loss.slack:
        gained = f"{-loss.amount:g} more right" if isinstance(found, Accuracy) else f"{-loss.amount:.4g} better"
        outcome, message = Outcome.IMPROVED, f"{gained} than the last release."
    keep = SAVE if outcome is Outcome.IMPROVED else ""
    return Verdict(NAME, BASELINE, outcome, found.figure, message, evidence, keep=keep)


def changed_condition(found: Accuracy | Score, saved: AccuracySection) -> tuple[str, object, object] | None:
    """Return what differs in how the two were counted, as it was and as it is; None if nothing does."""
    for name, was, now in (
        ("data", saved.data_sha256, found.data_sha256),
        ("metric", saved.metric, found.metric),
        ("batch size", saved.batch_size, found.batch_size),
        ("output", saved.output, found.output),
        ("total", saved.total, found.total),
        ("kind of figure", saved.correct is not None, isinstance(found, Accuracy)),
    ):
        if was is not None and was != now:
            return name, was, now
    return None


def _other_conditions(found: Accuracy | Score, saved: AccuracySection) -> str:
    """Say what differs in how the two were counted, so that they cannot be compared; empty if nothing does."""
    changed = changed_condition(found, saved)
    if changed is None:
        return ""
    name, was, now = changed
    if name == "data":
        return (
            f"the baseline was counted on other evaluation data ({saved.total} samples, hash {saved.data_sha256[:12]}; now "
            f"{found.total} samples, hash {found.data_sha256[:12]}), so that the two figures cannot be compared. Evaluate "
            "on the baseline's data, or accept the new data."
        )
    return f"the baseline was counted with {name} {was}, now it is {now}. Use the same, or accept the change."


def _since_first(found: Accuracy | Score, baseline: Baseline) -> tuple[float | None, str]:
    first = baseline.first_of(NAME, FirstAccuracy)
    if first is None or first.data_sha256 != found.data_sha256:
        return None, ""
    if isinstance(found, Accuracy):
        if first.correct is None:
            return None, ""
        lost = first.correct - found.correct
        return lost, f"\nSince the first release: {lost:+d} lost."
    if first.value is None:
        return None, ""
    loss = found.loss(first.value)
    return loss, f"\nSince the first release: {loss:+.4g}."


def _today(found: Accuracy | Score, saved: AccuracySection, baseline: Baseline) -> str:
    """Say whether the model lost it, or the machine and the runtime: what the last release's file answers today."""
    if found.last is None:
        return (
            "The last release's file is not there to be counted again today: the model may have changed, or the data's "
            "preparation, the machine or ONNX Runtime. Keep the file (onnxlite_keep_artefact) to tell which. "
        )
    if isinstance(found, Accuracy) and isinstance(found.last, Recount) and saved.correct is not None:
        now, was = float(found.last.correct), float(saved.correct)
        by_machine, by_model = was - now, now - found.correct
    elif isinstance(found, Score) and isinstance(found.last, Rescore) and saved.value is not None:
        now, was = found.last.value, saved.value
        by_machine, by_model = (was - now if found.higher_is_better else now - was), found.loss(now)
    else:
        return ""
    if now == was:
        return "The last release's file still has that today: it is the model that changed. "
    text = f"The last release's own file has {now:.6g} here, and {was:.6g} where it was saved{_saved_with(baseline)}: "
    if by_machine < 0:
        return f"{text}the loss is the model's, and the machine or its runtime hides {-by_machine:.4g} of it. "
    if by_model <= 0:
        return f"{text}the loss is the machine's or its runtime's, not the model's. "
    return f"{text}{by_machine:.4g} of the loss is the machine's or its runtime's, {by_model:.4g} the model's. "


def _saved_with(baseline: Baseline) -> str:
    """Return where a release was saved, as far as its baseline says: ` (aarch64, onnxruntime 1.24.4)`."""
    machines = {found.description.architecture for found in baseline.machines.values()}
    runtime = baseline.runtime
    parts = [*(machines if len(machines) == 1 else ()), *([f"{runtime.library} {runtime.version}"] if runtime else ())]
    return f" ({', '.join(parts)})" if parts else ""
