"""One small real model of each kind of layer: trained a little, converted, quantized and judged."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, StaticInt8
from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.accuracy.measurement import Score
from pytest_onnxlite.spec.recipes import Recipe
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache

from emulation import JUDGED_ON, run_on
from projects import once

keras = pytest.importorskip("keras", reason="TensorFlow is not installed")
layers = keras.layers

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(48, 12, 12, 3)).astype(np.float32)
LINES = RNG.normal(size=(48, 20, 6)).astype(np.float32)
VOLUMES = RNG.normal(size=(48, 6, 6, 6, 2)).astype(np.float32)
ROWS = RNG.normal(size=(48, 10)).astype(np.float32)
TOKENS = RNG.integers(0, 30, (48, 12)).astype(np.int32)


def through(shape: tuple[int, ...], *stack: Any, dtype: str = "float32") -> Any:
    return keras.Sequential([keras.Input(shape, name="x", dtype=dtype), *stack, layers.Flatten(), layers.Dense(3)])


def residual() -> Any:
    x = keras.Input((12, 12, 3), name="x")
    a = layers.Conv2D(8, 3, padding="same")(x)
    b = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", activation="relu")(a))
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Add()([a, b]))))


def attention() -> Any:
    x = keras.Input((20, 6), name="x")
    a = layers.MultiHeadAttention(2, 4)(x, x)
    return keras.Model(
        x, layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.LayerNormalization()(layers.Add()([a, x]))))
    )


def shared() -> Any:
    x = keras.Input((10,), name="x")
    dense = layers.Dense(10, activation="relu")
    return keras.Model(x, layers.Dense(3)(dense(dense(x))))


def nested() -> Any:
    inner = keras.Sequential([keras.Input((10,)), layers.Dense(8, activation="relu")], name="inner")
    x = keras.Input((10,), name="x")
    return keras.Model(x, layers.Dense(3)(inner(x)))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):  # type: ignore[misc,name-defined]
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.hidden = layers.Dense(8, activation="relu")
        self.answer = layers.Dense(3)

    def call(self, x: Any) -> Any:
        return self.answer(self.hidden(x))


@keras.saving.register_keras_serializable("tests")
class Scaled(layers.Layer):  # type: ignore[misc,name-defined]
    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x: Any) -> Any:
        return x * self.scale


MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "dense": (lambda: through((10,), layers.Dense(16, activation="relu")), ROWS),
    "conv1d": (lambda: through((20, 6), layers.Conv1D(8, 3, activation="relu")), LINES),
    "conv2d": (lambda: through((12, 12, 3), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D()), IMAGES),
    "conv3d": (lambda: through((6, 6, 6, 2), layers.Conv3D(4, 3, activation="relu")), VOLUMES),
    "depthwise": (lambda: through((12, 12, 3), layers.DepthwiseConv2D(3), layers.ReLU()), IMAGES),
    "separable": (lambda: through((12, 12, 3), layers.SeparableConv2D(8, 3), layers.ReLU()), IMAGES),
    "transposed": (lambda: through((12, 12, 3), layers.Conv2DTranspose(4, 3, strides=2)), IMAGES),
    "batch norm": (
        lambda: through((12, 12, 3), layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU()),
        IMAGES,
    ),
    "layer norm": (lambda: through((10,), layers.Dense(16), layers.LayerNormalization()), ROWS),
    "embedding": (lambda: through((12,), layers.Embedding(30, 8), dtype="int32"), TOKENS),
    "lstm": (lambda: through((20, 6), layers.LSTM(8)), LINES),
    "gru": (lambda: through((20, 6), layers.GRU(8)), LINES),
    "bidirectional": (lambda: through((20, 6), layers.Bidirectional(layers.LSTM(8))), LINES),
    "attention": (attention, LINES),
    "residual": (residual, IMAGES),
    "shared": (shared, ROWS),
    "nested": (nested, ROWS),
    "rescaling": (lambda: through((12, 12, 3), layers.Rescaling(1 / 255), layers.Conv2D(8, 3)), IMAGES * 255),
    "normalization": (lambda: through((10,), layers.Normalization(mean=1.0, variance=4.0), layers.Dense(8)), ROWS),
    "custom": (lambda: through((10,), Scaled(), layers.Dense(8)), ROWS),
    "no input": (lambda: keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(3)]), ROWS),
    "subclassed": (Subclassed, ROWS),
}


RECIPES = (DynamicInt8(), StaticInt8())
# One or two of each family; the others are for .ci/thorough.
FEW = {
    "dense",
    "conv2d",
    "depthwise",
    "batch norm",
    "embedding",
    "lstm",
    "bidirectional",
    "attention",
    "custom",
    "no input",
    "subclassed",
}
EACH = [name if name in FEW else pytest.param(name, marks=pytest.mark.thorough) for name in MODELS]


@dataclass(frozen=True)
class Trained:
    """A trained model, its inputs, and what it answers to them."""

    path: Path
    x: Any
    answers: npt.NDArray[np.float32]

    def builder(self, recipe: Recipe, cache: Path) -> Builder:
        spec = ModelSpec(
            "layer",
            trained=self.path,
            evaluation=Dataset(self.x),
            calibration=self.x,
            metric="cosine",
            recipe=recipe,
            batch_size=len(self.x),
            custom_objects={"Scaled": Scaled},
        )
        return Builder(spec, Cache(cache), lambda _: None)


def trained(name: str, folder: Path) -> Trained:
    """Train a model a little, once for all workers; operators are run one by one, since tracing takes longer than this."""
    make, x = MODELS[name]
    folder = folder / "layers"
    folder.mkdir(exist_ok=True)
    path, answers = folder / (name if name == "subclassed" else f"{name}.keras"), folder / f"{name}.npy"

    def train() -> None:
        keras.utils.set_random_seed(0)
        model = make()
        model.compile("adam", "mse", run_eagerly=True)
        model.fit(x, np.random.default_rng(1).normal(size=(len(x), 3)), epochs=1, verbose=0)
        if name == "subclassed":
            model.export(path, verbose=False)
        else:
            model.save(path)
        np.save(answers, np.asarray(model(x, training=False)))

    once(path, train)
    return Trained(path, x, np.load(answers))


@pytest.mark.parametrize("name", EACH)
def test_each_kind_of_layer_is_converted_quantized_and_judged(
    name: str, shared_folder: Path, shared_cache: Path
) -> None:
    model = trained(name, shared_folder)
    for recipe in RECIPES:
        builder = model.builder(recipe, shared_cache)
        difference = np.abs(builder.onnx.predict(model.x) - model.answers).max()  # type: ignore[operator]
        assert difference < 1e-3 * max(1, np.abs(model.answers).max())
        found = accuracy.measure(builder, builder.int8, len(model.x))
        assert isinstance(found, Score)
        assert found.value > 0.98, (recipe, found.value)


_OUTPUTS = """
import sys, numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
for model in sys.argv[1:]:
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (name,) = (value.name for value in session.get_inputs())
    np.save(f"{model}.npy", session.run(None, {name: np.load(f"{model}.x.npy")})[0])
"""


@pytest.mark.int8_judged
@pytest.mark.skipif(not JUDGED_ON, reason="no other processor was asked for")
@pytest.mark.parametrize(
    "names",
    [
        ("conv2d", "lstm", "attention"),
        pytest.param(tuple(MODELS), marks=pytest.mark.thorough),
    ],
    ids=["one of each family", "all"],
)
def test_they_are_as_good_on_the_other_processor(
    names: Sequence[str], shared_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    """One emulated process runs all: to start one takes longer than to run them."""
    expected = {}
    for name in names:
        model = trained(name, shared_folder)
        for recipe in RECIPES:
            path = tmp_path / f"{name} {type(recipe).__name__}.onnx"
            shutil.copyfile(model.builder(recipe, shared_cache).int8.path, path)
            np.save(f"{path}.x.npy", model.x)
            expected[path] = model.answers
    run_on(JUDGED_ON, _OUTPUTS, *expected)
    scores = {path.stem: cosine(np.load(f"{path}.npy"), answers) for path, answers in expected.items()}
    assert {name: score for name, score in scores.items() if not score > 0.98} == {}


def cosine(got: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((got * expected).sum(1) / lengths).mean())


SCALE = """
import keras

class Scale(keras.layers.Layer):
    def call(self, x):
        return x * 2.0
"""


def test_a_layers_code_is_content_and_what_has_none_is_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    x = np.ones((4, 3), np.float32)
    path = tmp_path / "scaled.keras"

    def built(text: str, layer: Any = None) -> tuple[Builder, float]:
        (tmp_path / "layer_of_test_code.py").write_text(text)
        sys.modules.pop("layer_of_test_code", None)
        importlib.invalidate_caches()
        layer = layer or importlib.import_module("layer_of_test_code").Scale
        if not path.exists():
            keras.Sequential([keras.Input((3,)), layer()]).save(path)
        spec = ModelSpec("scaled", trained=path, evaluation=Dataset(x), metric="mae", custom_objects={"Scale": layer})
        builder = Builder(spec, Cache(tmp_path / "cache"), lambda _: None)
        return builder, float(next(iter(builder.outputs(builder.trained, 1).values()))[0, 0])

    assert built(SCALE)[1] == 2
    assert built(SCALE.replace("2.0", "3.0"))[1] == 3
    entries = {entry.name for entry in (tmp_path / "cache").glob("trained-*")}
    assert len(entries) == 2
    assert built(SCALE)[1] == 2
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(SCALE.replace("2.0", "5.0"), space)
    builder, value = built(SCALE, space["Scale"])
    assert value == 5
    assert "built anew in each run: Scale" in builder.recipe_text("trained")
    assert {entry.name for entry in (tmp_path / "cache").glob("trained-*")} == entries
