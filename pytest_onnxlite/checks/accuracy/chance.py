"""What tells whether labels can be those of the data, and which classes were lost: counted from answers alone.

Nothing of it needs probabilities: logits, probabilities and votes have an order, and that is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_onnxlite.checks.accuracy.measurement import Fit, LostClass
from pytest_onnxlite.metrics import Choices
from pytest_onnxlite.text import spelled_otherwise

Array = npt.NDArray[Any]

# Answers have more right than this with shuffled labels once in a hundred times.
_SHUFFLED_BOUND = 0.99
# The samples that a model is surest of are this share.
_SUREST = 0.25
# A class is answered often from so many samples.
_OFTEN = 5
# A class is lost where no more than this share of its right answers is left, of so many at least ...
_LEFT, _FEWEST_OF_CLASS = 0.1, 3
# ... and the answers lost elsewhere too would lose a class by chance less often than this.
_BY_CHANCE = 0.01


def fit_of(
    kind: str,
    labels: Array,
    judged: Choices,
    other: Choices | None = None,
    *,
    is_bool: bool = False,
    names: Callable[[int], object] = int,
) -> Fit:
    """Take down what tells whether labels can be those of the data.

    Args:
        kind: the kind of the model that answered.
        labels: `(N,) int` or `(N,) bool`, class indices.
        judged: what that model answered.
        other: what the candidate answered; None if that is the one that is judged.
        is_bool: whether the user's labels are True and False.
        names: what the user calls a class.
    """
    labels = labels.astype(np.int64)
    right = (judged.among == labels[:, None]).any(axis=1)
    counts = np.bincount(labels, minlength=judged.classes)
    always = np.argsort(-counts, kind="stable")[: judged.among.shape[1]]
    mean, deviation = _shuffled(labels, counts, judged)
    # Where margins tie, none of those is surer than the others.
    surest = judged.margins >= np.quantile(judged.margins, 1 - _SUREST, method="higher")
    answered = np.bincount(judged.answers, minlength=judged.classes)
    unlabelled = np.flatnonzero((counts == 0) & (answered >= _OFTEN))
    return Fit(
        kind=kind,
        right=int(right.sum()),
        always=tuple(repr(names(label)) for label in always.tolist()),
        always_right=int(counts[always].sum()),
        right_elsewhere=int((right & ~np.isin(labels, always)).sum()),
        shuffled=mean,
        shuffled_most=mean + NormalDist().inv_cdf(_SHUFFLED_BOUND) * deviation,
        surest=int(surest.sum()),
        surest_right=int(right[surest].sum()),
        unlabelled=tuple(repr(names(label)) for label in unlabelled.tolist()),
        unlabelled_answers=int(answered[unlabelled].sum()),
        classes=judged.classes,
        is_bool=is_bool,
        differing=None if other is None else differing(judged, other),
        misspelled=_misspelled(labels, judged, other, names),
    )


def _misspelled(
    labels: Array, judged: Choices, other: Choices | None, names: Callable[[int], object]
) -> tuple[tuple[str, str], ...]:
    """Return the labels that nobody answers, each with an answer that no sample is labelled with and that is spelled nearly so."""
    given = set(labels.tolist())
    answered = set(judged.answers.tolist()) | set([] if other is None else other.answers.tolist())
    unmatched = [name for name in map(names, sorted(answered - given)) if isinstance(name, str)]
    found = []
    for label in map(names, sorted(given - answered)):
        near = spelled_otherwise(label, unmatched) if isinstance(label, str) else None
        if near is not None:
            found.append((repr(label), repr(near)))
    return tuple(found)


def differing(one: Choices, other: Choices) -> int:
    """Return how many samples two models answer differently."""
    return int((one.answers != other.answers).sum())


def _shuffled(labels: Array, counts: Array, judged: Choices) -> tuple[float, float]:
    """Return mean and standard deviation of the right answers if the labels were dealt out at random.

    The sum of a(i, p(i)) over a random permutation p has the mean n m and the variance (sum of d(i, j)^2) / (n - 1), where d
    is the matrix a less its row and column means, plus its mean m (Hoeffding, Annals of Mathematical Statistics 22:558,
    1951). Here a(i, j) is 1 where the label of sample j is among the answers to sample i, else 0.
    """
    n = len(labels)
    rows = (counts / n)[judged.among].sum(axis=1)
    chosen = np.bincount(judged.among.ravel(), minlength=judged.classes) / n
    columns, mean = chosen[labels], float(rows.mean())
    total = n * n * mean - n * float((rows**2).sum()) - n * float((columns**2).sum()) + (n * mean) ** 2
    return n * mean, sqrt(max(total, 0.0) / max(n - 1, 1))


def lost_classes(
    reference: str,
    labels: Array,
    theirs: Array,
    ours: Array,
    known: Sequence[LostClass] = (),
    names: Callable[[int], object] = int,
) -> tuple[LostClass, ...]:
    """Return the classes of which hardly one answer that the reference has right is left.

    Args:
        reference: what it is, in words.
        labels: `(N,) int` or `(N,) bool`.
        theirs: `(N,) bool`, what the reference has right.
        ours: `(N,) bool`, what the candidate has right.
        known: those that were found against another reference, which come first and are not named again.
        names: what the user calls a class.
    """
    labels = labels.astype(np.int64)
    samples = np.bincount(labels)
    had, has = np.bincount(labels[theirs], minlength=len(samples)), np.bincount(labels[ours], minlength=len(samples))
    # Of what a class had, so much is lost anywhere: with many small classes one of them may be lost by chance.
    share = float((theirs & ~ours).sum()) / max(float(theirs.sum()), 1.0)
    found = [*known]
    for label in np.flatnonzero((had >= _FEWEST_OF_CLASS) & (has <= _LEFT * had)).tolist():
        by_chance = int((samples > 0).sum()) * share ** int(had[label] - has[label])
        name = repr(names(label))
        if by_chance <= _BY_CHANCE and name not in {entry.label for entry in known}:
            found.append(LostClass(name, int(samples[label]), reference, int(had[label]), int(has[label])))
    return tuple(found)
