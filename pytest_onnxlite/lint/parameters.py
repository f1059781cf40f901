"""Scales and zero points: finite, positive, of the right form, along the right dim."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.finding import Finding, Severity, report
from pytest_onnxlite.lint.model_index import Array, scalar_or_vector
from pytest_onnxlite.lint.quantized_tensors import QuantizedTensor, output_channel


def check_scales(context: Context) -> Iterator[Finding]:
    """Scales are finite, positive and no denormals, each stored one judged once."""
    seen: set[ir.Value] = set()
    for quantized in context.quantized_tensors.all:
        scale = context.index.constant(quantized.scale)
        if scale is None or scale.value in seen:
            continue
        seen.add(scale.value)
        values = scalar_or_vector(scale.tensor)
        tiny = float(np.finfo(np.float16 if scale.tensor.dtype == ir.DataType.FLOAT16 else np.float32).tiny)
        bad = ~np.isfinite(values)
        if bad.any():
            yield report("OLX301", scale.where, "finite scales", _spell(values, bad))
        if quantized.layout == "blocks":  # zero for a block of zeros, and negative where its largest weight is
            continue
        low = values <= 0
        small = (values > 0) & (values < tiny)
        if low.any():
            yield report("OLX302", scale.where, "scales above 0", _spell(values, low))
        if small.any():
            # A bias' scale is a product of others, and is computed anew by kernels that fuse.
            severity: Severity = "warning" if quantized.role == "bias" else "error"
            expected = f"scales of {tiny:.3g} or more"
            yield report("OLX303", scale.where, expected, _spell(values, small), severity=severity)


def check_zero_points(context: Context) -> Iterator[Finding]:
    """A zero point is of its tensor's dtype and of its scale's shape."""
    for quantized in context.quantized_tensors.all:
        zero = quantized.zero_point
        if zero is None:
            continue
        # QuantizeLinear takes its output's dtype from the zero point: only a declared one can differ.
        data, own = context.index.dtype_of(quantized.data), context.index.dtype_of(zero)
        if data is not None and own is not None and data != own:
            yield report("OLX305", quantized.where, f"{data.name}, the dtype of {quantized.name!r}", own.name)
        scale, point = context.index.constant(quantized.scale), context.index.constant(zero)
        if scale is not None and point is not None and scale.tensor.size != point.tensor.size:
            expected = f"shape {scale.tensor.shape}, that of its scale"
            # One zero point for all channels is broadcast, and says what it means.
            row = quantized.place.quantized
            if point.tensor.size != 1 or row is None or not row.sums:
                yield report("OLX306", point.where, expected, f"shape {point.tensor.shape}")


def check_shapes(context: Context) -> Iterator[Finding]:
    """A scale is a scalar, or a vector along the output channel with one entry for each channel."""
    for quantized in context.quantized_tensors.all:
        scale = context.index.constant(quantized.scale)
        if scale is None or quantized.block or quantized.layout != "channels":
            continue
        shape = tuple(scale.tensor.shape.numpy())
        if len(shape) > 1:
            yield report("OLX304", scale.where, "shape [], [1] or [channels]", f"shape {list(shape)}")
            continue
        dims = context.index.dims_of(quantized.data)
        if scale.tensor.size == 1 or dims is None:
            continue
        yield from _check_axis(quantized, scale.where, scale.tensor.size, dims)


def _check_axis(
    quantized: QuantizedTensor, where: str, entries: int, dims: list[int | ir.SymbolicDim]
) -> Iterator[Finding]:
    rank = len(dims)
    axis = quantized.axis if quantized.axis is not None else -1
    if not -rank <= axis < rank:
        yield report("OLX309", quantized.where, f"an axis of the {rank} dims of {quantized.name!r}", f"axis {axis}")
        return
    axis %= rank
    row = quantized.place.quantized
    if row is not None and row.float_op == "MatMul" and "" in row.domains and rank != 2:
        yield report("OLX311", quantized.where, "one scale, or a 2-D weight", f"{entries} scales of a {rank}-D weight")
    size = dims[axis]
    if isinstance(size, int) and size != entries:
        yield report("OLX310", where, f"{size} scales for dim {axis} of {quantized.name!r}", str(entries))
    for reader in quantized.readers:
        wanted = output_channel(reader.node, reader.slot, rank) if quantized.role == "weight" else None
        if wanted is not None and wanted != axis:
            expected = f"axis {wanted}, the output channel of {reader.node.op_type}"
            yield report("OLX309", quantized.where, expected, f"axis {axis}")


def _spell(values: Array, which: Array) -> str:
    first = int(np.flatnonzero(which)[0])
    if values.size == 1:
        return f"{values[first]:.6g}"
    return f"{values[first]:.6g} at channel {first}, {int(which.sum())} of {values.size} in total"
