"""What to do about a loss, by what the variant is and how it was made: no advice of another format's. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pytest_onnxlite.kinds import FORMS, KINDS, LITERT, Kind
from pytest_onnxlite.spec.recipes import AnyRecipe, Float16, StaticInt8, WeightOnly

# The largest number of half precision.
LARGEST = 65_504
_TRAIN = "or train with quantization in mind."
# Products of blocks of weights in 4 bits, which no recipe of ours writes.
_BLOCKS = frozenset({"GatherBlockQuantized", "MatMulNBits"})


@dataclass(frozen=True)
class Made:
    """How a variant was made.

    Attributes:
        kind: its kind.
        recipe: what it was quantized by here; None if it was not.
        is_calibrated: whether the spec has calibration data.
        operators: the operators of its file, if that is a file of the user's; empty where nobody looked.
        of: the variant whose file it is, if it is one that is run otherwise; empty if it is not.
    """

    kind: Kind
    recipe: AnyRecipe | None = None
    is_calibrated: bool = False
    operators: Collection[str] = ()
    of: str = ""


def advise(made: Made) -> str:
    """Say what may give back what was lost, as a sentence."""
    if made.of:
        return f"It is the file of the {made.of} variant: if that loses less, change how this one is run (Variant(runtime=...))."
    if isinstance(made.recipe, Float16):
        return (
            f"Keep the layers that lose most in float32 (Float16(keep=[...])): values beyond {LARGEST:,} overflow, and sums "
            "of many values lose digits."
        )
    if isinstance(made.recipe, WeightOnly):
        finer = [
            *(["in 8 bits"] if made.recipe.bits < 8 else []),
            *(["in smaller blocks"] if made.recipe.block_size > 16 else []),
        ]
        again = f"Quantize weights {' or '.join(finer)}, or leave" if finer else "Leave"
        return f"{again} the products that lose most in float (WeightOnly(exclude=[...]))."
    if made.recipe is not None:
        wider = "" if made.recipe.per_channel else ", quantize per_channel=True"
        data = ", calibrate with more data like the evaluation data" if isinstance(made.recipe, StaticInt8) else ""
        return f"Leave the layers that lose most in float (recipe exclude=[...]){wider}{data}, {_TRAIN}"
    if _BLOCKS & set(made.operators):
        return "Quantize its weights anew in smaller blocks or in 8 bits, or leave the products that lose most in float there."
    if made.kind.form == "float16":
        return f"Keep the layers that lose most in float32 where it is converted: values beyond {LARGEST:,} overflow."
    if made.kind.form in ("file", "tflite_file"):
        return "It was made elsewhere: look for what was changed there, and make it again."
    if made.kind.form not in {**KINDS, **FORMS}:
        return f"Change how the kind {made.kind.name!r} is built: what it loses most in may stay as it was."
    if not made.kind.quantized:
        return "It was converted, not quantized: look for what was converted wrongly, and convert it again."
    if made.kind.runtime == LITERT:
        if made.is_calibrated:
            return (
                "Calibrate with more data like the evaluation data (calibration=), leave calibration= out, so that weights "
                f"alone are integers, {_TRAIN}"
            )
        return f"Weights alone are integers: judge the float variant first (onnxlite_tflite), {_TRAIN}"
    return f"It was quantized elsewhere: leave the layers that lose most in float there, let recipe= quantize it here, {_TRAIN}"
