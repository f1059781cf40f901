"""What is fed to a model, extremes included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from pytest_onnxlite.lint.interface import Signature, TensorSignature

Array = npt.NDArray[Any]
_FLOATS: dict[str, np.dtype[Any]] = {
    "FLOAT": np.dtype(np.float32),
    "DOUBLE": np.dtype(np.float64),
    "FLOAT16": np.dtype(np.float16),
}
_INTS = {
    name: np.dtype(name.lower()) for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
}


def _normal(rng: np.random.Generator, shape: tuple[int, ...], top: float) -> Array:
    return rng.normal(size=shape)


def _zero(rng: np.random.Generator, shape: tuple[int, ...], top: float) -> Array:
    return np.zeros(shape)


def _constant(rng: np.random.Generator, shape: tuple[int, ...], top: float) -> Array:
    return np.full(shape, rng.normal())


def _one_sided(rng: np.random.Generator, shape: tuple[int, ...], top: float) -> Array:
    return 1 + rng.uniform(size=shape)


def _negative(rng: np.random.Generator, shape: tuple[int, ...], top: float) -> Array:
    return -1 - rng.uniform(size=shape)


def _spike(rng: np.random.Generator, shape: tuple[int, ...], top: float) -> Array:
    values = rng.normal(size=shape)
    if values.size:
        values.flat[rng.integers(values.size)] = 1000
    return values


def _denormal(rng: np.random.Generator, shape: tuple[int, ...], top: float) -> Array:
    return rng.choice([-1.0, 1.0], shape) * 1e-40


def _largest(rng: np.random.Generator, shape: tuple[int, ...], top: float) -> Array:
    return rng.choice([-top, top], shape)


_KINDS: dict[str, Callable[[np.random.Generator, tuple[int, ...], float], Array]] = {
    "normal": _normal,
    "zero": _zero,
    "constant": _constant,
    "one sided": _one_sided,
    "negative": _negative,
    "spike": _spike,
    "denormal": _denormal,
    "largest": _largest,
}
_EXTREMES = ("denormal", "largest")


@st.composite
def inputs_for(
    draw: st.DrawFn,
    signature: Signature,
    *,
    extremes: bool = True,
    max_dim: int = 4,
    min_dim: int = 1,
    integers: st.SearchStrategy[int] | None = None,
) -> dict[str, Array]:
    """Draw a feed for a signature: an array for each input, by name.

    A symbol has one size wherever it occurs. Floats are normal, zero, constant, of one sign, or have a spike.

    Args:
        draw: given by Hypothesis.
        signature: what `pytest_onnxlite.lint.signatures` gives for a model.
        extremes: also draw denormals and the largest numbers of the dtype.
        max_dim: the largest size of a dynamic dim.
        min_dim: the smallest; 0 draws empty batches.
        integers: values of integer inputs; 0 to 9 by default, since most are looked up in a table.

    Raises:
        ValueError: an input has a dtype that has no arrays here, or no shape.
    """
    sizes: dict[str, int] = {}
    dims = st.integers(min_dim, max_dim)
    feed = {}
    for tensor in signature.inputs:
        if tensor.shape is None:
            raise ValueError(f"{tensor}: expected an input with a shape. Declare one in the model.")
        shape = []
        for dim in tensor.shape:
            if isinstance(dim, str):
                if dim not in sizes:
                    sizes[dim] = draw(dims)
                shape.append(sizes[dim])
            else:
                shape.append(draw(dims) if dim is None else dim)
        feed[tensor.name] = _values(draw, tensor, tuple(shape), extremes, integers or st.integers(0, 9))
    return feed


def _values(
    draw: st.DrawFn,
    tensor: TensorSignature,
    shape: tuple[int, ...],
    extremes: bool,
    integers: st.SearchStrategy[int],
) -> Array:
    count = int(np.prod(shape))
    if tensor.dtype in _FLOATS:
        dtype = _FLOATS[tensor.dtype]
        kinds = [kind for kind in _KINDS if extremes or kind not in _EXTREMES]
        kind, rng = draw(st.sampled_from(kinds)), np.random.default_rng(draw(st.integers(0, 2**16 - 1)))
        return _KINDS[kind](rng, shape, float(np.finfo(dtype).max)).astype(dtype)
    if tensor.dtype in _INTS:
        return np.array(draw(st.lists(integers, min_size=count, max_size=count)), _INTS[tensor.dtype]).reshape(shape)
    if tensor.dtype == "BOOL":
        return np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), np.bool_).reshape(shape)
    known = ", ".join(sorted([*_FLOATS, *_INTS, "BOOL"]))
    raise ValueError(f"{tensor}: expected an input of {known}. Draw this one yourself.")
