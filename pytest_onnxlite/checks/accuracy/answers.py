"""Which samples and classes were lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Any

from pytest_onnxlite.statistics import binomial_tail

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

# A list that a person reads; the counts are of all samples.
MOST_SAMPLES = 20
# Rows and columns of a table that a person reads.
_MOST_LABELS, _MOST_ANSWERS = 10, 12
# This share of the lost samples in two classes makes them the cause.
_CONCENTRATED = 0.8
_FEWEST_CLASSES = 4
# Unless they are so many of all samples that a loss of any kind is mostly theirs: they must lose this many times their share.
_TIMES_ITS_SHARE = 2.0
# Unless there are so few, or so many of all samples are in those classes that it may be chance.
_FEWEST_LOST, _CHANCE = 5, 0.01
# A label is doubted where so many of its samples, and this share, get the same other answer from both models.
_DOUBT_SAMPLES, _DOUBT_SHARE = 5, 0.3


@dataclass(frozen=True)
class Flip:
    """A sample whose answer went from right to wrong.

    Attributes:
        sample: its index in the evaluation data.
        expected: its label.
        reference: what the reference answers.
        candidate: what the candidate answers.
    """

    sample: int
    expected: int
    reference: int
    candidate: int


@dataclass(frozen=True)
class ClassCount:
    """The samples of one label.

    Attributes:
        label: the label.
        samples: how many there are.
        reference: how many of them the reference gets right.
        candidate: how many the candidate does.
        mistaken_for: the candidate's most frequent wrong answer, None if there is none.
        mistaken: how often.
    """

    label: int
    samples: int
    reference: int
    candidate: int
    mistaken_for: int | None
    mistaken: int

    @property
    def lost(self) -> int:
        """How many fewer are right."""
        return self.reference - self.candidate


@dataclass(frozen=True)
class Doubt:
    """Samples of one label that both models answer otherwise, and alike: the label is more likely wrong than both.

    Attributes:
        label: the label.
        answer: what both answer.
        samples: how many such samples there are.
        total: how many have the label.
    """

    label: int
    answer: int
    samples: int
    total: int


@dataclass(frozen=True)
class Confusion:
    """How samples of some labels are answered, by both models.

    Attributes:
        labels: the labels, those that lost most where there are many; a row each.
        answers: the answers; a column each, and one more for all other answers.
        reference: how often the reference answers so.
        candidate: how often the candidate does.
    """

    labels: tuple[int, ...]
    answers: tuple[int, ...]
    reference: tuple[tuple[int, ...], ...]
    candidate: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """Refuse a table whose rows and columns are not those of its labels and answers; reports are read from files."""
        for rows in (self.reference, self.candidate):
            if len(rows) != len(self.labels) or any(len(row) != len(self.answers) + 1 for row in rows):
                raise ValueError("expected a row for each label, and a column for each answer and for all others")


@dataclass(frozen=True)
class Answers:
    """What changed between two models' answers.

    Attributes:
        flipped: samples that only the reference gets right, the first ones.
        gained: how many only the candidate gets right.
        lost: how many only the reference gets right.
        classes: by label, the one that lost most first.
        doubts: labels that look wrong.
        reference: what the candidate is compared with, in words.
        confusion: how samples are answered; None in what earlier versions wrote.
    """

    flipped: list[Flip]
    lost: int
    gained: int
    classes: list[ClassCount]
    doubts: list[Doubt]
    reference: str = ""
    confusion: Confusion | None = None

    def concentrated(self) -> list[ClassCount]:
        """Return the one or two classes that hold most of what was lost; none if it is spread, or may be by chance."""
        falls = [c for c in self.classes if c.lost > 0]
        total = sum(c.lost for c in falls)
        if len(self.classes) < _FEWEST_CLASSES or total < _FEWEST_LOST:
            return []
        found: list[ClassCount] = []
        for entry in falls[:2]:
            found.append(entry)
            held = sum(c.lost for c in found)
            if held >= _CONCENTRATED * total:
                # Only what the reference has right can be lost, and most of that may be of one class anyway.
                share = sum(c.reference for c in found) / sum(c.reference for c in self.classes)
                ways = comb(len(self.classes), len(found))
                is_more = held >= _TIMES_ITS_SHARE * share * total
                return found if is_more and ways * binomial_tail(held, total, share) <= _CHANCE else []
        return []


def compare_answers(labels: Array, reference: Array, candidate: Array, name: str = "") -> Answers:
    """Compare two models' answers.

    Args:
        labels: `(N,) int`.
        reference: `(N,) int`, the reference's answers.
        candidate: `(N,) int`, the candidate's.
        name: what the reference is called.
    """
    import numpy as np

    theirs, ours = reference == labels, candidate == labels
    lost = np.flatnonzero(theirs & ~ours)
    flipped = [Flip(int(i), int(labels[i]), int(reference[i]), int(candidate[i])) for i in lost[:MOST_SAMPLES]]
    classes, doubts = [], []
    for label in np.unique(labels):
        rows = labels == label
        wrong = Counter(candidate[rows & ~ours].tolist()).most_common(1)
        answer, count = wrong[0] if wrong else (None, 0)
        classes.append(
            ClassCount(int(label), int(rows.sum()), int((rows & theirs).sum()), int((rows & ours).sum()), answer, count)
        )
        alike = Counter(candidate[rows & ~ours & (reference == candidate)].tolist()).most_common(1)
        if alike and alike[0][1] >= max(_DOUBT_SAMPLES, _DOUBT_SHARE * rows.sum()):
            doubts.append(Doubt(int(label), int(alike[0][0]), alike[0][1], int(rows.sum())))
    classes.sort(key=lambda entry: (-entry.lost, entry.label))
    doubts.sort(key=lambda entry: -entry.samples)
    rows = sorted(entry.label for entry in classes[:_MOST_LABELS])
    confusion = _confusion(rows, labels, reference, candidate)
    return Answers(flipped, len(lost), int((ours & ~theirs).sum()), classes, doubts, name, confusion)


def _confusion(rows: Sequence[int], labels: Array, reference: Array, candidate: Array) -> Confusion:
    """Count how samples of some labels are answered; the commonest answers have a column each."""
    counts = [[Counter(answers[labels == label].tolist()) for label in rows] for answers in (reference, candidate)]
    total: Counter[int] = sum((count for one in counts for count in one), Counter())
    others = [answer for answer, _ in total.most_common() if answer not in rows][: _MOST_ANSWERS - len(rows)]
    columns = sorted({*rows, *others})

    def row(count: Counter[int]) -> tuple[int, ...]:
        known = [count[answer] for answer in columns]
        return (*known, count.total() - sum(known))

    theirs, ours = (tuple(map(row, one)) for one in counts)
    return Confusion(tuple(rows), tuple(columns), theirs, ours)
