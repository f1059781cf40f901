"""Builds the variants of one model, each once, through the cache."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cached_property
from pathlib import Path

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.kinds import KINDS, LITERT, Kind
from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.runtime.sessions import one_run, to_feeds
from pytest_onnxlite.spec.dataset import Dataset, Inputs, hash_inputs, take
from pytest_onnxlite.spec.model import ModelSpec
from pytest_onnxlite.spec.recipes import AnyRecipe, OtherRuntime, Recipe, recipe_key
from pytest_onnxlite.text import unknown
from pytest_onnxlite.variants import called, first_run, making, trained
from pytest_onnxlite.variants.cache import Cache, version_of
from pytest_onnxlite.variants.code import Unhashable
from pytest_onnxlite.variants.external import hash_model
from pytest_onnxlite.variants.litert import TfliteVariant
from pytest_onnxlite.variants.notes import RecipeNotes
from pytest_onnxlite.variants.shared import SharedOutputs
from pytest_onnxlite.variants.silence import silence
from pytest_onnxlite.variants.stateful import open_onnx
from pytest_onnxlite.variants.trained import TrainedVariant
from pytest_onnxlite.variants.variant import OnnxVariant, Outputs, RuntimeVariant, Variant
from pytest_onnxlite.workspace import own_folder

Progress = Callable[[str], None]


class Builder:
    """The variants of one model.

    Args:
        spec: the model.
        cache: where built files are kept.
        progress: is told what begins, before each long step.
        kinds: the kinds of variant there are.
    """

    def __init__(self, spec: ModelSpec, cache: Cache, progress: Progress, kinds: Mapping[str, Kind] = KINDS) -> None:
        self.spec = spec
        self._kinds = kinds
        taken = next((name for name in spec.variants if name.lower() in kinds), "")
        if taken:
            raise OnnxliteError(
                f"ModelSpec({spec.name!r}): a variant is called {taken!r}, which is the name of a kind; choose another."
            )
        self.shared = SharedOutputs()
        self._own: dict[str, RuntimeVariant] = {}
        self._named: dict[str, Kind] = {}
        self._folders: list[tempfile.TemporaryDirectory[str]] = []
        self._cache = cache
        self._progress = progress
        self.not_cached = ""  # why, where what the trained model depends on cannot be told

    def with_recipe(self, recipe: AnyRecipe, folder: Path, calibration: Inputs | None = None) -> Builder:
        """Return a builder of the same model for what another recipe makes; an INT8 variant is quantized by it.

        Args:
            recipe: how.
            folder: a cache of its own for what is tried and not kept.
            calibration: other samples to calibrate with; None for the spec's.
        """
        samples = self.spec.calibration if calibration is None else calibration
        own = recipe if isinstance(recipe, Recipe) else self.spec.recipe
        spec = dataclasses.replace(self.spec, recipe=own, int8=None, calibration=samples)
        other = Builder(spec, Cache(folder), self._progress, self._kinds)
        _ = self.onnx
        # What does not depend on the recipe is shared.
        shared = {"_trained_id", "_program", "_trained_entry", "trained", "_trained_outputs", "onnx"}
        other.__dict__.update({name: value for name, value in self.__dict__.items() if name in shared})
        return other

    @property
    def evaluation(self) -> Dataset:
        """The samples that the variants are run on.

        Raises:
            OnnxliteError: the spec has none.
        """
        if self.spec.evaluation is None:
            raise OnnxliteError(
                f"ModelSpec({self.spec.name!r}) has no evaluation data, on which every variant is run. "
                "Give evaluation=Dataset(x, y)."
            )
        return self.spec.evaluation

    def variant(self, kind: str) -> Variant:
        """Return the variant of a kind.

        Raises:
            OnnxliteError: it cannot be built; the text says which piece is missing or wrong.
        """
        row = self.kind(kind)
        if row.build is None and kind not in self.spec.variants:
            ours: Variant = getattr(self, kind)
            return ours
        if kind not in self._own:
            self._own[kind] = self._build_own(row) if row.build is not None else self._build_named(row)
        return self._own[kind]

    def kind(self, name: str) -> Kind:
        """Return what is known about a kind, or about a variant that the spec gives a name to.

        Raises:
            OnnxliteError: there is no such variant.
        """
        if name not in self._kinds and name not in self.spec.variants:
            names = unknown("variant", name, [*self.spec.variants, *self._kinds], "There are")
            raise OnnxliteError(f"ModelSpec({self.spec.name!r}): {names} Variants with names stand in variants=.")
        if name not in self._kinds and name not in self._named:
            self._named[name] = making.kind_of(name, self.spec.made[name], self.kind)
        return self._kinds.get(name) or self._named[name]

    def _build_named(self, kind: Kind) -> RuntimeVariant:
        made = self.spec.made[kind.name]
        making.require_read(kind, made, self.spec.name)
        source = made.of if isinstance(made, OtherRuntime) else made
        if not isinstance(source, (str, Path)):
            return self.made_by(source, kind.name)
        path = source if isinstance(source, Path) else self.variant(source).path
        if kind.runtime == LITERT:
            return self._given_tflite(kind.name, path)
        return self._given(kind.name, path) if isinstance(source, Path) else self._open(kind.name, path)

    def _build_own(self, kind: Kind) -> RuntimeVariant:
        """Build a variant of a project's own kind; not cached, since nobody can tell what its code depends on."""
        assert kind.build is not None
        self._progress(f"building {self.spec.name} {kind.name}")
        path = kind.build(self, self._new_folder())
        if kind.runtime == LITERT:
            return self._given_tflite(kind.name, path)
        first_run.run_first(path, kind.name, self.spec, self.evaluation.x)
        return self._open(kind.name, path)

    def _new_folder(self) -> Path:
        self._folders.append(tempfile.TemporaryDirectory(dir=own_folder(), ignore_cleanup_errors=True))
        return Path(self._folders[-1].name)

    def accuracy_reference(self) -> Variant | None:
        """Return the variant that accuracy is compared with: the trained one, else the float ONNX, if there is one."""
        if self.spec.trained is not None:
            return self.trained
        return self.onnx if self.spec.onnx is not None else None

    def made_from(self, kind: str) -> Variant | None:
        """Return the variant that another was made from, if there is one: what its size and time are ratios of."""
        source = self.kind(kind).made_from
        return self.variant(source) if source and self._is_there(source) else None

    def _is_there(self, kind: str) -> bool:
        """Tell whether the spec gives a kind, or what it is made from."""
        if kind == "trained":
            return self.spec.trained is not None and not called.is_foreign(self.spec.trained)
        return getattr(self.spec, kind, None) is not None or self._is_there(self.kind(kind).made_from)

    def release(self) -> None:
        """Close the sessions of the variants built so far, so that nothing of them runs next to a measurement."""
        built = [self.__dict__[kind] for kind in self._kinds if kind in self.__dict__]
        for variant in (*built, *self._own.values()):
            if isinstance(variant, RuntimeVariant):
                variant.release()

    # -- the trained model -------------------------------------------------------------------------------

    @cached_property
    def _trained_id(self) -> str:
        try:
            return trained.identify(self.spec)
        except Unhashable as error:
            self.not_cached = str(error)
            self._cache = Cache(self._new_folder())
            return "not cached"

    @cached_property
    def _program(self) -> trained.Program:
        self._progress(f"loading the trained model of {self.spec.name}")
        return trained.load_program(self.spec)

    @cached_property
    def _trained_entry(self) -> Path:
        inputs = {
            "model": self._trained_id,
            "data": self.evaluation.inputs_sha256,
            "tools": {name: version_of(name) for name in ("tensorflow", "keras", "numpy")},
        }
        return self._cache.entry("trained", inputs, self._build_trained, ["inputs.json", "outputs.npz"])

    def _build_trained(self, folder: Path) -> None:
        program = self._program
        (folder / "inputs.json").write_text(json.dumps([[i.name, i.dtype, list(i.shape)] for i in program.inputs]))
        path = self.spec.trained
        if called.is_in_memory(path):
            path = folder / "model.keras"
            with silence():
                self.spec.trained.save(path)
        self._progress(f"running the trained model of {self.spec.name} on {len(self.evaluation)} samples")
        variant = TrainedVariant(self.spec.name, path, program.inputs, lambda: program)
        arrays.save(folder / "outputs.npz", variant.run(self.evaluation.x))

    @cached_property
    def trained(self) -> TrainedVariant:
        """The trained variant; a warm cache has its inputs and its outputs, without loading TensorFlow."""
        if called.is_foreign(self.spec.trained):
            infos, run = called.load_foreign(self.spec, self.evaluation.x, self._onnx_output_names)
            return TrainedVariant(self.spec.name, None, infos, lambda: run, batched=self.spec.batched)
        if self.spec.trained is None:
            raise OnnxliteError(
                f"ModelSpec({self.spec.name!r}) gives no trained model, which onnxlite_trained needs. Give trained=, "
                "or judge onnxlite_onnx or onnxlite_int8."
            )
        entry = self._trained_entry
        path = entry / "model.keras" if called.is_in_memory(self.spec.trained) else self.spec.trained
        return TrainedVariant(self.spec.name, path, trained.read_inputs(entry), lambda: self._program)

    def _onnx_output_names(self) -> list[str]:
        return [info.name for info in self.onnx.outputs_info] if self.spec.onnx is not None else []

    def outputs(self, variant: Variant, batch_size: int) -> Outputs:
        """Return a variant's outputs for the evaluation data, at the batch size given.

        A trained variant's come from the cache: they do not depend on how the samples are split.
        """
        if variant.kind != "trained":
            return self.shared.run(variant, self.evaluation, batch_size)
        return deepcopy(self._trained_outputs)

    @cached_property
    def _trained_outputs(self) -> Outputs:
        if called.is_foreign(self.spec.trained):
            self._progress(f"running the trained model of {self.spec.name} on {len(self.evaluation)} samples")
            return self.trained.run(self.evaluation.x)
        return arrays.load(self._trained_entry / "outputs.npz")

    # -- ONNX --------------------------------------------------------------------------------------------

    @cached_property
    def onnx(self) -> OnnxVariant:
        """The float ONNX variant: the file given, or converted from the trained model."""
        if self.spec.onnx is not None:
            return self._given("onnx", Path(self.spec.onnx))
        if self.spec.trained is None:
            raise OnnxliteError(
                f"ModelSpec({self.spec.name!r}) has no float ONNX variant: give onnx=, or trained= to convert."
            )
        called.require_convertible(self.spec, "ONNX")
        tools = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime")
        inputs = {"model": self._trained_id, "tools": {name: version_of(name) for name in tools}}
        _ = self.trained  # its data is checked against its inputs before anything is converted
        entry = self._cache.entry("onnx", inputs, self._build_onnx, ["model.onnx"])
        return self._open("onnx", entry / "model.onnx")

    def _build_onnx(self, folder: Path) -> None:
        from pytest_onnxlite.variants import conversion

        program = self._program
        self._progress(f"converting {self.spec.name} to ONNX")
        path = folder / "model.onnx"
        conversion.convert(program, self.spec.name, path)
        first = slice(first_run.batch_of(self.spec, self.evaluation.x, program.inputs))
        expected = take(self.outputs(self.trained, self.spec.batch_size), first)
        assert isinstance(expected, dict)
        found = first_run.run_first(path, "onnx", self.spec, self.evaluation.x)
        first_run.require_same_outputs(expected, found, self.spec.name, "onnx", values=True)

    @cached_property
    def recipe(self) -> tuple[Recipe, str]:
        """How the INT8 variant is quantized, and why where the user did not say."""
        from pytest_onnxlite.variants import quantization

        return quantization.decide(self.onnx.path, self.spec.recipe, self.spec.calibration is not None)

    @cached_property
    def int8(self) -> OnnxVariant:
        """The INT8 variant: the file given, or quantized from the float ONNX by the spec's recipe."""
        if self.spec.int8 is not None:
            return self._given("int8", Path(self.spec.int8))
        recipe, _ = self.recipe
        return self.made_by(recipe, "int8")

    def made_by(self, recipe: AnyRecipe, kind: str) -> OnnxVariant:
        """Return a variant that a recipe makes; see `quantized`."""
        return self._open(kind, self.quantized(recipe, kind) / making.MODEL)

    def recipe_of(self, kind: str) -> AnyRecipe | None:
        """Return the recipe that a variant is made by here; None for one that none makes."""
        if kind == "int8" and self.spec.int8 is None:
            return self.recipe[0]
        made = self.spec.made.get(kind)
        if isinstance(made, OtherRuntime):
            return self.recipe_of(made.of) if isinstance(made.of, str) else None
        return None if isinstance(made, Path) else made

    def quantized(self, recipe: AnyRecipe, kind: str = "int8") -> Path:
        """Return the cache entry of the model made by a recipe: `model.onnx`, and `recipe.json` with what was decided.

        Raises:
            OnnxliteError: it cannot be quantized so, or what came of it does not run or gives other outputs.
        """
        source = self.onnx
        calibration = making.calibration_of(self.spec, recipe, source)
        inputs = {
            "model": hash_model(source.path),
            "recipe": recipe_key(recipe),
            "calibration": None if calibration is None else calibration.key,
            "tools": {name: version_of(name) for name in ("onnx", "onnxruntime", "sympy")},
        }

        def build(folder: Path) -> None:
            self._progress(making.doing(recipe, self.spec.name))
            making.make(source, recipe, self.spec, kind, calibration, folder)

        return self._cache.entry("int8", inputs, build, [making.MODEL, making.NOTES])

    # -- TFLite ------------------------------------------------------------------------------------------

    @cached_property
    def tflite(self) -> TfliteVariant:
        """The float TFLite variant, converted from the trained model."""
        return self._tflite("tflite", None)

    @cached_property
    def tflite_int8(self) -> TfliteVariant:
        """The INT8 TFLite variant: integers in and out where calibration data is given, else integer weights alone."""
        return self._tflite("tflite_int8", self.spec.calibration)

    def _tflite(self, kind: str, calibration: Inputs | None) -> TfliteVariant:
        if self.spec.trained is None:
            raise OnnxliteError(
                f"ModelSpec({self.spec.name!r}) gives no trained Keras model, from which the {kind} variant is converted. "
                "Give trained=, or judge onnxlite_onnx or onnxlite_int8."
            )
        called.require_convertible(self.spec, "TFLite")
        _ = self.trained
        inputs = {
            "model": self._trained_id,
            "quantized": kind == "tflite_int8",
            "calibration": None if calibration is None else hash_inputs(calibration),
            "tools": {name: version_of(name) for name in ("tensorflow", "keras", "ai-edge-litert")},
        }

        def build(folder: Path) -> None:
            from pytest_onnxlite.variants import tflite

            self._progress(f"converting {self.spec.name} to TFLite{' INT8' if kind == 'tflite_int8' else ''}")
            path = folder / "model.tflite"
            tflite.convert(self._program, self.spec.name, path, kind == "tflite_int8", calibration)
            samples = take(self.evaluation.x, slice(first_run.SAMPLES))
            feeds = one_run(to_feeds(samples, self._program.inputs))
            found = first_run.run_once(path, self.spec.name, kind, feeds, self.spec.runtime)
            expected = take(self.outputs(self.trained, 1), slice(first_run.SAMPLES))
            assert isinstance(expected, dict)
            first_run.require_same_outputs(expected, found, self.spec.name, kind, values=kind == "tflite")

        entry = self._cache.entry("tflite", inputs, build, ["model.tflite"])
        return TfliteVariant(self.spec.name, kind, entry / "model.tflite", self.spec.runtime)

    # -- files of the user's -----------------------------------------------------------------------------

    def notes_of(self, kind: str) -> RecipeNotes:
        """Return what its recipe decided about a variant: weights, excluded nodes; empty for one that no recipe made."""
        return making.notes_of(self.variant(kind).path) if self.recipe_of(kind) is not None else RecipeNotes()

    def recipe_text(self, kind: str) -> str:
        """Say how a variant was made here, why if the user did not say, and whether it could not be cached."""
        uncached = [f"built anew in each run: {self.not_cached}"] if self.not_cached else []
        if (kind not in self.__dict__ and kind not in self._own) or self.recipe_of(kind) is None:
            return "".join(uncached)
        why = self.recipe[1] if kind == "int8" else ""
        notes = self.notes_of(kind)
        text = f"{notes.recipe}, {notes.weights}"
        return "; ".join([f"{text}: {why}" if why else text, *notes.notes, *uncached])

    def excluded(self, kind: str) -> list[str]:
        """Return the nodes of a variant that stay float on purpose."""
        return list(self.notes_of(kind).excluded)

    def _given(self, kind: str, path: Path) -> OnnxVariant:
        first_run.require_no_keras(path, kind, self.spec.name)
        first_run.accept(path, kind, self.spec, self.evaluation, self._cache, self._progress)
        return self._open(kind, path, has_run=True)

    def _given_tflite(self, kind: str, path: Path) -> TfliteVariant:
        variant = TfliteVariant(self.spec.name, kind, path, self.spec.runtime_of(kind))
        first_run.accept_tflite(variant, self.spec, self.evaluation)
        return variant

    def _open(self, kind: str, path: Path, has_run: bool = False) -> OnnxVariant:
        if not has_run:  # with this runtime: what is built is kept for every runtime
            first_run.run_with_runtime(path, kind, self.spec, self.evaluation.x, self._cache)
        return open_onnx(self.spec, kind, path)
