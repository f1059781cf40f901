"""Operators over constants alone, computed: ONNX Runtime's preparation stores the result in their place."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx

from pytest_onnxlite.lint.likeness.tensors import Attributes, Tensor, exact, moved
from pytest_onnxlite.lint.model_index import Array

# Larger results are not computed here.
_LIMIT = 1 << 22
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Pow": lambda a, b: np.power(a, b).astype(a.dtype),
    "Equal": np.equal,
    "Less": np.less,
    "Greater": np.greater,
    "LessOrEqual": np.less_equal,
    "GreaterOrEqual": np.greater_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Max": np.maximum,
    "Min": np.minimum,
    "MatMul": np.matmul,
}
_UNARY: dict[str, Callable[[Array], Array]] = {
    "Neg": np.negative,
    "Sqrt": np.sqrt,
    "Exp": np.exp,
    "Log": np.log,
    "Abs": np.abs,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Not": np.logical_not,
    "Sin": np.sin,
    "Cos": np.cos,
    "Tanh": np.tanh,
    "Reciprocal": lambda a: np.array(1, a.dtype) / a,
    "Relu": lambda a: np.maximum(a, 0),
    "Sigmoid": lambda a: (1 / (1 + np.exp(-a))).astype(a.dtype),
    "NonZero": lambda a: np.array(np.nonzero(a), dtype=np.int64),
}
_REDUCTIONS: dict[str, Callable[..., Array]] = {
    "ReduceSum": np.sum,
    "ReduceProd": np.prod,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceMean": np.mean,
}


def fold(op: str, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor | None:
    """Return what an operator gives for constants, None if that is not known here."""
    roots = tuple(root for tensor in inputs if tensor is not None for root in tensor.roots)
    first = inputs[0] if inputs else None
    with contextlib.suppress(ValueError, IndexError, TypeError, KeyError, ZeroDivisionError, OverflowError, OSError):
        if first is not None:
            turned = _moved(op, attributes, first, inputs)
            if turned is not None:
                return turned
        if any(t is not None and (t.quantized or t.raw or t.size > _LIMIT) for t in inputs):
            return None
        if op == "Shape" and first is not None:
            whole = np.array(first.shape, np.int64)
            return exact(whole[attributes.get("start", 0) : attributes.get("end", len(whole))])
        arrays = [None if tensor is None else tensor.data() for tensor in inputs]
        with np.errstate(all="ignore"):
            found = _computed(op, attributes, arrays)
        if found is not None:
            return exact(found, roots)
    return None


def _moved(op: str, attributes: Attributes, first: Tensor, inputs: Sequence[Tensor | None]) -> Tensor | None:
    """Return what only lies in other places: large weights, integers whose scale is not known yet."""
    rank = len(first.shape)
    if op == "Identity":
        return first
    if op == "Transpose":
        perm = tuple(attributes.get("perm") or reversed(range(rank)))
        shape = tuple(first.shape[axis] for axis in perm)
        return moved(first, lambda values: np.transpose(values, perm), shape)
    if op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        dims = _reshaped(op, attributes, first, inputs[1] if len(inputs) > 1 else None)
        return None if dims is None else moved(first, lambda values: np.reshape(values, dims), dims)
    if op == "Gather" and first.raw and inputs[1] is not None:
        axis, at = attributes.get("axis", 0), inputs[1].data()
        shape = (*first.shape[:axis], *at.shape, *first.shape[axis + 1 :])
        return moved(first, lambda values: np.take(values, at, axis=axis), shape)
    return None


def _reshaped(op: str, attributes: Attributes, first: Tensor, second: Tensor | None) -> tuple[int, ...] | None:
    dims, rank = first.shape, len(first.shape)
    if op == "Flatten":
        axis = attributes.get("axis", 1) % (rank + 1) if rank else 0
        return (int(np.prod(dims[:axis], dtype=int)), int(np.prod(dims[axis:], dtype=int)))
    if second is None and op != "Squeeze":
        return None
    wanted = [] if second is None else [int(item) for item in second.data().reshape(-1)]
    if op == "Reshape":
        kept = wanted if attributes.get("allowzero") else [dims[i] if d == 0 else d for i, d in enumerate(wanted)]
        rest = int(np.prod([d for d in kept if d != -1], dtype=int))
        return tuple(first.size // max(rest, 1) if d == -1 else d for d in kept)
    if op == "Squeeze":
        axes = {axis % rank for axis in wanted} if second is not None else {i for i, d in enumerate(dims) if d == 1}
        return tuple(d for i, d in enumerate(dims) if i not in axes)
    full = rank + len(wanted)
    rest_dims = iter(dims)
    added = {axis % full for axis in wanted}
    return tuple(1 if i in added else next(rest_dims) for i in range(full))


def _computed(op: str, attributes: Attributes, arrays: list[Array | None]) -> Array | None:
    if op == "ConstantOfShape" and arrays[0] is not None:
        fill = attributes.get("value")
        value = np.zeros(1, np.float32) if fill is None else fill.data().reshape(-1)
        return np.full(_within(arrays[0]), value[0], value.dtype)
    if op == "Concat":
        return np.concatenate([array for array in arrays if array is not None], axis=attributes["axis"])
    if op in ("Max", "Min") and len(arrays) != 2:
        return None
    a = arrays[0] if arrays else None
    b = arrays[1] if len(arrays) > 1 else None
    if a is None:
        return None
    if op in _UNARY:
        return np.asarray(_UNARY[op](a))
    if op == "Cast":
        return a.astype(onnx.helper.tensor_dtype_to_np_dtype(attributes["to"]))
    if op in _REDUCTIONS:
        axes = None if b is None else tuple(int(axis) for axis in b)
        kept = np.asarray(_REDUCTIONS[op](a, axis=axes, keepdims=bool(attributes.get("keepdims", 1))))
        return kept.astype(a.dtype)
    if b is None:
        return None
    if op in _BINARY:
        if op != "MatMul":
            _within(np.array(np.broadcast_shapes(a.shape, b.shape)))
        return np.asarray(_BINARY[op](a, b))
    return _two(op, attributes, a, b, arrays)


def _two(op: str, attributes: Attributes, a: Array, b: Array, arrays: list[Array | None]) -> Array | None:
    if op == "Div":
        return np.asarray(np.trunc(a / b).astype(a.dtype) if a.dtype.kind in "iu" else a / b)
    if op == "Mod":
        return np.asarray(np.fmod(a, b) if attributes.get("fmod") else np.mod(a, b))
    if op == "Gather":
        return np.take(a, b, axis=attributes.get("axis", 0))
    if op == "Expand":
        return np.broadcast_to(a, np.broadcast_shapes(a.shape, _within(b))).copy()
    if op == "Tile":
        _within(np.array([*a.shape, *b]))
        return np.tile(a, tuple(int(item) for item in b))
    c = arrays[2] if len(arrays) > 2 else None
    if op == "Range" and c is not None:
        _within(np.array([abs((int(b) - int(a)) // max(abs(int(c)), 1)) + 1]))
        return np.asarray(a + c * np.arange(max(0, math.ceil((float(b) - float(a)) / float(c)))), dtype=a.dtype)
    if op == "Where" and c is not None:
        return np.where(a, b, c)
    if op == "Slice" and c is not None:
        d, e = (arrays[slot] if len(arrays) > slot else None for slot in (3, 4))
        axes = range(len(b)) if d is None else [int(axis) for axis in d]
        index = [slice(None)] * a.ndim
        for place, axis in enumerate(axes):
            stride = 1 if e is None else int(e[place])
            start, end = int(b[place]), int(c[place])
            index[axis] = slice(start, None if stride < 0 and end < -a.shape[axis] else end, stride)
        return a[tuple(index)]
    return None


def _within(dims: Array) -> tuple[int, ...]:
    """Return dims of a result that may be computed.

    Raises:
        ValueError: it is too large.
    """
    shape = tuple(int(dim) for dim in np.asarray(dims).reshape(-1))
    total = 1
    for dim in shape:
        total *= max(dim, 1)
    if total > _LIMIT or any(dim < 0 for dim in shape):
        raise ValueError("too large")
    return shape
