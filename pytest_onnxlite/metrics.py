"""How good a model's outputs are: for each sample, or for all together."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pytest_onnxlite import detection, label_measures, measures
from pytest_onnxlite.text import first_line, shortened, spelled_otherwise

Array = npt.NDArray[Any]
Function = Callable[[Any, Any], Any]

_TOP = re.compile(r"top([1-9])")
_ROWS = 4096


@dataclass(frozen=True)
class Choices:
    """What a model answers, as a metric of classes reads it.

    Attributes:
        answers: the class of each sample, `(N,) int64`.
        among: the classes any of which is right, `(N, k) int64`.
        margins: how far the highest score is above the next, `(N,) float64`; of a single probability, above or below a half.
        classes: how many classes the model has.
    """

    answers: Array
    among: Array
    margins: Array
    classes: int


@dataclass(frozen=True)
class Metric:
    """A measure of a model's outputs.

    Args:
        function: `(outputs, labels)` to one bool or float for each sample, `(N,)`, or to one float for all of them.
            Outputs are `(N, ...)`, or the outputs by name where the model has several and the spec names none.
        name: for reports and baselines.
        higher_is_better: False for an error.
        against: `labels`, or `reference`: the outputs of the reference variant instead of labels.
    """

    function: Function
    name: str
    higher_is_better: bool = True
    against: Literal["labels", "reference"] = "labels"

    @property
    def is_built_in(self) -> bool:
        """Whether it is one of ours, which reads one output."""
        return isinstance(self.function, _TopK) or (self.name in _NAMED and self == _NAMED[self.name])

    @property
    def is_of_classes(self) -> bool:
        """Whether it counts the right ones of classes, by scores."""
        return isinstance(self.function, _TopK)

    def choices(self, outputs: Array) -> Choices:
        """Return the classes that scores choose, `(N, classes)` or `(N,) float`, which a metric of classes has rated."""
        assert isinstance(self.function, _TopK)
        return self.function.choices(outputs)

    def loss(self, own: Array, other: Array) -> Array:
        """Return how much worse values of this metric are than others, each by itself."""
        loss: Array = other - own if self.higher_is_better else own - other
        return loss

    def __call__(self, outputs: Any, labels: Any) -> Array:
        """Return one value for each sample, `(N,) bool` or `(N,) float64`; or `() float64`, one for all.

        Raises:
            ValueError: outputs and labels do not fit, or the function returns something else.
        """
        found = np.asarray(self.function(outputs, labels))
        if found.dtype.kind == "b" and found.ndim == 1:
            return found
        if found.ndim > 1 or found.dtype.kind not in "fiub":
            raise ValueError(
                f"the metric {self.name!r} returned {found.shape} {found.dtype}; expected one number, or one for each sample"
            )
        found = found.astype(np.float64)
        if not np.isfinite(found).all():
            raise ValueError(f"the metric {self.name!r} is NaN or infinite")
        return found


def as_metric(metric: object) -> Metric:
    """Return the metric that a user means.

    Raises:
        ValueError: it is none.
    """
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        return Metric(metric, getattr(metric, "__name__", type(metric).__name__))
    if isinstance(metric, str):
        top = _TOP.fullmatch(metric)
        if top:
            return Metric(_TopK(int(top.group(1))), metric)
        if metric in _NAMED:
            return _NAMED[metric]
        if ":" in metric:
            return as_metric(_imported(metric))
    names = ", ".join(["'top1' to 'top9'", *map(repr, _NAMED)])
    raise ValueError(
        f'metric={metric!r}; expected {names}, a function (outputs, labels), where it is as in "package.module:function", or '
        "a Metric."
    )


def _imported(place: str) -> object:
    """Return what stands at `package.module:name`.

    Raises:
        ValueError: it cannot be imported, or is neither a function nor a Metric.
    """
    module, _, name = place.partition(":")
    try:
        found: object = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever the user's module raises
        raise ValueError(
            f"metric={place!r} cannot be imported ({type(error).__name__}: {first_line(error)}); expected "
            '"package.module:function" of a module that Python finds where pytest runs (see pytest\'s pythonpath).'
        ) from None
    if not isinstance(found, Metric) and not callable(found):
        raise ValueError(
            f"metric={place!r} is a {type(found).__name__}; expected a function (outputs, labels), or a Metric."
        )
    return found


def as_indices(labels: Array) -> Array:
    """Return labels as class indices, `(N,)`.

    Raises:
        ValueError: they are none.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise ValueError(
            f"labels are {labels.shape} {labels.dtype}; expected class indices, (N,) int. {_into_indices(labels)}"
        )
    return labels


def holds_labels(outputs: Array) -> bool:
    """Tell whether an output is the answer itself, and no score of it: texts, or whole numbers of more than a byte."""
    is_one = outputs.ndim == 1 or (outputs.ndim == 2 and outputs.shape[1] == 1)
    return is_one and (outputs.dtype.kind == "U" or (outputs.dtype.kind in "iu" and outputs.dtype.itemsize > 1))


def in_columns(labels: Array, columns: Sequence[Any]) -> Array:
    """Return the column of each label, where the columns of an output stand for known labels.

    Args:
        labels: `(N,)` or `(N, 1)`, integers or texts.
        columns: what each column stands for.

    Raises:
        ValueError: a label is none of those.
    """
    index = {key: number for number, key in enumerate(columns)}
    try:
        return np.array([index[label] for label in labels.ravel().tolist()], np.int64).reshape(labels.shape)
    except KeyError as error:
        raise ValueError(unknown_label(error.args[0], columns)) from None


def unknown_label(label: object, classes: Sequence[Any], known: Iterable[str] = ()) -> str:
    """Say that a model does not know a label, and which class of it is spelled nearly so.

    Args:
        label: the label.
        classes: those that are named.
        known: texts that may be classes too.
    """
    near = spelled_otherwise(label, (*map(str, classes), *known)) if isinstance(label, str) else None
    hint = f"; it knows {near!r}, which is spelled otherwise" if near is not None else ""
    return f"the label {label!r} is none of the model's classes ({shortened(list(map(repr, classes)))}){hint}"


def _into_indices(labels: Array) -> str:
    """Say how labels are turned into class indices, by what they are."""
    if labels.ndim == 1 and labels.dtype.kind == "f":
        if np.isfinite(labels).all() and (labels == np.round(labels)).all():
            return "They are whole numbers: give y.astype(int)"
        return "They are no classes: give metric= a function (outputs, labels) that rates such values"
    if labels.dtype.kind in "OSU":
        return (
            "They are names or objects: give each label's place among the model's outputs. If these are in alphabetical order, "
            "np.unique(y, return_inverse=True)[1] is that"
        )
    if labels.ndim == 2 and labels.shape[1] > 1 and _is_one_hot(labels):
        return "Turn one-hot labels into indices with y.argmax(axis=1)"
    if labels.dtype.kind in "iub":
        return (
            f"There are {' x '.join(map(str, labels.shape[1:]))} labels for each sample: give metric= a function "
            "(outputs, labels) that returns a value for each sample, or metric='positions', the share of its labels that are right"
        )
    return "Give metric= a function (outputs, labels) that rates them"


def _is_one_hot(labels: Array) -> bool:
    """Tell whether each row is a share for each class: one of 1, or several that add up to it."""
    if labels.dtype.kind == "b":
        return bool((labels.sum(axis=1) == 1).all())
    return labels.dtype.kind in "iuf" and bool((labels >= 0).all() and np.allclose(labels.sum(axis=1), 1, atol=1e-3))


@dataclass(frozen=True)
class _TopK:
    """Whether the label is among the highest outputs."""

    k: int

    def __call__(self, outputs: Array, labels: Array) -> npt.NDArray[np.bool_]:
        """Tell for each sample whether its label is among the `k` highest outputs.

        Args:
            outputs: `(N, C) float`, one score for each class; or `(N,)` or `(N, 1) float`, the probability of
                class 1.
            labels: `(N,)` or `(N, 1) int`, class indices.

        Returns:
            `(N,) bool`.

        Raises:
            ValueError: another shape or dtype, or a label outside the classes.
        """
        if holds_labels(outputs):
            return self._match(outputs.reshape(-1), np.asarray(labels))
        if outputs.ndim == 2 and outputs.shape[1] == 1:
            outputs = outputs[:, 0]
        labels = as_indices(labels)
        if outputs.ndim not in (1, 2) or len(outputs) != len(labels):
            raise ValueError(f"the output is {outputs.shape}; top{self.k} expects ({len(labels)}, classes)")
        classes = 2 if outputs.ndim == 1 else outputs.shape[1]
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"labels reach from {labels.min()} to {labels.max()}, the model has {classes} classes")
        if self.k >= classes:
            raise ValueError(f"top{self.k} of {classes} classes is always right")
        among: npt.NDArray[np.bool_] = (self._among(outputs) == labels[:, None]).any(axis=1)
        return among

    def _match(self, answers: Array, labels: Array) -> npt.NDArray[np.bool_]:
        """Compare answers that are labels themselves."""
        if self.k > 1:
            raise ValueError(
                f"the output holds one label for each sample, of which top{self.k} makes no sense; use top1"
            )
        if labels.shape not in (answers.shape, (*answers.shape, 1)) or (labels.dtype.kind == "U") != (
            answers.dtype.kind == "U"
        ):
            raise ValueError(
                f"the output holds labels, {answers.shape} {answers.dtype}, and the labels are {labels.shape} {labels.dtype}; "
                "expected one of the same kind for each sample"
            )
        same: npt.NDArray[np.bool_] = answers == labels.reshape(-1)
        return same

    def _among(self, outputs: Array) -> Array:
        if self.k == 1:
            return _answers(outputs)[:, None]
        highest: Array = np.argpartition(outputs, -self.k, axis=1)[:, -self.k :]
        return highest

    def choices(self, outputs: Array) -> Choices:
        """Return what outputs that it can rate choose."""
        if outputs.ndim == 2 and outputs.shape[1] == 1:
            outputs = outputs[:, 0]
        if outputs.ndim == 1:
            margins, classes = np.abs(outputs.astype(np.float64) - 0.5), 2
        else:
            margins, classes = _margins(outputs), outputs.shape[1]
        return Choices(_answers(outputs), self._among(outputs), margins, classes)


def as_labels(metric: Metric, outputs: Any) -> Any:
    """Return the outputs of the reference variant as labels: for a metric of classes the classes that it gives."""
    if not isinstance(metric.function, _TopK):
        return outputs
    if isinstance(outputs, np.ndarray) and holds_labels(outputs):
        return outputs.reshape(-1)
    found = answers(outputs)
    if found is None:
        raise ValueError(
            f"the output is {outputs.shape} {outputs.dtype}; {metric.name} expects scores, (N, classes) float"
        )
    return found


def _margins(outputs: Array) -> Array:
    """Return how far the highest score of each sample is above the next; some samples at a time, since it takes copies."""
    found = [np.zeros(0)]
    for start in range(0, len(outputs), _ROWS):
        highest = np.partition(outputs[start : start + _ROWS], -2, axis=1)[:, -2:].astype(np.float64)
        found.append(highest[:, 1] - highest[:, 0])
    return np.concatenate(found)


def _answers(outputs: Array) -> Array:
    """Return the class of each sample: the highest output's, or whether the one probability is above a half."""
    answers: Array = (outputs > 0.5).astype(np.int64) if outputs.ndim == 1 else outputs.argmax(axis=1)
    return answers


def answers(outputs: Array) -> Array | None:
    """Return the class that each sample is given, `(N,) int64`; None where the outputs are no scores of classes."""
    if outputs.dtype.kind != "f" or outputs.ndim not in (1, 2):
        return None
    return _answers(outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs)


_NAMED = {
    "mae": Metric(measures.mae, "mae", higher_is_better=False),
    "mse": Metric(measures.mse, "mse", higher_is_better=False),
    "r2": Metric(measures.r2, "r2"),
    "positions": Metric(label_measures.positions, "positions"),
    "f1": Metric(label_measures.f1, "f1"),
    "f1_macro": Metric(label_measures.f1_macro, "f1_macro"),
    "wer": Metric(label_measures.wer, "wer", higher_is_better=False),
    "map": Metric(detection.mean_average_precision, "map"),
    "map50": Metric(detection.mean_average_precision_50, "map50"),
    "cosine": Metric(measures.cosine, "cosine", against="reference"),
    "agreement": Metric(measures.agreement, "agreement", against="reference"),
    "kl": Metric(measures.kl, "kl", higher_is_better=False, against="reference"),
}
