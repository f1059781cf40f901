"""Forecast: whether a model that is right here may be wrong on x86 processors without VNNI, or the other way round.

Their kernels for uint8 × int8 add two products into 16 bits (onnxruntime#6004): weights that lie beside each other in a
sum, of one sign and with |w1| + |w2| > 128, can exceed them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.graph.opening import open_model
from pytest_onnxlite.graph.subject import Subject
from pytest_onnxlite.graph.values import Saturation, forecast_saturation
from pytest_onnxlite.graph.view import View
from pytest_onnxlite.measure import accuracy
from pytest_onnxlite.measure.measurement import Accuracy
from pytest_onnxlite.processors import this_processor
from pytest_onnxlite.recipes import recipe_text
from pytest_onnxlite.text import percent, score_text
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.variant import OnnxVariant


def count_saturation(path: Path) -> Saturation:
    """Return how many pairs of a file's weights can saturate."""
    opened = open_model(path)
    if opened.model is None:
        return Saturation(0, 0, ())
    return forecast_saturation(Subject(View(opened, opened.model), None, ()))


def forecast(
    builder: Builder, variant: OnnxVariant, batch_size: int, trying: bool, progress: Callable[[str], None]
) -> dict[str, Any] | None:
    """Say whether a model's products saturate, here or on other processors; None where they hardly do.

    Args:
        builder: the model's variants.
        variant: the one to look at.
        batch_size: samples per inference for the trial.
        trying: whether to quantize it anew with `reduce_range=True` and count its right answers.
        progress: is told what begins.

    Returns:
        Share, pairs, the worst tensors, a text, and the trial where there was one.
    """
    found = count_saturation(variant.path)
    if not found.is_likely:
        return None
    worst, share = found.tensors[0]
    is_here = this_processor() == "avx2"
    where = "on this processor, which is an x86 without VNNI" if is_here else "on x86 processors without VNNI"
    text = (
        f"{percent(found.share)} of {found.pairs:,} neighbouring weight pairs can saturate {where} "
        f"({percent(share)} in {worst}): answers may differ {'on others' if is_here else 'there'}."
    )
    data: dict[str, Any] = {
        "here": is_here,
        "share": round(found.share, 6),
        "pairs": found.pairs,
        "tensors": [{"tensor": name, "share": round(value, 6)} for name, value in found.tensors[:5]],
    }
    if builder.spec.int8 is not None or variant.kind != "int8":
        advice = "Quantize it with reduce_range=True, or with uint8 weights."
    elif not trying:
        advice = "The recipe's reduce_range=True avoids it; --onnxlite-explain tries it."
    else:
        advice, data["reduce_range"] = _try(builder, batch_size, progress)
    return {**data, "text": f"{text} {advice}"}


def _try(builder: Builder, batch_size: int, progress: Callable[[str], None]) -> tuple[str, dict[str, Any] | None]:
    recipe = replace(builder.recipe[0], reduce_range=True)
    progress(f"trying {recipe_text(recipe)} against saturation")
    with tempfile.TemporaryDirectory(prefix="onnxlite-") as folder:
        try:
            other = builder.with_recipe(recipe, Path(folder))
            rated = accuracy.measure(other, other.int8, batch_size)
            left = count_saturation(other.int8.path)
            other.int8.release()
        except OnnxliteError as error:
            return f"reduce_range=True was tried and failed: {error}", None
    value = rated.correct / rated.total if isinstance(rated, Accuracy) else rated.value
    figure = percent(value) if isinstance(rated, Accuracy) else score_text(value, rated.metric)
    text = f"Tried: recipe={recipe_text(recipe)} leaves {percent(left.share)}, with an accuracy of {figure} here."
    return text, {"recipe": recipe_text(recipe), "share": round(left.share, 6), "accuracy": value}
