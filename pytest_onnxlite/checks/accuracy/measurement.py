"""Right answers, or a metric's value, with their conditions; what a baseline keeps of them, and a verdict's evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from pytest_onnxlite.baseline.record import Count, Positive
from pytest_onnxlite.text import percent, score_text


@dataclass(frozen=True)
class Recount:
    """What the last release's own file answers today, on the same samples: right answers, and those that only one has."""

    correct: int
    only_last: int
    only_candidate: int


@dataclass(frozen=True)
class Rescore:
    """The metric's value of the last release's own file today, and the standard error of the mean loss against it."""

    value: float
    loss_error: float | None


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
        last: the last release's file, counted today; None where it was not.
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
        last: the last release's file, rated today; None where it was not.
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

    @property
    def figure(self) -> str:
        """The value, as a person reads it."""
        return score_text(self.value, self.metric)

    def loss(self, other: float) -> float:
        """Return how much worse than another value the candidate's is."""
        return other - self.value if self.higher_is_better else self.value - other


def read(content: Any) -> Accuracy | Score:
    """Return a measurement from JSON data.

    Raises:
        msgspec.ValidationError: it is none.
    """
    if "correct" in content:
        return msgspec.convert(content, Accuracy, strict=False)
    return msgspec.convert(content, Score, strict=False)


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
        value: the metric's value; None where it counts right answers.
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
    """

    lost: float | None = None
    allowed: float | None = None
    interval: tuple[float, float] | None = None
    interval_confidence: float | None = None
    saved: AccuracySection | None = None
    lost_since_first: float | None = None
