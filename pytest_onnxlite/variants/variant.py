"""One form of a model: its kind, its file, its size, and how to run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.spec import Array, Inputs, count_samples, take
from pytest_onnxlite.variants.sessions import (
    TensorInfo,
    fixed_batch,
    open_session,
    session_inputs,
    session_outputs,
    to_feeds,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Outputs = dict[str, Array]

# Large enough to be quick; a float model's answers do not depend on how samples are split.
_TRAINED_BATCH = 256


class Variant(ABC):
    """A form of a model that a fixture returns.

    Attributes:
        model: the model's name.
        kind: `trained`, `onnx` or `int8`.
        path: the model's file or folder.
    """

    def __init__(self, model: str, kind: str, path: Path) -> None:
        self.model = model
        self.kind = kind
        self.path = path

    def __repr__(self) -> str:
        return f"<{self.kind} variant of {self.model}: {self.path}>"

    @property
    @abstractmethod
    def inputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model is fed: names, dtypes, shapes."""

    @abstractmethod
    def run(self, inputs: Inputs, batch_size: int) -> Outputs:
        """Run all samples, `batch_size` at a time.

        Returns:
            The outputs by name, the first axis counting samples.

        Raises:
            OnnxliteError: the inputs do not fit, the run fails, or an output holds NaN or infinity.
        """

    @property
    def size(self) -> int:
        """Bytes on disk of the file, or of all files of the folder."""
        if self.path.is_dir():
            return sum(f.stat().st_size for f in self.path.rglob("*") if f.is_file())
        return self.path.stat().st_size

    def predict(self, inputs: Inputs, *, batch_size: int | None = None) -> Array | Outputs:
        """Run the model on samples.

        Args:
            inputs: one array, the first axis counting samples, or arrays by input name.
            batch_size: samples per run; all at once where None.

        Returns:
            The output, or outputs by name where the model has several.

        Raises:
            OnnxliteError: the inputs do not fit, the run fails, or an output holds NaN or infinity.
        """
        outputs = self.run(inputs, batch_size or count_samples(inputs))
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def inputs(self, **options: Any) -> SearchStrategy[dict[str, Array]]:
        """Return a Hypothesis strategy of feeds: arrays by input name, extremes included.

        Args:
            options: those of `pytest_onnxlite.graph.strategies.inputs_for`, such as `extremes=False`.

        Raises:
            ValueError: an input has a dtype that has no arrays.
        """
        from pytest_onnxlite.graph import Signature, TensorSignature
        from pytest_onnxlite.graph.strategies import inputs_for

        # ONNX calls float32 FLOAT, and the others by numpy's names in capitals.
        names = {"float32": "FLOAT", "float64": "DOUBLE"}
        tensors = tuple(
            TensorSignature(info.name, names.get(info.dtype, info.dtype.upper()), info.shape)
            for info in self.inputs_info
        )
        return inputs_for(Signature(tensors, ()), **options)

    def _checked(self, parts: list[Outputs]) -> Outputs:
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                finite = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
                raise OnnxliteError(
                    f"{self.model} {self.kind}: output {name!r} holds NaN or infinity for "
                    f"{int((~finite).sum())} of {len(array)} samples, first in sample {int(np.argmin(finite))}. "
                    f"No metric of such a model means anything. Run {self.path.name} on that sample, look for "
                    "a weight or an activation that overflows, and train or convert it again."
                )
        return outputs


class OnnxVariant(Variant):
    """A variant that ONNX Runtime runs."""

    def __init__(self, model: str, kind: str, path: Path, *, threads: int = 1) -> None:
        super().__init__(model, kind, path)
        self.threads = threads

    @cached_property
    def _session(self) -> Any:
        try:
            return open_session(self.path, self.threads)
        except Exception as error:
            raise OnnxliteError(
                f"{self.model} {self.kind}: ONNX Runtime cannot load {self.path}: {first_line(error)}"
            ) from None

    def release(self) -> None:
        """Close the session, so that nothing of it stands beside a measurement; it reopens when needed."""
        self.__dict__.pop("_session", None)

    @property
    def inputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model is fed: names, dtypes, shapes."""
        return session_inputs(self._session)

    @property
    def outputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model gives back: names, dtypes, shapes."""
        return session_outputs(self._session)

    def feeds(self, inputs: Inputs) -> dict[str, Array]:
        """Return what `session.run` is fed with these samples.

        Raises:
            OnnxliteError: the samples do not fit the model's inputs.
        """
        try:
            return to_feeds(inputs, self.inputs_info)
        except ValueError as error:
            raise OnnxliteError(f"{self.model} {self.kind}: {error}.") from None

    def run(self, inputs: Inputs, batch_size: int) -> Outputs:
        """Run all samples; see `Variant.run`."""
        feeds = self.feeds(inputs)
        session = self._session
        frozen = fixed_batch(self.inputs_info)
        if frozen is not None and frozen != batch_size:
            raise OnnxliteError(
                f"{self.model} {self.kind}: {self.path.name} takes batches of {frozen} only, and is run with "
                f"{batch_size}. Give batch_size={frozen}, or export the model with a dynamic first dim."
            )
        names = [info.name for info in self.outputs_info]
        parts = []
        for start in range(0, count_samples(feeds), batch_size):
            batch = take(feeds, slice(start, start + batch_size))
            try:
                values = session.run(names, batch)
            except Exception as error:
                raise OnnxliteError(
                    f"{self.model} {self.kind}: ONNX Runtime fails to run {self.path.name} on samples "
                    f"{start} to {start + batch_size - 1}: {first_line(error)}"
                ) from None
            for name, value in zip(names, values, strict=True):
                if not isinstance(value, np.ndarray) or value.ndim == 0 or len(value) != count_samples(batch):
                    raise OnnxliteError(
                        f"{self.model} {self.kind}: output {name!r} has shape {np.shape(value)} for a batch of "
                        f"{count_samples(batch)}; expected the samples on its first axis."
                    )
            parts.append(dict(zip(names, values, strict=True)))
        return self._checked(parts)


class TrainedVariant(Variant):
    """A variant that Keras runs; TensorFlow loads when it is first asked for something that is not cached.

    Args:
        load: returns the program, `(list of arrays) -> outputs by name`.
        inputs_info: what the model is fed, known without loading it.
        path: the file the user gave, or one we saved for a model in memory.
    """

    def __init__(
        self,
        model: str,
        path: Path,
        inputs_info: tuple[TensorInfo, ...],
        load: Callable[[], Callable[[list[Array]], Outputs]],
    ) -> None:
        super().__init__(model, "trained", path)
        self._inputs_info = inputs_info
        self._load = load

    @property
    def inputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model is fed: names, dtypes, shapes."""
        return self._inputs_info

    def run(self, inputs: Inputs, batch_size: int = _TRAINED_BATCH) -> Outputs:
        """Run all samples; see `Variant.run`."""
        try:
            feeds = to_feeds(inputs, self.inputs_info)
        except ValueError as error:
            raise OnnxliteError(f"{self.model} trained: {error}.") from None
        call = self._load()
        parts = []
        for start in range(0, count_samples(feeds), batch_size):
            batch = take(feeds, slice(start, start + batch_size))
            assert isinstance(batch, dict)
            parts.append(call([batch[info.name] for info in self.inputs_info]))
        return self._checked(parts)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
