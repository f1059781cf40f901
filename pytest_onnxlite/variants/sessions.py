"""How ONNX Runtime sessions are opened and fed: the same way for accuracy, latency and memory.

Imports nothing but the standard library, so that the memory child can use it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True)
class TensorInfo:
    """An input or output: its name, its numpy dtype, and its dims, a string where one is dynamic."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


def open_session(path: Path, threads: int, entries: Mapping[str, str] | None = None) -> Any:
    """Open an `onnxruntime.InferenceSession` on the CPU, as models are judged.

    Args:
        path: the ONNX file.
        threads: intra-op threads.
        entries: further session configuration entries.

    Spinning is off because idle threads that spin make timings on shared machines bimodal.

    Raises:
        Whatever ONNX Runtime raises for a file that it cannot load.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for key, value in {"session.intra_op.allow_spinning": "0", **(entries or {})}.items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


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
    """Return the batch size that a model was frozen at, or None where it takes any."""
    sizes = [info.shape[0] for info in infos if info.shape and isinstance(info.shape[0], int)]
    return sizes[0] if sizes and isinstance(sizes[0], int) else None


def misfit(array: npt.NDArray[Any], info: TensorInfo) -> str | None:
    """Say how samples differ from what an input takes, or None where they fit; the first axis is free."""
    shape = array.shape
    if len(shape) != len(info.shape) or any(
        isinstance(want, int) and want != have for want, have in zip(info.shape[1:], shape[1:], strict=False)
    ):
        wanted = ", ".join(["N", *map(str, info.shape[1:])])
        found = ", ".join(["N", *map(str, shape[1:])])
        return f"the model's input {info.name!r} takes ({wanted}) {info.dtype}, the data is ({found}) {array.dtype}"
    return None


def to_feeds(
    inputs: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]], infos: tuple[TensorInfo, ...]
) -> dict[str, npt.NDArray[Any]]:
    """Name the arrays by input and give them the dtypes that the model takes.

    Values are never changed: an integer becomes a float where it stays exact, a float64 becomes a float32.

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
        problem = misfit(array, info)
        if problem:
            raise ValueError(problem)
        wanted: np.dtype[Any] = np.dtype(info.dtype)
        both_floats = array.dtype.kind == "f" and wanted.kind == "f"
        if not both_floats and not np.can_cast(array.dtype, wanted, "safe"):
            raise ValueError(f"the model's input {info.name!r} takes {wanted}, the data is {array.dtype}")
        feeds[info.name] = np.ascontiguousarray(array, dtype=wanted)
    return feeds
