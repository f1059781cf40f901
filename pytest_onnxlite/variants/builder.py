"""Builds the variants of one model, each once, through the cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.spec import Array, Dataset, ModelSpec, take
from pytest_onnxlite.variants import proof, trained
from pytest_onnxlite.variants.cache import Cache, hash_file, version_of
from pytest_onnxlite.variants.quiet import quiet
from pytest_onnxlite.variants.sessions import TensorInfo, fixed_batch
from pytest_onnxlite.variants.variant import OnnxVariant, Outputs, TrainedVariant, Variant, first_line

Progress = Callable[[str], None]

# Samples on which a new file is first run and compared.
_PROOF_SAMPLES = 32


class Builder:
    """The variants of one model.

    Args:
        spec: the model.
        cache: where built files are kept.
        progress: is told what begins, before each long step.
    """

    def __init__(self, spec: ModelSpec, cache: Cache, progress: Progress) -> None:
        self.spec = spec
        self._cache = cache
        self._progress = progress

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
        makers: dict[str, Callable[[], Variant]] = {
            "trained": lambda: self.trained,
            "onnx": lambda: self.onnx,
            "int8": lambda: self.int8,
        }
        return makers[kind]()

    def baseline_reference(self) -> Variant:
        """Return the variant that accuracy is compared with: the trained one, or the float ONNX where none is given."""
        return self.trained if self.spec.trained is not None else self.onnx

    def size_reference(self, kind: str) -> Variant | None:
        """Return the variant that a size is a ratio of: the one it was made from, where there is one."""
        if kind == "int8" and (self.spec.onnx is not None or self.spec.trained is not None):
            return self.onnx
        return self.trained if kind == "onnx" and self.spec.trained is not None else None

    def release(self) -> None:
        """Close the sessions of the variants built so far, so that nothing stands beside a measurement."""
        for kind in ("onnx", "int8"):
            if kind in self.__dict__:
                self.__dict__[kind].release()

    # -- the trained model -------------------------------------------------------------------------------

    @cached_property
    def _trained_id(self) -> str:
        return trained.identify(self.spec)

    @cached_property
    def _program(self) -> trained.Program:
        self._progress(f"loading the trained model of {self.spec.name}")
        return trained.load_program(self.spec)

    @cached_property
    def _trained_entry(self) -> Path:
        inputs = {
            "model": self._trained_id,
            "data": self.evaluation.sha256,
            "tools": {name: version_of(name) for name in ("tensorflow", "keras", "numpy")},
        }
        return self._cache.entry("trained", inputs, self._build_trained)

    def _build_trained(self, folder: Path) -> None:
        program = self._program
        (folder / "inputs.json").write_text(json.dumps([[i.name, i.dtype, list(i.shape)] for i in program.inputs]))
        path = self.spec.trained
        if trained.is_in_memory(path):
            path = folder / "model.keras"
            with quiet():
                self.spec.trained.save(path)
        self._progress(f"running the trained model of {self.spec.name} on {len(self.evaluation)} samples")
        variant = TrainedVariant(self.spec.name, path, program.inputs, lambda: program)
        np.savez(folder / "outputs.npz", **variant.run(self.evaluation.x))  # type: ignore[arg-type]

    @cached_property
    def trained(self) -> TrainedVariant:
        """The trained variant; a warm cache has its inputs and its outputs, without loading TensorFlow."""
        if self.spec.trained is None:
            raise OnnxliteError(
                f"ModelSpec({self.spec.name!r}) gives no trained model, which onnxlite_trained needs. Give trained=, "
                "or judge onnxlite_onnx or onnxlite_int8."
            )
        entry = self._trained_entry
        infos = tuple(
            TensorInfo(name, dtype, tuple(shape))
            for name, dtype, shape in json.loads((entry / "inputs.json").read_text())
        )
        path = entry / "model.keras" if trained.is_in_memory(self.spec.trained) else self.spec.trained
        return TrainedVariant(self.spec.name, path, infos, lambda: self._program)

    def outputs(self, variant: Variant, batch_size: int) -> Outputs:
        """Return a variant's outputs for the evaluation data, at the batch size given.

        A trained variant's come from the cache: they do not depend on how the samples are split.
        """
        if variant.kind != "trained":
            return variant.run(self.evaluation.x, batch_size)
        with np.load(self._trained_entry / "outputs.npz", allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

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
        inputs = {
            "model": self._trained_id,
            "tools": {name: version_of(name) for name in ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime")},
        }
        _ = self.trained  # its data is checked against its inputs before anything is converted
        entry = self._cache.entry("onnx", inputs, self._build_onnx)
        return self._open("onnx", entry / "model.onnx")

    def _build_onnx(self, folder: Path) -> None:
        from pytest_onnxlite.variants import conversion

        program = self._program
        self._progress(f"converting {self.spec.name} to ONNX")
        path = folder / "model.onnx"
        conversion.convert(program, self.spec.name, path)
        expected = take(self.outputs(self.trained, self.spec.batch_size), slice(_PROOF_SAMPLES))
        assert isinstance(expected, dict)
        found = self._first_run(path, "onnx")
        proof.require_same_outputs(expected, found, self.spec.name, "onnx", values=True)

    @cached_property
    def int8(self) -> OnnxVariant:
        """The INT8 variant: the file given, or quantized from the float ONNX by the spec's recipe."""
        if self.spec.int8 is not None:
            return self._given("int8", Path(self.spec.int8))
        source = self.onnx
        recipe = self.spec.recipe
        inputs = {
            "model": hash_file(source.path),
            "recipe": [recipe.weight_type, recipe.per_channel, list(recipe.exclude)],
            "tools": {name: version_of(name) for name in ("onnx", "onnxruntime", "sympy")},
        }
        entry = self._cache.entry("int8", inputs, lambda folder: self._build_int8(source, folder))
        return self._open("int8", entry / "model.onnx")

    def _build_int8(self, source: OnnxVariant, folder: Path) -> None:
        from pytest_onnxlite.variants import quantization

        self._progress(f"quantizing {self.spec.name} to INT8")
        path = folder / "model.onnx"
        decided = quantization.quantize_dynamic(source.path, self.spec.recipe, self.spec.name, path)
        (folder / "recipe.json").write_text(json.dumps(decided, indent=1, sort_keys=True))
        found = self._first_run(path, "int8")
        samples = fixed_batch(source.inputs_info) or _PROOF_SAMPLES
        expected = source.run(take(self.evaluation.x, slice(samples)), samples)
        proof.require_same_outputs(expected, found, self.spec.name, "int8", values=False)

    @cached_property
    def recipe_notes(self) -> dict[str, Any]:
        """What the quantizer decided: weight type, excluded nodes; empty for an INT8 file of the user's."""
        notes = self.int8.path.with_name("recipe.json")
        if self.spec.int8 is not None or not notes.exists():
            return {}
        decided: dict[str, Any] = json.loads(notes.read_text())
        return decided

    def excluded(self, kind: str) -> list[str]:
        """Return the nodes of a variant that stay float on purpose."""
        return list(self.recipe_notes.get("excluded", ())) if kind == "int8" else []

    def _given(self, kind: str, path: Path) -> OnnxVariant:
        if path.suffix in (".keras", ".h5", ".hdf5"):
            raise OnnxliteError(
                f"ModelSpec({self.spec.name!r}): {kind}={str(path)!r} is a trained Keras model; give it as trained=."
            )
        inputs = {
            "model": hash_file(path),
            "data": self.evaluation.sha256,
            "onnxruntime": version_of("onnxruntime"),
        }

        def check(folder: Path) -> None:
            self._progress(f"running {path.name} for the first time")
            self._first_run(path, kind)
            (folder / "proved").write_text(f"{path.name} was loaded and run\n")

        self._cache.entry(f"proof-{kind}", inputs, check)
        return self._open(kind, path)

    def _first_run(self, path: Path, kind: str) -> Outputs:
        feeds = self._proof_feeds(path, kind)
        return proof.prove(path, self.spec.name, kind, feeds, self.spec.threads)

    def _proof_feeds(self, path: Path, kind: str) -> dict[str, Array]:
        """Name and cast the first samples for a file that is not yet believed: no session is opened."""
        import onnx

        from pytest_onnxlite.variants.sessions import to_feeds

        try:
            graph = onnx.load(path, load_external_data=False).graph
        except Exception as error:
            raise OnnxliteError(
                f"{self.spec.name} {kind}: {path} ({path.stat().st_size} bytes) is not an ONNX model: "
                f"{first_line(error)}. It is truncated, a Git LFS pointer that was not fetched, or no model."
            ) from None
        stored = {tensor.name for tensor in graph.initializer}
        infos = tuple(_info(value) for value in graph.input if value.name not in stored)
        try:
            return to_feeds(take(self.evaluation.x, slice(fixed_batch(infos) or _PROOF_SAMPLES)), infos)
        except ValueError as error:
            raise OnnxliteError(f"{self.spec.name} {kind}: evaluation data and model do not fit: {error}.") from None

    def _open(self, kind: str, path: Path) -> OnnxVariant:
        return OnnxVariant(self.spec.name, kind, path, threads=self.spec.threads)


def _info(value: Any) -> TensorInfo:
    import onnx

    tensor = value.type.tensor_type
    dims = tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim)
    return TensorInfo(value.name, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, dims)
