"""Labels and answers as classes, where the evaluation data is labelled with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pytest_onnxlite.checks.accuracy.chance import fit_of, lost_classes
from pytest_onnxlite.checks.accuracy.measurement import Fit, LostClass
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.metrics import Array, Choices, as_indices, holds_labels, in_columns
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.variant import OnnxVariant, Outputs, Variant

Read = Callable[[Variant], Array | Outputs]

# Labels above are ids, and no classes to be counted one by one.
_MOST_CLASSES = 100_000


@dataclass(frozen=True)
class Classes:
    """What models choose, where the evaluation data is labelled with classes.

    Attributes:
        variant: the candidate.
        labels: `(N,) int` or `(N,) bool`.
        chosen: what a variant chooses.
    """

    variant: Variant
    labels: Array
    chosen: Callable[[Variant], Choices]

    @classmethod
    def of(cls, builder: Builder, variant: Variant, read: Read) -> Classes | None:
        """Return that of a spec; None where the metric knows no classes, or there are no labels."""
        metric, labels = builder.spec.rating, builder.evaluation.y
        if labels is None or not metric.is_of_classes:
            return None
        output = read(variant)
        if isinstance(output, np.ndarray) and holds_labels(output) and not _are_numbered(np.asarray(labels), output):
            return None
        columns = _columns(builder, variant, read)
        if columns and columns != tuple(range(len(columns))):
            return None

        def chosen(of: Variant) -> Choices:
            found = read(of)
            assert isinstance(found, np.ndarray)  # it was rated before
            return metric.choices(found)

        return cls(variant, as_indices(np.asarray(labels)), cache(chosen))

    def fit(self, reference: Variant | None) -> Fit:
        """Return whether the labels can be those of the data, by the reference's answers, else by the candidate's own."""
        own = self.chosen(self.variant)
        if reference is None:
            return fit_of(self.variant.kind, self.labels, own)
        return fit_of(reference.kind, self.labels, self.chosen(reference), own)

    def lost(self, name: str, theirs: Array, ours: Array, known: tuple[LostClass, ...] = ()) -> tuple[LostClass, ...]:
        """Return the classes that the candidate lost against one that is called so."""
        return lost_classes(name, self.labels, theirs, ours, known)


def _are_numbered(labels: Array, answers: Array) -> bool:
    """Tell whether labels are numbers from 0 up, and the answers none that no sample is labelled with."""
    if labels.dtype.kind not in "iub" or answers.dtype.kind not in "iu":
        return False
    return (
        int(answers.min()) >= 0 and int(labels.min()) >= 0 and int(labels.max()) <= int(answers.max()) < _MOST_CLASSES
    )


def labels_of_columns(builder: Builder, variant: Variant, read: Read, labels: Array) -> Array:
    """Return labels as a metric of classes reads them: as columns of the output, where those stand for labels.

    Raises:
        OnnxliteError: a label is none of them.
    """
    if not builder.spec.rating.is_of_classes:
        return labels
    columns = _columns(builder, variant, read) or _columns(builder, builder.accuracy_reference(), read)
    if not columns:
        return labels
    try:
        return in_columns(labels, columns)
    except ValueError as error:
        raise OnnxliteError(f"{variant.model} {variant.kind}: {error}.") from None


def _columns(builder: Builder, variant: Variant | None, read: Read) -> tuple[Any, ...]:
    """Return what the columns of the output that the metric reads stand for; nothing if they are only numbered."""
    if not isinstance(variant, OnnxVariant):
        return ()
    read(variant)  # known once it has run
    names = [builder.spec.output] if builder.spec.output is not None else [info.name for info in variant.outputs_info]
    return variant.columns.get(names[0], ()) if len(names) == 1 else ()
