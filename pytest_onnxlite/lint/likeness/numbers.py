"""Two constants that stand at the same place: are they the same numbers?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pytest_onnxlite.lint.likeness.tensors import Tensor
from pytest_onnxlite.lint.model_index import Array

# What float32 loses where an optimizer has computed with the numbers, of the largest of them.
_ROUNDING = 1e-4
_EXACT = 1e-6
# The same of half precision.
_ROUNDING_HALF = 4e-3


@dataclass(frozen=True)
class Difference:
    """How two constants differ.

    Attributes:
        code: of the rule.
        expected: what should be there.
        found: what is.
    """

    code: str
    expected: str
    found: str


def comparable(ours: Tensor, theirs: Tensor) -> bool:
    """Tell whether both are numbers of one kind."""
    return not (ours.raw or theirs.raw or "o" in (ours.kind, theirs.kind)) and not (
        ours.kind == "i" and theirs.kind == "f"
    )


def differ(ours: Tensor, theirs: Tensor, *, halves: bool = False) -> Difference | None:
    """Return how two constants differ, None if they are the same.

    Args:
        ours: the candidate's.
        theirs: the source's.
        halves: whether the candidate computes in half precision.

    Raises:
        OSError, ValueError: one cannot be read.
    """
    if _dims(ours) != _dims(theirs) and 1 not in (ours.size, theirs.size):
        return Difference("OLX805", f"{theirs.name} of shape {list(theirs.shape)}", f"shape {list(ours.shape)}")
    with np.errstate(all="ignore"):
        return _differ(ours, theirs, _ROUNDING_HALF if halves else _ROUNDING)


def _dims(tensor: Tensor) -> tuple[int, ...]:
    return tuple(dim for dim in tensor.shape if dim != 1)


def _differ(ours: Tensor, theirs: Tensor, rounding: float) -> Difference | None:
    values = ours.values()
    a, b = (np.asarray(v, np.float64) for v in (values.data, theirs.data()))
    if a.size == b.size:
        b = b.reshape(a.shape)
    elif a.size == 0 or b.size == 0:
        return Difference("OLX805", f"{theirs.name} of shape {list(theirs.shape)}", f"shape {list(ours.shape)}")
    a, b = np.broadcast_arrays(a, b) if a.size != b.size else (a, b)
    error = np.abs(a - b)
    if np.isfinite(np.asarray(values.low)).all() and values.step.any():
        # Beyond the ends of the integers' range stands the end; symmetric int8 ends one step earlier.
        for low in (values.low, values.low + values.step):
            error = np.minimum(error, np.abs(a - np.clip(b, low, values.high)))
    largest = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    allowed = 0.501 * values.step + _EXACT * np.abs(np.where(np.isfinite(b), b, 0.0))
    if ours.folded or theirs.folded:
        allowed = allowed + rounding * largest
    same = (a == b) | (np.isnan(a) & np.isnan(b)) | (error <= allowed)
    if same.all():
        return None
    return _say(ours, theirs, a, b, np.broadcast_to(values.step, a.shape), ~same)


def _say(ours: Tensor, theirs: Tensor, a: Array, b: Array, step: Array, off: Array) -> Difference:
    count = int(np.count_nonzero(off))
    if ours.quantized and step.any():
        steps = np.abs(a - b)[off] / np.where(step[off] > 0, step[off], np.inf)
        bias = bool(ours.roots) and ours.roots[0].tensor.dtype == ir.DataType.INT32
        worst = float(np.nan_to_num(steps, nan=np.inf).max())
        found = f"{worst:.3g} steps at most, and more than half a step for {count:,} of {a.size:,}"
        return Difference("OLX703" if bias else "OLX701", f"at most half a step from {theirs.name}", found)
    if a.size <= 8:
        return Difference("OLX805", f"{_spell(b)}, as {theirs.name} holds", _spell(a))
    at = int(np.flatnonzero(off)[0])
    found = f"{count:,} of {a.size:,} differ, the first {a.ravel()[at]:.6g} instead of {b.ravel()[at]:.6g}"
    return Difference("OLX805", f"the numbers of {theirs.name}", found)


def _spell(values: Array) -> str:
    return (
        f"[{', '.join(f'{value:.6g}' for value in values.ravel())}]" if values.size != 1 else f"{values.ravel()[0]:.6g}"
    )
