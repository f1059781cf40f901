"""How ONNX Runtime sessions are opened and fed: the same way for accuracy, latency and memory.

Imports no library until it is used, so that a child process that measures memory can use it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import unicode_of
from pytest_onnxlite.runtime.sequences import sequence_runner

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_onnxlite.spec.runtimes import Runtime

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    "tensor(string)": "str",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True)
class TensorInfo:
    """An input or output: its name, its numpy dtype, and its dims, a string where one is dynamic."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


def open_session(
    path: Path,
    runtime: Runtime,
    entries: Mapping[str, str] | None = None,
    profile: Path | None = None,
    optimized: Path | None = None,
) -> Any:
    """Open an `onnxruntime.InferenceSession` as a runtime says: the only place of the project that opens one.

    Args:
        path: the ONNX file.
        runtime: how it is run.
        entries: further session configuration entries.
        profile: where to begin a profile's file, None for no profile.
        optimized: where to write the graph that ONNX Runtime runs, None for nowhere.

    Spinning is off, if the runtime does not ask for it, because idle threads that spin make timings on shared machines
    bimodal.

    Raises:
        NoProvider: a provider that is asked for is not there, or does not start.
        ValueError: the path is no Unicode.
        Exception: whatever ONNX Runtime raises for a file that it cannot load.
    """
    import onnxruntime

    require_providers(runtime, onnxruntime.get_available_providers())
    options = session_options(runtime, entries or {})
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    providers = [(name, dict(runtime.provider_options.get(name, {}))) for name in runtime.providers]
    # Without fallback: on an error of a provider, ONNX Runtime's Python would go on with others, and tell nobody.
    session = onnxruntime.InferenceSession(unicode_of(path), options, providers=providers, enable_fallback=0)
    started = session.get_providers()
    for name in runtime.providers:
        if name not in started:
            raise NoProvider(
                f"{name} was asked for and did not start; ONNX Runtime runs the model with {', '.join(started)} instead. Look "
                "for what that provider needs, such as a driver or a library: ONNX Runtime's own log says what is missing"
            )
    return session


def session_options(runtime: Runtime, entries: Mapping[str, str] = MappingProxyType({})) -> Any:
    """Return the `SessionOptions` of a runtime, with its libraries; `entries` are more configuration entries."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.threads
    options.inter_op_num_threads = runtime.inter_op_threads
    options.log_severity_level = 3
    level = "DISABLE_ALL" if runtime.optimization == "none" else f"ENABLE_{runtime.optimization.upper()}"
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    configured = {"session.intra_op.allow_spinning": "0"}
    for key, value in runtime.session_options.items():
        if "." in key:
            configured[key] = value
        elif key == "execution_mode":
            options.execution_mode = getattr(onnxruntime.ExecutionMode, f"ORT_{value.upper()}")
        else:
            setattr(options, key, value == "True")
    for key, value in {**configured, **entries}.items():
        options.add_session_config_entry(key, value)
    for library in runtime.custom_ops:
        options.register_custom_ops_library(library)
    return options


class NoProvider(OnnxliteError):
    """An execution provider that is asked for is not there, or does not start."""


def require_providers(runtime: Runtime, available: Sequence[str]) -> None:
    """Check that the installed ONNX Runtime has the providers that are asked for.

    Raises:
        NoProvider: it lacks one.
    """
    missing = [name for name in runtime.providers if name not in available]
    if missing:
        raise NoProvider(
            f"{missing[0]} was asked for, and the ONNX Runtime that is installed here has {', '.join(available)} alone. "
            f"{_advice(list(filter(_is_installed, _DISTRIBUTIONS)))}"
        )


# Packages of one module, onnxruntime, each of which installs over the others.
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-qnn")


def _is_installed(distribution: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _advice(installed: Sequence[str]) -> str:
    if len(installed) > 1:
        return (
            f"{' and '.join(installed)} are both installed, and each installs over the other: uninstall them, and install the one "
            "that has the provider"
        )
    return "Install the package that has it, such as onnxruntime-gpu or onnxruntime-openvino, in place of onnxruntime"


def _infos(nodes: list[Any]) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(
            node.name,
            _DTYPES.get(node.type, node.type),
            tuple(d if isinstance(d, int) else str(d or "?") for d in node.shape),
        )
        for node in nodes
    )


def session_inputs(session: Any) -> tuple[TensorInfo, ...]:
    """Return what a session wants to be fed."""
    return _infos(session.get_inputs())


def session_outputs(session: Any) -> tuple[TensorInfo, ...]:
    """Return what a session gives back."""
    return _infos(session.get_outputs())


def fixed_batch(infos: tuple[TensorInfo, ...]) -> int | None:
    """Return the batch size that a model was frozen at, or None if it takes any."""
    sizes = [info.shape[0] for info in infos if info.shape and isinstance(info.shape[0], int)]
    return sizes[0] if sizes and isinstance(sizes[0], int) else None


def misfit(shape: tuple[int, ...], dtype: Any, info: TensorInfo, batched: bool = True) -> str | None:
    """Say how a sample differs from what an input takes, or None if it fits.

    Args:
        shape: the sample's, without the axis that counts samples.
        dtype: for the message.
        info: the input.
        batched: whether the input's first dim counts samples.
    """
    wanted = info.shape[1:] if batched else info.shape
    if len(shape) != len(wanted) or any(
        isinstance(want, int) and want != have for want, have in zip(wanted, shape, strict=False)
    ):
        expected = ", ".join([*(["N"] if batched else []), *map(str, wanted)])
        found = ", ".join(["N", *map(str, shape)])
        hint = ""
        if batched and len(shape) == len(info.shape):
            hint = "; where the model has no batch dimension, say ModelSpec(batched=False)"
        return f"the model's input {info.name!r} takes ({expected}) {info.dtype}, the data is ({found}) {dtype}{hint}"
    return None


def to_feeds(
    inputs: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]], infos: tuple[TensorInfo, ...], batched: bool = True
) -> dict[str, npt.NDArray[Any]]:
    """Name the arrays by input and give them the dtypes that the model takes; the first axis still counts samples.

    Values are never changed: an integer becomes a float if it stays exact, a float64 becomes a float32.

    Raises:
        ValueError: another number of inputs, other names, another shape, or a dtype that would lose values.
    """
    import numpy as np

    names = [info.name for info in infos]
    if not isinstance(inputs, Mapping):
        if len(infos) != 1:
            raise ValueError(
                f"the model has {len(infos)} inputs ({', '.join(names)}); give a mapping from name to array"
            )
        inputs = {names[0]: inputs}
    if set(inputs) != set(names):
        raise ValueError(f"the model's inputs are {sorted(names)}, the data names {sorted(inputs)}")
    feeds = {}
    for info in infos:
        array = np.asarray(inputs[info.name])
        if array.dtype == object:  # samples of different lengths
            feeds[info.name] = np.empty(len(array), object)
            feeds[info.name][:] = [_cast(sample, info, batched) for sample in array]
        else:
            problem = misfit(array.shape[1:], array.dtype, info, batched)
            if problem:
                raise ValueError(problem)
            feeds[info.name] = _as_dtype(array, info)
    return feeds


def _cast(sample: npt.NDArray[Any], info: TensorInfo, batched: bool) -> npt.NDArray[Any]:
    problem = misfit(sample.shape, sample.dtype, info, batched)
    if problem:
        raise ValueError(problem)
    return _as_dtype(sample, info)


def _as_dtype(array: npt.NDArray[Any], info: TensorInfo) -> npt.NDArray[Any]:
    import numpy as np

    if info.dtype == "str" or array.dtype.kind == "U":
        if info.dtype != "str" or array.dtype.kind != "U":
            raise ValueError(f"the model's input {info.name!r} takes {info.dtype}, the data is {array.dtype}")
        return np.ascontiguousarray(array)
    try:
        wanted: np.dtype[Any] = np.dtype(info.dtype)
    except TypeError:
        raise ValueError(f"the model's input {info.name!r} takes {info.dtype}, and only tensors are fed here") from None
    both_floats = array.dtype.kind == "f" and wanted.kind == "f"
    if not both_floats and not np.can_cast(array.dtype, wanted, "safe"):
        raise ValueError(f"the model's input {info.name!r} takes {wanted}, the data is {array.dtype}")
    return np.ascontiguousarray(array, dtype=wanted)


def one_run(feeds: Mapping[str, npt.NDArray[Any]], batched: bool = True) -> dict[str, npt.NDArray[Any]]:
    """Return what a model is fed with in one run, from the samples of it.

    Raises:
        ValueError: samples of different lengths in one batch, or several for a model without a batch dimension.
    """
    import numpy as np

    run = {}
    for name, array in feeds.items():
        if not batched and len(array) != 1:
            raise ValueError(f"the model has no batch dimension, and is run with {len(array)} samples at once")
        shapes = {sample.shape for sample in array} if array.dtype == object else set()
        if len(shapes) > 1:
            raise ValueError(
                f"the samples of {name!r} in one batch have the shapes {sorted(shapes)}; run them one at a time "
                "(batch_size=1), pad them, or sort them by length"
            )
        whole = np.stack(list(array)) if array.dtype == object else array
        # An array also if it has no dims: ONNX Runtime refuses numpy's scalars.
        run[name] = whole if batched else whole[0, ...]
    return run


def pair_inputs(
    feeds: Mapping[str, npt.NDArray[Any]], infos: tuple[TensorInfo, ...], sized: bool = True
) -> dict[str, str]:
    """Return for each input of another release which of today's it is: releases may name them anew.

    By name; what is left over goes by its place, or, if that does not fit, by what it alone fits.

    Args:
        feeds: what is fed in one run today, by input, in the model's order.
        infos: the other release's inputs.
        sized: whether the length of the first axis counts; a batch's may be any.

    Raises:
        ValueError: there are more inputs, or fewer, or the arrays do not say which is which.
    """
    left = [name for name in feeds if name not in {info.name for info in infos}]
    free = [info for info in infos if info.name not in feeds]
    same = {info.name: info.name for info in infos if info.name in feeds}
    if not left and not free:
        return same
    fitting = {info.name: [name for name in left if _fits(feeds[name], info, sized)] for info in free}
    if len(left) == len(free):
        by_place = dict(zip(fitting, left, strict=True))
        alone = {name: found[0] for name, found in fitting.items() if len(found) == 1}
        for pairs in (by_place, alone):
            if sorted(pairs.values()) == sorted(left) and all(pairs[name] in fitting[name] for name in fitting):
                return {**same, **pairs}
    found = ", ".join(f"{name} {feeds[name].dtype}{list(feeds[name].shape)}" for name in left)
    expected = ", ".join(f"{i.name} {i.dtype}[{', '.join(map(str, i.shape))}]" for i in free)
    raise ValueError(f"its inputs are others: expected {expected or 'no more'}, found {found or 'no more'}")


def _fits(array: npt.NDArray[Any], info: TensorInfo, sized: bool) -> bool:
    dims = list(zip(array.shape, info.shape, strict=False))[0 if sized else 1 :]
    if len(array.shape) != len(info.shape) or any(isinstance(want, int) and want != have for have, want in dims):
        return False
    try:
        _as_dtype(array, info)
    except ValueError:
        return False
    return True


def fed_to(feeds: Mapping[str, npt.NDArray[Any]], infos: tuple[TensorInfo, ...]) -> dict[str, npt.NDArray[Any]]:
    """Return what a release is fed in one run, by its own names and types.

    Raises:
        ValueError: see `pair_inputs`; or a type that would lose values.
    """
    pairs = pair_inputs(feeds, infos)
    return {info.name: _as_dtype(feeds[pairs[info.name]], info) for info in infos}


def open_runner(path: Path, runtime: Runtime, feeds: Mapping[str, npt.NDArray[Any]]) -> Callable[[], Any]:
    """Open a session and return what runs it once with these feeds, as latency and memory measure it.

    Raises:
        ValueError: the feeds are none of this model's.
        Exception: whatever the runtime raises for a file that it cannot load.
    """
    if path.suffix == ".tflite":
        from pytest_onnxlite.runtime.interpreter import open_interpreter

        interpreter = open_interpreter(path, runtime)
        prepared = interpreter.prepare(fed_to(feeds, interpreter.inputs))
        return lambda: interpreter.invoke(prepared)
    return session_runner(open_session(path, runtime), feeds)


def session_runner(session: Any, feeds: Mapping[str, npt.NDArray[Any]]) -> Callable[[], Any]:
    """Return what runs an open session once with these feeds.

    Raises:
        ValueError: the feeds are none of this model's.
    """
    infos, names = session_inputs(session), [info.name for info in session_outputs(session)]
    runner = sequence_runner(feeds, infos, names, lambda fed: session.run(None, fed))
    if runner is not None:
        return runner
    fed = fed_to(feeds, infos)
    return lambda: session.run(None, fed)


def open_for_any(path: Path, runtime: Runtime) -> Callable[[Mapping[str, npt.NDArray[Any]]], Any]:
    """Open a session and return what runs it once with whatever feeds it is given.

    Raises:
        Whatever the runtime raises for a file that it cannot load.
    """
    if path.suffix == ".tflite":
        from pytest_onnxlite.runtime.interpreter import open_interpreter

        return open_interpreter(path, runtime).run
    session = open_session(path, runtime)
    return lambda feeds: session.run(None, dict(feeds))
