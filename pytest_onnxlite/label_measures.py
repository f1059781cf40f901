"""Measures of answers that are labels: of classes, of many positions, of words. Pure functions, each with its formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def positions(outputs: Array, labels: Array) -> Array:
    """Return the share of each sample's positions whose label is right, `(N,) float64`: of tokens, pixels or steps.

    Args:
        outputs: `(N, ..., C) float` or `(N, C, ...) float`, one score for each class; or `(N, ...) int`, labels.
        labels: `(N, ...) int`; negative ones, such as -100, are padding and are not counted.

    Raises:
        ValueError: another shape or dtype, a label outside the classes, or a sample whose positions are all padding.
    """
    found, labels = _answers(outputs, labels, "positions")
    counted, right = labels >= 0, found == labels
    axes = tuple(range(1, labels.ndim))
    sums = counted.sum(axis=axes)
    if not sums.all():
        raise ValueError(
            f"sample {int(sums.argmin())} has no label that is not negative: all its positions are padding"
        )
    shares: Array = (right & counted).sum(axis=axes) / sums
    return shares


def f1(outputs: Array, labels: Array) -> float:
    """Return F1 of class 1 of two, 2 TP / (2 TP + FP + FN); 0 where nothing is of class 1.

    Args:
        outputs: `(N, 2) float` scores, `(N,)` or `(N, 1) float`, the probability of class 1; or labels, `(N,) int`. With
            more positions for each sample as in `positions`.
        labels: `(N,) int` of 0 and 1, or for each position; negative ones are padding.

    Raises:
        ValueError: see `positions`; or there are more classes than two.
    """
    found, labels = _answers(outputs, labels, "f1")
    kept = labels >= 0
    found, labels = found[kept], labels[kept]
    if max(found.max(initial=0), labels.max(initial=0)) > 1:
        raise ValueError("f1 is of two classes, 0 and 1, and there are more; use f1_macro")
    return _f1(found == 1, labels == 1)


def f1_macro(outputs: Array, labels: Array) -> float:
    """Return the mean over classes of F1, `2 TP / (2 TP + FP + FN)`, over those that are answered or are right at all.

    Args:
        outputs: as for `f1`, of any number of classes; or `(N, C) float`, a probability for each of several labels that
            a sample may have at once, which it is given above a half.
        labels: as for `f1`; or `(N, C)` of 0 and 1.

    Raises:
        ValueError: see `positions`.
    """
    labels = np.asarray(labels)
    if outputs.ndim == 2 and outputs.dtype.kind == "f" and labels.shape == outputs.shape and outputs.shape[1] > 1:
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"the labels are {labels.shape}, one for each output; f1_macro expects 0 or 1 in each")
        pairs = [(outputs[:, k] > 0.5, labels[:, k] == 1) for k in range(labels.shape[1])]
    else:
        found, labels = _answers(outputs, labels, "f1_macro")
        kept = labels >= 0
        found, labels = found[kept], labels[kept]
        pairs = [(found == one, labels == one) for one in np.union1d(found, labels)]
    return float(np.mean([_f1(ours, theirs) for ours, theirs in pairs]))


def _f1(found: Array, expected: Array) -> float:
    both = int((found & expected).sum())
    of_all = int(found.sum()) + int(expected.sum())
    return 2 * both / of_all if of_all else 0.0


def wer(outputs: Array, labels: Array) -> float:
    """Return the word error rate: the fewest words to replace, leave out and put in, of all samples, over the words there are.

    Args:
        outputs: `(N,)` or `(N, 1)` texts, whose words lie between spaces; or `(N, T) int`, ids, of which each is a word.
        labels: `(N,)` texts, or `(N, S) int`; negative ids are padding.

    Raises:
        ValueError: another shape or dtype, or no word at all.
    """
    if len(outputs) != len(labels):
        raise ValueError(f"the output is {outputs.shape}, the labels are {labels.shape}; wer compares them one by one")
    ours, theirs = _words(outputs, "output"), _words(np.asarray(labels), "labels")
    count = sum(map(len, theirs))
    if not count:
        raise ValueError("the labels hold no word; wer is the share of words that are wrong")
    return sum(map(edits, ours, theirs)) / count


def _words(values: Array, what: str) -> list[list[Any]]:
    if values.dtype.kind == "U" and values.size == len(values):
        return [text.split() for text in values.reshape(-1).tolist()]
    if values.dtype.kind in "iu" and values.ndim == 2:
        return [[word for word in sample if word >= 0] for sample in values.tolist()]
    raise ValueError(
        f"the {what} is {values.shape} {values.dtype}; wer expects texts, (N,), or ids, (N, T) int. Scores of letters or tokens "
        "are decoded first: give metric= a function that does, and then calls pytest_onnxlite.label_measures.wer"
    )


def edits(ours: list[Any], theirs: list[Any]) -> int:
    """Return the fewest replacements, deletions and insertions that make one list of the other (Levenshtein)."""
    before = list(range(len(theirs) + 1))
    for row, word in enumerate(ours, 1):
        now = [row]
        for column, other in enumerate(theirs, 1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (word != other)))
        before = now
    return before[-1]


def _answers(outputs: Array, labels: Array, name: str) -> tuple[Array, Array]:
    """Return the label of each position and the right one, in one shape, `(N, ...) int64`."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iub":
        raise ValueError(f"the labels are {labels.shape} {labels.dtype}; {name} expects whole numbers")
    if labels.ndim > 1 and labels.shape[-1] == 1 and outputs.ndim <= labels.ndim:
        labels = labels[..., 0]
    expected = f"({', '.join(map(str, labels.shape))}, classes)"
    last = outputs.shape[:-1] == labels.shape
    second = outputs.ndim > 2 and (outputs.shape[0], *outputs.shape[2:]) == labels.shape
    if outputs.shape == labels.shape:
        found, classes = (outputs > 0.5, 2) if outputs.dtype.kind == "f" else (outputs, 0)
    elif last and second:
        raise ValueError(
            f"the output is {outputs.shape}, the labels are {labels.shape}: the classes may be on the second axis or on the "
            "last. Give metric= a function that says which"
        )
    elif outputs.dtype.kind == "f" and (last or second):
        axis = -1 if last else 1
        classes = outputs.shape[axis]
        found = np.take(outputs, 0, axis) > 0.5 if classes == 1 else outputs.argmax(axis=axis)
        classes = max(classes, 2)
    else:
        raise ValueError(
            f"the output is {outputs.shape} {outputs.dtype}; {name} expects {expected} float, or such labels"
        )
    if classes and labels.max(initial=0) >= classes:
        raise ValueError(f"labels reach to {labels.max()}, the model has {classes} classes")
    return np.asarray(found).astype(np.int64), labels.astype(np.int64)
