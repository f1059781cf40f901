"""What a user says about a model: its files, data, metric, recipe and the conditions it ships under."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from pytest_onnxlite.errors import OnnxliteError, hide_mistakes
from pytest_onnxlite.metrics import Metric, as_metric
from pytest_onnxlite.spec.dataset import Array, Dataset, Inputs, as_inputs
from pytest_onnxlite.spec.given import as_path, as_variants, require_name
from pytest_onnxlite.spec.recipes import DynamicInt8, Made, OtherRuntime, Recipe, StaticInt8, require_switch
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.spec.scenarios import Scenario, as_scenarios, unknown_scenario
from pytest_onnxlite.spec.stateful import Stateful

__tracebackhide__ = hide_mistakes


def _is_model(trained: Any) -> bool:
    return callable(trained) or any(callable(getattr(trained, name, None)) for name in ("predict", "predict_proba"))


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """What a team releases, described once.

    Args:
        name: stands for the model in reports and in `baselines/<name>/`: letters, digits, `.`, `_`, `-`.
        trained: the trained model: a `.keras` or `.h5` file, a SavedModel folder, a `keras.Model`; or anything that
            can be called with a batch and returns outputs: a PyTorch module in eval mode, a scikit-learn estimator, a
            function. What is only called cannot be converted: give `onnx` as well.
        evaluation: the samples, with labels, on which accuracy is counted.
        calibration: inputs that a static recipe calibrates with, such as a few hundred of the training samples; the
            dynamic one needs none.
        metric: how good outputs are: `top1` to `top9`, the share of samples whose label is among the highest
            outputs; `positions`, the share of each sample's labels that are right; `f1`, `f1_macro`; `wer` of texts; `map` and
            `map50` of boxes; `mae`, `mse` and `r2` of regressions; `cosine`, how far outputs point where the reference
            variant's do; `agreement`, the share of its answers that are the reference variant's; `kl`, how far the
            distribution on the last axis is from its; a function `(outputs, labels) -> one number, or one for each sample`,
            higher being better; or a `Metric`. Without labels, `top1` to `r2` compare with the outputs of the reference variant.
        recipe: how the INT8 variant is made: `DynamicInt8(...)` or `StaticInt8(...)`. If none is named: static for
            a model with convolutions where calibration data is given, else dynamic.
        batch_size: samples per inference in production; accuracy, latency and memory are judged at it.
        batched: whether the first dim of the model's inputs and outputs counts samples; where False, the model
            takes one sample as it is.
        threads: intra-op threads in production; short for `runtime=Runtime(threads=...)`.
        output: the output that the metric reads, where the model has several.
        custom_objects: Keras layers or functions of yours, by the name they were saved under.
        onnx: a float ONNX file of your own; it is used as it is instead of being converted.
        int8: an INT8 ONNX file of your own; it is used as it is instead of being quantized.
        variants: more variants, by names of yours: a recipe (`Float16(...)`, `WeightOnly(...)`, `StaticInt8(...)`,
            `DynamicInt8(...)`) that makes one from the float model here, an `.onnx` or `.tflite` file of your own, or
            `Variant("int8", runtime=Runtime(...))`, the file of another one that is run otherwise. A test takes one as
            `onnxlite_variant`, parametrized by its name.
        scenarios: by name, what else the model is fed with where latency and memory are judged, such as
            `{"long": Scenario(length=512)}` for `onnxlite_latency(scenario="long")`.
        runtime: how its files are run in production: providers, threads, options, custom operators.
        stateful: that the ONNX files are run step by step, and what their state is.

    Raises:
        OnnxliteError: an unusable name, a file that is not there, nothing to guard, or a value out of range.
    """

    name: str
    trained: Any = None
    evaluation: Dataset | None = None
    calibration: Inputs | None = None
    metric: str | Metric | Callable[[Array, Array], Any] = "top1"
    recipe: Recipe | None = None
    batch_size: int = 1
    threads: int = 1
    batched: bool = True
    output: str | None = None
    custom_objects: Mapping[str, object] = field(default_factory=dict)
    onnx: str | os.PathLike[str] | None = None
    int8: str | os.PathLike[str] | None = None
    variants: Mapping[str, object] = field(default_factory=dict)
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)
    stateful: Stateful | None = None

    def __post_init__(self) -> None:
        require_name(self.name)
        if self.evaluation is not None and not isinstance(self.evaluation, Dataset):
            raise OnnxliteError(
                f"ModelSpec({self.name!r}): evaluation is a {type(self.evaluation).__name__}; expected Dataset(x, y)."
            )
        try:
            _ = self.rating
        except ValueError as error:
            raise OnnxliteError(f"ModelSpec({self.name!r}): {error}") from None
        self._take_how_it_runs()
        variants = as_variants(self.variants, f"ModelSpec({self.name!r})")
        object.__setattr__(self, "variants", variants)
        sources = [made.of if isinstance(made, OtherRuntime) else made for made in variants.values()]
        has_file = any(isinstance(source, Path) for source in sources)
        if self.trained is None and self.onnx is None and self.int8 is None and not has_file:
            raise OnnxliteError(
                f"ModelSpec({self.name!r}) names no model: give trained= (a .keras or .h5 file, a SavedModel "
                "folder or a keras.Model), onnx=, int8= or a file in variants=."
            )
        if isinstance(self.trained, (str, os.PathLike)):
            path = as_path(self.trained, f"ModelSpec({self.name!r}) trained", folder=True)
            if path.is_file() and path.suffix not in (".keras", ".h5", ".hdf5"):
                raise OnnxliteError(
                    f"ModelSpec({self.name!r}): trained={str(path)!r} is not a kind of trained model that is known; expected "
                    "a .keras or .h5 file or a SavedModel folder. An ONNX file goes to onnx= or int8=."
                )
            object.__setattr__(self, "trained", path)
        elif self.trained is not None and not _is_model(self.trained):
            raise OnnxliteError(
                f"ModelSpec({self.name!r}): trained= is a {type(self.trained).__name__}; expected a path to a .keras or .h5 "
                "file or a SavedModel folder, a keras.Model, a PyTorch module in eval mode, a scikit-learn estimator, or a "
                "callable from inputs to outputs."
            )
        for key in ("onnx", "int8"):
            if getattr(self, key) is not None:
                path = as_path(getattr(self, key), f"ModelSpec({self.name!r}) {key}")
                object.__setattr__(self, key, path)
        self._take_scenarios()
        if self.calibration is not None:
            object.__setattr__(self, "calibration", as_inputs(self.calibration, "calibration"))

    def _take_how_it_runs(self) -> None:
        if self.recipe is not None and not isinstance(self.recipe, (DynamicInt8, StaticInt8)):
            raise OnnxliteError(
                f"ModelSpec({self.name!r}): recipe={self.recipe!r}; expected DynamicInt8(...) or StaticInt8(...)."
            )
        for key in ("batch_size", "threads"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise OnnxliteError(f"ModelSpec({self.name!r}): {key}={value!r}; expected a whole number from 1.")
        self._take_words()
        object.__setattr__(self, "runtime", self._whole_runtime())
        object.__setattr__(self, "threads", self.runtime.threads)
        if not self.batched and self.batch_size != 1:
            raise OnnxliteError(
                f"ModelSpec({self.name!r}): batched=False is a model that takes one sample, and batch_size={self.batch_size} "
                "runs several at once; leave one of the two out."
            )

    def _take_words(self) -> None:
        where = f"ModelSpec({self.name!r})"
        require_switch(f"{where}: batched", self.batched)
        if self.output is not None and (not isinstance(self.output, str) or not self.output):
            raise OnnxliteError(f"{where}: output={reprlib.repr(self.output)}; expected the name of an output.")
        if not isinstance(self.custom_objects, Mapping):
            raise OnnxliteError(
                f"{where}: custom_objects={reprlib.repr(self.custom_objects)}; expected Keras layers or functions by name."
            )

    def _take_scenarios(self) -> None:
        where = f"ModelSpec({self.name!r})"
        if self.stateful is not None and not isinstance(self.stateful, Stateful):
            raise OnnxliteError(f"{where}: stateful={self.stateful!r}; expected Stateful(state=...).")
        scenarios = {
            name: scenario
            if scenario.inputs is None
            else replace(scenario, inputs=as_inputs(scenario.inputs, f"{where}: the scenario {name!r}: inputs"))
            for name, scenario in as_scenarios(self.scenarios, where, self.batched).items()
        }
        object.__setattr__(self, "scenarios", scenarios)

    @property
    def made(self) -> dict[str, Made]:
        """How its named variants are made: by a recipe, given as a file, or the file of another one, run otherwise."""
        return cast("dict[str, Made]", self.variants)

    def runtime_of(self, kind: str) -> Runtime:
        """Return how the file of a variant is run: as the variant itself says, else as the model does."""
        made = self.variants.get(kind)
        return made.runtime if isinstance(made, OtherRuntime) else self.runtime

    def file_of(self, kind: str) -> str:
        """Return the variant whose file another one is that is run otherwise; empty if it has its own."""
        made = self.variants.get(kind)
        return made.of if isinstance(made, OtherRuntime) and isinstance(made.of, str) else ""

    def run_with(self, table: Mapping[str, object], folder: Path) -> ModelSpec:
        """Return the same model with what a table of pyproject.toml says of its runtime; see `Runtime.with_fields`."""
        runtime = self.runtime.with_fields(table, folder)
        return replace(self, runtime=runtime, threads=runtime.threads)

    def _whole_runtime(self) -> Runtime:
        """Return how its files are run, with the threads, which can be said in two places."""
        if not isinstance(self.runtime, Runtime):
            raise OnnxliteError(
                f"ModelSpec({self.name!r}): runtime is a {type(self.runtime).__name__}; expected Runtime(...)."
            )
        if self.threads in (1, self.runtime.threads):
            return self.runtime
        if self.runtime.threads != 1:
            raise OnnxliteError(
                f"ModelSpec({self.name!r}): threads={self.threads} and runtime=Runtime(threads={self.runtime.threads}); say it in "
                "one place."
            )
        return self.runtime.with_threads(self.threads)

    def scenario(self, name: str) -> Scenario:
        """Return a scenario.

        Raises:
            OnnxliteError: there is none of that name.
        """
        if name in self.scenarios:
            return self.scenarios[name]
        raise OnnxliteError(f"ModelSpec({self.name!r}): {unknown_scenario(name, self.scenarios)}")

    @property
    def rating(self) -> Metric:
        """The metric that `metric` means."""
        return as_metric(self.metric)
