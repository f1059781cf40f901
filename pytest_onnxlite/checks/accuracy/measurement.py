"""Right answers, or a metric's value, with their conditions; what a baseline keeps of them, and a verdict's evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from pytest_onnxlite.baseline.record import Count, Positive
from pytest_onnxlite.text import percent, score_text

# What a class may have been lost against, besides a variant.
LAST_RELEASE = "the last release"


@dataclass(frozen=True)
class Recount:
    """What the last release's own file answers today, on the same samples.

    Attributes:
        correct: right answers.
        only_last: samples that only it has right.
        only_candidate: samples that only the candidate has right.
        differing: samples that the two answer differently; None where nobody counted.
    """

    correct: int
    only_last: int
    only_candidate: int
    differing: int | None = None


@dataclass(frozen=True)
class Rescore:
    """The metric's value of the last release's own file today, and the standard error of the mean loss against it."""

    value: float
    loss_error: float | None


@dataclass(frozen=True)
class Fit:
    """Whether the labels can be those of the data, by the answers of one model: the reference, else the candidate.

    Attributes:
        kind: the model's kind.
        right: its right answers.
        always: the commonest labels, as many as the metric takes for an answer, as they are written in Python.
        always_right: right answers of one that always gives these.
        right_elsewhere: its right answers to samples with other labels, which that one has not.
        shuffled: right answers to be expected of it if the labels were shuffled.
        shuffled_most: what those exceed once in a hundred times.
        surest: samples that it is surest of, a quarter of all, and more where it is as sure of others.
        surest_right: its right answers to those.
        unlabelled: classes that it answers often and that no sample is labelled with.
        unlabelled_answers: how often it does.
        classes: how many classes it has.
        is_bool: whether the labels are True and False.
        differing: samples that the candidate answers differently; None if it is the candidate itself.
        misspelled: texts that samples are labelled with and nobody answers, each with an answer that is spelled nearly so.
    """

    kind: str
    right: int
    always: tuple[str, ...]
    always_right: int
    right_elsewhere: int
    shuffled: float
    shuffled_most: float
    surest: int
    surest_right: int
    unlabelled: tuple[str, ...] = ()
    unlabelled_answers: int = 0
    classes: int = 2
    is_bool: bool = False
    differing: int | None = None
    misspelled: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LostClass:
    """A class that one model knows and the candidate does not: of how many samples either has how many right."""

    label: str
    samples: int
    reference: str
    reference_right: int
    right: int


@dataclass(frozen=True)
class Slice:
    """A part of the evaluation data: what a candidate and what it is compared with have there.

    Attributes:
        name: such as `night`, `region=eu` or `class 3`.
        against: what it is compared with: a kind of variant, or the last release.
        samples: in it.
        value: the candidate's share of right answers, or its value of the metric.
        reference_value: the other's.
        only_reference: samples that only the other has right.
        only_candidate: samples that only the candidate has right.
        loss: how much worse the value is; None where right answers are counted.
        loss_error: its standard error.
    """

    name: str
    against: str
    samples: int
    value: float
    reference_value: float
    only_reference: int = 0
    only_candidate: int = 0
    loss: float | None = None
    loss_error: float | None = None


@dataclass(frozen=True)
class Accuracy:
    """Right answers, counted, of a candidate and of the variant it is compared with, on the same samples.

    Attributes:
        metric: its name.
        correct: the candidate's right answers.
        total: samples.
        batch_size: samples per inference.
        data_sha256: the hash of the evaluation data.
        reference: the kind of the variant it is compared with; empty for none.
        reference_correct: that one's right answers.
        only_reference: samples that only that one has right.
        only_candidate: samples that only the candidate has right.
        output: the output that the metric reads.
        last: the last release's file, counted today; None if it was not.
        processors: by processor, the answers there (`Elsewhere`).
        fit: whether the labels can be those of the data; None if there are no labels, or no classes.
        lost_classes: classes that the candidate lost wholly, or nearly.
        slices: what it has in each slice that the marker asks for.
    """

    metric: str
    correct: int
    total: int
    batch_size: int
    data_sha256: str
    reference: str
    reference_correct: int
    only_reference: int
    only_candidate: int
    output: str | None = None
    last: Recount | None = None
    processors: Mapping[str, object] = field(default_factory=dict)
    fit: Fit | None = None
    lost_classes: tuple[LostClass, ...] = ()
    slices: tuple[Slice, ...] = ()

    @property
    def figure(self) -> str:
        """The share of right answers, as a person reads it."""
        return percent(self.share)

    @property
    def share(self) -> float:
        """The share of right answers."""
        return self.correct / self.total


@dataclass(frozen=True)
class Score:
    """A metric's value of a candidate and of the variant it is compared with, on the same samples.

    Attributes:
        metric: its name.
        higher_is_better: False for an error.
        value: the candidate's, the mean over samples.
        total: samples.
        batch_size: samples per inference.
        data_sha256: the hash of the evaluation data.
        reference: the kind of the variant it is compared with; empty for none.
        reference_value: that one's value.
        relative_base: what a relative limit is a share of.
        loss_error: standard error of the mean loss against the reference, from the samples' differences; None where
            the metric gives no value for each sample.
        output: the output that the metric reads.
        last: the last release's file, rated today; None if it was not.
        processors: by processor, the answers there (`Elsewhere`).
        slices: what it has in each slice that the marker asks for.
    """

    metric: str
    higher_is_better: bool
    value: float
    total: int
    batch_size: int
    data_sha256: str
    reference: str
    reference_value: float | None
    relative_base: float
    loss_error: float | None
    output: str | None = None
    last: Rescore | None = None
    processors: Mapping[str, object] = field(default_factory=dict)
    slices: tuple[Slice, ...] = ()

    @property
    def figure(self) -> str:
        """The value, as a person reads it."""
        return score_text(self.value, self.metric)

    def loss(self, other: float) -> float:
        """Return how much worse than another value the candidate's is."""
        return other - self.value if self.higher_is_better else self.value - other


@dataclass(frozen=True)
class Elsewhere:
    """A candidate's answers on another processor, rated, or why there are none.

    Attributes:
        processor: the one that was asked for: `avx2`, `sse4` or `vnni`.
        place: what it was counted on, in words.
        runs_on: the kind of processor that it was counted on.
        emulated: whether that one was emulated.
        of: samples that there are; `rated.total` of them were counted.
        here: the candidate's right answers on this processor to the same samples, or its value.
        rated: its answers there next to the reference variant's, which ran here: an `Accuracy` or a `Score`; None where it
            could not be run.
        seconds: how long it ran there, of `limit` seconds.
        limit: seconds that it had.
        cut: why not all samples were counted: `time` or `bytes`; empty where all were.
        problem: why it could not be run there; empty if it could.
    """

    processor: str
    place: str
    runs_on: str = ""
    emulated: bool = False
    of: int = 0
    here: float = 0.0
    rated: Any = None
    seconds: float = 0.0
    limit: float = 0.0
    cut: str = ""
    problem: str = ""


def read(content: Mapping[str, object]) -> Accuracy | Score:
    """Return a measurement from JSON data.

    Raises:
        msgspec.ValidationError: it is none.
    """
    plain = {name: value for name, value in content.items() if name != "processors"}
    kind: type[Accuracy | Score] = Accuracy if "correct" in content else Score
    found: Accuracy | Score = msgspec.convert(plain, kind, strict=False)
    processors = {}
    for name, there in msgspec.convert(content.get("processors", {}), dict[str, Elsewhere], strict=False).items():
        processors[name] = there if there.rated is None else replace(there, rated=read(there.rated))
    return replace(found, processors=processors)


class FirstAccuracy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first release's figure: right answers or a value, on which data."""

    total: Positive
    data_sha256: str
    correct: Count | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        """Check that there is one figure, and that it can be.

        Raises:
            ValueError: there is none, or two, or more right answers than samples.
        """
        if (self.correct is None) == (self.value is None):
            raise ValueError("either 'correct' or 'value' should be a number")
        if self.correct is not None and self.correct > self.total:
            raise ValueError(f"'correct' is {self.correct}, of a 'total' of {self.total}")

    @property
    def share(self) -> float:
        """The share of right answers, or the value."""
        return self.correct / self.total if self.correct is not None else float(self.value or 0.0)

    @property
    def text(self) -> str:
        """That, as a person reads it."""
        return f"{self.value:.4g}" if self.correct is None else percent(self.share)


class AccuracySection(FirstAccuracy, frozen=True, kw_only=True, omit_defaults=True):
    """What a baseline keeps of the last release's figure.

    Attributes:
        total: samples.
        data_sha256: the hash of the evaluation data.
        correct: right answers; None where the metric counts none.
        value: the metric's value; None if it counts right answers.
        batch_size: samples per inference.
        metric: its name.
        higher_is_better: False for an error; None where right answers are counted.
        output: the output that the metric read; None where nobody noted it.
    """

    batch_size: Positive
    metric: str
    higher_is_better: bool | None = None
    output: str | None = None


class AccuracyEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The numbers behind a verdict.

    Attributes:
        lost: right answers lost, or how much worse the value is.
        allowed: how much of that is allowed.
        interval: bounds on `lost`.
        interval_confidence: how sure they are.
        saved: what the baseline keeps; None where another variant is compared with.
        lost_since_first: right answers, or of the value, lost since the first release.
        differing: samples that are answered differently, where the labels are doubtful and these are judged too.
        processor: the other processor that it is judged on; None for this one, as the rest.
        runs_on: the kind of processor that it was counted on.
        emulated: whether that one was emulated.
        here: the figure on this processor, of the same samples.
        of: the samples that there are.
        seconds: how long it ran there.
        problem: why it could not be run there.
        bound: the marker's own number, `min=` or `max=`.
        flips: samples that the reference has right and the candidate wrong, where the marker limits them.
        lost_slices: the slices that lost more than is allowed, beyond chance.
    """

    lost: float | None = None
    allowed: float | None = None
    interval: tuple[float, float] | None = None
    interval_confidence: float | None = None
    saved: AccuracySection | None = None
    lost_since_first: float | None = None
    differing: int | None = None
    processor: str | None = None
    runs_on: str | None = None
    emulated: bool | None = None
    here: float | None = None
    of: int | None = None
    seconds: float | None = None
    problem: str | None = None
    bound: float | None = None
    flips: int | None = None
    lost_slices: tuple[str, ...] = ()
