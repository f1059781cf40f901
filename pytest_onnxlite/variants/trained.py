"""Loading trained models: a `.keras` or `.h5` file, a SavedModel folder, or a `keras.Model` in memory."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.spec import Array, ModelSpec
from pytest_onnxlite.variants.cache import hash_tree
from pytest_onnxlite.variants.quiet import quiet
from pytest_onnxlite.variants.sessions import TensorInfo
from pytest_onnxlite.variants.variant import Outputs, first_line


@dataclass(frozen=True)
class Program:
    """A trained model as one function in inference mode.

    Attributes:
        inputs: what it is fed, in order.
        outputs: the names of what it gives back, in order.
        function: a `tf.function` from tensors, in that order, to a dict of tensors by output name.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[str, ...]
    function: Any
    specs: tuple[Any, ...]
    owner: Any  # keeps the variables of a SavedModel alive

    def __call__(self, arrays: list[Array]) -> Outputs:
        """Run one batch."""
        # TensorFlow sorts what it returns by name.
        found = self.function(*arrays)
        return {name: found[name].numpy() for name in self.outputs}


def import_tensorflow() -> Any:
    """Import TensorFlow quietly.

    Raises:
        OnnxliteError: it is not installed, or its import fails.
    """
    try:
        with quiet():
            import tensorflow
    except ImportError as error:
        raise OnnxliteError(
            f"a trained Keras model needs TensorFlow, which cannot be imported here: {error}. "
            'Install it with: pip install "pytest-onnxlite[tensorflow]"'
        ) from None
    return tensorflow


def is_in_memory(trained: Any) -> bool:
    """Tell a model object from a path."""
    return not isinstance(trained, Path)


def identify(spec: ModelSpec) -> str:
    """Return a hash of the trained model's content: its files, or its configuration and weights.

    Raises:
        OnnxliteError: it is neither a path nor a `keras.Model`, or cannot be read.
    """
    trained = spec.trained
    if not is_in_memory(trained):
        try:
            return hash_tree(trained)
        except OSError as error:
            raise OnnxliteError(f"{spec.name}: {trained} cannot be read: {error.strerror}.") from None
    if not all(hasattr(trained, name) for name in ("get_weights", "to_json")):
        raise OnnxliteError(
            f"ModelSpec({spec.name!r}): trained= is a {type(trained).__name__}; expected a path to a .keras or "
            ".h5 file or a SavedModel folder, or a keras.Model."
        )
    digest = hashlib.sha256(str(trained.to_json()).encode())
    for weights in trained.get_weights():
        digest.update(np.ascontiguousarray(weights).data)
    return digest.hexdigest()


def load_program(spec: ModelSpec) -> Program:
    """Load the trained model.

    Raises:
        OnnxliteError: TensorFlow is missing, or the file is damaged, no model, or refused by safe mode.
    """
    tf = import_tensorflow()
    trained = spec.trained
    with quiet():
        if is_in_memory(trained):
            return _from_keras(tf, spec, trained)
        if trained.is_dir():
            return _from_saved_model(tf, spec, trained)
        return _from_keras(tf, spec, _load_keras(spec, trained))


def _load_keras(spec: ModelSpec, path: Path) -> Any:
    import keras

    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise OnnxliteError(
            f"{spec.name}: {path} is not a kind of trained model that is known; expected a .keras or .h5 file or "
            "a SavedModel folder. An ONNX file goes to onnx= or int8=."
        )
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise OnnxliteError(
            f"{spec.name}: {path} ({path.stat().st_size} bytes) is not a whole .keras file: it is truncated, a Git "
            "LFS pointer that was not fetched, or no model. Save or fetch it again."
        )
    try:
        return keras.models.load_model(path, custom_objects=dict(spec.custom_objects), compile=False, safe_mode=True)
    except Exception as error:
        raise OnnxliteError(f"{spec.name}: Keras cannot load {path}: {_cause(error)}") from None


def _cause(error: Exception) -> str:
    text = str(error)
    if "lambda" in text.lower() and "safe" in text.lower():
        # Keras's own text tells how to switch its safety off.
        return (
            "a Lambda layer is code stored in the file, which is never run here. Replace it by a layer of yours, "
            "registered with @keras.saving.register_keras_serializable, and pass it as "
            "ModelSpec(custom_objects={'Name': Class})."
        )
    if "custom" in text.lower() or "Could not locate" in text or "Unknown layer" in text:
        return (
            f"{first_line(error)}. Pass layers and functions of yours as ModelSpec(custom_objects={{'Name': Class}})."
        )
    return (
        f"{first_line(error)}. The file is damaged, no Keras model, or written by a version of Keras that this one "
        "cannot read."
    )


def _from_keras(tf: Any, spec: ModelSpec, model: Any) -> Program:
    import keras

    try:
        tensors = list(model.inputs)
        # A Sequential model lacks a functional one's structure of inputs and names of outputs.
        # Named, because Keras numbers what has no name through the life of the process.
        functional = (
            model if hasattr(model, "output_names") else keras.Model(model.inputs, model.outputs, name=model.name)
        )
        structure, outputs = functional.input, functional.output
    except (AttributeError, ValueError, TypeError):
        raise OnnxliteError(
            f"{spec.name}: the Keras model does not know its input shape. Start a Sequential model with "
            "keras.Input(shape), or save a functional model."
        ) from None
    names = _unique([t.name for t in tensors])
    specs = tuple(
        tf.TensorSpec([None, *t.shape[1:]], t.dtype, name=name) for t, name in zip(tensors, names, strict=True)
    )
    if isinstance(outputs, Mapping):
        output_names = [str(key) for key in outputs]
    else:
        output_names = _unique(list(functional.output_names))

    def call(*args: Any) -> dict[str, Any]:
        result = functional(keras.tree.pack_sequence_as(structure, list(args)), training=False)
        flat = list(result.values()) if isinstance(result, Mapping) else keras.tree.flatten(result)
        return {name: tf.identity(value, name=name) for name, value in zip(output_names, flat, strict=True)}

    return Program(_infos(specs), tuple(output_names), tf.function(call, input_signature=specs), specs, functional)


def _from_saved_model(tf: Any, spec: ModelSpec, folder: Path) -> Program:
    if not (folder / "saved_model.pb").is_file():
        raise OnnxliteError(
            f"{spec.name}: the folder {folder} has no saved_model.pb; expected a SavedModel as written by "
            "model.export(folder) or tf.saved_model.save."
        )
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:
        raise OnnxliteError(
            f"{spec.name}: TensorFlow cannot load the SavedModel {folder}: {first_line(error)}."
        ) from None
    signatures = dict(loaded.signatures)
    chosen = signatures.get("serving_default") or signatures.get("serve")
    if chosen is None:
        raise OnnxliteError(
            f"{spec.name}: the SavedModel {folder} has the signatures {sorted(signatures)}; expected "
            "'serving_default' or 'serve'. Write it with model.export(folder)."
        )
    arguments = dict(sorted(chosen.structured_input_signature[1].items()))
    specs = tuple(tf.TensorSpec([None, *s.shape[1:]], s.dtype, name=name) for name, s in arguments.items())

    def call(*args: Any) -> dict[str, Any]:
        result = chosen(**dict(zip(arguments, args, strict=True)))
        return {name: tf.identity(value, name=name) for name, value in result.items()}

    outputs = tuple(sorted(chosen.structured_outputs))
    return Program(_infos(specs), outputs, tf.function(call, input_signature=specs), specs, loaded)


def _infos(specs: tuple[Any, ...]) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(
            s.name,
            s.dtype.name,
            tuple(("batch" if i == 0 else "?") if d is None else int(d) for i, d in enumerate(s.shape)),
        )
        for s in specs
    )


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, -1) + 1
        result.append(f"{name}_{seen[name]}" if seen[name] else name)
    return result
