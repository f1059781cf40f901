"""Checks that read weights: their range, their likeness to the float model, saturation, NaN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pytest_onnxlite.lint.biases import Bias
from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.finding import Finding, Severity, report
from pytest_onnxlite.lint.model_index import FLOATS, Array, Constant, input_of, producer, reading
from pytest_onnxlite.lint.operators import DEQUANTIZE, DYNAMIC_QUANTIZE, QUANTIZE, float_operator, takes_weight
from pytest_onnxlite.lint.weights import Weight, float_twin, saturating_pairs, worst_error

_EIGHT_BITS = frozenset({ir.DataType.INT8, ir.DataType.UINT8})
# Steps that a weight must use of the 255 that there are, and of the 127 of a reduced range: a symmetric range
# around weights of one sign has half of each.
_SPAN, _REDUCED_SPAN = 120, 60
# A bias close to the end of int32 makes the quantizer widen the weight's scale.
_NEAR_INT32 = 1 << 29
# The share of pairs that saturate: static per-channel models have some per cent, dynamic ones less than this.
_SATURATION = 0.01
# Weights below this have a scale that is denormal, in whose place quantizers write 1.
_LEAST = 255 * float(np.finfo(np.float32).tiny)
_PIECE = 1 << 20


def check_symmetry(context: Context) -> Iterator[Finding]:
    """Int8 weights are symmetric: zero point 0, and no -128."""
    for weight in context.weights:
        if weight.dtype != ir.DataType.INT8 or weight.quantized.role != "weight":
            continue
        if weight.zero_point.any():
            yield report("OLX307", weight.where, "zero point 0", f"{int(weight.zero_point.ravel()[0])}")
        elif weight.range.low.min() == -128:
            with reading(weight.constant.tensor) as q:
                count = int(np.count_nonzero(q == -128))
            size = weight.constant.tensor.size
            severity: Severity = "error" if count * 2 > size else "warning"
            found = f"{count:,} of {size:,} at -128"
            yield report("OLX308", weight.where, "integers of -127 to 127", found, severity=severity)


def check_range(context: Context) -> Iterator[Finding]:
    """A weight uses the range of its type, under each of its scales."""
    weights = [weight for weight in context.weights if weight.dtype in _EIGHT_BITS]
    signed = [weight.range for weight in weights if weight.dtype == ir.DataType.INT8]
    reduced = bool(signed) and all(r.low.min() >= -64 and r.high.max() <= 64 for r in signed)
    biases: dict[ir.Node, list[Bias]] = {}
    for bias in context.biases:
        biases.setdefault(bias.node, []).append(bias)
    for weight in weights:
        least = _REDUCED_SPAN if reduced or (weight.dtype == ir.DataType.UINT8 and _halved(weight)) else _SPAN
        small = (weight.span > 0) & (weight.span < least)
        small &= ~_widened(biases, weight, small.shape)
        if small.any():
            first = int(np.flatnonzero(small)[0])
            found = f"{int(weight.span.ravel()[first])} steps"
            if small.size > 1:
                found += f" at channel {first}, and fewer than {least} at {int(small.sum())} of {small.size}"
            yield report("OLX312", weight.where, f"{least} steps or more of the range", found)


def _halved(weight: Weight) -> bool:
    return bool(weight.range.high.max() <= 127)


def _widened(biases: dict[ir.Node, list[Bias]], weight: Weight, shape: tuple[int, ...]) -> Array:
    """Say for which channels a large bias made the quantizer choose a wider scale than the weight needs."""
    wide = np.zeros(shape, dtype=bool)
    for reader in weight.quantized.readers:
        for bias in biases.get(reader.node, ()):
            near = np.abs(bias.integers) >= _NEAR_INT32
            wide |= near.reshape(shape) if near.size == wide.size else near.any()
    return wide


def check_likeness(context: Context) -> Iterator[Finding]:
    """Each weight is within half a step of the float model's, and what stayed float is equal."""
    if context.reference is None:
        return
    for weight in context.weights:
        turned = weight.quantized.layout == "directions"
        in_matmul = {float_operator(reader.node) for reader in weight.quantized.readers} == {"MatMul"}
        twin = float_twin(context.reference, weight.constant, turned=turned, in_matmul=in_matmul)
        if twin is None:
            continue
        worst, count = worst_error(weight, *twin)
        if count:
            size = weight.constant.tensor.size
            found = f"{worst:.3g} steps at most, and more than half a step for {count:,} of {size:,}"
            yield report("OLX701", weight.where, f"at most half a step from {twin[0].where!r}", found)
        elif not weight.span.any():
            with reading(twin[0].tensor) as values:
                largest = float(np.abs(values).max())
            # Of weights that are zero in float too the quantizer cannot keep more, nor of ones that no scale can tell apart.
            if largest > _LEAST:
                found = f"the zero point everywhere, although the largest float weight is {largest:.3g}"
                yield report("OLX328", weight.where, "a scale that keeps the weights", found)


def check_float_tensors(context: Context) -> Iterator[Finding]:
    """Float tensors hold numbers, and those of the float model if they have one of its names."""
    scales = {quantized.scale for quantized in context.quantized_tensors.all}
    for constant in context.index.constants:
        readable = constant.value not in context.index.unreadable
        if not readable or constant.tensor.dtype not in FLOATS or constant.value in scales:
            continue
        nans, infinities = _count_bad(constant)
        if nans:
            yield report("OLX326", constant.where, "numbers", f"NaN, {nans:,} of {constant.tensor.size:,}")
        # Elsewhere infinity has its uses: masks, and limits of Clip.
        if infinities and any(takes_weight(use.node.op_type, use.idx) for use in constant.value.uses()):
            found = f"infinity, {infinities:,} of {constant.tensor.size:,}"
            yield report("OLX327", constant.where, "finite weights", found)
        if context.reference is not None:
            twin = context.reference.by_name.get((constant.path, constant.name))
            if twin is not None and twin.value not in context.reference.unreadable:
                yield from _compare(constant, twin)


def _count_bad(constant: Constant) -> tuple[int, int]:
    nans = infinities = 0
    with reading(constant.tensor) as values:
        flat = values.reshape(-1)
        for start in range(0, flat.size, _PIECE):
            piece = flat[start : start + _PIECE]
            if not np.isfinite(piece).all():
                nans += int(np.count_nonzero(np.isnan(piece)))
                infinities += int(np.count_nonzero(np.isinf(piece)))
    return nans, infinities


def _compare(constant: Constant, twin: Constant) -> Iterator[Finding]:
    ours, theirs = constant.tensor, twin.tensor
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return  # the name was given to another tensor: folding does that
    with reading(ours) as found, reading(theirs) as expected:
        a, b = found.reshape(-1), expected.reshape(-1)
        different = sum(
            int(np.count_nonzero(~((x == y) | ((x != x) & (y != y)))))
            for x, y in ((a[i : i + _PIECE], b[i : i + _PIECE]) for i in range(0, a.size, _PIECE))
        )
    if different:
        yield report("OLX702", constant.where, "the float model's values", f"{different:,} of {ours.size:,} differ")


@dataclass(frozen=True)
class Saturation:
    """How many sums of two products do not fit 16 bits, as CPUs without VNNI form them.

    Attributes:
        hits: pairs of neighbouring weights that can saturate.
        pairs: pairs that were looked at: all, or of a large tensor the first ones.
        tensors: the tensors with hits by the share of their pairs, the worst first.
    """

    hits: int
    pairs: int
    tensors: tuple[tuple[str, float], ...]

    @property
    def share(self) -> float:
        """The share of pairs that can saturate."""
        return self.hits / self.pairs if self.pairs else 0.0

    @property
    def is_likely(self) -> bool:
        """Whether the share is one that changes answers."""
        return self.share > _SATURATION


def forecast_saturation(context: Context) -> Saturation:
    """Count neighbouring int8 weights that meet uint8 inputs and are too large for each other."""
    hits = total = 0
    tensors = []
    for weight in context.weights:
        if weight.dtype == ir.DataType.INT8 and _takes_uint8(context, weight):
            count, pairs = saturating_pairs(weight)
            hits, total = hits + count, total + pairs
            if count:
                tensors.append((weight.where, count / pairs))
    return Saturation(hits, total, tuple(sorted(tensors, key=lambda entry: (-entry[1], entry[0]))))


def check_saturation(context: Context) -> Iterator[Finding]:
    """Forecast: sums of two uint8 × int8 products that do not fit 16 bits, as CPUs without VNNI form them."""
    found = forecast_saturation(context)
    if found.is_likely:
        worst, share = found.tensors[0]
        expected = f"at most {_SATURATION:.0%} of neighbouring weights with |w1 + w2| > 128"
        text = f"{found.share:.1%} of {found.pairs:,} pairs, {share:.1%} in {worst}"
        yield report("OLX611", context.index.loaded.label, expected, text)


def _takes_uint8(context: Context, weight: Weight) -> bool:
    for reader in weight.quantized.readers:
        value = input_of(reader.node, 0)
        maker = producer(value)
        if maker is not None and maker.op_type == DEQUANTIZE:
            value = input_of(maker, 0)
        if value is not None and _dtype(value) == ir.DataType.UINT8:
            return True
    return False


def _dtype(value: ir.Value) -> ir.DataType | None:
    """Return a value's dtype, from what makes it where the model does not declare it."""
    node = value.producer()
    if value.dtype is not None or node is None:
        return value.dtype
    if node.op_type == DYNAMIC_QUANTIZE:
        return ir.DataType.UINT8
    zero_point = input_of(node, 2) if node.op_type == QUANTIZE else None
    return zero_point.dtype if zero_point is not None else None
