"""Measures of outputs against labels, or against the reference's outputs: pure functions, each with its formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The least probability that a divergence reads: of zero it would be infinite, and 8-bit outputs hold many zeros.
_LEAST = 1e-10
# How far from one the sum of probabilities may be: what half precision and many classes leave.
_OFF_ONE = 0.02


def _each(outputs: Array, labels: Array, name: str) -> list[tuple[Array, Array]]:
    """Return the values of each sample, flat, of outputs and labels."""
    if len(outputs) != len(labels):
        raise ValueError(
            f"the output is {outputs.shape}, the labels are {labels.shape}; {name} compares them one by one"
        )
    pairs = []
    for number, (output, label) in enumerate(zip(outputs, labels, strict=True)):
        output, label = np.asarray(output, np.float64), np.asarray(label, np.float64)
        if output.size != label.size:
            raise ValueError(
                f"the output is {output.shape} for sample {number}, the label is {label.shape}; {name} compares them value "
                "by value"
            )
        pairs.append((output.ravel(), label.ravel()))
    return pairs


def mae(outputs: Array, labels: Array) -> Array:
    """Mean absolute error of each sample."""
    return np.array([np.abs(a - b).mean() for a, b in _each(outputs, labels, "mae")])


def mse(outputs: Array, labels: Array) -> Array:
    """Mean squared error of each sample."""
    return np.array([((a - b) ** 2).mean() for a, b in _each(outputs, labels, "mse")])


def r2(outputs: Array, labels: Array) -> float:
    """Coefficient of determination: 1 - residual / total sum of squares."""
    pairs = _each(outputs, labels, "r2")
    predicted, true = np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])
    total = ((true - true.mean()) ** 2).sum()
    if total == 0:
        raise ValueError("r2 compares with the spread of the labels, and all labels are equal")
    return float(1 - ((true - predicted) ** 2).sum() / total)


def cosine(outputs: Array, reference: Array) -> Array:
    """Cosine of the angle between each sample's output and the reference's; 1 where both are zero."""
    pairs = _each(outputs, reference, "cosine")
    if all(a.size < 2 for a, _ in pairs):
        raise ValueError(
            f"the output is {outputs.shape}, one value for each sample, of which cosine sees the sign alone; use "
            "metric='mae'"
        )
    found = []
    for a, b in pairs:
        length = np.linalg.norm(a) * np.linalg.norm(b)
        found.append(float(a @ b / length) if length else float(not a.any() and not b.any()))
    return np.array(found)


def agreement(outputs: Array, reference: Array) -> Array:
    """Tell whether each sample has the reference's answer: the highest of the last axis, or the output itself.

    A single number is the probability of class 1; texts and whole numbers are answers themselves.

    Returns:
        `(N,) bool`; where samples have several answers, such as one for each token, the share that agrees, `(N,) float64`.
    """
    if len(outputs) != len(reference):
        raise ValueError(
            f"the output is {outputs.shape}, the reference's is {reference.shape}; agreement compares them one by one"
        )
    same = []
    for number, (output, expected) in enumerate(zip(outputs, reference, strict=True)):
        ours, theirs = np.asarray(output), np.asarray(expected)
        if ours.shape != theirs.shape or (ours.dtype.kind == "U") != (theirs.dtype.kind == "U"):
            raise ValueError(
                f"the output is {ours.shape} {ours.dtype} for sample {number}, the reference's is {theirs.shape} "
                f"{theirs.dtype}; agreement compares answer by answer"
            )
        if ours.size == 0:
            raise ValueError(f"the output is {ours.shape} for sample {number}, which holds no answer")
        if theirs.dtype.kind == "f" and theirs.size == 1 and not 0 <= theirs.item() <= 1:
            raise ValueError(
                f"the output is one number for each sample, and {theirs.item():.3g} is no probability; use metric='mae'"
            )
        same.append(_chosen(ours) == _chosen(theirs))
    if all(one.size == 1 for one in same):
        return np.array([bool(one.all()) for one in same])
    return np.array([one.mean() for one in same])


def _chosen(sample: Array) -> Array:
    """Return the answers of a sample: the highest of the last axis, or whether the one number there is above a half."""
    if sample.dtype.kind in "Ub" or (sample.dtype.kind in "iu" and sample.dtype.itemsize > 1):
        return sample
    if sample.ndim == 0 or sample.shape[-1] == 1:
        return np.asarray(sample > 0.5)
    return np.asarray(sample.argmax(axis=-1))


def kl(outputs: Array, reference: Array) -> Array:
    """Kullback-Leibler divergence of each sample's last axis from the reference's, the mean over its other axes.

    `sum(p * log(p / q))` in nats, `p` being the reference's distribution and `q` the output's. If the reference's values are
    probabilities, so are the output's; else both are scores, whose softmax is taken.
    """
    pairs = _each(outputs, reference, "kl")
    shapes = {np.shape(sample) for sample in reference}
    if any(len(shape) == 0 or shape[-1] < 2 for shape in shapes):
        raise ValueError(
            f"the output is {outputs.shape}, whose last axis holds no distribution; use metric='mae' or 'agreement'"
        )
    are_shares = all(_are_probabilities(np.asarray(sample)) for sample in reference)
    found = []
    for number, ((output, expected), sample) in enumerate(zip(pairs, reference, strict=True)):
        width = np.shape(sample)[-1]
        q, p = output.reshape(-1, width), expected.reshape(-1, width)
        if are_shares and (q < 0).any():
            raise ValueError(
                f"the output is negative for sample {number}, and the reference's are probabilities: it lacks a Softmax, "
                "or is another output"
            )
        p, q = (_shares(values) if are_shares else _softmax(values) for values in (p, q))
        each = (p * (np.log(np.maximum(p, _LEAST)) - np.log(np.maximum(q, _LEAST)))).sum(axis=1)
        found.append(max(float(each.mean()), 0.0))
    return np.array(found)


def _are_probabilities(values: Array) -> bool:
    return bool((values >= 0).all() and (np.abs(values.sum(axis=-1, dtype=np.float64) - 1) <= _OFF_ONE).all())


def _shares(values: Array) -> Array:
    """Return values as shares of their sum; where that is zero, equal ones."""
    total = values.sum(axis=1, keepdims=True)
    shares: Array = np.where(total > 0, values / np.where(total > 0, total, 1.0), 1.0 / values.shape[1])
    return shares


def _softmax(values: Array) -> Array:
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    shares: Array = raised / raised.sum(axis=1, keepdims=True)
    return shares
