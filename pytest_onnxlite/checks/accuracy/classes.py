"""Labels and answers as classes, where the evaluation data is labelled with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from pytest_onnxlite.checks.accuracy.chance import fit_of, lost_classes
from pytest_onnxlite.checks.accuracy.measurement import Fit, LostClass
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.metrics import Array, Choices, holds_labels, in_columns, unknown_label
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.variant import OnnxVariant, Outputs, Variant

Read = Callable[[Variant], Array | Outputs]


class _Numbers:
    """Numbers for what classes are called: from 0 in the order in which they are first seen."""

    def __init__(self, names: Iterable[object]) -> None:
        self._numbers: dict[object, int] = {}
        self._names: list[object] = []
        for name in names:
            self._number(name)

    def _number(self, name: object) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._names)
            self._names.append(name)
        return self._numbers[name]

    def __call__(self, values: Array) -> Array:
        """Return the number of each value, in the shape of the values, `int64`."""
        return np.array([self._number(value) for value in values.ravel().tolist()], np.int64).reshape(values.shape)

    def of_labels(self, answers: Array) -> Choices:
        """Return what answers choose that are labels themselves, `(N,)` or `(N, 1)`; none of them is surer than another."""
        chosen = self(answers.reshape(-1))
        return Choices(chosen, chosen[:, None], np.ones(len(chosen)), len(self._names))

    def of_columns(self, choices: Choices, columns: Sequence[Any]) -> Choices:
        """Return choices of columns, by the numbers of what these are called."""
        called = self(np.array(columns if len(columns) else range(choices.classes)))
        return replace(choices, answers=called[choices.answers], among=called[choices.among], classes=len(self._names))

    def name(self, number: int) -> object:
        """Return what the class is called that has a number."""
        return self._names[number]


@dataclass(frozen=True)
class Classes:
    """What models choose, where the evaluation data is labelled with classes.

    Attributes:
        variant: the candidate.
        labels: `(N,) int`, numbers of classes.
        chosen: what a variant chooses, by the same numbers.
        names: what the user calls a class.
        is_bool: whether the user's labels are True and False.
    """

    variant: Variant
    labels: Array
    chosen: Callable[[Variant], Choices]
    names: Callable[[int], object] = int
    is_bool: bool = False

    @classmethod
    def of(cls, builder: Builder, variant: Variant, read: Read) -> Classes | None:
        """Return that of a spec; None where the metric knows no classes, or there are no labels."""
        metric = builder.spec.rating
        if builder.evaluation.y is None or not metric.is_of_classes:
            return None
        labels, columns = np.asarray(builder.evaluation.y), _columns_of(builder, variant, read)
        # Without columns, the labels are what classes are called, or their places.
        numbers = _Numbers(columns or np.unique(labels).tolist())

        def chosen(of: Variant) -> Choices:
            output = read(of)
            assert isinstance(output, np.ndarray)  # it was rated before
            return (
                numbers.of_labels(output)
                if holds_labels(output)
                else numbers.of_columns(metric.choices(output), columns)
            )

        return cls(variant, numbers(labels.reshape(-1)), cache(chosen), numbers.name, labels.dtype.kind == "b")

    def fit(self, reference: Variant | None) -> Fit:
        """Return whether the labels can be those of the data, by the reference's answers, else by the candidate's own."""
        judged = self.variant if reference is None else reference
        own = None if reference is None else self.chosen(self.variant)
        return fit_of(judged.kind, self.labels, self.chosen(judged), own, is_bool=self.is_bool, names=self.names)

    def lost(self, name: str, theirs: Array, ours: Array, known: tuple[LostClass, ...] = ()) -> tuple[LostClass, ...]:
        """Return the classes that the candidate lost against one that is called so."""
        return lost_classes(name, self.labels, theirs, ours, known, self.names)


def labels_of_columns(builder: Builder, variant: Variant, read: Read, labels: Array) -> Array:
    """Return labels as a metric of classes reads them: as columns of the output, where those stand for labels.

    Raises:
        OnnxliteError: a label is none of them, or a text that the model never answers.
    """
    if not builder.spec.rating.is_of_classes:
        return labels
    columns = _columns_of(builder, variant, read)
    try:
        if columns:
            return in_columns(labels, columns)
        answers = read(variant)
        if (
            isinstance(variant, OnnxVariant)
            and isinstance(answers, np.ndarray)
            and labels.dtype.kind == answers.dtype.kind == "U"
        ):
            _require_held(labels, variant, answers)
        return labels
    except ValueError as error:
        raise OnnxliteError(f"{variant.model} {variant.kind}: {error}.") from None


def _require_held(labels: Array, variant: OnnxVariant, answers: Array) -> None:
    """Check that a model can answer each label, where its file says which texts those are.

    Raises:
        ValueError: it cannot.
    """
    from pytest_onnxlite.lint.protobuf import load_graph
    from pytest_onnxlite.lint.texts import held_texts

    held = held_texts(load_graph(variant.path))
    strange = [] if held is None else sorted(set(np.unique(labels).tolist()) - held)
    if strange:
        raise ValueError(unknown_label(strange[0], np.unique(answers).tolist(), held or ()))


def _columns_of(builder: Builder, variant: Variant, read: Read) -> tuple[Any, ...]:
    """Return what the columns of the output stand for, which the candidate or its reference says."""
    return _columns(builder, variant, read) or _columns(builder, builder.accuracy_reference(), read)


def _columns(builder: Builder, variant: Variant | None, read: Read) -> tuple[Any, ...]:
    """Return what the columns of the output that the metric reads stand for; nothing if they are only numbered."""
    if not isinstance(variant, OnnxVariant):
        return ()
    read(variant)  # known once it has run
    names = [builder.spec.output] if builder.spec.output is not None else [info.name for info in variant.outputs_info]
    return variant.columns.get(names[0], ()) if len(names) == 1 else ()
