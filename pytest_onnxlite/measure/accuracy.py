"""Right answers, counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.measure.measurement import Accuracy
from pytest_onnxlite.spec import Array, Dataset
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.variant import Outputs, Variant


def top1_right(outputs: Array, labels: Array) -> npt.NDArray[np.bool_]:
    """Tell for each sample whether its answer is the label.

    Args:
        outputs: `(N, C) float`, one score for each class; or `(N,)` or `(N, 1) float`, the probability of
            class 1.
        labels: `(N,)` or `(N, 1) int`, class indices.

    Returns:
        `(N,) bool`.

    Raises:
        ValueError: another shape or dtype, or a label outside the classes.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise ValueError(
            f"labels are {labels.shape} {labels.dtype}; expected class indices, (N,) int. "
            "Turn one-hot labels into indices with y.argmax(axis=1)"
        )
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        outputs = outputs[:, 0]
    if outputs.ndim not in (1, 2) or len(outputs) != len(labels):
        raise ValueError(f"the output is {outputs.shape}; top1 expects ({len(labels)}, classes)")
    classes = 2 if outputs.ndim == 1 else outputs.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels reach from {labels.min()} to {labels.max()}, the model has {classes} classes")
    answers = (outputs > 0.5).astype(np.int64) if outputs.ndim == 1 else outputs.argmax(axis=1)
    right: npt.NDArray[np.bool_] = answers == labels
    return right


def measure(builder: Builder, variant: Variant, batch_size: int) -> Accuracy:
    """Count a variant's right answers, and the reference variant's on the same samples.

    Raises:
        OnnxliteError: no evaluation data or labels, data that does not fit, or NaN in an output.
    """
    data = builder.evaluation
    right = _right(builder, variant, data, batch_size)
    reference = builder.baseline_reference()
    if reference.kind == variant.kind:
        name, other = "", right
    else:
        name, other = reference.kind, _right(builder, reference, data, batch_size)
    return Accuracy(
        correct=int(right.sum()),
        total=len(right),
        batch_size=batch_size,
        data_sha256=data.sha256,
        reference=name,
        reference_correct=int(other.sum()),
        only_reference=int((other & ~right).sum()),
        only_candidate=int((right & ~other).sum()),
    )


def _right(builder: Builder, variant: Variant, data: Dataset, batch_size: int) -> npt.NDArray[np.bool_]:
    if data.y is None:
        raise OnnxliteError(
            f"the evaluation data of {variant.model} has no labels, which top1 counts by. Give Dataset(x, y)."
        )
    outputs = builder.outputs(variant, batch_size)
    try:
        return top1_right(_chosen(outputs, builder.spec.output), data.y)
    except ValueError as error:
        raise OnnxliteError(f"{variant.model} {variant.kind}: {error}.") from None


def _chosen(outputs: Outputs, name: str | None) -> Array:
    if name is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    if name not in outputs:
        problem: Any = f"output={name!r} is none of them" if name else "say with output= which one the metric reads"
        raise ValueError(f"the model has the outputs {sorted(outputs)}; {problem}")
    return outputs[name]
