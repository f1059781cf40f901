"""In which order causes of a loss are said: evidence in, ranked causes out. The rules stand here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from pytest_onnxlite.checks.accuracy.answers import Answers
from pytest_onnxlite.checks.accuracy.layer_causes import CLEAN, layer_cause, recurrent, worst_layers
from pytest_onnxlite.checks.accuracy.range_causes import range_text
from pytest_onnxlite.checks.accuracy.reasons import Tried
from pytest_onnxlite.explain.layer import INPUT, Layer
from pytest_onnxlite.text import percent

# A trial that gives back this share of what was lost has found the cause; one that gives back less than the second has not.
_PROVEN, _DISPROVEN = 0.5, 0.25

# What a cause is about: what a suggestion says first, and a page draws first.
CALIBRATION, LAYERS, CLASSES, PROCESSOR = "calibration", "layers", "classes", "processor"
LABELS, CONDITIONS, TRAINING = "labels", "conditions", "training"


class Rank(IntEnum):
    """How sure a cause is; what is surer is said first."""

    KNOWN = 0  # counted, or a condition that differs
    PROVEN = 1  # a trial without it gives most of the loss back
    LIKELY = 2  # its figures say so
    POSSIBLE = 3  # nothing better is known, or a trial gave little back


@dataclass(frozen=True)
class Cause:
    """A cause of a loss, how sure it is, what it is about, and the text without what follows from it; empty for all of it."""

    rank: Rank
    text: str
    kind: str = ""
    short: str = ""


@dataclass(frozen=True)
class Changed:
    """A condition of the comparison that differs from the baseline's: `data`, `metric`, `batch size` ..."""

    what: str
    was: object = ""
    now: object = ""


@dataclass(frozen=True)
class Before:
    """What the model that a quantized one was made from lost by itself: its kind, its right answers, how many it had more."""

    kind: str
    correct: int
    lost: int


@dataclass(frozen=True)
class Moved:
    """The figure of the last release's own file, as it was saved and today, as texts; how much worse; what is known of why."""

    was: str
    now: str
    lost: float
    why: str = ""


@dataclass(frozen=True)
class Otherwise:
    """The variant whose file this is, run otherwise: its name, in what that differs, its figure as a text, how much more it has."""

    of: str
    change: str
    figure: str
    lost: float


@dataclass(frozen=True)
class OneSided:
    """Calibration data that has one answer: how many samples of how many, which, and its share of the evaluation data."""

    samples: int
    total: int
    answer: object
    share: float


@dataclass(frozen=True)
class Evidence:
    """What is known of a loss.

    Attributes:
        name: what the answers are compared with.
        lost: right answers lost, or of the metric's value; 0 or less where nothing was.
        counted: whether right answers are counted.
        is_quantized: whether quantization made the variant.
        against_last: whether it was lost against the last release.
        has_images: whether the samples are images.
        changed: a condition that differs, so that nothing can be compared.
        answers: which classes and samples changed.
        before: what the float model lost since the last release.
        moved: what the last release's own file lost since it was saved.
        otherwise: the same file as another variant runs it; None if it is no such file, or is not concerned.
        is_constant: whether all calibration samples are the same.
        one_sided: calibration data that has one answer.
        calibrated: the model calibrated on some of the evaluation data; None if that was not tried.
        saturating: share of weight pairs whose products can saturate on this processor; 0 if none can, here.
        reduced: the model quantized so that nothing saturates; None if that was not tried.
        layers: the layers, in the order of the graph.
        left_in_float: nodes left in float, the best first.
    """

    name: str = ""
    lost: float = 0.0
    counted: bool = True
    is_quantized: bool = True
    against_last: bool = False
    has_images: bool = False
    changed: Changed | None = None
    answers: Answers | None = None
    before: Before | None = None
    moved: Moved | None = None
    otherwise: Otherwise | None = None
    is_constant: bool = False
    one_sided: OneSided | None = None
    calibrated: Tried | None = None
    saturating: float = 0.0
    reduced: Tried | None = None
    layers: Sequence[Layer] = ()
    left_in_float: Sequence[Tried] = ()


def rank_causes(evidence: Evidence) -> list[Cause]:
    """Return the causes, the surest first; of equally sure ones in the order of the rules."""
    found = [cause for rule in _RULES for cause in rule(evidence)]
    if not any(cause.rank < Rank.POSSIBLE for cause in found):
        # What was tried in vain, or is said for want of better, comes behind it.
        found = [*_nothing_stands_out(evidence), *found]
    return sorted(found, key=lambda cause: cause.rank)


def is_settled(evidence: Evidence) -> bool:
    """Tell whether the cause is known without looking at layers."""
    return any(cause.rank is Rank.KNOWN for cause in rank_causes(evidence))


def is_proven(evidence: Evidence, tried: Tried | None) -> bool:
    """Tell whether what was tried gives back most of what was lost."""
    return tried is not None and tried.gain > 0 and tried.gain >= _PROVEN * evidence.lost


def _rank(evidence: Evidence, tried: Tried | None, otherwise: Rank) -> Rank:
    if tried is None or evidence.lost <= 0:
        return otherwise
    if is_proven(evidence, tried):
        return Rank.PROVEN
    return Rank.POSSIBLE if tried.gain < _DISPROVEN * evidence.lost else otherwise


def _gives_back(evidence: Evidence, tried: Tried) -> str:
    """Say what a trial gives back: `gives back 44 of the 49 lost answers (98.2 %)`."""
    figure = f" ({tried.figure})" if tried.figure else ""
    if evidence.lost <= 0:
        return f"has {tried.figure}"
    if tried.gain <= 0:
        return f"gives nothing back{figure}"
    if evidence.counted:
        return f"gives back {tried.gain:.0f} of the {evidence.lost:.0f} lost answers{figure}"
    return f"gives back {tried.gain:.4g} of the {evidence.lost:.4g} lost{figure}"


# -- the rules, in the order in which equally sure causes are said --------------------------------------------


def _changed(evidence: Evidence) -> list[Cause]:
    changed, found, name = evidence.changed, evidence.answers, evidence.name
    if changed is None:
        return []
    counts = ""
    if found is not None and changed.what != "metric":
        total, ours, theirs = (sum(getattr(c, n) for c in found.classes) for n in ("samples", "candidate", "reference"))
        counts = f" of today's {total} samples this variant has {ours} right, {name} {theirs}."
    if changed.what == "data":
        text = (
            f"the data changed:{counts}"
            if counts
            else "the evaluation data changed, and the two figures are of different data."
        )
        return [*_doubts(evidence, Rank.KNOWN), Cause(Rank.KNOWN, text, CONDITIONS)]
    text = f"the {changed.what} changed from {changed.was} to {changed.now}, and the data did not."
    more = f" With {changed.now},{counts}" if counts else " The two figures say nothing of the model."
    return [Cause(Rank.KNOWN, text + more, CONDITIONS)]


def _moved(evidence: Evidence) -> list[Cause]:
    moved = evidence.moved
    if moved is None or moved.lost <= 0 or moved.lost < _PROVEN * evidence.lost:
        return []
    part = f"{moved.lost:.4g} of the {evidence.lost:.4g}{' answers' if evidence.counted else ''} lost"
    why = f" {moved.why}" if moved.why else ""
    return [
        Cause(
            Rank.KNOWN,
            f"the last release's own file has {moved.now} today, and had {moved.was} when it was saved: {part} come from the "
            f"machine or from the runtime, not from the model.{why}",
            CONDITIONS,
        )
    ]


def _otherwise(evidence: Evidence) -> list[Cause]:
    other = evidence.otherwise
    if other is None or other.lost <= 0:
        return []
    is_most = other.lost >= _PROVEN * evidence.lost
    part = f"{other.lost:.4g} of the {evidence.lost:.4g}{' answers' if evidence.counted else ''} lost"
    text = (
        f"it is the file of the {other.of} variant, run otherwise ({other.change}). As that is run, the same file has "
        f"{other.figure}: {part} come from the runtime, not from the model."
    )
    return [Cause(Rank.KNOWN if is_most else Rank.LIKELY, text, CONDITIONS)]


def _before(evidence: Evidence) -> list[Cause]:
    before = evidence.before
    if before is None or before.lost <= 0 or before.lost < _PROVEN * evidence.lost:
        return []
    return [
        Cause(
            Rank.KNOWN,
            f"{before.lost} of the {evidence.lost:g} answers were lost before quantization: the {before.kind} model itself has "
            f"{before.correct} right now. Look at what changed in training, not at the recipe.",
            TRAINING,
        )
    ]


def _calibration(evidence: Evidence) -> list[Cause]:
    """The calibration data: of one class, or of other values than the evaluation data."""
    found = []
    one, tried = evidence.one_sided, evidence.calibrated
    if evidence.is_constant:
        found.append(("the calibration samples are all the same, such as zeros", ": ranges cannot be read off them."))
    elif one is not None:
        share = f"{one.samples} of {one.total} samples are answered {one.answer}"
        advice = (
            f", of the evaluation data {percent(one.share)}. Ranges of activations are too small for the rest. Calibrate with a "
            "random choice of the training data."
        )
        found.append((f"the calibration data is one-sided: {share}", advice))
    said, is_far = range_text(evidence.layers)
    if said:
        found.append((said, ". Calibrate with data like the evaluation data, prepared alike."))
    if not found:
        return []
    rank = _rank(evidence, tried, Rank.LIKELY if evidence.is_constant or one is not None or is_far else Rank.POSSIBLE)
    more = f" Calibrated with evaluation data instead, it {_gives_back(evidence, tried)}." if tried is not None else ""
    text = " ".join(f"{short}{advice}" for short, advice in found)
    return [Cause(rank, text + more, CALIBRATION, found[0][0])]


def _processor(evidence: Evidence) -> list[Cause]:
    if not evidence.saturating:
        return []
    tried = evidence.reduced
    cure = "Quantize it with reduce_range=True or with uint8 weights."
    if tried is not None:
        cure = f"{tried.change} {_gives_back(evidence, tried)}."
    text = (
        "this processor is an x86 without VNNI, which adds two products in 16 bits: "
        f"{percent(evidence.saturating)} of neighbouring weight pairs can saturate. {cure}"
    )
    return [Cause(_rank(evidence, tried, Rank.LIKELY), text, PROCESSOR)]


def _classes(evidence: Evidence) -> list[Cause]:
    classes = evidence.answers.concentrated() if evidence.answers is not None and evidence.changed is None else []
    if not classes:
        return []
    assert evidence.answers is not None
    named = " and ".join(
        f"class {c.label} ({c.candidate} of {c.samples} right, {evidence.name} {c.reference}"
        + (f"; {c.mistaken} are answered {c.mistaken_for})" if c.mistaken_for is not None else ")")
        for c in classes
    )
    lost = sum(c.lost for c in classes)
    falls = sum(max(c.lost, 0) for c in evidence.answers.classes)
    gained = sum(max(-c.lost, 0) for c in evidence.answers.classes)
    text = f"{lost} of {falls} lost answers are of {named}{f'; other classes gained {gained}' if gained else ''}."
    if evidence.against_last and (not evidence.is_quantized or _before(evidence)):
        return [Cause(Rank.LIKELY, f"{text} A loss in one class comes from its training data or labels.", CLASSES)]
    # Both models were trained on the same data.
    return [
        Cause(Rank.POSSIBLE, f"{text} Look at the scales of its output and of the layer that computes it.", CLASSES)
    ]


def _layers(evidence: Evidence) -> list[Cause]:
    """The layer that gives most back in float; else the one whose own error is largest."""
    if any(is_proven(evidence, tried) for tried in (evidence.calibrated, evidence.reduced)):
        return []  # what is wrong with all of them is no fault of one
    suspects = worst_layers(evidence.layers)
    best = next(iter(evidence.left_in_float), None)
    proven = best if best is not None and is_proven(evidence, best) else None
    tried = {one.nodes: one for one in evidence.left_in_float}
    bad = [layer for layer in suspects if layer.worst < CLEAN or layer.is_drowned]
    ranks = [_rank(evidence, tried.get((layer.node,)), Rank.LIKELY) for layer in bad]
    # The worst one of which no trial said that it is not the cause.
    worst, rank = min(zip(bad, ranks, strict=True), key=lambda pair: pair[1], default=(None, Rank.POSSIBLE))
    if worst is not None and (proven is None or proven.nodes == (worst.node,)):
        text = " ".join([layer_cause(worst, evidence.layers), *recurrent(evidence.layers)])
        if proven is not None:
            return [
                Cause(Rank.PROVEN, f"{text} Left in float, {proven.change} {_gives_back(evidence, proven)}.", LAYERS)
            ]
        return [Cause(rank, text, LAYERS)]
    if proven is None:
        return []
    many = len(proven.nodes) > 1
    text = f"{proven.change} {'together lose' if many else 'loses'} most: left in float, {'they give' if many else 'it gives'}"
    return [Cause(Rank.PROVEN, f"{text}{_gives_back(evidence, proven).removeprefix('gives')}.", LAYERS)]


def _doubted(evidence: Evidence) -> list[Cause]:
    # What both models answer alike is no loss.
    return [] if evidence.changed is not None else _doubts(evidence, Rank.POSSIBLE)


def _doubts(evidence: Evidence, rank: Rank) -> list[Cause]:
    if evidence.answers is None:
        return []
    asked = "Were their images relabelled?" if evidence.has_images else "Were these samples labelled anew?"
    return [
        Cause(
            rank,
            f"label {doubt.label} looks wrong: {doubt.samples} of its {doubt.total} samples are answered {doubt.answer} by this "
            f"variant and by {evidence.name} alike. {asked}",
            LABELS,
        )
        for doubt in evidence.answers.doubts[:2]
    ]


_RULES: tuple[Callable[[Evidence], list[Cause]], ...] = (
    _changed,
    _moved,
    _otherwise,
    _before,
    _calibration,
    _processor,
    _classes,
    _layers,
    _doubted,
)


def _nothing_stands_out(evidence: Evidence) -> list[Cause]:
    layers = [layer for layer in evidence.layers if layer.op != INPUT]
    if not layers:
        return []
    lowest = min(layer.worst for layer in layers)
    best = next(iter(evidence.left_in_float), None)
    tried = (
        f" Of what was left in float, {best.change} {_gives_back(evidence, best)}."
        if best and evidence.lost > 0
        else ""
    )
    if lowest < CLEAN:
        text = "no layer that was left in float gives most of the loss back: several lose it together."
    else:
        text = (
            f"no layer stands out: each is within {lowest:.0f} dB of the float model by itself, so that the loss is the sum of "
            "small errors, or not quantization's."
        )
    return [Cause(Rank.POSSIBLE, text + tried, LAYERS)]
