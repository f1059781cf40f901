"""TFLite beside ONNX: converted, run by LiteRT, judged by the same markers."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite import Dataset, ModelSpec, OnnxliteError
from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.accuracy.measurement import Accuracy
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache

from digits import load_digits
from projects import REPOSITORY, UNEXPLAINED, Project

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")

CNN = REPOSITORY / "examples" / "models" / "cnn.keras"
(TRAIN, _), (X, Y) = load_digits()


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    spec = ModelSpec("cnn", trained=CNN, evaluation=Dataset(X[:300], Y[:300]), calibration=TRAIN[:100])
    return Builder(spec, Cache(tmp_path_factory.mktemp("cache")), lambda _: None)


def test_float_tflite_is_the_trained_model(builder: Builder) -> None:
    expected, found = builder.trained.predict(X[:40]), builder.tflite.predict(X[:40])
    assert np.abs(found - expected).max() < 1e-4  # type: ignore[operator]
    (image,), (digit,) = builder.tflite.inputs_info, builder.tflite.outputs_info
    assert (image.name, image.shape, image.dtype) == ("image", ("batch", 28, 28, 1), "float32")
    assert (digit.name, digit.shape) == ("digit", ("batch", 10))


def test_int8_tflite_has_integers_inside_and_real_numbers_outside(builder: Builder) -> None:
    variant = builder.tflite_int8
    details = variant._session._interpreter.get_input_details() + variant._session._interpreter.get_output_details()
    assert {detail["dtype"] for detail in details} == {np.int8}
    out = variant.predict(X[:40])
    assert isinstance(out, np.ndarray)
    assert out.dtype == np.float32
    assert np.abs(out.sum(axis=1) - 1).max() < 0.05
    found = accuracy.measure(builder, variant, 1)
    assert isinstance(found, Accuracy)
    assert abs(found.correct - found.reference_correct) <= 3
    assert variant.size < 0.3 * builder.tflite.size


def test_without_calibration_the_weights_alone_are_integers(builder: Builder, tmp_path: Path) -> None:
    spec = ModelSpec("cnn", trained=CNN, evaluation=Dataset(X[:50], Y[:50]))
    other = Builder(spec, Cache(tmp_path), lambda _: None)
    inputs = other.tflite_int8._session._interpreter.get_input_details()
    assert inputs[0]["dtype"] == np.float32
    assert other.tflite_int8.size < 0.3 * builder.tflite.size


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_any_batch_size(builder: Builder, batch_size: int) -> None:
    one = builder.tflite.run(X[:50], 1)["digit"]
    assert np.abs(builder.tflite.run(X[:50], batch_size)["digit"] - one).max() < 1e-5


def project_of(project: Project, variant: str, markers: str) -> Project:
    project.write(
        {"trained": CNN}, X[:300], Y[:300], markers=markers, variant=variant, spec="calibration=data['x'][:100]"
    )
    return project


@pytest.mark.alone
@pytest.mark.parametrize("variant", ["tflite", "tflite_int8"])
def test_the_same_markers_judge_it_beside_its_baseline(project: Project, variant: str) -> None:
    markers = """
        @pytest.mark.onnxlite_accuracy(max_drop=0.02)
        @pytest.mark.onnxlite_size
        @pytest.mark.onnxlite_latency(max_slowdown=0.5)
        @pytest.mark.onnxlite_memory
    """
    project_of(project, variant, markers).save().assert_outcomes(passed=1)
    (kept,) = project.path.glob("baselines/digits/*.tflite")
    project.compare().assert_outcomes(passed=1)
    # Twice the work, by a model of twice the layers, is told by all but accuracy.
    import keras

    model = keras.models.load_model(CNN)
    image = keras.Input((28, 28, 1), name="image")
    wide = keras.layers.Concatenate()([image] * 8)
    wide = keras.layers.Conv2D(64, 5, padding="same", activation="relu")(wide)
    wide = keras.layers.Conv2D(64, 5, padding="same", activation="relu")(wide)
    extra = keras.layers.Dense(10, kernel_initializer="zeros")(keras.layers.GlobalAveragePooling2D()(wide))
    slower = keras.Model(image, keras.layers.Add(name="digit")([model(image), extra]))
    slower.save(project.path / "trained.keras")
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    for check in ("size", "latency", "memory"):
        result.stdout.fnmatch_lines([f"*{check}*"])
    assert "accuracy against" not in result.stdout.str()
    assert kept.exists()


def test_the_graph_marker_is_for_onnx(project: Project) -> None:
    project_of(project, "tflite", "@pytest.mark.onnxlite_graph")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*onnxlite_graph does not support tflite; it supports onnx and int8*"])


def test_what_is_advised_for_integers_is_what_the_converter_takes(project: Project) -> None:
    project_of(project, "tflite_int8", "@pytest.mark.onnxlite_accuracy(max_drop=0.02)")
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("data['x'][:100]", "data['x'][:100] * 0.1"))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*Calibrate with more data like the evaluation data (calibration=), leave calibration= out*"]
    )
    for foreign in ("exclude=", "per_channel", "reduce_range", "recipe"):
        assert foreign not in result.stdout.str()


@pytest.mark.alone
def test_a_ratio_is_to_the_float_tflite_model(project: Project) -> None:
    project_of(project, "tflite_int8", "@pytest.mark.onnxlite_latency(max_ratio=0.0011)")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*against the tflite variant*at most 0.0011x allowed*"])


def test_no_trained_model_no_tflite(tmp_path: Path, digits: Any) -> None:
    spec = ModelSpec("cnn", onnx=digits.onnx, evaluation=Dataset(X[:50], Y[:50]))
    with pytest.raises(OnnxliteError, match="gives no trained Keras model, from which the tflite variant is converted"):
        Builder(spec, Cache(tmp_path), lambda _: None).tflite  # noqa: B018


def test_nothing_of_the_converter_reaches_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = tmp_path / "copy.keras"
    shutil.copyfile(CNN, copy)
    before = {path.name for path in Path(tmp_path_factory.getbasetemp()).parent.glob("*")}
    spec = ModelSpec("cnn", trained=copy, evaluation=Dataset(X[:40], Y[:40]), calibration=TRAIN[:20])
    _ = Builder(spec, Cache(tmp_path / "cache"), lambda _: None).tflite_int8
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert {path.name for path in Path(tmp_path_factory.getbasetemp()).parent.glob("*")} == before


def test_litert_is_named_where_it_is_missing(builder: Builder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pytest_onnxlite.variants.litert import TfliteVariant

    variant = TfliteVariant("cnn", "tflite", builder.tflite.path, Runtime())
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(OnnxliteError, match=r"pytest-onnxlite\[litert\]"):
        variant.predict(X[:1])
