"""How a variant is made by a recipe from the float model, and what is known of one that has a name of the spec's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.kinds import FORMS, LITERT, Kind
from pytest_onnxlite.lint.finding import GraphError
from pytest_onnxlite.lint.protobuf import is_quantized, load_graph, nodes
from pytest_onnxlite.runtime.sessions import to_feeds
from pytest_onnxlite.spec.dataset import take
from pytest_onnxlite.spec.model import ModelSpec
from pytest_onnxlite.spec.recipes import (
    AnyRecipe,
    Float16,
    Made,
    OtherRuntime,
    StaticInt8,
    WeightOnly,
    blocks_share,
    recipe_text,
)
from pytest_onnxlite.variants import first_run, float_faults
from pytest_onnxlite.variants.notes import RecipeNotes
from pytest_onnxlite.variants.variant import OnnxVariant
from pytest_onnxlite.workspace import working_folder

if TYPE_CHECKING:
    import onnx

    from pytest_onnxlite.variants.quantization import Calibration

MODEL, NOTES = "model.onnx", "recipe.json"
_BLOCKS = frozenset({"MatMulNBits", "GatherBlockQuantized"})


def require_read(kind: Kind, made: Made, model: str) -> None:
    """Refuse options that what runs a variant does not read: it would be run as it is without them.

    Raises:
        OnnxliteError: LiteRT runs it, and the runtime says more than threads.
    """
    if isinstance(made, OtherRuntime) and kind.runtime == LITERT and not made.runtime.is_plain:
        raise OnnxliteError(
            f"ModelSpec({model!r}): the variant {kind.name!r} is run by LiteRT, which reads the threads of a runtime alone; it is "
            f"{made.runtime.describe()}."
        )


def kind_of(name: str, made: Made, known: Callable[[str], Kind]) -> Kind:
    """Return the row of a named variant: its form's, which follows from its recipe, or from what its file holds.

    Args:
        name: the variant's name.
        made: how it is made.
        known: returns the row of another variant, whose file it may be.
    """
    if isinstance(made, OtherRuntime):
        return known(made.of).called(name) if isinstance(made.of, str) else kind_of(name, made.of, known)
    if isinstance(made, Float16):
        return FORMS["float16"].called(name)
    if isinstance(made, WeightOnly):
        share = blocks_share(made.bits, made.block_size, symmetric=made.symmetric)
        return FORMS["blocks"].called(name, size_ratio=share)
    if not isinstance(made, Path):
        return FORMS["int8"].called(name)
    if made.suffix == ".tflite":
        return FORMS["tflite_file"].called(name)
    try:
        return _kind_of_file(name, load_graph(made))
    except GraphError:
        return FORMS["file"].called(name)  # what is wrong with it is told when it is first run


def _kind_of_file(name: str, proto: onnx.ModelProto) -> Kind:
    from pytest_onnxlite.variants.half import is_half

    blocks = [node for node in nodes(proto) if node.op_type in _BLOCKS]
    if blocks:
        return FORMS["blocks"].called(name, size_ratio=max(map(_share_of, blocks)))
    if is_quantized(proto):
        return FORMS["int8"].called(name)
    return FORMS["float16" if is_half(proto) else "file"].called(name)


def _share_of(node: onnx.NodeProto) -> float:
    given = {attribute.name: attribute.i for attribute in node.attribute}
    zero = len(node.input) > 3 and bool(node.input[3])
    return blocks_share(given.get("bits") or 4, given.get("block_size") or 128, symmetric=not zero)


def calibration_of(spec: ModelSpec, recipe: AnyRecipe, source: OnnxVariant) -> Calibration | None:
    """Return what a recipe calibrates with; None for one that needs nothing, or if there is nothing.

    Raises:
        OnnxliteError: the samples do not fit the model.
    """
    from pytest_onnxlite.variants.quantization import Calibration

    samples = spec.calibration
    if samples is None or not isinstance(recipe, StaticInt8):
        return None
    first_run.require_no_state(spec, "a static recipe", "Give recipe=DynamicInt8(), or a file of your own as int8=.")
    try:
        to_feeds(take(samples, slice(1)), source.inputs_info, spec.batched)
    except ValueError as error:
        raise OnnxliteError(f"{spec.name}: calibration data and model do not fit: {error}.") from None
    return Calibration(samples, source.inputs_info, spec.batched, tuple(spec.runtime.custom_ops))


def make(
    source: OnnxVariant,
    recipe: AnyRecipe,
    spec: ModelSpec,
    name: str,
    calibration: Calibration | None,
    folder: Path,
) -> None:
    """Write a variant and what was decided about it into a folder, after it was checked and run.

    Args:
        source: the float model.
        recipe: how.
        spec: the model.
        name: of the variant, for messages.
        calibration: what a static recipe calibrates with.
        folder: takes `MODEL` and `NOTES`.

    Raises:
        OnnxliteError: it cannot be made so, or what came of it does not run or gives other outputs.
    """
    path = folder / MODEL
    assert spec.evaluation is not None
    x = spec.evaluation.x
    with float_faults.come_first(source.path, spec.name):
        decided = _write(source.path.resolve(), recipe, spec.name, path.resolve(), calibration)
        decided.write(folder / NOTES)
        first_run.require_sound(path, source.path, decided.excluded, spec.name, recipe)
        found = first_run.run_first(path, name, spec, x)
        samples = first_run.batch_of(spec, x, source.inputs_info)
        expected = source.run(first_run.first_of(spec, x, samples), samples)
        first_run.require_same_outputs(expected, found, spec.name, name, values=False)


def _write(source: Path, recipe: AnyRecipe, model: str, path: Path, calibration: Calibration | None) -> RecipeNotes:
    from pytest_onnxlite.variants import blocks, half, quantization

    if isinstance(recipe, Float16):
        return half.convert(source, recipe, model, path)

    def quantize(float_model: Path) -> RecipeNotes:
        if isinstance(recipe, WeightOnly):
            return blocks.quantize(float_model, recipe, model, path)
        return quantization.quantize(float_model, recipe, model, path, calibration)

    if not half.is_half(load_graph(source)):
        return quantize(source)
    with working_folder() as folder:
        wide = folder / source.name
        half.to_float32(source, wide)
        decided = quantize(wide)
    note = "the float model is in half precision: it was quantized from its values in float32"
    return msgspec.structs.replace(decided, notes=(*decided.notes, note))


def notes_of(path: Path) -> RecipeNotes:
    """Return what was decided about a variant that was made here; empty if nothing is known."""
    return RecipeNotes.read(path.with_name(NOTES))


def doing(recipe: AnyRecipe, model: str) -> str:
    """Say what is being done with a model, for a person who waits."""
    if isinstance(recipe, Float16):
        return f"converting {model} to half precision with {recipe_text(recipe)}"
    to = "weights in blocks" if isinstance(recipe, WeightOnly) else "INT8"
    return f"quantizing {model} to {to} with {recipe_text(recipe)}"
