"""Right answers, or a metric's value, with their conditions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Accuracy:
    """Right answers, counted, of a candidate and of the variant it is compared with, on the same samples."""

    metric: str
    correct: int
    total: int
    batch_size: int
    data_sha256: str
    reference: str
    reference_correct: int
    only_reference: int
    only_candidate: int

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


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

    def loss(self, other: float) -> float:
        """Return how much worse than another value the candidate's is."""
        return other - self.value if self.higher_is_better else self.value - other

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)
