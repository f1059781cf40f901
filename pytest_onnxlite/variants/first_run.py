"""No model is believed before it was loaded and run once, in a child, so that a crash there ends nothing here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint.protobuf import is_quantized, load_graph
from pytest_onnxlite.runtime import arrays, trial
from pytest_onnxlite.runtime.childprocess import ChildError, ask
from pytest_onnxlite.runtime.sequences import first_state, require_inputs, steps_of
from pytest_onnxlite.runtime.sessions import TensorInfo, fixed_batch, one_run, to_feeds
from pytest_onnxlite.spec.dataset import Array, Dataset, Inputs, take
from pytest_onnxlite.spec.model import ModelSpec
from pytest_onnxlite.spec.recipes import AnyRecipe, recipe_text
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.cache import Cache, version_of
from pytest_onnxlite.variants.external import hash_model
from pytest_onnxlite.variants.litert import TfliteVariant
from pytest_onnxlite.variants.stateful import growing_hint, sequence_inputs
from pytest_onnxlite.variants.variant import Outputs
from pytest_onnxlite.workspace import working_folder

if TYPE_CHECKING:
    from pytest_onnxlite.lint.finding import Finding

# Samples on which a new file is first run and compared.
SAMPLES = 32
# The code of a model that was calibrated with nothing.
_UNCALIBRATED = "OLX325"
# How ONNX Runtime refuses a file that is newer than itself.
_NEWER = re.compile(
    r"Unsupported model IR version|Opset \d+ is under development|opset version \d+ .*not supported", re.I
)
# Float arithmetic in another order: what Keras and ONNX Runtime may differ by, of an output's largest value.
_TOLERANCE = 1e-3


def run_once(path: Path, model: str, kind: str, feeds: dict[str, Array], runtime: Runtime) -> Outputs:
    """Load a file and run it on samples.

    Returns:
        The outputs by name.

    Raises:
        OnnxliteError: it cannot be loaded or run, or the process dies of it.
    """
    with working_folder() as folder:
        given, made = folder / "feeds.npz", folder / "outputs.npz"
        arrays.save(given, feeds)
        try:
            ask(trial.run, trial.TrialRequest(str(path), str(given), str(made), runtime), fork=True)
        except ChildError as error:
            raise OnnxliteError(f"{model} {kind}: {path.name} cannot be used: {error}.{_too_old(str(error))}") from None
        return arrays.load(made)


def run_first(path: Path, kind: str, spec: ModelSpec, x: Inputs) -> Outputs:
    """Run a file of a variant on the first samples; no session is opened in this process.

    Raises:
        OnnxliteError: the samples do not fit, or see `run_once`.
    """
    graph = load_graph(path).graph
    stored = {tensor.name for tensor in graph.initializer}
    infos = tuple(_info(value) for value in graph.input if value.name not in stored)
    try:
        _require_room(infos, path.name, kind, spec.name)
        feeds = _first_feeds(spec, x, infos)
    except ValueError as error:
        hint = growing_hint(infos, spec.stateful)
        raise OnnxliteError(f"{spec.name} {kind}: evaluation data and model do not fit: {error}.{hint}") from None
    try:
        found = run_once(path, spec.name, kind, feeds, spec.runtime_of(kind))
    except OnnxliteError as error:
        raise OnnxliteError(f"{error}{growing_hint(infos, spec.stateful)}") from None
    if spec.stateful is not None:
        state = set(spec.stateful.state.values())
        return {
            name: np.expand_dims(array, min(1, array.ndim)) if spec.batched else array[None, None]
            for name, array in found.items()
            if name not in state
        }
    return found if spec.batched else {name: array[None] for name, array in found.items()}


def runtime_key(runtime: Runtime) -> dict[str, object]:
    """Return what a cached first run depends on: nothing of the default runtime, whatever its threads."""
    return {} if runtime.is_plain else {"runtime": [list(runtime.providers), runtime.options()]}


def run_with_runtime(path: Path, kind: str, spec: ModelSpec, x: Inputs, cache: Cache) -> None:
    """Run a file that is there with a variant's runtime, once: it is kept for every runtime, and was run with some.

    Raises:
        OnnxliteError: see `run_first`.
    """
    runtime = spec.runtime_of(kind)
    if runtime.is_plain and spec.runtime.is_plain:
        return
    inputs = {"model": hash_model(path), "onnxruntime": version_of("onnxruntime"), **runtime_key(runtime)}

    def run(folder: Path) -> None:
        run_first(path, kind, spec, x)
        (folder / "ran").write_text(f"{path.name} was loaded and run\n")

    cache.entry("first-run-with", inputs, run, ["ran"])


def _first_feeds(spec: ModelSpec, x: Inputs, infos: tuple[TensorInfo, ...]) -> dict[str, Array]:
    """Return what a file is fed with in its first run: of sequences, the first step.

    Raises:
        ValueError: the samples do not fit.
    """
    if spec.stateful is None:
        return one_run(to_feeds(take(x, slice(batch_of(spec, x, infos))), infos, spec.batched), spec.batched)
    require_inputs(infos, spec.stateful.state)
    require_inputs(infos, spec.stateful.grows, "that could grow")
    asked = sequence_inputs(infos, spec.stateful, batched=spec.batched)
    feeds = one_run(to_feeds(first_of(spec, x, batch_of(spec, x, asked)), asked, spec.batched), spec.batched)
    step = next(steps_of(feeds, 1 if spec.batched else 0, spec.stateful.grows))
    return {**step, **first_state(infos, spec.stateful.state, step)}


def first_of(spec: ModelSpec, x: Inputs, count: int) -> Inputs:
    """Return the first samples; of sequences, their first step."""
    found = take(x, slice(count))
    if spec.stateful is None:
        return found
    if isinstance(found, Mapping):
        return {name: _first_step(array) for name, array in found.items()}
    return _first_step(found)


def _first_step(array: Array) -> Array:
    if array.dtype == object:
        return np.stack([sample[:1] for sample in array])
    if array.ndim < 2:
        raise ValueError(
            f"Stateful asks for a sequence for each sample, (N, steps, ...); the data has shape {array.shape}"
        )
    return array[:, :1]


def require_no_state(spec: ModelSpec, what: str, instead: str) -> None:
    """Refuse what is not done with a model that has a state.

    Raises:
        OnnxliteError: the spec says that it has one.
    """
    if spec.stateful is not None:
        raise OnnxliteError(f"ModelSpec({spec.name!r}): {what} does not support a model with a state. {instead}")


def _require_room(infos: tuple[TensorInfo, ...], name: str, kind: str, model: str) -> None:
    """Refuse a model that can be fed with nothing.

    Raises:
        OnnxliteError: it has no inputs, or one with a dim of 0.
    """
    if not infos:
        raise OnnxliteError(
            f"{model} {kind}: {name} has no inputs, so that its answers cannot depend on any data. Export the model again, with "
            "an example of what it is fed with."
        )
    empty = next((info for info in infos if 0 in info.shape), None)
    if empty is not None:
        raise OnnxliteError(
            f"{model} {kind}: {name} declares its input {empty.name!r} as {list(empty.shape)}, and a dim of 0 has room for no "
            "sample. Export the model with a dynamic dim there (a name in place of 0), or with the size that it ships with."
        )


def batch_of(spec: ModelSpec, x: Inputs, infos: tuple[TensorInfo, ...]) -> int:
    """Return how many samples a first run takes: those that fit into one batch."""
    if not spec.batched:
        return 1
    frozen = fixed_batch(infos)
    if frozen is not None:
        return frozen
    ragged = any(a.dtype == object for a in (x.values() if isinstance(x, Mapping) else [x]))
    return 1 if ragged else SAMPLES


def _info(value: Any) -> TensorInfo:
    import onnx

    tensor = value.type.tensor_type
    dims = tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim)
    if value.type.HasField("tensor_type") and tensor.elem_type == onnx.TensorProto.STRING:
        return TensorInfo(value.name, "str", dims)
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except KeyError:
        kind = value.type.WhichOneof("value") or "no type"
        found = f"a tensor of element type {tensor.elem_type}" if kind == "tensor_type" else kind.removesuffix("_type")
        raise ValueError(
            f"the model's input {value.name!r} is declared as {found}, which no data can be given to"
        ) from None
    return TensorInfo(value.name, dtype.name, dims)


def require_no_keras(path: Path, kind: str, model: str) -> None:
    """Check that a file given as ONNX is no trained model.

    Raises:
        OnnxliteError: it is one.
    """
    if path.suffix in (".keras", ".h5", ".hdf5"):
        raise OnnxliteError(
            f"ModelSpec({model!r}): {kind}={str(path)!r} is a trained Keras model; give it as trained=."
        )


def require_kind(path: Path, kind: str, model: str) -> None:
    """Refuse an INT8 file given as the float model, and the other way round.

    Raises:
        OnnxliteError: it is of the other kind.
    """
    quantized = is_quantized(load_graph(path))
    if kind == "int8" and not quantized:
        raise OnnxliteError(
            f"ModelSpec({model!r}): int8={str(path)!r} is a float model: no operator of it is quantized. Give "
            "it as onnx=, and leave int8= out to have it quantized here."
        )
    if kind == "onnx" and quantized:
        raise OnnxliteError(
            f"ModelSpec({model!r}): onnx={str(path)!r} is quantized, and the float model is expected there, "
            "which the others are compared with. Give it as int8=."
        )


def accept(
    path: Path, kind: str, spec: ModelSpec, data: Dataset, cache: Cache, progress: Callable[[str], None]
) -> None:
    """Run an ONNX file of the user's on the first samples, once and never again while nothing changes.

    Raises:
        OnnxliteError: it is of another kind than it is given as, does not run, or is no ONNX file.
    """
    inputs = {
        "model": hash_model(path),
        "batched": spec.batched,
        "data": data.sha256,
        "onnxruntime": version_of("onnxruntime"),
        **runtime_key(spec.runtime_of(kind)),
        **({} if spec.stateful is None else {"state": dict(spec.stateful.state), "grows": list(spec.stateful.grows)}),
    }

    def check(folder: Path) -> None:
        progress(f"running {path.name} for the first time")
        require_kind(path, kind, spec.name)
        run_first(path, kind, spec, data.x)
        (folder / "ran").write_text(f"{path.name} was loaded and run\n")

    cache.entry(f"first-run-{kind}", inputs, check, ["ran"])


def accept_tflite(variant: TfliteVariant, spec: ModelSpec, data: Dataset) -> None:
    """Run a TFLite file of the user's on the first samples.

    Raises:
        OnnxliteError: the samples do not fit, or it does not run.
    """
    samples = take(data.x, slice(batch_of(spec, data.x, variant.inputs_info)))
    run_once(variant.path, spec.name, variant.kind, variant.feeds(samples), spec.runtime_of(variant.kind))
    variant.release()


def _too_old(reason: str) -> str:
    """Say what to do where the runtime does not know a file's version."""
    if not _NEWER.search(reason):
        return ""
    return (
        f" ONNX Runtime {version_of('onnxruntime')} is too old for it: upgrade onnxruntime where the model is tested and where "
        "it ships, or export it for an older opset and IR version."
    )


def require_sound(path: Path, source: Path, excluded: Sequence[str], model: str, recipe: AnyRecipe) -> None:
    """Check that the quantizer wrote nothing wrong: a fault of its own is no release to judge.

    Raises:
        OnnxliteError: the graph has errors that the float file has not; those, and warnings, are the graph marker's to judge.
    """
    from pytest_onnxlite.lint import check_graph

    errors = [finding for finding in check_graph(path, source, excluded=excluded) if finding.severity == "error"]
    if errors:
        inherited = {finding.code for finding in check_graph(source)}
        errors = [finding for finding in errors if finding.code not in inherited]
    if not errors:
        return
    listed = "\n".join(f"  {finding}" for finding in errors[:3])
    more = f"\n  and {len(errors) - 3} more" if len(errors) > 3 else ""
    if {finding.code for finding in errors} == {_UNCALIBRATED}:
        raise OnnxliteError(
            f"{model}: calibration saw nothing but zeros, with {recipe_text(recipe)}:\n{listed}\n"
            f"Give ModelSpec({model!r}) calibration= samples like those in production, scaled as for evaluation."
        )
    raise OnnxliteError(
        f"{model}: ONNX Runtime quantized the model wrongly, with {recipe_text(recipe)}:\n{listed}{more}\n"
        f"Choose another recipe, leave the node in float with exclude={_concerned(errors, source) or '[...]'}, or give an INT8 file of "
        "your own as int8=."
    )


def _concerned(findings: Sequence[Finding], source: Path) -> list[str]:
    """Return the nodes of the float file that findings are about: by their own names, or by those of weights that they read."""
    about = {finding.where for finding in findings}
    nodes = [node for node in load_graph(source).graph.node if node.name]
    return [n.name for n in nodes if about & {n.name, *n.input, *(f"{name}_quantized" for name in n.input)}][:3]


def require_same_outputs(expected: Outputs, found: Outputs, model: str, kind: str, *, values: bool) -> None:
    """Check that a variant gives the outputs of the one it was made from.

    Args:
        expected: the outputs of the variant it was made from.
        found: its own, for the same samples.
        model: for the message.
        kind: for the message.
        values: whether the numbers must agree too, as they must for a float model.

    Raises:
        OnnxliteError: names, shapes, finiteness or values differ.
    """
    if set(expected) != set(found):
        raise OnnxliteError(f"{model} {kind}: expected the outputs {sorted(expected)}, found {sorted(found)}.")
    for name, want in expected.items():
        have = found[name]
        if want.shape != have.shape:
            raise OnnxliteError(
                f"{model} {kind}: output {name!r} has shape {have.shape} for samples where the variant that it "
                f"was made from gives {want.shape}."
            )
        if want.dtype.kind not in "fiub" or have.dtype.kind not in "fiub":
            if want.dtype.kind != have.dtype.kind:
                raise OnnxliteError(
                    f"{model} {kind}: output {name!r} holds {have.dtype}; the variant that it was made from gives {want.dtype}."
                )
            continue  # texts, whose answers accuracy counts
        if not np.isfinite(have).all():
            raise OnnxliteError(f"{model} {kind}: output {name!r} holds NaN or infinity for the first samples.")
        scale = float(np.abs(want).max(initial=0.0)) or 1.0
        worst = float(np.abs(want.astype(np.float64) - have.astype(np.float64)).max(initial=0.0))
        if values and worst > _TOLERANCE * scale:
            raise OnnxliteError(
                f"{model} {kind}: output {name!r} differs from the trained model's by {worst:.3g} where the values "
                f"reach {scale:.3g}; expected at most {_TOLERANCE * scale:.3g}. The conversion changed the model: look "
                "for a layer that behaves differently in inference, or convert it yourself and give onnx=."
            )
