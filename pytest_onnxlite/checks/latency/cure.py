"""What may make a quantized model faster than its float model, by the operators of its own file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pytest_onnxlite.checks.task import Task
from pytest_onnxlite.lint.protobuf import operators


def cure_for(task: Task[Any]) -> str:
    """Say it of a task's variant; empty of one that quantization did not make."""
    variant = task.variant
    is_onnx = task.builder.kind(variant.kind).quantized and variant.path.suffix == ".onnx"
    kind = task.builder.kind(variant.kind)
    if kind.form == "float16":
        return "Half precision is slower where the processor has no arithmetic for it: the runtime computes in float32, and casts."
    return cure_of(operators(variant.path) if is_onnx else (), task.builder.recipe_of(variant.kind) is not None)


def cure_of(found: Collection[str], by_recipe: bool) -> str:
    """Say what may make a quantized model faster than its float model, by its operators; empty where nobody knows.

    Args:
        found: the operators of its file; empty if it is no ONNX file.
        by_recipe: whether a recipe quantized it here.
    """
    if "ConvInteger" in found:
        cure = (
            "leave them in float (recipe exclude=['Conv'])"
            if by_recipe
            else "leave them in float where it is quantized"
        )
        return f"INT8 is not always faster: dynamic quantization slows convolutions down; {cure}."
    if "MatMulNBits" in found:
        return "Weights in blocks are unpacked in every run: choose another block size or accuracy_level, or 8 bits."
    return (
        "INT8 is not always faster: what surrounds few or small products may cost more than they save." if found else ""
    )
