"""The rule for labels that may not belong to the data, where no loss shows: what is red, and what is judged besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from msgspec import structs

from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import LAST_RELEASE, Accuracy, AccuracyEvidence, Fit, LostClass, Score
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT
from pytest_onnxlite.statistics import binomial_tail
from pytest_onnxlite.text import listed, percent, shortened

# Of fewer samples nothing can be said; of fewer than the second, a useful model may by luck have no more right than one
# that always gives the commonest label.
_FEWEST, _ENOUGH = 20, 100
# A model is weak that has no more than this share of what can be had beyond shuffled labels.
_WEAK = 0.15
# What happens more often without a reason may be luck.
_LUCK = 0.05
# A model is right more often where it is surest, by more than luck. Above that accuracy a loss shows in any case, and of two
# classes a weak model may be as right where it is sure.
_SHOWS, _FEWEST_SURE = 0.8, 25
# Classes that no sample is labelled with are doubtful from this share of all answers.
_UNLABELLED = 0.1
# Classes that a text names.
_MOST_NAMED = 5
_LOOK = (
    "Look whether x and y of evaluation=Dataset(x, y) belong together: the same order, the labels of this output, x prepared "
    "as in training, and once."
)


def misfit_message(limit: AccuracyLimit, found: Accuracy | Score) -> str:
    """Say why nothing can be judged by the labels: what is compared with is no better than chance; else empty."""
    if limit.chance_ok or not isinstance(found, Accuracy) or found.fit is None:
        return ""
    if found.fit.misspelled:
        pairs = [f"{label} is never answered, {answer} is" for label, answer in found.fit.misspelled]
        return (
            f"labels are spelled otherwise than the model's answers: {shortened(pairs, between='; ', most=_MOST_NAMED)}. Give y of "
            "evaluation=Dataset(x, y) as the model writes it. If these are classes of their own, say chance_ok=True."
        )
    why = misfit(found.fit, found.total)
    if not why:
        return ""
    itself = "" if found.reference else ", or it has learned nothing"
    return (
        f"the evaluation data or its labels do not fit this model{itself}: {why} ({found.fit.right} of {found.total} right). "
        f"A loss would not show.\n{_LOOK} If they do, and the model is useful all the same (one class may be rare), say "
        "chance_ok=True."
    )


def with_doubts(limit: AccuracyLimit, found: Accuracy | Score, verdict: Verdict) -> Verdict:
    """Return a verdict about right answers with what they hide: answers that differ, where the labels are doubtful, and
    classes that were lost.
    """
    if not isinstance(found, Accuracy) or verdict.outcome not in (Outcome.PASS, Outcome.IMPROVED):
        return verdict
    verdict = _with_differing(limit, found, verdict)
    if verdict.outcome is Outcome.FAIL:
        return verdict
    against_last = verdict.against == BASELINE
    lost = lost_text([c for c in found.lost_classes if (c.reference == LAST_RELEASE) == against_last])
    return replace(verdict, remarks=(*verdict.remarks, *([lost] if lost else [])))


def needs_last_release(limit: AccuracyLimit, found: Accuracy | Score) -> bool:
    """Tell whether answers are compared with the last release's: labels are doubtful, and there is no other reference."""
    return isinstance(found, Accuracy) and not found.reference and bool(_doubt(limit, found))


def _doubt(limit: AccuracyLimit, found: Accuracy) -> str:
    return doubt(found.fit, found.total) if found.fit is not None and not limit.chance_ok else ""


def _with_differing(limit: AccuracyLimit, found: Accuracy, verdict: Verdict) -> Verdict:
    why = _doubt(limit, found)
    if not why or found.fit is None:
        return verdict
    if found.reference:
        count, other, way_out = found.fit.differing, f"the {found.reference} variant", ""
    else:
        count, other = (found.last.differing if found.last else None), LAST_RELEASE
        way_out = f" If the change is meant, accept it with: {ACCEPT}"
    if found.reference and verdict.against == BASELINE:
        return verdict  # judged where the reference is
    if count is None:
        text = f"the labels are doubtful: {why}. {_LOOK} If they do, say chance_ok=True."
        return replace(verdict, remarks=(*verdict.remarks, text))
    evidence = AccuracyEvidence() if not isinstance(verdict.evidence, AccuracyEvidence) else verdict.evidence
    verdict = replace(verdict, evidence=structs.replace(evidence, differing=count))
    allowed = int(Decimal(str(limit.max_drop)) * found.total)
    figures = f"{count} of {found.total} samples are answered differently than by {other}, at most {allowed} allowed"
    if count > allowed:
        message = (
            f"{figures} (max_drop={limit.max_drop:g}). Right answers alone do not show a loss, since the labels are doubtful: "
            f"{why}.\n{_LOOK} If they do, say chance_ok=True, and right answers alone are judged.{way_out}"
        )
        return replace(verdict, outcome=Outcome.FAIL, message=message)
    text = f"the labels are doubtful: {why}. So answers were compared as well: {figures}. {_LOOK}"
    return replace(verdict, remarks=(*verdict.remarks, text))


def misfit(fit: Fit, total: int) -> str:
    """Say why a model that has answered so is no better than chance; empty if it is better."""
    if total < _FEWEST or fit.right == total:
        return ""
    has = f"the {fit.kind} variant has {percent(fit.right / total)}"
    shuffled = fit.right <= fit.shuffled_most
    fewer = fit.right < fit.always_right or (_is_weak(fit, total) and not _beats_always(fit))
    if (fewer and total >= _ENOUGH) or (fit.right <= fit.always_right and shuffled):
        answer = listed(fit.always)
        luck = ", and the difference may be luck" if fit.right > fit.always_right else ""
        return f"{has}, always answering {answer} has {percent(fit.always_right / total)}{luck}"
    if shuffled and total >= _ENOUGH:
        expected, most = percent(fit.shuffled / total), percent(fit.shuffled_most / total)
        return f"{has}, and its answers would have {expected} with the labels shuffled, by luck up to {most}"
    return ""


def _is_weak(fit: Fit, total: int) -> bool:
    """Tell whether a model is hardly better than shuffled labels, and than always giving the commonest label."""
    return fit.right - fit.shuffled < _WEAK * (total - fit.shuffled) and fit.right < 2 * fit.always_right


def _beats_always(fit: Fit) -> bool:
    """Tell whether more answers are right than if it always gave the commonest label, by more than luck (a sign test)."""
    only_always = fit.always_right - (fit.right - fit.right_elsewhere)
    tried = fit.right_elsewhere + only_always
    return tried > 0 and binomial_tail(fit.right_elsewhere, tried, 0.5) <= _LUCK


def doubt(fit: Fit, total: int) -> str:
    """Say why labels are doubtful although the model is better than chance; empty if they are not."""
    if fit.is_bool and fit.classes > 2:
        return f"the labels are True and False, and the model has {fit.classes} classes"
    if fit.unlabelled_answers >= max(_UNLABELLED * total, 1):
        named = listed([*fit.unlabelled[:_MOST_NAMED], *(["others"] * (len(fit.unlabelled) > _MOST_NAMED))])
        return f"the {fit.kind} variant answers {named} to {fit.unlabelled_answers} of {total} samples, and none is labelled so"
    share = fit.right / total
    if fit.classes > 2 and total >= _ENOUGH and _is_weak(fit, total):
        return (
            f"the {fit.kind} variant has {percent(share)}, hardly more than the {percent(fit.shuffled / total)} that its answers "
            "would have with the labels shuffled"
        )
    if fit.classes <= 2 or not 0 < share <= _SHOWS or not _FEWEST_SURE <= fit.surest <= total / 2:
        return ""
    if binomial_tail(fit.surest_right, fit.surest, share) <= _LUCK:
        return ""
    return (
        f"where the {fit.kind} variant is surest of its answer, {percent(fit.surest_right / fit.surest)} are right by their "
        f"labels, of all samples {percent(share)}"
    )


def lost_text(lost: Sequence[LostClass]) -> str:
    """Say which classes were lost; empty for none."""
    if not lost:
        return ""
    parts = [
        f"class {c.label} ({c.right} of {c.samples} right, {c.reference} has {c.reference_right})"
        for c in lost[:_MOST_NAMED]
    ]
    more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
    return f"lost among many right answers: {', '.join(parts)}{more}."
