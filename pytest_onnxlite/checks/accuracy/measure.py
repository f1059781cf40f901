"""How good a variant's outputs are, next to the reference variant's on the same samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from pytest_onnxlite.checks.accuracy.chance import differing
from pytest_onnxlite.checks.accuracy.classes import Classes, Read, labels_of_columns
from pytest_onnxlite.checks.accuracy.measurement import LAST_RELEASE, Accuracy, Recount, Rescore, Score
from pytest_onnxlite.checks.accuracy.slices import count as count_slices
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.metrics import Array, Metric, as_labels
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.output_names import pair_outputs
from pytest_onnxlite.variants.variant import Outputs, RuntimeVariant, Variant

# Told what was found of the candidate, returns the last release if it is to be rated too.
Last = Callable[[Accuracy | Score], Variant | None]

# What a variant is compared with on another processor if it has no reference variant: its own answers here.
HERE = "here"


@dataclass(frozen=True)
class Some:
    """Some of the evaluation samples, and what a candidate answered to them where it was run.

    Attributes:
        rows: which samples, `(M,) int64`, rising.
        outputs: the candidate's outputs for them; None for those of this processor.
    """

    rows: Array
    outputs: Outputs | None = None


def measure(
    builder: Builder,
    variant: Variant,
    batch_size: int,
    read: Read | None = None,
    some: Some | None = None,
    last: Last | None = None,
    slices: Mapping[str, Array] | None = None,
) -> Accuracy | Score:
    """Rate a variant's outputs by the spec's metric, and the reference variant's on the same samples.

    Args:
        builder: the model's variants.
        variant: the candidate.
        batch_size: samples per inference.
        read: what has read outputs before (`reader`), so that nothing is run twice.
        some: the samples to look at, instead of all of them.
        last: told what was found, returns the last release if it is to be rated too.
        slices: the rows of each part of the evaluation data that is looked at by itself, `(N,) bool`.

    Returns:
        Right answers, counted, where the metric tells right from wrong; else the metric's mean.

    Raises:
        OnnxliteError: no evaluation data, nothing to compare with, data that does not fit, or NaN in an output.
    """
    metric = builder.spec.rating
    reference = builder.accuracy_reference()
    count = len(builder.evaluation) if some is None else len(some.rows)
    read = _only(read or reader(builder, batch_size), some)
    labels = _labels(builder, variant, read, some)
    # What the candidate is compared with ran here: its answers elsewhere are no labels.
    elsewhere = None if some is None or some.outputs is None else pick_output(builder, variant, some.outputs)
    own = _rate(builder, variant, labels, read if elsewhere is None else lambda _: elsewhere, count)
    name, beside = "", None
    if reference is not None and reference.kind != variant.kind:
        name, beside = reference.kind, reference
    elif elsewhere is not None:
        name, beside = HERE, variant
    other = None if beside is None else _rate(builder, beside, labels, read, count)
    found = _count(builder, own, name, other) if own.dtype.kind == "b" else _score(builder, own, name, other, labels)
    parts = () if other is None else count_slices(slices or {}, metric, name, own, other)
    found = replace(found, total=count, batch_size=batch_size, output=_output_name(builder, variant), slices=parts)
    # On another processor the labels are those of here, and so are the classes.
    classes = Classes.of(builder, variant, read) if some is None else None
    if isinstance(found, Accuracy) and classes is not None:
        lost = () if beside is None or other is None else classes.lost(f"the {name} variant", other, own)
        found = replace(found, fit=classes.fit(beside), lost_classes=lost)
    release = last(found) if last is not None else None
    if release is None:
        return found
    before = _rate(builder, release, labels, read, count)
    found = replace(found, slices=(*parts, *count_slices(slices or {}, metric, LAST_RELEASE, own, before)))
    if isinstance(found, Score):
        return replace(found, last=Rescore(float(before.mean()), _loss_error(metric, own, before)))
    recount = Recount(int(before.sum()), int((before & ~own).sum()), int((own & ~before).sum()))
    if classes is not None:
        recount = replace(recount, differing=differing(classes.chosen(release), classes.chosen(variant)))
        found = replace(found, lost_classes=classes.lost(LAST_RELEASE, before, own, found.lost_classes))
    return replace(found, last=recount)


def _count(builder: Builder, own: Array, reference: str, other: Array | None) -> Accuracy:
    beside = own if other is None else other
    return Accuracy(
        metric=builder.spec.rating.name,
        correct=int(own.sum()),
        total=len(own),
        batch_size=1,
        data_sha256=builder.evaluation.sha256,
        reference=reference,
        reference_correct=int(beside.sum()),
        only_reference=int((beside & ~own).sum()),
        only_candidate=int((own & ~beside).sum()),
    )


def _score(builder: Builder, own: Array, reference: str, other: Array | None, labels: Any) -> Score:
    metric = builder.spec.rating
    return Score(
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        value=float(own.mean()),
        total=len(builder.evaluation),
        batch_size=1,
        data_sha256=builder.evaluation.sha256,
        reference=reference,
        reference_value=None if other is None else float(other.mean()),
        relative_base=_relative_base(metric, own if other is None else other, labels),
        loss_error=None if other is None else _loss_error(metric, own, other),
    )


def _loss_error(metric: Metric, own: Array, other: Array) -> float | None:
    """Return the standard error of the mean loss; None where the metric gives one number for all samples."""
    loss = metric.loss(own, other)
    return None if loss.ndim == 0 else float(loss.std(ddof=1) / np.sqrt(len(loss)))


def _output_name(builder: Builder, variant: Variant) -> str:
    """Return the name of the output that the metric reads, or of all of them."""
    if builder.spec.output is not None:
        return builder.spec.output
    infos = variant.outputs_info if isinstance(variant, RuntimeVariant) else ()
    names = [info.name for info in infos] or builder.outputs(variant, builder.spec.batch_size)
    return ", ".join(sorted(names))


def rate(builder: Builder, variant: Variant, batch_size: int) -> Array:
    """Return a variant's rating by the spec's metric: `(N,) bool`, `(N,) float64`, or `() float64` for all samples.

    Raises:
        OnnxliteError: see `measure`.
    """
    read = reader(builder, batch_size)
    return _rate(builder, variant, _labels(builder, variant, read), read, len(builder.evaluation))


def reader(builder: Builder, batch_size: int) -> Read:
    """Return what reads the output of a variant, and runs each once: it may be asked for as labels and to be rated."""
    return cache(lambda variant: read_output(builder, variant, batch_size))


def _only(read: Read, some: Some | None) -> Read:
    """Return what reads the outputs of some samples alone."""
    if some is None:
        return read
    rows = some.rows

    def read_rows(variant: Variant) -> Array | Outputs:
        found = read(variant)
        return {name: array[rows] for name, array in found.items()} if isinstance(found, dict) else found[rows]

    return read_rows


def _labels(builder: Builder, variant: Variant, read: Read, some: Some | None = None) -> Any:
    """Return what a variant's outputs are compared with: labels, else what the reference variant answers."""
    metric = builder.spec.rating
    labels: Any = builder.evaluation.y if metric.against == "labels" else None
    if labels is not None:
        labels = labels_of_columns(builder, variant, read, labels)
        return labels if some is None else labels[some.rows]
    reference = builder.accuracy_reference()
    if reference is None:
        raise OnnxliteError(
            f"{variant.model} {variant.kind}: the metric {metric.name!r} needs labels or a reference variant, and "
            "there is neither. Give evaluation=Dataset(x, y), or the float model as onnx= or trained=."
        )
    try:
        return as_labels(metric, read(reference))
    except ValueError as error:
        raise OnnxliteError(f"{variant.model} {reference.kind}: {error}.") from None


def _relative_base(metric: Metric, values: Array, labels: Any) -> float:
    """Return what a relative limit is a share of: the reference's value; of an error of zero, that of an output of zeros."""
    base = abs(float(values.mean()))
    if base == 0 and not metric.higher_is_better and isinstance(labels, np.ndarray):
        zeros = np.zeros_like(labels) if labels.dtype != object else np.array([0 * sample for sample in labels], object)
        return float(np.mean(metric(zeros, labels)))
    return base


def _rate(builder: Builder, variant: Variant, labels: Any, read: Read, count: int) -> Array:
    metric = builder.spec.rating
    outputs = read(variant)
    try:
        rated = metric(outputs, labels)
        if rated.ndim == 1 and len(rated) != count:
            raise ValueError(f"the metric {metric.name!r} returned {len(rated)} values for {count} samples")
    except ValueError as error:
        raise OnnxliteError(f"{variant.model} {variant.kind}: {error}.") from None
    except Exception as error:
        if metric.is_built_in:
            raise
        raise OnnxliteError(
            f"{variant.model} {variant.kind}: your metric {metric.name!r} failed: {type(error).__name__}: {error}. It is "
            "called with (outputs, labels) of all evaluation samples."
        ) from error
    return rated


def read_output(builder: Builder, variant: Variant, batch_size: int) -> Array | Outputs:
    """Return the output that the metric reads; all of them if there are several and none is named."""
    return pick_output(builder, variant, builder.outputs(variant, batch_size))


def pick_output(builder: Builder, variant: Variant, outputs: Outputs) -> Array | Outputs:
    """Return the output that the metric reads, of a variant's outputs; all if there are several and none is named.

    Raises:
        OnnxliteError: there are several, and a built-in metric is not told which; or the one that is named is not there.
    """
    name = builder.spec.output
    if name is None:
        if len(outputs) == 1:
            return next(iter(outputs.values()))
        if builder.spec.rating.is_built_in:
            raise OnnxliteError(
                f"{variant.model} {variant.kind}: the model has the outputs {sorted(outputs)}; say with output= which one "
                "the metric reads."
            )
        return outputs
    if name not in outputs:
        name = _called_otherwise(builder, variant, name, outputs)
    if name not in outputs:
        raise OnnxliteError(
            f"{variant.model} {variant.kind}: the model has the outputs {sorted(outputs)}; output={builder.spec.output!r} is none of them."
        )
    return outputs[name]


def _called_otherwise(builder: Builder, variant: Variant, name: str, outputs: Outputs) -> str:
    """Return what a variant of another format calls an output that the spec names; the name itself if that cannot be told."""
    reference = builder.accuracy_reference()
    if reference is None or reference.kind == variant.kind or type(reference) is type(variant):
        return name
    pairs = pair_outputs(builder.outputs(reference, builder.spec.batch_size), outputs)
    return next((own for own, other in (pairs.of.items() if pairs is not None else ()) if other == name), name)
