"""One form of a model: its kind, its file, its size, and how to run it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_onnxlite.errors import OnnxliteError, hide_mistakes
from pytest_onnxlite.runtime.arrays import join
from pytest_onnxlite.runtime.interruption import TooLong, interruptible
from pytest_onnxlite.runtime.sessions import (
    TensorInfo,
    fixed_batch,
    one_run,
    open_session,
    pair_inputs,
    session_inputs,
    session_outputs,
    to_feeds,
)
from pytest_onnxlite.runtime.values import Columns, as_arrays
from pytest_onnxlite.spec.dataset import Array, Inputs, as_inputs, count_samples, take
from pytest_onnxlite.spec.recipes import OtherRuntime
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.deadline import check_time

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__tracebackhide__ = hide_mistakes

Outputs = dict[str, Array]


class Variant:
    """A form of a model that a fixture returns; or, called by itself, one for `ModelSpec(variants=...)`.

    `Variant("onnx", runtime=Runtime(...))` is the file of the variant that is named, run otherwise: see `OtherRuntime`.

    Attributes:
        model: the model's name.
        kind: `trained`, `onnx`, `int8`, `tflite` or `tflite_int8`.
        has_file: whether it is a file or folder; a trained model that can only be called is not.
        batched: whether the model's first dim counts samples.
    """

    def __new__(cls, *given: Any, **named: Any) -> Any:
        """Return what a spec takes, where no form of a model is made but one is described."""
        return OtherRuntime(*given, **named) if cls is Variant else super().__new__(cls)

    def _describe(self, model: str, kind: str, path: Path | None, batched: bool) -> None:
        self.model = model
        self.kind = kind
        self.has_file = path is not None
        self.batched = batched
        self._path = path
        self._is_other_release = False

    def __repr__(self) -> str:
        return f"<{self.kind} variant of {self.model}: {self._path or 'a callable'}>"

    @property
    def path(self) -> Path:
        """The model's file or folder.

        Raises:
            OnnxliteError: there is none.
        """
        if self._path is None:
            raise OnnxliteError(f"{self.model} {self.kind}: the model is something that is called, and has no file.")
        return self._path

    @property
    def inputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model is fed: names, dtypes, shapes."""
        raise NotImplementedError

    def run(self, inputs: Inputs, batch_size: int) -> Outputs:
        """Run all samples, `batch_size` at a time.

        Returns:
            The outputs by name, the first axis counting samples.

        Raises:
            OnnxliteError: the inputs do not fit, the run fails, or an output holds NaN or infinity.
        """
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Bytes of the file, of the external data that it refers to, or of all files of the folder.

        Raises:
            OnnxliteError: external data is missing, cut short, or outside of the model's folder.
        """
        from pytest_onnxlite.variants.external import size_of

        return size_of(self.path)[0]

    @property
    def graph(self) -> Any:
        """The ONNX graph's summary: operators, weights by dtype, what is in float and why.

        Raises:
            OnnxliteError: the variant is no ONNX file.
        """
        if self.path.suffix != ".onnx":
            raise OnnxliteError(f"{self.model} {self.kind}: {self.path.name} is no ONNX file, and has no ONNX graph.")
        from pytest_onnxlite.lint import summarize

        return summarize(self.path)

    def predict(self, inputs: Inputs, *, batch_size: int | None = None) -> Array | Outputs:
        """Run the model on samples.

        Args:
            inputs: one array, the first axis counting samples, or arrays by input name; a list of arrays where
                samples differ in length.
            batch_size: samples per run; all at once where None, where the model has a batch dimension.

        Returns:
            The output, or outputs by name where the model has several.

        Raises:
            OnnxliteError: the inputs do not fit, the run fails, or an output holds NaN or infinity.
        """
        samples = as_inputs(inputs, "inputs")
        outputs = self.run(samples, batch_size or (count_samples(samples) if self.batched else 1))
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def inputs(self, **options: Any) -> SearchStrategy[dict[str, Array]]:
        """Return a Hypothesis strategy of feeds: arrays by input name, extremes included.

        Args:
            options: those of `pytest_onnxlite.strategies.inputs_for`, such as `extremes=False`.

        Raises:
            ValueError: an input has a dtype that has no arrays.
        """
        from pytest_onnxlite.lint import Signature, TensorSignature
        from pytest_onnxlite.strategies import inputs_for

        # ONNX calls float32 FLOAT, and the others by numpy's names in capitals.
        names = {"float32": "FLOAT", "float64": "DOUBLE"}
        infos = self.inputs_info
        tensors = tuple(TensorSignature(i.name, names.get(i.dtype, i.dtype.upper()), i.shape) for i in infos)
        return inputs_for(Signature(tensors, ()), **options)

    def as_feeds(self, inputs: Inputs) -> dict[str, Array]:
        """Name and cast samples; the first axis still counts them.

        Raises:
            OnnxliteError: the samples do not fit the model's inputs.
        """
        try:
            if self._is_other_release and isinstance(inputs, Mapping):
                first = one_run({name: array[:1] for name, array in inputs.items()}, self.batched)
                pairs = pair_inputs(first, self.inputs_info, sized=not self.batched)
                inputs = {name: inputs[pairs[name]] for name in pairs}
            return to_feeds(inputs, self.inputs_info, self.batched)
        except ValueError as error:
            raise OnnxliteError(f"{self.model} {self.kind}: {error}.") from None

    def _batches(self, feeds: dict[str, Array], batch_size: int) -> Iterator[tuple[int, dict[str, Array]]]:
        """Yield what the model is fed with, run by run, with the number of its first sample.

        Raises:
            OnnxliteError: the samples do not fit into one run, or a time limit ran out (`OutOfTime`).
        """
        for start in range(0, count_samples(feeds), batch_size):
            check_time()
            batch = take(feeds, slice(start, start + batch_size))
            assert isinstance(batch, dict)
            try:
                yield start, one_run(batch, self.batched)
            except ValueError as error:
                raise OnnxliteError(f"{self.model} {self.kind}: {error}.") from None

    def _joined(self, parts: list[Outputs], batch_size: int, total: int) -> Outputs:
        """Join the outputs of all runs.

        Raises:
            OnnxliteError: an output does not count samples on its first axis, or holds NaN or infinity.
        """
        return self.finite(self.join(parts, batch_size, total))

    def finite(self, outputs: Outputs) -> Outputs:
        """Return outputs that hold numbers alone.

        Raises:
            OnnxliteError: one holds NaN or infinity.
        """
        for name, array in outputs.items():
            self.require_finite(name, array)
        return outputs

    def join(self, parts: list[Outputs], batch_size: int, total: int) -> Outputs:
        """Join the outputs of all runs, whatever numbers they hold.

        Args:
            parts: the outputs of each run, by name.
            batch_size: samples per run; the last run may have fewer.
            total: samples of all runs.

        Raises:
            OnnxliteError: an output does not count samples on its first axis.
        """
        outputs = {}
        for name in parts[0]:
            arrays = [np.asarray(part[name]) for part in parts]
            if self.batched:
                for start, array in zip(range(0, total, batch_size), arrays, strict=True):
                    wanted = min(batch_size, total - start)
                    if array.ndim == 0 or len(array) != wanted:
                        raise OnnxliteError(
                            f"{self.model} {self.kind}: output {name!r} has shape {array.shape} for a batch of {wanted}; "
                            "expected the samples on its first axis. Where the model has no batch dimension, say "
                            "ModelSpec(batched=False)."
                        )
            outputs[name] = join(arrays, self.batched)
        return outputs

    def require_finite(self, name: str, array: Array) -> None:
        """Check that an output holds numbers alone.

        Raises:
            OnnxliteError: it holds NaN or infinity.
        """
        if array.dtype.kind not in "fO":
            return
        if array.dtype == object:
            finite: Any = np.array([bool(np.isfinite(sample).all()) for sample in array])
        else:
            finite = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if not finite.all():
            from pytest_onnxlite.variants.float_faults import why_not_finite

            places = f"{int((~finite).sum())} of {len(array)} samples, first in sample {int(np.argmin(finite))}. "
            raise OnnxliteError(
                f"{self.model} {self.kind}: output {name!r} holds NaN or infinity for {places}"
                f"No metric of such a model means anything. {why_not_finite(self._path)}"
            )


class RuntimeVariant(Variant, ABC):
    """A variant whose file a runtime loads: it can be timed, and its memory measured."""

    def __init__(self, model: str, kind: str, path: Path, runtime: Runtime, *, batched: bool = True) -> None:
        self._describe(model, kind, path, batched)
        self.runtime = runtime
        # The inference under way: when it began, and its first sample.
        self._began: tuple[float, int] | None = None

    @property
    @abstractmethod
    def outputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model gives back: names, dtypes, shapes."""

    @abstractmethod
    def _run_once(self, feeds: dict[str, Array]) -> Outputs:
        """Run one batch; what the runtime raises passes through."""

    def _cannot_load(self, library: str, error: Exception) -> OnnxliteError:
        return OnnxliteError(f"{self.model} {self.kind}: {library} cannot load {self.path}: {first_line(error)}")

    def _prepare_to_end(self) -> None:
        """Forget how the inference before was ended."""
        self._began = None

    def _end_inference(self) -> None:
        """Let the inference under way end, where the runtime can."""

    def release(self) -> None:
        """Close the session, so that nothing of it disturbs a measurement; it reopens when needed."""
        self.__dict__.pop("_session", None)

    def feeds(self, inputs: Inputs) -> dict[str, Array]:
        """Return what the model is fed with in one run of all these samples.

        Raises:
            OnnxliteError: the samples do not fit the model's inputs, or not into one batch.
        """
        feeds = self.as_feeds(inputs)
        ((_, run),) = self._batches(feeds, count_samples(feeds))
        return run

    def run(self, inputs: Inputs, batch_size: int) -> Outputs:
        """Run all samples; see `Variant.run`."""
        return self.finite(self.answer(inputs, batch_size))

    def answer(self, inputs: Inputs, batch_size: int) -> Outputs:
        """Run all samples, whatever numbers come out; else see `Variant.run`."""
        feeds = self.as_feeds(inputs)
        frozen = fixed_batch(self.inputs_info) if self.batched else 1
        if frozen is not None and frozen != batch_size:
            raise OnnxliteError(
                f"{self.model} {self.kind}: {self.path.name} takes batches of {frozen} only, and is run with "
                f"{batch_size}. Give batch_size={frozen}, or export the model with a dynamic first dim."
            )
        self._prepare_to_end()
        try:
            parts = interruptible(lambda: list(self.parts(feeds, batch_size)), lambda: self._began, self._end_inference)
        except TooLong as error:
            raise OnnxliteError(
                f"{self.model} {self.kind}: {self.path.name} was still running samples {error.first} to "
                f"{error.first + batch_size - 1} after {error.seconds:g} s and was stopped. Look for a loop in it that these "
                "samples never leave; if it needs longer, raise onnxlite_inference_time."
            ) from None
        return self.join(parts, batch_size, count_samples(feeds))

    def parts(self, feeds: dict[str, Array], batch_size: int) -> Iterator[Outputs]:
        """Yield the outputs of each run of `batch_size` samples, the last of which may have fewer.

        Args:
            feeds: samples by input name, of the dtypes that the model takes.
            batch_size: samples per run.

        Raises:
            OnnxliteError: the samples do not fit into one run, or the run fails.
        """
        for start, batch in self._batches(feeds, batch_size):
            self._began = time.monotonic(), start
            try:
                found = self._run_once(batch)
            except Exception as error:
                raise OnnxliteError(
                    f"{self.model} {self.kind}: {self.path.name} fails to run on samples "
                    f"{start} to {start + batch_size - 1}: {first_line(error)}"
                ) from None
            self._began = None
            yield found


class OnnxVariant(RuntimeVariant):
    """A variant that ONNX Runtime runs."""

    def __init__(self, model: str, kind: str, path: Path, runtime: Runtime, *, batched: bool = True) -> None:
        super().__init__(model, kind, path, runtime, batched=batched)
        self.columns: Columns = {}  # of outputs that are maps, by name: what each column stands for; known after a run

    def beside(self, path: Path) -> OnnxVariant:
        """Return another release of the same kind, to be run in the same way, whatever it calls its inputs."""
        other = OnnxVariant(self.model, self.kind, path, self.runtime, batched=self.batched)
        other._is_other_release = True
        return other

    @cached_property
    def _session(self) -> Any:
        try:
            return open_session(self.path, self.runtime)
        except Exception as error:
            raise self._cannot_load("ONNX Runtime", error) from None

    @property
    def inputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model is fed: names, dtypes, shapes."""
        return session_inputs(self._session)

    @property
    def outputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model gives back: names, dtypes, shapes."""
        return session_outputs(self._session)

    def _run_once(self, feeds: dict[str, Array]) -> Outputs:
        names = [info.name for info in self.outputs_info]
        found, columns = as_arrays(names, self._session.run(names, feeds, self._options))
        self.columns.update(columns)
        return found

    @cached_property
    def _options(self) -> Any:
        import onnxruntime

        return onnxruntime.RunOptions()

    def _prepare_to_end(self) -> None:
        super()._prepare_to_end()
        # Once set, its flag ends every run that is begun with it: so they have it before there is anybody to set it.
        self.__dict__.pop("_options", None)
        _ = self._options

    def _end_inference(self) -> None:
        # ONNX Runtime looks at it between two nodes, in loops and branches too.
        self._options.terminate = True
