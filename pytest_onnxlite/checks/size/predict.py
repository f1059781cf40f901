"""How small an INT8 file can be at best, told from the float file alone: a recipe that cannot keep its limit is not tried."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import onnx_ir as ir

from pytest_onnxlite.checks.limit import RuledOut
from pytest_onnxlite.checks.size.contents import QUARTER, count_bytes, reachable, shrinkable
from pytest_onnxlite.checks.size.limit import SizeLimit
from pytest_onnxlite.lint.loading import load_model
from pytest_onnxlite.lint.model_index import ModelIndex
from pytest_onnxlite.spec.recipes import Recipe
from pytest_onnxlite.text import size_text
from pytest_onnxlite.variants.builder import Builder

# Preparation may fold or drop a few tensors of the float file: what is forecast is a little less than it can be.
_LESS = 0.97
# What another recipe may need for its scales and its graph, next to what the present one does.
_MORE = 1.15


@lru_cache(maxsize=8)
def _weights(source: Path) -> tuple[int, tuple[tuple[str, str, int], ...]]:
    """Return the bytes of a float model's tensors that no recipe shrinks, and the weights that one does with their readers."""
    loaded = load_model(source)
    found, _ = count_bytes(source, loaded)
    readers: dict[ir.Value, tuple[str, str, int]] = {}
    for weight in shrinkable(ModelIndex(loaded)):
        name = weight.node.name or ""
        readers.setdefault(weight.constant.value, (name, weight.node.op_type, weight.constant.tensor.nbytes))
    shrinks = sum(size for _, _, size in readers.values())
    return max(0, found.floats - shrinks) + found.other + found.int8, tuple(readers.values())


def least_bytes(source: Path, exclude: Sequence[str]) -> int:
    """Return the fewest bytes that an INT8 file can have: the weights alone, without scales and graph.

    Args:
        source: the float file.
        exclude: globs of what stays in float; those that mean no node of the float file are not counted.
    """
    kept, weights = _weights(source)
    total = kept + sum(size if _is_kept(name, op, exclude) else size * QUARTER for name, op, size in weights)
    return int(total * _LESS)


def _is_kept(name: str, op: str, exclude: Sequence[str]) -> bool:
    # Preparation fuses a MatMul with the Add behind it, and calls what comes of it so.
    fused = f"{name}/MatMulAddFusion"
    names = (name, fused, f"{fused}_MatMul") if name else ()
    return any(fnmatchcase(known, glob) for glob in exclude for known in (*names, op))


def too_large(limit: SizeLimit, builder: Builder, recipe: Recipe) -> RuledOut | None:
    """Say that an INT8 file by a recipe exceeds a limit whatever its scales and graph take; None if it may keep it."""
    source = builder.onnx.path
    ratio, most = limit.ratio, 0.0
    if ratio is not None:
        most = ratio * (1 + limit.tolerance) * builder.onnx.size
    else:
        expected = (builder.kind("int8").size_ratio or 1.0) * builder.onnx.size
        if "int8" in builder.__dict__:
            expected = max(expected, reachable(builder.int8.path, source))
        most = expected * (1 + limit.tolerance) * _MORE
    if limit.max is not None:
        most = min(most, limit.max)
    least = least_bytes(source, recipe.exclude)
    if least <= most:
        return None
    share = f"{least / builder.onnx.size:.3f} of the float model"
    return RuledOut(
        f"its weights alone take {size_text(least)}, {share}, and at most {size_text(most)} are allowed", least
    )
