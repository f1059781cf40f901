"""Real Keras models on their way to ONNX and INT8."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, OnnxliteError, StaticInt8
from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.accuracy.measurement import Accuracy
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.workspace import own_folder

keras = pytest.importorskip("keras", reason="TensorFlow is not installed")

X = np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype(np.float32)
Y = np.arange(64) % 3
Make = Callable[..., Builder]


@pytest.fixture
def build(tmp_path: Path) -> Make:
    def make(trained: Any, x: Any = X, y: Any = Y, cache: str = "cache", **options: Any) -> Builder:
        spec = ModelSpec("small", trained=trained, evaluation=Dataset(x, y), **options)
        return Builder(spec, Cache(tmp_path / cache), lambda _: None)

    return make


def small(seed: int = 0) -> Any:
    """Layers that behave differently in training: BatchNorm and Dropout."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(3, activation="softmax", name="digit"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, epochs=2, verbose=0)
    return model


@pytest.fixture(scope="module")
def model() -> Any:
    return small()


def save(model: Any, folder: Path, form: str) -> Any:
    if form == "memory":
        return model
    if form == "saved_model":
        model.export(folder / "exported", verbose=False)
        return folder / "exported"
    path = folder / f"model.{form}"
    model.save(path)
    return path


@pytest.mark.parametrize("form", ["keras", "h5", "saved_model", "memory"])
def test_every_form_of_a_trained_model(build: Make, model: Any, tmp_path: Path, form: str) -> None:
    builder = build(save(model, tmp_path, form))
    expected = model.predict(X, verbose=0)
    assert builder.trained.size > 1000
    for variant, tolerance in ((builder.trained, 1e-6), (builder.onnx, 1e-5), (builder.int8, 0.05)):
        found = variant.predict(X)
        assert isinstance(found, np.ndarray)
        assert np.abs(found - expected).max() < tolerance
    # Inference mode: nothing is left of Dropout's chance.
    assert np.array_equal(builder.onnx.predict(X), builder.onnx.predict(X))  # type: ignore[arg-type]


def test_names_are_kept_and_the_batch_is_dynamic(build: Make, model: Any) -> None:
    builder = build(model)
    for variant in (builder.onnx, builder.int8):
        (image,), (digit,) = variant.inputs_info, variant.outputs_info
        assert (image.name, image.shape) == ("image", ("batch", 8, 8, 1))
        assert (digit.name, digit.shape) == ("digit", ("batch", 3))
        assert len(variant.predict(X[:7])) == 7


def test_several_inputs_and_outputs_by_name(build: Make) -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((6,), name="right")
    joined = keras.layers.Concatenate()([left, right])
    outputs = [keras.layers.Dense(3, name="kind")(joined), keras.layers.Dense(2, name="colour")(joined)]
    x = {"right": X[:, 0, :6, 0], "left": X[:, 1, :4, 0]}
    builder = build(keras.Model([left, right], outputs), x, output="kind")
    assert [info.name for info in builder.onnx.inputs_info] == ["left", "right"]
    assert [info.name for info in builder.onnx.outputs_info] == ["kind", "colour"]
    expected = builder.trained.predict(x)
    found = builder.int8.predict(x)
    assert isinstance(expected, dict)
    assert isinstance(found, dict)
    for name in ("kind", "colour"):
        assert np.abs(found[name] - expected[name]).max() < 0.2


def test_a_state_starts_anew_with_each_batch(build: Make) -> None:
    """Its batch size is the model's; the ONNX file keeps no state, and gives the same answers."""
    steps = keras.Input(batch_shape=(1, 8, 8))
    model = keras.Model(steps, keras.layers.Dense(3)(keras.layers.SimpleRNN(5, stateful=True)(steps)))
    x = X[:6, :, :, 0]
    builder = build(model, x, None, metric="mae")
    expected = builder.trained.predict(x)
    assert np.array_equal(expected, builder.trained.predict(x))  # type: ignore[arg-type]
    assert np.allclose(builder.onnx.predict(x, batch_size=1), expected, atol=1e-5)  # type: ignore[arg-type]
    two = keras.Input(batch_shape=(4, 8, 8))
    model = keras.Model(two, keras.layers.SimpleRNN(5, stateful=True)(two))
    with pytest.raises(OnnxliteError, match="takes batches of 4 only, and there are 6 samples"):
        _ = build(model, x, None, metric="mae").trained.predict(x)


def test_a_table_of_texts_is_no_part_of_what_is_converted(build: Make) -> None:
    text = keras.Input((1,), dtype="string")
    table = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    model = keras.Model(text, keras.layers.Dense(3)(table(text)))
    x = np.array([["a"], ["b"], ["c"]])
    builder = build(model, x, None, metric="mae")
    assert len(builder.trained.predict(x)) == 3
    with pytest.raises(OnnxliteError, match="look up values in a table, such as StringLookup"):
        _ = builder.onnx


def test_outputs_of_a_dict_keep_their_keys(build: Make) -> None:
    inputs = keras.Input((4,), name="x")
    outputs = {"b": keras.layers.Dense(2)(inputs), "a": keras.layers.Dense(3)(inputs)}
    builder = build(keras.Model(inputs, outputs), X[:, 0, :4, 0], output="a")
    expected = builder.trained.predict(X[:, 0, :4, 0])
    assert isinstance(expected, dict)
    assert {k: v.shape for k, v in expected.items()} == {"a": (64, 3), "b": (64, 2)}
    assert sorted(info.name for info in builder.onnx.outputs_info) == ["a", "b"]


def test_converting_twice_gives_the_same_bytes(build: Make, tmp_path: Path, model: Any) -> None:
    path = save(model, tmp_path, "keras")
    first = build(path, cache="one").int8.path.read_bytes()
    build(small(1), cache="between").int8  # noqa: B018  (moves the process-wide counters on)
    assert build(path, cache="two").int8.path.read_bytes() == first


def test_the_converters_say_nothing(
    build: Make, model: Any, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    build(model).int8  # noqa: B018
    assert capfd.readouterr() == ("", "")
    assert not list(recwarn)


WARM = """
import sys
from pathlib import Path
import numpy as np
from pytest_onnxlite import Dataset, ModelSpec
from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache
rng = np.random.default_rng(0)
x = rng.normal(size=(64, 8, 8, 1)).astype(np.float32)
spec = ModelSpec("small", trained=sys.argv[1], evaluation=Dataset(x, np.arange(64) % 3))
builder = Builder(spec, Cache(Path(sys.argv[2])), print)
accuracy.measure(builder, builder.int8, 1)
builder.trained.size
print("tensorflow" in sys.modules)
"""


def test_a_warm_run_imports_no_tensorflow(build: Make, model: Any, tmp_path: Path) -> None:
    path = save(model, tmp_path, "keras")
    build(path).int8  # noqa: B018
    # What stands in the way of TensorFlow ends the process that imports it.
    for name in ("keras", "tensorflow"):
        (tmp_path / "first" / name).mkdir(parents=True)
        (tmp_path / "first" / name / "__init__.py").write_text("raise SystemExit('it is imported')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "first")}

    def run(cache: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WARM, str(path), str(tmp_path / cache)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    warm = run("cache")
    assert (warm.returncode, warm.stdout.split()) == (0, ["False"]), warm.stderr
    # The cold one does, so that the answer means something.
    cold = run("other")
    assert (cold.returncode, "it is imported" in cold.stderr) == (1, True), cold.stderr


class Doubling(keras.layers.Layer):  # type: ignore[misc,name-defined]
    def call(self, x: Any) -> Any:
        return 2 * x


def test_a_custom_layer_is_passed_by_name(build: Make, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), Doubling(), keras.layers.Dense(3)])
    model.save(tmp_path / "m.keras")
    x = X[:, 0, :4, 0]
    with pytest.raises(OnnxliteError, match=r"ModelSpec\(custom_objects="):
        build(tmp_path / "m.keras", x).onnx  # noqa: B018
    builder = build(tmp_path / "m.keras", x, custom_objects={"Doubling": Doubling})
    assert np.allclose(builder.onnx.predict(x), model.predict(x, verbose=0), atol=1e-5)  # type: ignore[arg-type]


def test_a_lambda_layer_is_refused_with_the_way_out(build: Make, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: 2 * x), keras.layers.Dense(3)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(OnnxliteError, match="custom_objects") as raised:
        build(tmp_path / "m.keras", X[:, 0, :4, 0]).onnx  # noqa: B018
    assert "never run here" in str(raised.value)
    assert "safe_mode" not in str(raised.value)


class Subclassed(keras.Model):  # type: ignore[misc,name-defined]
    def call(self, x: Any) -> Any:
        return 2 * x


def test_what_keras_exports_itself_is_taken_as_an_onnx_file(build: Make, model: Any, tmp_path: Path) -> None:
    # Its outputs are called otherwise than the layers: of one output each, no name is needed.
    model.export(tmp_path / "exported.onnx", format="onnx", verbose=False)
    builder = build(model, onnx=tmp_path / "exported.onnx")
    assert [info.name for info in builder.onnx.outputs_info] != ["digit"]
    found = accuracy.measure(builder, builder.int8, 64)
    assert isinstance(found, Accuracy)
    assert max(found.only_reference, found.only_candidate) <= 3
    assert np.allclose(builder.onnx.predict(X), model.predict(X, verbose=0), atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: keras.Sequential([keras.layers.Dense(3)]), "does not know its input shape"),
        (lambda folder: Subclassed(), r"save the call itself, with model\.export\(folder\)"),
        (lambda folder: {"weights": 1}, "expected a path to a .keras or .h5 file"),
        (lambda folder: _touch(folder / "model.onnx"), "An ONNX file goes to onnx= or int8="),
        (lambda folder: _touch(folder / "model.h5"), "is not a whole .h5 file: it looks like no model"),
        (lambda folder: folder, "has no saved_model.pb"),
    ],
)
def test_what_is_no_trained_model(build: Make, tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(OnnxliteError, match=message):
        build(make(tmp_path)).onnx  # noqa: B018


def test_evaluation_data_of_another_shape(build: Make, model: Any) -> None:
    with pytest.raises(
        OnnxliteError, match=r"small trained: .*takes \(N, 8, 8, 1\) float32, the data is \(N, 4, 8, 1\)"
    ):
        build(model, X[:, :4]).onnx  # noqa: B018


def _touch(path: Path) -> Path:
    path.write_bytes(b"no model")
    return path


# -- recipes -------------------------------------------------------------------------------------------------


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_the_weight_type_is_chosen_by_the_operators(build: Make, model: Any) -> None:
    assert build(model).notes_of("int8").weight_type == "uint8"
    dense = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    assert build(dense, X[:, 0, :, 0]).notes_of("int8").weight_type == "uint8"
    for recipe in (DynamicInt8(reduce_range=True), DynamicInt8(weight_type="int8")):
        assert build(dense, X[:, 0, :, 0], recipe=recipe).notes_of("int8").weight_type == "int8"


@pytest.mark.parametrize("glob", ["Conv", "Con*", "*/conv2d*"])
def test_what_is_excluded_stays_float(build: Make, model: Any, glob: str) -> None:
    found = operators(build(model, recipe=DynamicInt8(exclude=[glob])).int8.path)
    assert "ConvInteger" not in found
    assert "MatMulInteger" in found


def test_an_excluded_dense_layer_stays_float(build: Make, model: Any) -> None:
    builder = build(model, recipe=DynamicInt8(exclude=["*digit*"]))
    assert operators(builder.int8.path).count("MatMulInteger") == 1
    assert operators(builder.int8.path).count("MatMul") == 1
    # Keras numbers a model's name through the life of the process.
    assert any(name.endswith("/digit_1/MatMul/MatMulAddFusion_MatMul") for name in builder.notes_of("int8").excluded)


def test_an_exclusion_that_matches_nothing_is_an_error(build: Make, model: Any) -> None:
    with pytest.raises(OnnxliteError, match="exclude='Cnov' matches no node") as raised:
        build(model, recipe=DynamicInt8(exclude=["Cnov"])).int8  # noqa: B018
    assert "Conv" in str(raised.value)


def test_nothing_to_quantize_is_an_error(build: Make, model: Any) -> None:
    with pytest.raises(OnnxliteError, match="quantization changed nothing"):
        build(model, recipe=DynamicInt8(exclude=["Conv", "MatMul"])).int8  # noqa: B018


def test_per_channel_has_a_scale_for_each_channel(build: Make, model: Any) -> None:
    proto = onnx.load(build(model, recipe=DynamicInt8(per_channel=True)).int8.path)
    assert max(np.prod(t.dims) for t in proto.graph.initializer if t.name.endswith("_scale")) > 1


class Counting(Cache):
    """A cache that notes what is built."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.built: list[str] = []

    def _build(self, place: Path, key: str, build: Callable[[Path], None], holds: Collection[str]) -> None:
        super()._build(place, key, build, holds)
        self.built.append(place.name.split("-")[0])


def test_a_changed_byte_rebuilds_what_depends_on_it_and_nothing_else(model: Any, tmp_path: Path) -> None:
    path = save(model, tmp_path, "keras")

    def built(x: Any = X, y: Any = Y, **options: Any) -> list[str]:
        cache = Counting(tmp_path / "cache")
        builder = Builder(ModelSpec("small", trained=path, evaluation=Dataset(x, y), **options), cache, lambda _: None)
        assert builder.int8.path != builder.onnx.path
        return sorted(cache.built)

    assert built() == ["int8", "onnx", "trained"]
    assert built() == []
    changed = X.copy()
    changed[5, 1, 2, 0] += 1
    assert built(x=changed) == ["trained"]
    assert built(y=(Y + 1) % 3) == []  # nothing was computed from the labels
    assert built(recipe=DynamicInt8(per_channel=True)) == ["int8"]
    assert built(recipe=StaticInt8(), calibration=X[:8]) == ["int8"]
    assert built(recipe=StaticInt8(), calibration=changed[:8]) == ["int8"]
    assert built(recipe=StaticInt8(), calibration=X[:8]) == []
    entry = next((tmp_path / "cache").glob("onnx-*/model.onnx"))
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    assert built() == ["onnx"]
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"another file, the same weights"
    assert built() == ["onnx", "trained"]
    small(5).save(path)
    assert built() == ["int8", "onnx", "trained"]


def test_no_temporary_file_is_left(build: Make, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_folder()  # this process's, which is there until it ends
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    build(model).int8  # noqa: B018
    with pytest.raises(OnnxliteError):
        build(model, recipe=DynamicInt8(exclude=["Conv", "MatMul"])).int8  # noqa: B018
    # TensorFlow's own stays until the process ends.
    assert [path for path in temporary.iterdir() if not path.name.startswith("__autograph_generated_file")] == []
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")]
