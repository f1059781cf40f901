"""TFLite models, run by the LiteRT interpreter. Imports nothing heavy, so that the memory child can use it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from pytest_onnxlite.files import unicode_of
from pytest_onnxlite.runtime.sessions import TensorInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_onnxlite.spec.runtimes import Runtime


class _Detail(TypedDict, total=False):
    """What LiteRT says of an input or output."""

    name: str
    index: int
    shape: Sequence[int]
    shape_signature: Sequence[int]
    dtype: type[Any]
    quantization: tuple[float, int]


class Interpreter:
    """A TFLite model in memory: float in, float out, whatever the types inside.

    Integer inputs and outputs are scaled as the model says: `real = (integer - zero point) * scale`
    (https://ai.google.dev/edge/litert/models/quantization_spec).
    """

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        signature = next(iter(interpreter.get_signature_list()), None)
        self._inputs = self._named(interpreter.get_input_details(), signature, "inputs")
        self._outputs = self._named(interpreter.get_output_details(), signature, "outputs")
        self._shapes = {name: tuple(map(int, detail["shape"])) for name, detail in self._inputs.items()}

    def _named(self, details: list[_Detail], signature: str | None, what: str) -> dict[str, _Detail]:
        """Name inputs or outputs as the signature does; the graph's own names are the converter's."""
        by_index = {detail["index"]: detail for detail in details}
        if signature is None:
            return {detail["name"]: detail for detail in details}
        runner = self._interpreter.get_signature_runner(signature)
        found = runner.get_input_details() if what == "inputs" else runner.get_output_details()
        return {name: by_index.get(detail["index"], detail) for name, detail in found.items()}

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What the model is fed, in real numbers: names, dtypes, shapes."""
        return tuple(self._info(name, detail) for name, detail in self._inputs.items())

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """What the model gives back, in real numbers: names, dtypes, shapes."""
        return tuple(self._info(name, detail) for name, detail in self._outputs.items())

    def _info(self, name: str, detail: _Detail) -> TensorInfo:
        dims = [int(d) for d in detail.get("shape_signature", detail["shape"])]
        shape = tuple("batch" if d < 0 and i == 0 else "?" if d < 0 else d for i, d in enumerate(dims))
        dtype = "float32" if detail["quantization"][0] else detail["dtype"].__name__
        return TensorInfo(name, dtype, shape)

    def prepare(self, feeds: Mapping[str, npt.NDArray[Any]]) -> list[tuple[int, npt.NDArray[Any]]]:
        """Make room for a batch, and return it as the model's own types, by the tensors' numbers."""
        wanted = {name: array.shape for name, array in feeds.items()}
        if wanted != self._shapes:
            for name, shape in wanted.items():
                self._interpreter.resize_tensor_input(self._inputs[name]["index"], shape)
            self._interpreter.allocate_tensors()
            self._shapes = wanted
        return [(self._inputs[name]["index"], _to_integer(array, self._inputs[name])) for name, array in feeds.items()]

    def invoke(self, prepared: list[tuple[int, npt.NDArray[Any]]]) -> list[npt.NDArray[Any]]:
        """Run what was prepared; returns the outputs in the model's own types."""
        for index, array in prepared:
            self._interpreter.set_tensor(index, array)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._outputs.values()]

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Run one batch.

        Raises:
            RuntimeError: the interpreter refuses the shapes or fails.
        """
        found = zip(self._outputs.items(), self.invoke(self.prepare(feeds)), strict=True)
        return {name: _to_real(array, detail) for (name, detail), array in found}


def _to_integer(array: npt.NDArray[Any], detail: _Detail) -> npt.NDArray[Any]:
    import numpy as np

    scale, zero = detail["quantization"]
    if not scale:
        return array
    limits = np.iinfo(detail["dtype"])
    scaled = np.rint(array / scale) + zero
    integers: npt.NDArray[Any] = np.clip(scaled, limits.min, limits.max).astype(detail["dtype"])
    return integers


def _to_real(array: npt.NDArray[Any], detail: _Detail) -> npt.NDArray[Any]:
    import numpy as np

    scale, zero = detail["quantization"]
    return (array.astype(np.float32) - zero) * np.float32(scale) if scale else array


def open_interpreter(path: Path, runtime: Runtime) -> Interpreter:
    """Open a TFLite model.

    Raises:
        ImportError: LiteRT is not installed.
        ValueError: the file is no TFLite model, or its path no Unicode.
    """
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    interpreter = LiteRT(model_path=unicode_of(path), num_threads=runtime.threads)
    interpreter.allocate_tensors()
    return Interpreter(interpreter)
