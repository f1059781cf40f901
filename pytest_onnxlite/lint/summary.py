"""What a graph is made of, in a few figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import onnx_ir as ir

from pytest_onnxlite.errors import hide_mistakes
from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.coverage import float_weights, reason
from pytest_onnxlite.lint.float_left import FloatLeft
from pytest_onnxlite.lint.loading import ModelLike, asking
from pytest_onnxlite.lint.model_index import Constant, ModelIndex
from pytest_onnxlite.lint.operator_counts import count_operators
from pytest_onnxlite.lint.precision import HALF, has_half
from pytest_onnxlite.lint.validity import LARGE

__tracebackhide__ = hide_mistakes


@dataclass(frozen=True)
class GraphSummary:
    """What a graph is made of.

    Attributes:
        operators: how often each operator occurs, subgraphs included; with its domain where not ONNX's own.
        weight_bytes: bytes of referenced tensors by dtype.
        total_bytes: their sum.
        float_left: the float tensors of 1 KiB or more, the largest first; scales are not among them.
    """

    operators: dict[str, int]
    weight_bytes: dict[str, int]
    total_bytes: int
    float_left: tuple[FloatLeft, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain data, ready for JSON."""
        return {**asdict(self), "float_left": [asdict(item) for item in self.float_left]}


def summarize(model: ModelLike, *, excluded: Sequence[str] = ()) -> GraphSummary:
    """Return a model's operators, its bytes by dtype, and what is in float and why. Reads no weights.

    Args:
        model: a path, an `onnx.ModelProto` or an `onnx_ir.Model`.
        excluded: names, globs or operator types of nodes that stay float on purpose, for the reasons.

    Raises:
        GraphError: the model cannot be read.
    """
    index = ModelIndex(model)
    with asking(index.loaded.label, "what it is made of"):
        by_dtype = bytes_by_dtype(index)
        return GraphSummary(
            count_operators(index),
            by_dtype,
            sum(by_dtype.values()),
            tuple(_left(Context(index, None, tuple(excluded)))),
        )


def bytes_by_dtype(index: ModelIndex) -> dict[str, int]:
    """Return the bytes of the tensors that are read, by dtype; an external range is counted once."""
    total: Counter[str] = Counter()
    ranges = set()
    for constant in index.constants:
        key = _range(constant)
        if constant.used and (key is None or key not in ranges):
            total[constant.tensor.dtype.name] += constant.tensor.nbytes
            ranges.add(key)
    return dict(sorted(total.items()))


def _range(constant: Constant) -> tuple[str, int, int] | None:
    tensor = constant.tensor
    return (tensor.path, tensor.offset or 0, tensor.nbytes) if isinstance(tensor, ir.ExternalTensor) else None


def _left(context: Context) -> list[FloatLeft]:
    scales = {quantized.scale for quantized in context.quantized_tensors.all}
    found: dict[ir.Value, FloatLeft] = {}
    # Of a model in half precision, what is in half precision is where it belongs.
    half = has_half(context.index) and not context.index.quantized
    for weight in float_weights(context.index):
        constant = weight.constant
        size = constant.tensor.nbytes
        if half and constant.tensor.dtype in HALF:
            continue
        if size >= LARGE and constant.value not in scales and constant.value not in found:
            why = reason(context.index, weight, context.exclusion)
            found[constant.value] = FloatLeft(constant.where, context.index.where[weight.node], size, why)
    return sorted(found.values(), key=lambda item: (-item.bytes, item.tensor))
