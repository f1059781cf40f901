"""Bytes: of the whole model and the float one, and of the files that external tensors lie in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.coverage import float_weights, must_be_quantized
from pytest_onnxlite.lint.finding import Finding, report
from pytest_onnxlite.lint.model_index import FLOATS, Constant, ModelIndex
from pytest_onnxlite.lint.operators import PROCESSOR_DOMAINS
from pytest_onnxlite.lint.summary import bytes_by_dtype

# Operators that quantization, its pre-processing and opset conversion put in place of others.
_BYWORK = frozenset(
    {
        "Add",
        "Cast",
        "Clip",
        "Constant",
        "Flatten",
        "Gather",
        "Gemm",
        "Identity",
        "MatMul",
        "Mul",
        "Reshape",
        "Shape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
# Room for shapes and other small constants that a quantizer adds, in bytes for each node and in all.
_PER_NODE, _IN_ALL, _SLACK = 64, 1024, 1.02
# Tensors may be aligned: a gap up to this is no waste.
_ALIGNMENT = 65536
_WASTE = 0.01


def check_size(context: Context) -> Iterator[Finding]:
    """The weights that are read take a quarter of the float model's, plus parameters and what stays float."""
    if context.reference is None or not context.index.quantized:
        return
    index, reference = context.index, context.reference
    # What is still there in float is a matter of coverage, with its own code and reason.
    kept = {(c.path, c.name) for c in index.constants if c.used and c.tensor.dtype in FLOATS}
    shrinks = {
        weight.constant.value
        for weight in float_weights(reference)
        if weight.is_weight
        and must_be_quantized(index, weight.node.op_type)
        and (weight.constant.path, weight.constant.name) not in kept
    }
    expected = 0
    for constant in reference.constants:
        if constant.used:
            expected += constant.tensor.size if constant.value in shrinks else constant.tensor.nbytes
    parameters = {q.scale for q in context.quantized_tensors.all} | {
        q.zero_point for q in context.quantized_tensors.all
    }
    added = sum(c.tensor.nbytes for c in index.constants if c.value in parameters)
    allowed = int(expected * _SLACK) + added + _PER_NODE * len(index.places) + _IN_ALL
    found = sum(bytes_by_dtype(index).values())
    if found > allowed:
        before = sum(bytes_by_dtype(reference).values())
        expectation = f"{expected + added:,} bytes of weights, from {before:,} in float"
        yield report("OLX604", index.loaded.label, expectation, f"{found:,}")


def check_operators(context: Context) -> Iterator[Finding]:
    """No operator appears that neither the float model nor quantization has."""
    if context.reference is None:
        return
    known = {place.op for place in context.reference.places} | _BYWORK
    seen = set()
    for place in context.index.places:
        if place.quantized is not None or place.node.domain in PROCESSOR_DOMAINS:  # a matter of portability
            continue
        if place.op not in known and place.op not in seen:
            seen.add(place.op)
            yield report("OLX610", place.where, "an operator of the float model or of quantization", place.op)


def check_external_files(context: Context) -> Iterator[Finding]:
    """External tensors lie apart from each other, and leave no large part of their file unread."""
    for path, constants in _by_file(context.index).items():
        end, waste = 0, 0
        last: Constant | None = None
        for constant in sorted(constants, key=_start):
            start, stop = _start(constant), _start(constant) + constant.tensor.nbytes
            if last is not None and start < end and (start, stop) != (_start(last), end):
                expected = f"no byte in common with {last.where!r}"
                yield report("OLX607", constant.where, expected, f"{end - start:,} in common")
            if start - end > _ALIGNMENT:
                waste += start - end
            if stop > end:
                last, end = constant, stop
        size = path.stat().st_size
        waste += max(0, size - end)
        if waste > size * _WASTE:
            yield report(
                "OLX608",
                path.name,
                "99 % of the file used",
                f"{waste:,} of {size:,} bytes that belong to no tensor",
            )


def _by_file(index: ModelIndex) -> dict[Path, list[Constant]]:
    files: dict[Path, list[Constant]] = defaultdict(list)
    for constant in index.constants:
        if isinstance(constant.tensor, ir.ExternalTensor) and constant.value not in index.unreadable:
            files[Path(constant.tensor.path)].append(constant)
    return files


def _start(constant: Constant) -> int:
    tensor = constant.tensor
    return (tensor.offset or 0) if isinstance(tensor, ir.ExternalTensor) else 0
