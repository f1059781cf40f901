"""A marker's own metric, output and labels: the model as that marker sees it."""

from __future__ import annotations

import copy
from dataclasses import replace

from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.metrics import as_metric
from pytest_onnxlite.text import listed
from pytest_onnxlite.variants.builder import Builder


def seen_by(limit: AccuracyLimit, builder: Builder) -> Builder:
    """Return the builder of the same variants, whose metric, output and labels are those that a marker names.

    Raises:
        OnnxliteError: there is no such metric, or there are no such labels.
    """
    if not limit.has_own_metric:
        return builder
    # What is built once is built before there are two.
    builder.accuracy_reference()
    if builder.spec.trained is not None:
        builder.outputs(builder.trained, builder.spec.batch_size)
    spec = builder.spec
    try:
        metric = spec.metric if limit.metric is None else as_metric(limit.metric)
    except ValueError as error:
        raise OnnxliteError(f"onnxlite_accuracy: {error}") from None
    data = builder.evaluation
    name = limit.labels if limit.labels is not None else limit.output if limit.output in data.labels else None
    if name is not None:
        if name not in data.labels:
            raise OnnxliteError(
                f"onnxlite_accuracy(labels={name!r}): the evaluation data of ModelSpec({spec.name!r}) has the labels "
                f"{listed(data.labels)}. Give evaluation=Dataset(x, y, labels={{{name!r}: array}})."
            )
        data = replace(data, y=data.labels[name])
    own = copy.copy(builder)
    own.spec = replace(spec, metric=metric, output=limit.output or spec.output, evaluation=data)
    return own
