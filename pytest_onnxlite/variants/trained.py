"""Loading trained models: a `.keras` or `.h5` file, a SavedModel folder, a `keras.Model`."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_onnxlite import commands
from pytest_onnxlite.errors import OnnxliteError, hide_mistakes
from pytest_onnxlite.files import kind_of
from pytest_onnxlite.runtime.sessions import TensorInfo, fixed_batch
from pytest_onnxlite.spec.dataset import Array, Inputs, count_samples
from pytest_onnxlite.spec.model import ModelSpec
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.cache import hash_tree
from pytest_onnxlite.variants.called import is_in_memory
from pytest_onnxlite.variants.code import hash_code
from pytest_onnxlite.variants.silence import silence
from pytest_onnxlite.variants.variant import Outputs, Variant
from pytest_onnxlite.workspace import working_folder

__tracebackhide__ = hide_mistakes

# Large enough to be quick; a float model's answers do not depend on how samples are split.
_TRAINED_BATCH = 256


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
    stateful: tuple[Any, ...] = ()  # layers that would carry on from the batch before

    def __call__(self, feeds: Mapping[str, Array]) -> Outputs:
        """Run one batch, as the first of all."""
        self.start_anew()
        found = self.function(*(feeds[info.name] for info in self.inputs))
        # TensorFlow sorts what it returns by name.
        return {name: found[name].numpy() for name in self.outputs}

    def start_anew(self) -> None:
        """Forget what earlier batches left; what is converted now would keep it for ever."""
        for layer in self.stateful:
            layer.reset_state()


def import_tensorflow() -> Any:
    """Import TensorFlow quietly.

    Raises:
        OnnxliteError: it is not installed, or its import fails.
    """
    try:
        with silence():
            import tensorflow
    except ImportError as error:
        raise OnnxliteError(
            f"a trained Keras model needs TensorFlow, which cannot be imported here: {error}. "
            f"Install it with: {commands.install('tensorflow')}"
        ) from None
    return tensorflow


def identify(spec: ModelSpec) -> str:
    """Return a hash of the trained model's content: its files, or its configuration and weights, and its code.

    Raises:
        OnnxliteError: it cannot be read.
        Unhashable: Python does not show all of its code.
    """
    trained = spec.trained
    if not is_in_memory(trained):
        try:
            content = hash_tree(trained)
        except OSError as error:
            raise OnnxliteError(f"{spec.name}: {trained} cannot be read: {error.strerror}.") from None
    else:
        digest = hashlib.sha256(str(trained.to_json()).encode())
        for weights in trained.get_weights():
            digest.update(np.ascontiguousarray(weights).data)
        content = digest.hexdigest()
    return f"{content}:{hash_code(_code_of(spec))}"


def _code_of(spec: ModelSpec) -> dict[str, object]:
    """Return the layers and functions that are not Keras's own and that the model may run, by name."""
    found = dict(spec.custom_objects)
    keras = sys.modules.get("keras")  # whoever registered a layer has imported it
    if keras is not None and not (isinstance(spec.trained, Path) and spec.trained.is_dir()):
        found |= {name: value for name, value in keras.saving.get_custom_objects().items() if _mentions(spec, name)}
    if is_in_memory(spec.trained):
        layers = {type(layer) for layer in spec.trained._flatten_layers()}
        found |= {f"{layer.__module__}.{layer.__qualname__}": layer for layer in layers}
    return found


def _mentions(spec: ModelSpec, registered: str) -> bool:
    """Tell whether a model may have what was registered by a name, `package>Name`."""
    if is_in_memory(spec.trained):
        return registered in spec.trained.to_json()
    if not zipfile.is_zipfile(spec.trained):
        return True
    with zipfile.ZipFile(spec.trained) as archive:
        return "config.json" not in archive.namelist() or registered.encode() in archive.read("config.json")


def read_inputs(entry: Path) -> tuple[TensorInfo, ...]:
    """Return what a trained model is fed, from its cache entry."""
    return tuple(
        TensorInfo(name, dtype, tuple(shape)) for name, dtype, shape in json.loads((entry / "inputs.json").read_text())
    )


def load_program(spec: ModelSpec) -> Program:
    """Load the trained model.

    Raises:
        OnnxliteError: TensorFlow is missing, or the file is damaged, no model, or refused by safe mode.
    """
    tf = import_tensorflow()
    trained = spec.trained
    with silence():
        if is_in_memory(trained):
            return _from_keras(tf, spec, trained)
        if trained.is_dir():
            return _from_saved_model(tf, spec, trained)
        return _from_keras(tf, spec, _load_keras(spec, trained))


def _load_keras(spec: ModelSpec, path: Path) -> Any:
    kind = kind_of(path)
    if not (zipfile.is_zipfile(path) if path.suffix == ".keras" else "HDF5" in kind):
        raise OnnxliteError(
            f"{spec.name}: {path} is not a whole {path.suffix} file: it looks like {kind or 'no model'}. Save or fetch it again."
        )
    import keras

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
            "keras.Input(shape); of a subclassed one save the call itself, with model.export(folder), and give the folder."
        ) from None
    names = _unique([t.name for t in tensors])
    # A state has the batch size that the model was built with; everything else takes any.
    stateful = tuple(layer for layer in model._flatten_layers() if getattr(layer, "stateful", False))
    specs = tuple(
        tf.TensorSpec([t.shape[0] if stateful else None, *t.shape[1:]], t.dtype, name=name)
        for t, name in zip(tensors, names, strict=True)
    )
    if isinstance(outputs, Mapping):
        output_names = [str(key) for key in outputs]
    else:
        output_names = _unique(list(functional.output_names))

    def call(*args: Any) -> dict[str, object]:
        result = functional(keras.tree.pack_sequence_as(structure, list(args)), training=False)
        flat = list(result.values()) if isinstance(result, Mapping) else keras.tree.flatten(result)
        return {name: tf.identity(value, name=name) for name, value in zip(output_names, flat, strict=True)}

    function = tf.function(call, input_signature=specs)
    try:
        with _arrays_for_tensors(tf, functional):
            function.get_concrete_function()
    except Exception as error:  # whatever a layer raises
        raise OnnxliteError(f"{spec.name}: the Keras model cannot be run: {_plain(error)[:500]}.") from None
    return Program(_infos(specs), tuple(output_names), function, specs, functional, stateful)


def _plain(error: Exception) -> str:
    """Return what a layer said, without where TensorFlow saw it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = next((line for line in reversed(lines) if "Exception encountered" in line), None)
    return " ".join(lines[lines.index(found) :]) if found else " ".join(lines)


@contextmanager
def _arrays_for_tensors(tf: Any, model: Any) -> Iterator[None]:
    """Let what layers keep as tensors, as Normalization its mean, be arrays while the model is traced.

    Arrays become constants of the graph; tensors become inputs of it, which no converter expects.
    """
    kept = [
        (layer, name, value)
        for layer in model._flatten_layers()
        for name, value in vars(layer).items()
        if isinstance(value, tf.Tensor)
    ]
    try:
        for layer, name, value in kept:
            setattr(layer, name, value.numpy())
        yield
    finally:
        for layer, name, value in kept:
            setattr(layer, name, value)


def _from_saved_model(tf: Any, spec: ModelSpec, folder: Path) -> Program:
    if not (folder / "saved_model.pb").is_file():
        raise OnnxliteError(
            f"{spec.name}: the folder {folder} has no saved_model.pb; expected a SavedModel as written by "
            "model.export(folder) or tf.saved_model.save."
        )
    try:
        loaded = _load_saved_model(tf, folder)
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

    def call(*args: Any) -> dict[str, object]:
        result = chosen(**dict(zip(arguments, args, strict=True)))
        return {name: tf.identity(value, name=name) for name, value in result.items()}

    outputs = tuple(sorted(chosen.structured_outputs))
    return Program(_infos(specs), outputs, tf.function(call, input_signature=specs), specs, loaded)


def _load_saved_model(tf: Any, folder: Path) -> Any:
    """Load a SavedModel; one of Keras 2 whose optimizer nobody knows here without the optimizer, which no answer depends on."""
    try:
        return tf.saved_model.load(str(folder))
    except AttributeError as error:
        if "add_slot" not in str(error):
            raise
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    for part in model.meta_graphs:
        for node in part.object_graph_def.nodes:
            del node.slot_variables[:]
    with working_folder() as place:
        (place / "saved_model.pb").write_bytes(model.SerializeToString())
        for name in ("variables", "assets"):
            if (folder / name).is_dir():
                shutil.copytree(folder / name, place / name)
        return tf.saved_model.load(str(place))


def _infos(specs: tuple[Any, ...]) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(
            s.name,
            "str" if s.dtype.name == "string" else s.dtype.name,
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


class TrainedVariant(Variant):
    """The model as it was trained; what runs it loads when it is first asked for something that is not cached.

    Args:
        load: returns the program, `(arrays by input name) -> outputs by name`.
        inputs_info: what the model is fed, known without loading it.
        path: the file the user gave, or one we saved for a model in memory.
    """

    def __init__(
        self,
        model: str,
        path: Path | None,
        inputs_info: tuple[TensorInfo, ...],
        load: Callable[[], Callable[[dict[str, Array]], Outputs]],
        *,
        batched: bool = True,
    ) -> None:
        self._describe(model, "trained", path, batched)
        self._inputs_info = inputs_info
        self._load = load

    @property
    def inputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model is fed: names, dtypes, shapes."""
        return self._inputs_info

    def run(self, inputs: Inputs, batch_size: int = _TRAINED_BATCH) -> Outputs:
        """Run all samples; see `Variant.run`."""
        feeds = self.as_feeds(inputs)
        frozen = fixed_batch(self.inputs_info)
        if not self.batched or any(array.dtype == object for array in feeds.values()):
            batch_size = 1
        elif frozen is not None:
            batch_size = frozen
            if count_samples(feeds) % frozen:
                raise OnnxliteError(
                    f"{self.model} trained: it takes batches of {frozen} only, and there are {count_samples(feeds)} samples. Give "
                    "a number of samples that whole batches hold, or build the model with any batch size."
                )
        call = self._load()
        parts = [call(batch) for _, batch in self._batches(feeds, batch_size)]
        return self._joined(parts, batch_size, count_samples(feeds))
