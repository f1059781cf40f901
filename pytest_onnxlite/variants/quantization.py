"""From float ONNX to INT8, by ONNX Runtime's quantizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint.protobuf import graphs, is_quantized, load_graph
from pytest_onnxlite.runtime.sessions import TensorInfo, fixed_batch, one_run, session_options, to_feeds
from pytest_onnxlite.spec.dataset import Array, Inputs, count_samples, hash_inputs, take
from pytest_onnxlite.spec.recipes import (
    DynamicInt8,
    Recipe,
    StaticInt8,
    Weights,
    choose_recipe,
    choose_weights,
    recipe_text,
)
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.text import counted
from pytest_onnxlite.variants import preparation, refusals, tying
from pytest_onnxlite.variants.cache import hash_file
from pytest_onnxlite.variants.notes import RecipeNotes
from pytest_onnxlite.variants.reproducible import drop_unused_opsets
from pytest_onnxlite.variants.silence import silence
from pytest_onnxlite.workspace import libraries_folder

# Weights and zero points that the quantizer writes as int8 whatever type it is asked for (seen with ONNX Runtime 1.32).
_ALWAYS_INT8 = {"DynamicQuantizeLSTM": (1, 9, 2, 11), "QLinearConv": (3, 5)}


@dataclass(frozen=True)
class Calibration:
    """What a static recipe calibrates with.

    Attributes:
        samples: the samples.
        infos: the inputs that they are for.
        batched: whether these have a batch dimension.
        libraries: files of custom operators, without which the model does not run.
    """

    samples: Inputs
    infos: tuple[TensorInfo, ...]
    batched: bool = True
    libraries: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What a cached model that was calibrated so depends on."""
        libraries = [hash_file(Path(library)) for library in self.libraries]
        return " ".join([hash_inputs(self.samples), *libraries])


@contextmanager
def _calibrating_with(libraries: Sequence[str]) -> Iterator[None]:
    """Let the quantizer's own sessions load libraries of custom operators, for which it has no argument."""
    if not libraries:
        yield
        return
    import onnxruntime
    from onnxruntime.quantization.calibrate import CalibraterBase

    def open_with_libraries(calibrater: Any) -> None:
        options = session_options(Runtime(optimization="none", custom_ops=libraries))
        calibrater.infer_session = onnxruntime.InferenceSession(
            calibrater.augmented_model_path, options, providers=calibrater.execution_providers
        )

    usual = CalibraterBase.create_inference_session
    CalibraterBase.create_inference_session = open_with_libraries
    try:
        yield
    finally:
        CalibraterBase.create_inference_session = usual


def _operators(proto: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for graph in graphs(proto.graph) for node in graph.node)


def decide(source: Path, recipe: Recipe | None, calibrated: bool) -> tuple[Recipe, str]:
    """Return the recipe to use, and why where the user named none."""
    if recipe is not None:
        return recipe, ""
    return choose_recipe({node.op_type for node in load_graph(source).graph.node}, calibrated)


def quantize(
    source: Path, recipe: Recipe, model: str, target: Path, calibration: Calibration | None = None
) -> RecipeNotes:
    """Write the quantized model.

    Args:
        source: the float ONNX file.
        recipe: how.
        model: the model's name, for messages.
        target: the file to write.
        calibration: what a static recipe calibrates with.

    Returns:
        What was decided: recipe, weight type, weights in words, the excluded nodes, and what preparation had to go without.

    Raises:
        OnnxliteError: no calibration data for a static recipe, an exclusion that matches nothing, or the quantizer fails.
    """
    source, target = source.resolve(), target.resolve()
    before = load_graph(source)
    left_out = _require_runs(calibration, source.name, model, recipe) if isinstance(recipe, StaticInt8) else ""
    with libraries_folder() as folder, silence():
        libraries = calibration.libraries if calibration is not None else ()
        prepared, large, notes = preparation.prepare_all(source, before, folder, model, libraries)
        if isinstance(recipe, StaticInt8):
            notes += preparation.raise_opset(prepared, model)
            proto = onnx.load(prepared, load_external_data=False)
            notes += preparation.subgraph_notes(proto)
        else:
            proto = preparation.split_gemms(prepared, large)
        excluded = refusals.match_exclusions(proto, recipe.exclude, "exclude", model, before)
        if isinstance(recipe, StaticInt8):
            _untie(recipe, proto, prepared)
        weights = choose_weights(recipe, _operators(proto))
        try:
            if isinstance(recipe, DynamicInt8):
                _quantize_dynamic(prepared, target, recipe, weights, excluded, large)
            elif calibration is not None:
                kept = [*excluded, *preparation.clipped_for_branches(proto)]
                with _calibrating_with(calibration.libraries):
                    _quantize_static(prepared, target, recipe, weights, kept, calibration, large)
        except OnnxliteError:
            raise
        except Exception as error:
            raise refusals.cannot_quantize(error, proto, source.name, recipe, model) from None
    quantized = onnx.load(target, load_external_data=False)
    if isinstance(recipe, StaticInt8):
        refusals.refuse_infinite(proto, quantized, model, before, source)
    notes += [*tying.share(quantized, proto), *([left_out] if left_out else [])]
    if weights.type == "uint8":
        _store_unsigned(quantized, target.parent)
    _finish(before, source.name, quantized, target, excluded, model, isinstance(recipe, StaticInt8))
    return RecipeNotes(
        recipe=recipe_text(recipe),
        weight_type=weights.type,
        weights=str(weights),
        excluded=tuple(excluded),
        notes=tuple(notes),
    )


def _untie(recipe: StaticInt8, proto: onnx.ModelProto, prepared: Path) -> None:
    """Give what shares a weight or a bias its own, where it will have a scale of its own."""
    spread = recipe.per_channel and preparation.spread_biases(proto)
    if tying.untie(proto) or spread:
        onnx.save(proto, prepared)


def _quant_type(name: str) -> Any:
    from onnxruntime.quantization import QuantType

    return QuantType.QUInt8 if name == "uint8" else QuantType.QInt8


def _quantize_dynamic(
    prepared: Path, target: Path, recipe: DynamicInt8, weights: Weights, excluded: list[str], large: bool
) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(
        prepared,
        target,
        weight_type=_quant_type(weights.type),
        per_channel=recipe.per_channel,
        reduce_range=weights.reduced,
        nodes_to_exclude=excluded,
        use_external_data_format=large,
        extra_options={"EnableSubgraph": True},
    )


def _quantize_static(
    prepared: Path,
    target: Path,
    recipe: StaticInt8,
    weights: Weights,
    excluded: list[str],
    calibration: Calibration,
    large: bool,
) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, quantize_static

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
        "distribution": CalibrationMethod.Distribution,
    }
    quantize_static(
        prepared,
        target,
        _Reader(calibration),
        quant_format=QuantFormat.QDQ if recipe.format == "qdq" else QuantFormat.QOperator,
        per_channel=recipe.per_channel,
        reduce_range=weights.reduced,
        activation_type=_quant_type(recipe.activation_type),
        weight_type=_quant_type(weights.type),
        nodes_to_exclude=excluded,
        use_external_data_format=large,
        calibrate_method=methods[recipe.method],
        extra_options={
            # One run at a time: without strides every intermediate output of every sample is kept (onnxruntime#11020).
            "CalibStridedMinMax": 1,
            # Its ranges reach as far below zero as above. Unless told so, the quantizer takes a Relu for done by a range
            # that starts at zero, and drops it (seen with ONNX Runtime 1.32).
            "ActivationSymmetric": recipe.method == "distribution",
        },
    )


def _store_unsigned(proto: onnx.ModelProto, folder: Path) -> None:
    """Store as uint8 what the quantizer wrote as int8: with 128 added to weights and zero points, no product changes."""
    for graph in graphs(proto.graph):
        places = ((node, place) for node in graph.node for place in _ALWAYS_INT8.get(node.op_type, ()))
        names = {node.input[place] for node, place in places}
        for tensor in graph.initializer:
            if tensor.name in names and tensor.data_type == onnx.TensorProto.INT8:
                _add_128(tensor, folder)


def _add_128(tensor: onnx.TensorProto, folder: Path) -> None:
    values = (onnx.numpy_helper.to_array(tensor, str(folder)).astype(np.int16) + 128).astype(np.uint8)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        # As many bytes, in their place: what else lies in the file stays where it is.
        entry = onnx.external_data_helper.ExternalDataInfo(tensor)
        with (folder / entry.location).open("r+b") as file:
            file.seek(entry.offset or 0)
            file.write(values.tobytes())
        tensor.data_type = onnx.TensorProto.UINT8
        # onnx 1.17 leaves there what it read, and would write it back as the model is saved.
        tensor.ClearField("raw_data")
    else:
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _require_runs(calibration: Calibration | None, name: str, model: str, recipe: StaticInt8) -> str:
    """Return a note of the samples that fill no batch of a model that takes one batch size alone; empty where all are used.

    Raises:
        OnnxliteError: there are none, or too few for a single run.
    """
    if calibration is None:
        raise refusals.uncalibrated(recipe, model)
    reader, samples = _Reader(calibration), count_samples(calibration.samples)
    if not len(reader):
        raise OnnxliteError(
            f"{model}: {name} takes batches of {reader.step} only, and calibration= has {counted(samples, 'sample')}: too few to run "
            f"it once. Give calibration= {reader.step} samples or a multiple of that, or export the model with a dynamic first dim."
        )
    left = samples - len(reader) * reader.step
    return (
        f"{left} of {samples} calibration samples are left out: {name} takes batches of {reader.step} only, and they fill none"
        if left
        else ""
    )


class _Reader:
    """Hands calibration samples to ONNX Runtime, one at a time or in the batch that the model was frozen at."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self.step = fixed_batch(calibration.infos) or 1 if calibration.batched else 1
        self._range = range(len(self))

    def __len__(self) -> int:
        """Count the runs; samples that do not fill a frozen batch are left out."""
        return count_samples(self._calibration.samples) // self.step

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go to some of the runs."""
        self._range = range(start_index, min(end_index, len(self)))

    def get_next(self) -> dict[str, Array] | None:
        """Return what the next run is fed with, None after the last."""
        if not self._range:
            return None
        start, self._range = self._range[0] * self.step, self._range[1:]
        given = self._calibration
        batch = take(given.samples, slice(start, start + self.step))
        return one_run(to_feeds(batch, given.infos, given.batched), given.batched)


def _finish(
    before: onnx.ModelProto,
    name: str,
    proto: onnx.ModelProto,
    target: Path,
    excluded: list[str],
    model: str,
    static: bool,
) -> None:
    """Keep the source's metadata, drop opset imports that were added, refuse what was not done as asked."""
    if not is_quantized(proto):
        inside = preparation.weighted_inside(before) if static else 0
        if inside:
            raise OnnxliteError(
                f"{model}: quantization changed nothing: the {inside} layers of {name} that have weights lie in branches or "
                "loop bodies, which static quantization leaves in float. Use recipe=DynamicInt8(), which reaches them."
            )
        raise OnnxliteError(
            f"{model}: quantization changed nothing: {name} has no MatMul, Gemm or Conv with weights that was "
            "not excluded. A model like this has no INT8 variant to guard; judge onnxlite_onnx instead."
        )
    lost = set(excluded) - {node.name for graph in graphs(proto.graph) for node in graph.node}
    if lost:
        raise OnnxliteError(
            f"{model}: ONNX Runtime quantized what was excluded: {', '.join(sorted(lost))}. Exclude it by another "
            "name, or give an INT8 file of your own as ModelSpec(int8=...)."
        )
    restore(before, proto)
    onnx.save(_sorted(proto), target)


def restore(before: onnx.ModelProto, proto: onnx.ModelProto) -> None:
    """Give a quantized model what the float file says of itself, and take from it what preparation wrote."""
    drop_unused_opsets(proto)
    # Preparation writes what it infers; callers know the outputs by what the float file declares.
    declared = {value.name: value for value in before.graph.output}
    for value in proto.graph.output:
        if value.name in declared:
            value.type.CopyFrom(declared[value.name].type)
    if not proto.metadata_props:
        proto.metadata_props.extend(before.metadata_props)
    proto.doc_string = before.doc_string
    proto.graph.doc_string = before.graph.doc_string


def _sorted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Put nodes behind what they read; the quantizer forgets what branches and loop bodies read from outside."""
    if not any(attribute.HasField("g") for node in proto.graph.node for attribute in node.attribute):
        return proto
    model = ir.from_proto(proto)
    model.graph.sort()
    return ir.to_proto(model)
