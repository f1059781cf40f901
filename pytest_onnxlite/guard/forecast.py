"""Forecast: whether a model that is right here may be wrong on x86 processors without VNNI, or the other way round.

Their kernels for uint8 × int8 add two products into 16 bits (onnxruntime#6004): weights that lie next to each other in a
sum, of one sign and with |w1| + |w2| > 128, can exceed them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.accuracy.measurement import Accuracy
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint.saturation import count_saturation
from pytest_onnxlite.processors import this_processor
from pytest_onnxlite.records import Checks, Forecast, Record, SaturationTrial, TensorShare
from pytest_onnxlite.settings import Settings
from pytest_onnxlite.spec.recipes import Recipe, recipe_text
from pytest_onnxlite.text import first_line, percent
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.deadline import time_limit
from pytest_onnxlite.variants.variant import OnnxVariant, RuntimeVariant, Variant
from pytest_onnxlite.workspace import working_folder


def remark(
    builder: Builder,
    record: Record,
    variant: Variant,
    checks: Checks,
    settings: Settings,
    progress: Callable[[str], None],
) -> Forecast | None:
    """Say what may differ on other processors; a remark, never a verdict. Nothing where ONNX Runtime's own kernels do not run it."""
    concerned = [name for name in record.measured if checks[name].concerns_answers]
    if not isinstance(variant, OnnxVariant):
        if settings.processors and concerned and isinstance(variant, RuntimeVariant):
            names = ", ".join(settings.processors)
            return Forecast(f"not counted on {names}: only ONNX files are run on other processors, and this is none.")
        return None
    was_counted = any(v.against == "avx2" and v.outcome in (Outcome.PASS, Outcome.FAIL) for v in record.verdicts)
    if was_counted or not concerned or not variant.runtime.is_on_cpu:
        return None
    trying = settings.explain or settings.suggest
    try:
        with time_limit(settings.explain_time):
            return forecast(builder, variant, builder.spec.batch_size, trying, progress)
    except Exception as error:  # whatever is wrong with it, the verdicts stand
        reason = f"{type(error).__name__}: {first_line(error)}"
        return Forecast(f"whether products saturate on other processors could not be said: {reason}")


def forecast(
    builder: Builder, variant: OnnxVariant, batch_size: int, trying: bool, progress: Callable[[str], None]
) -> Forecast | None:
    """Say whether a model's products saturate, here or on other processors; None if they hardly do.

    Args:
        builder: the model's variants.
        variant: the one to look at.
        batch_size: samples per inference for the trial.
        trying: whether to quantize it anew with `weight_type="auto"` and count its right answers.
        progress: is told what begins.

    Returns:
        What may differ, and what a trial came to if there was one.
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
    trial = None
    recipe = builder.recipe_of(variant.kind)
    if not isinstance(recipe, Recipe):
        advice = "Quantize it with reduce_range=True, or with uint8 weights."
    elif not trying:
        advice = "The recipe's weight_type='auto' avoids it; --onnxlite-explain tries it."
    else:
        advice, trial = _try(builder, recipe, variant.kind, batch_size, progress)
    tensors = tuple(TensorShare(name, round(value, 6)) for name, value in found.tensors[:5])
    return Forecast(f"{text} {advice}", round(found.share, 6), found.pairs, tensors, trial)


def _try(
    builder: Builder, recipe: Recipe, kind: str, batch_size: int, progress: Callable[[str], None]
) -> tuple[str, SaturationTrial | None]:
    recipe = replace(recipe, weight_type="auto")
    progress(f"trying {recipe_text(recipe)} against saturation")
    with working_folder() as folder:
        try:
            other = builder.with_recipe(recipe, folder)
            made = other.made_by(recipe, kind)
            rated = accuracy.measure(other, made, batch_size)
            left = count_saturation(made.path)
            made.release()
        except OnnxliteError as error:
            return f"weight_type='auto' was tried and failed: {error}", None
    value = rated.share if isinstance(rated, Accuracy) else rated.value
    text = f"Tried: recipe={recipe_text(recipe)} leaves {percent(left.share)}, with an accuracy of {rated.figure} here."
    return text, SaturationTrial(recipe_text(recipe), round(left.share, 6), value)
