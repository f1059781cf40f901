"""Mean average precision of boxes, as COCO counts it; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# What COCO's evaluation averages over: overlaps from .5 to .95, and 101 recalls; of an image and class so many boxes count.
_OVERLAPS = tuple(np.linspace(0.5, 0.95, 10))
_RECALLS = np.linspace(0.0, 1.0, 101)
_MOST_BOXES = 100


def mean_average_precision(outputs: Array, labels: Array) -> float:
    """Return COCO's AP@[.50:.95]: the mean over classes and overlaps of the area below precision over recall.

    Args:
        outputs: `(N, K, 6) float`: corners of a box (x1, y1, x2, y2), its score and its class, as detectors write them that
            end with non-maximum suppression or need none; boxes of score 0 or of a negative class are padding.
        labels: `(N, M, 5)`: corners in the same units, and the class; boxes of a negative class are padding.

    Raises:
        ValueError: another shape, or labels without a box.
    """
    return _mean_precision(outputs, labels, _OVERLAPS, "map")


def mean_average_precision_50(outputs: Array, labels: Array) -> float:
    """Return COCO's AP@.50: as `mean_average_precision`, at an overlap of one half."""
    return _mean_precision(outputs, labels, (0.5,), "map50")


def _mean_precision(outputs: Array, labels: Array, overlaps: Sequence[float], name: str) -> float:
    labels = np.asarray(labels)
    shapes = (outputs.ndim, *outputs.shape[2:]), (labels.ndim, *labels.shape[2:])
    if shapes != ((3, 6), (3, 5)) or len(outputs) != len(labels):
        raise ValueError(
            f"the output is {outputs.shape}, the labels are {labels.shape}; {name} expects (N, K, 6), boxes with score and class, "
            "and (N, M, 5), boxes with class. Give metric= a function that brings another form into this one and calls "
            "pytest_onnxlite.detection.mean_average_precision"
        )
    found, expected = _by_class(outputs, 5), _by_class(labels, 4)
    if not expected:
        raise ValueError(f"the labels hold no box; {name} needs some")
    return float(np.mean([_precisions(found.get(one, {}), theirs, overlaps) for one, theirs in expected.items()]))


def _by_class(boxes: Array, column: int) -> dict[int, dict[int, Array]]:
    """Return boxes by class and image, without padding; those with scores the highest first, as many as count."""
    kept: dict[int, dict[int, Array]] = {}
    for image, rows in enumerate(np.asarray(boxes, np.float64)):
        scored = column == 5
        rows = rows[(rows[:, column] >= 0) & ((rows[:, 4] > 0) if scored else True)]
        if scored:
            rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        for one in np.unique(rows[:, column]):
            kept.setdefault(int(one), {})[image] = rows[rows[:, column] == one][: _MOST_BOXES if scored else None]
    return kept


def _precisions(found: Mapping[int, Array], expected: Mapping[int, Array], overlaps: Sequence[float]) -> float:
    """Return the mean over overlaps of one class's average precision."""
    count = sum(map(len, expected.values()))
    scores: list[float] = []
    right: list[Array] = []
    for image, boxes in found.items():
        scores += boxes[:, 4].tolist()
        right.append(_matched(boxes, expected.get(image, np.zeros((0, 5))), overlaps))
    if not scores:
        return 0.0
    order = np.argsort(-np.array(scores), kind="stable")
    hits = np.concatenate(right)[order].cumsum(axis=0)
    precision = hits / np.arange(1, len(order) + 1)[:, None]
    # The highest precision at this recall or any beyond it.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    areas = []
    for column in range(len(overlaps)):
        places = np.searchsorted(hits[:, column] / count, _RECALLS, side="left")
        values = np.append(precision[:, column], 0.0)[np.minimum(places, len(order))]
        areas.append(values.mean())
    return float(np.mean(areas))


def _matched(boxes: Array, expected: Array, overlaps: Sequence[float]) -> Array:
    """Tell for each box of an image and each overlap whether it finds one of the expected boxes that no better one found."""
    share = overlap(boxes[:, :4], expected[:, :4])
    hits = np.zeros((len(boxes), len(overlaps)), bool)
    for column, least in enumerate(overlaps):
        free = np.ones(len(expected), bool)
        for row in range(len(boxes)):
            candidates = np.where(free, share[row], -1.0)
            # Of equal overlaps COCO takes the last.
            best = len(candidates) - 1 - int(candidates[::-1].argmax()) if len(candidates) else -1
            if best >= 0 and candidates[best] >= min(least, 1 - 1e-10):
                hits[row, column], free[best] = True, False
    return hits


def overlap(ours: Array, theirs: Array) -> Array:
    """Return intersection over union of each box with each other, `(K, M)`, of boxes by their corners."""
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    area = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (ours, theirs)]
    union = area[0][:, None] + area[1][None, :] - both
    shares: Array = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    return shares
