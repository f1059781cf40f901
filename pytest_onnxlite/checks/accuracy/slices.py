"""Parts of the evaluation data: what a candidate lost in each, counted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import Slice
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.metrics import Array, Metric
from pytest_onnxlite.spec.model import ModelSpec

# Of classes, which a slice each may be too many of.
_MOST_CLASSES = 1000


def slices_of(spec: ModelSpec, limit: AccuracyLimit) -> dict[str, Array]:
    """Return the rows of each slice that a marker asks for, `(N,) bool`, by the slice's name.

    Raises:
        OnnxliteError: the spec has no slices, or no classes, that it asks for.
    """
    found: dict[str, Array] = {}
    data = spec.evaluation
    if limit.slices:
        if data is None or not data.slices:
            raise OnnxliteError(
                f"slices=True judges the slices of the evaluation data, and ModelSpec({spec.name!r}) gives none. Give "
                'evaluation=Dataset(x, y, slices={"night": mask}).'
            )
        found.update(data.masks)
    if limit.per_class:
        if data is None or data.y is None or not spec.rating.is_of_classes:
            raise OnnxliteError(
                f"per_class=True judges each class, and the metric {spec.rating.name!r} of ModelSpec({spec.name!r}) knows none, "
                "or there are no labels. Leave it out, or give labels."
            )
        labels = np.asarray(data.y)
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        classes = np.unique(labels)
        if labels.ndim != 1 or len(classes) > _MOST_CLASSES:
            raise OnnxliteError(
                f"per_class=True: labels of shape {labels.shape} with {len(classes):,} classes; expected one label for each "
                f"sample, and at most {_MOST_CLASSES:,} classes."
            )
        found.update({f"class {label}": labels == label for label in classes})
    return found


def count(slices: Mapping[str, Array], metric: Metric, against: str, own: Array, other: Array) -> tuple[Slice, ...]:
    """Return what a candidate has in each slice, and what it is compared with.

    Args:
        slices: the rows of each, `(N,) bool`.
        metric: by which both are rated.
        against: what it is compared with.
        own: the candidate's rating, `(N,) bool`, `(N,) float64`, or `() float64` for all samples.
        other: the other's.

    Raises:
        OnnxliteError: the metric gives one number for all samples.
    """
    if slices and own.ndim == 0:
        raise OnnxliteError(
            f"slices are judged sample by sample, and the metric {metric.name!r} gives one number for all. Let it return one "
            "for each sample, or leave slices= out."
        )
    return tuple(_slice(name, rows, metric, against, own[rows], other[rows]) for name, rows in slices.items())


def _slice(name: str, rows: Array, metric: Metric, against: str, own: Array, other: Array) -> Slice:
    total = int(rows.sum())
    if own.dtype.kind == "b":
        return Slice(
            name,
            against,
            total,
            float(own.mean()),
            float(other.mean()),
            only_reference=int((other & ~own).sum()),
            only_candidate=int((own & ~other).sum()),
        )
    loss = metric.loss(own, other)
    error = float(loss.std(ddof=1) / np.sqrt(total)) if total > 1 else None
    return Slice(
        name, against, total, float(own.mean()), float(other.mean()), loss=float(loss.mean()), loss_error=error
    )
