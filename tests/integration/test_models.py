"""What people bring: their own files, anything that can be called, other shapes, types and metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pytest_onnxlite import Dataset, DynamicInt8, Metric, ModelSpec, OnnxliteError, StaticInt8
from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, Score
from pytest_onnxlite.lint import check_graph, summarize
from pytest_onnxlite.variants import preparation
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.variants.variant import OnnxVariant

from onnx_models import dense, edit, external, quantize, save_graph, set_weight, two_outputs, weights_of
from projects import Project

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 16)).astype(np.float32)
Make = Callable[..., Builder]


@pytest.fixture
def build(tmp_path: Path) -> Make:
    def make(x: Any = X, y: Any = None, **options: Any) -> Builder:
        return Builder(ModelSpec("own", evaluation=Dataset(x, y), **options), Cache(tmp_path / "cache"), lambda _: None)

    return make


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return dense(tmp_path / "net.onnx", 3, 16)


def forward(path: Path) -> Callable[[Any], Any]:
    weights = weights_of(onnx.load(path))

    def call(x: Any) -> Any:
        for i in range(3):
            x = np.maximum(x @ weights[f"w{i}"], 0)
        return x

    return call


# -- what can only be called ---------------------------------------------------------------------------------


class Estimator:
    """As scikit-learn has them: not callable, with a method."""

    def __init__(self, call: Callable[[Any], Any]) -> None:
        self.predict = call


@pytest.mark.parametrize("wrap", [lambda call: call, Estimator], ids=["function", "estimator"])
def test_anything_that_can_be_called_is_a_trained_model(build: Make, net: Path, wrap: Any) -> None:
    builder = build(trained=wrap(forward(net)), onnx=net, metric="mae")
    found = accuracy.measure(builder, builder.onnx, 1)
    assert isinstance(found, Score)
    assert found.reference == "trained"
    assert found.value < 1e-5
    assert not builder.trained.has_file
    assert builder.made_from("onnx") is None


def test_a_callable_gets_a_dict_of_a_batch_where_there_are_several_inputs(build: Make) -> None:
    seen = []

    def model(feeds: Any) -> Any:
        seen.append({name: array.shape for name, array in feeds.items()})
        return feeds["a"] + feeds["b"]

    builder = build({"a": X, "b": X}, trained=model)
    assert np.array_equal(builder.trained.predict({"a": X, "b": X}), 2 * X)  # type: ignore[arg-type]
    assert seen == [{"a": (50, 16), "b": (50, 16)}]


def test_several_outputs_of_a_callable_are_named_as_the_onnx_model_names_them(build: Make, tmp_path: Path) -> None:
    path = two_outputs(tmp_path / "two.onnx")
    weights = weights_of(onnx.load(path))
    x = X[:, :8]
    builder = build(
        x,
        trained=lambda x: (x @ weights["w_digit"], x @ weights["w_score"]),
        onnx=path,
        output="digit",
        metric="cosine",
    )
    found = accuracy.measure(builder, builder.onnx, 50)
    assert isinstance(found, Score)
    assert found.value == pytest.approx(1)


def test_a_callable_that_fails_is_the_users_error(build: Make) -> None:
    def model(x: Any) -> Any:
        raise KeyError("no such layer")

    with pytest.raises(OnnxliteError, match=r"trained model, a function, failed .*KeyError.*one array"):
        build(trained=model).trained.predict(X)


def test_a_callable_cannot_be_converted_and_the_missing_piece_is_named(build: Make) -> None:
    builder = build(trained=lambda x: x)
    for kind, piece in (("onnx", "onnx="), ("tflite", "onnx=")):
        with pytest.raises(OnnxliteError, match=rf"can be called but not converted.*give the file as {piece}"):
            builder.variant(kind)


@pytest.mark.parametrize(("version", "field"), [(99, "ir"), (99, "opset")])
def test_a_file_newer_than_the_runtime_says_which_is_too_old(
    build: Make, net: Path, tmp_path: Path, version: int, field: str
) -> None:
    def newer(model: onnx.ModelProto) -> None:
        if field == "ir":
            model.ir_version = version
        else:
            model.opset_import[0].version = version

    path = edit(net, tmp_path / "newer.onnx", newer)
    with pytest.raises(
        OnnxliteError, match=r"newer\.onnx cannot be used.* 99.*ONNX Runtime [\d.]+ is too old for it: upgrade"
    ):
        build(onnx=path).onnx  # noqa: B018


def test_outputs_are_matched_by_name_and_not_by_place(build: Make, tmp_path: Path) -> None:
    path = two_outputs(tmp_path / "two.onnx", ("score", "digit"))
    weights = weights_of(onnx.load(path))
    x = X[:, :8]
    trained = lambda x: {"digit": x @ weights["w_digit"], "score": x @ weights["w_score"]}  # noqa: E731
    builder = build(x, trained=trained, onnx=path, output="digit", metric="mae")
    found = accuracy.measure(builder, builder.onnx, 50)
    assert isinstance(found, Score)
    assert found.value < 1e-5
    renamed = two_outputs(tmp_path / "renamed.onnx", ("digit", "result"))
    other = build(x, trained=trained, onnx=renamed, output="score", metric="mae")
    with pytest.raises(
        OnnxliteError, match=r"own onnx: the model has the outputs \['digit', 'result'\]; output='score' is none"
    ):
        accuracy.measure(other, other.onnx, 50)
    ambiguous = build(x, trained=trained, onnx=path, metric="mae")
    with pytest.raises(
        OnnxliteError, match=r"the model has the outputs \['digit', 'score'\]; say with output= which one"
    ):
        accuracy.measure(ambiguous, ambiguous.onnx, 50)


# -- contradictions ------------------------------------------------------------------------------------------


def test_an_int8_file_that_is_float(build: Make, net: Path) -> None:
    with pytest.raises(OnnxliteError, match=r"int8=.*net\.onnx.* is a float model.*Give it as onnx="):
        build(int8=net).int8  # noqa: B018


def test_a_float_file_that_is_int8(build: Make, net: Path, tmp_path: Path) -> None:
    with pytest.raises(OnnxliteError, match=r"onnx=.*is quantized.*Give it as int8="):
        build(onnx=quantize(net, tmp_path / "q.onnx")).onnx  # noqa: B018


def test_an_int8_file_that_the_runtime_fused(build: Make, net: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    onnxruntime.InferenceSession(str(quantize(net, tmp_path / "q.onnx")), options, providers=["CPUExecutionProvider"])
    fused = tmp_path / "fused.onnx"
    assert set(summarize(fused).operators) == {"Relu", "com.microsoft.DynamicQuantizeMatMul"}
    assert build(onnx=net, int8=fused).int8.path == fused
    with pytest.raises(OnnxliteError, match=r"onnx=.*is quantized.*Give it as int8="):
        build(onnx=fused).onnx  # noqa: B018


def test_an_onnx_file_given_as_trained(net: Path) -> None:
    with pytest.raises(OnnxliteError, match=r"trained=.*net\.onnx.*An ONNX file goes to onnx="):
        ModelSpec("own", trained=net)


def test_evaluation_data_of_another_shape(build: Make, net: Path) -> None:
    with pytest.raises(
        OnnxliteError, match=r"own onnx: evaluation data .*takes \(N, 16\) float32, the data is \(N, 9\)"
    ):
        build(X[:, :9], onnx=net).onnx  # noqa: B018


def test_labels_outside_of_the_classes(build: Make, net: Path) -> None:
    builder = build(X, np.arange(50), onnx=net)
    with pytest.raises(OnnxliteError, match=r"own onnx: labels reach from 0 to 49, the model has 16 classes"):
        accuracy.measure(builder, builder.onnx, 50)


def test_a_keras_file_given_as_onnx(build: Make, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(b"not read")
    with pytest.raises(OnnxliteError, match=r"onnx=.*m\.keras.* is a trained Keras model; give it as trained="):
        build(onnx=path).onnx  # noqa: B018


def test_the_model_that_gives_the_labels_is_run_once(
    build: Make, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = build(onnx=net, int8=quantize(net, tmp_path / "a.onnx"), metric="cosine")
    runs = []
    answer = OnnxVariant.answer

    def counting(self: OnnxVariant, inputs: Any, batch_size: int) -> Any:
        runs.append(self.kind)
        return answer(self, inputs, batch_size)

    _ = builder.int8  # both files are run before they are believed
    monkeypatch.setattr(OnnxVariant, "answer", counting)
    accuracy.measure(builder, builder.int8, 1)
    assert sorted(runs) == ["int8", "onnx"]


def test_cosine_of_one_value_sees_nothing(build: Make, tmp_path: Path) -> None:
    path = save_graph(
        tmp_path / "one.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
        {"w": np.ones((16, 1), np.float32)},
    )
    builder = build(onnx=path, metric="cosine")
    with pytest.raises(
        OnnxliteError, match=r"one value for each sample, of which cosine sees the sign alone; use metric='mae'"
    ):
        accuracy.measure(builder, builder.onnx, 50)


def test_no_reference_and_no_labels(build: Make, net: Path, tmp_path: Path) -> None:
    builder = build(int8=quantize(net, tmp_path / "q.onnx"))
    with pytest.raises(OnnxliteError, match="needs labels or a reference variant"):
        accuracy.measure(builder, builder.int8, 1)


# -- metrics -------------------------------------------------------------------------------------------------


def noisy(path: Path, target: Path, noise: float) -> Path:
    """A copy whose last weights are off by some noise."""

    def change(model: onnx.ModelProto) -> None:
        weight = weights_of(model)["w2"]
        set_weight(model, "w2", weight + noise * RNG.normal(size=weight.shape).astype(np.float32))

    return edit(path, target, change)


def softmax(scores: Any) -> Any:
    raised = np.exp(scores.astype(np.float64))
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("metric", "better", "perfect"),
    [("mae", False, 0.0), ("mse", False, 0.0), ("r2", True, 1.0), ("cosine", True, 1.0), ("kl", False, 0.0)],
)
def test_metrics_without_labels_compare_with_the_reference(
    build: Make, net: Path, tmp_path: Path, metric: str, better: bool, perfect: float
) -> None:
    builder = build(onnx=net, int8=quantize(net, tmp_path / "q.onnx"), metric=metric)
    found = accuracy.measure(builder, builder.int8, 50)
    assert isinstance(found, Score)
    assert (found.higher_is_better, found.reference) == (better, "onnx")
    assert found.reference_value == pytest.approx(perfect)
    assert found.loss(perfect) > 0
    expected, got = builder.onnx.predict(X), builder.int8.predict(X)
    assert isinstance(expected, np.ndarray)
    assert isinstance(got, np.ndarray)
    by_hand = {
        "mae": np.abs(got - expected).mean(),
        "mse": ((got - expected) ** 2).mean(),
        "r2": 1 - ((got - expected) ** 2).sum() / ((expected - expected.mean()) ** 2).sum(),
        "cosine": np.mean(
            [
                a @ b / np.linalg.norm(a) / np.linalg.norm(b) if a.any() else 1
                for a, b in zip(got, expected, strict=True)
            ]
        ),
        "kl": (softmax(expected) * np.log(softmax(expected) / softmax(got))).sum(axis=1).mean(),
    }
    assert found.value == pytest.approx(by_hand[metric], rel=1e-4)


def test_top1_without_labels_counts_answers_that_agree(build: Make, net: Path, tmp_path: Path) -> None:
    builder = build(onnx=net, int8=quantize(net, tmp_path / "q.onnx"))
    found = accuracy.measure(builder, builder.int8, 50)
    assert isinstance(found, Accuracy)
    assert found.reference_correct == 50
    agree = builder.onnx.predict(X).argmax(1) == builder.int8.predict(X).argmax(1)  # type: ignore[union-attr]
    assert found.correct == agree.sum()


def test_agreement_counts_answers_that_are_the_references_whatever_the_labels(
    build: Make, net: Path, tmp_path: Path
) -> None:
    labels = np.zeros(len(X), int)
    builder = build(X, labels, onnx=net, int8=quantize(net, tmp_path / "q.onnx"), metric="agreement")
    found = accuracy.measure(builder, builder.int8, 50)
    assert isinstance(found, Accuracy)
    agree = builder.onnx.predict(X).argmax(1) == builder.int8.predict(X).argmax(1)  # type: ignore[union-attr]
    assert (found.correct, found.reference_correct) == (agree.sum(), 50)


def test_topk(build: Make, net: Path) -> None:
    expected = forward(net)(X)
    third = np.argsort(-expected, axis=1)[:, 2]
    right = {}
    for metric in ("top1", "top2", "top3", "top5"):
        builder = build(X, third, onnx=net, metric=metric)
        found = accuracy.measure(builder, builder.onnx, 50)
        assert isinstance(found, Accuracy)
        right[metric] = found.correct
    assert right["top1"] == 0
    assert right["top3"] == right["top5"] == 50


def test_a_metric_of_the_users_own(build: Make, net: Path) -> None:
    labels = forward(net)(X)[:, 0]

    def first_is_close(outputs: Any, y: Any) -> Any:
        return np.abs(outputs[:, 0] - y) < 0.01

    builder = build(X, labels, onnx=net, metric=first_is_close)
    found = accuracy.measure(builder, builder.onnx, 50)
    assert isinstance(found, Accuracy)
    assert (found.metric, found.correct) == ("first_is_close", 50)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda outputs, y: "good", r"returned \(\) <U4; expected one number"),
        (lambda outputs, y: outputs, r"returned \(50, 16\)"),
        (lambda outputs, y: np.full(50, np.nan), "NaN"),
        (lambda outputs, y: outputs["missing"], "failed: IndexError"),
        (lambda outputs, y: np.ones(7), "returned 7 values for 50 samples"),
    ],
)
def test_a_metric_that_returns_nonsense(build: Make, net: Path, function: Any, message: str) -> None:
    builder = build(X, np.zeros(50), onnx=net, metric=Metric(function, "mine"))
    with pytest.raises(OnnxliteError, match=message):
        accuracy.measure(builder, builder.onnx, 50)


@pytest.mark.parametrize(
    ("metric", "limit", "noise", "red"),
    [
        ("mae", "max_drop=0.2", 0.02, False),
        ("mae", "max_drop=0.0001", 0.02, True),
        ("mae", "max_drop=0.5, relative=True", 0.02, False),
        ("mae", "max_drop=0.0001, relative=True", 0.02, True),
        ("cosine", "max_drop=0.01", 0.02, False),
        ("cosine", "max_drop=0.01", 1.0, True),
        ("kl", "max_drop=0.05", 0.02, False),
        ("kl", "max_drop=0.05, relative=True", 1.0, True),
        ("r2", "max_drop=0.05", 0.01, False),
        ("r2", "max_drop=0.05", 1.0, True),
        ("cosine", "max_drop=0.01, confidence=0.99", 0.02, False),
        ("r2", "max_drop=0.05, confidence=0.99", 0.01, True),
    ],
)
def test_scores_are_judged_in_the_direction_that_is_worse(
    project: Project, net: Path, tmp_path: Path, metric: str, limit: str, noise: float, red: bool
) -> None:
    candidate = quantize(noisy(net, tmp_path / "noisy.onnx", noise), tmp_path / "q.onnx")
    project.write(
        {"onnx": net, "int8": candidate},
        X,
        markers=f"@pytest.mark.onnxlite_accuracy({limit})",
        spec=f"metric={metric!r}",
    )
    result = project.run()
    result.assert_outcomes(passed=not red, failed=red)
    if red and "confidence" not in limit:
        result.stdout.fnmatch_lines(
            [f"*{metric} over 50 samples, the onnx variant has*worse, at most*allowed (max_drop=*"]
        )


def test_a_score_has_a_baseline(project: Project, net: Path, tmp_path: Path) -> None:
    marker = "@pytest.mark.onnxlite_accuracy(max_drop=0.02)"
    project.write({"onnx": net, "int8": quantize(net, tmp_path / "a.onnx")}, X, markers=marker, spec="metric='cosine'")
    project.save()
    text = project.baseline.read_text()
    assert '"metric": "cosine"' in text
    assert '"higher_is_better": true' in text
    project.compare().assert_outcomes(passed=1)
    project.replace("int8.onnx", quantize(noisy(net, tmp_path / "n.onnx", 1.0), tmp_path / "b.onnx"))
    result = project.compare()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*cosine, the last release had *worse, at most 0.02 allowed*"])


# -- shapes and types ----------------------------------------------------------------------------------------


@pytest.mark.alone
def test_a_model_without_a_batch_dimension(project: Project, tmp_path: Path) -> None:
    weight = RNG.normal(size=(16, 4)).astype(np.float32)
    path = save_graph(
        tmp_path / "one.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        {"w": weight},
    )
    labels = (X @ weight).argmax(1)
    markers = "@pytest.mark.onnxlite_accuracy(max_drop=0)\n@pytest.mark.onnxlite_latency\n@pytest.mark.onnxlite_memory"
    body = "assert onnxlite_onnx.predict(data.x).shape == (50, 4)"
    test = f"import numpy, pytest\nclass data: x = numpy.load('data.npz')['x']\n{markers}\ndef test(onnxlite_onnx):\n    {body}\n"
    project.write({"onnx": path}, X, labels, spec="batched=False", test=test)
    project.save().assert_outcomes(passed=1)
    project.write({"onnx": path}, X, labels, test=test)
    project.run().stdout.fnmatch_lines(["*takes (N) float32, the data is (N, 16)*say ModelSpec(batched=False)*"])


def sequences(path: Path) -> Path:
    """A model of sequences of any length: the output is as long as the input."""
    weight = RNG.normal(size=(8, 3)).astype(np.float32)
    return save_graph(
        path,
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "time", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "time", 3])],
        {"w": weight},
    )


LENGTHS = [RNG.normal(size=(length, 8)).astype(np.float32) for length in (5, 9, 5, 12)]


@pytest.mark.parametrize("metric", ["mae", "mse", "r2", "cosine"])
def test_sequences_of_different_length(build: Make, tmp_path: Path, metric: str) -> None:
    path = sequences(tmp_path / "s.onnx")
    builder = build(LENGTHS, onnx=path, metric=metric)
    out = builder.int8.predict(LENGTHS, batch_size=1)  # type: ignore[arg-type]
    assert not isinstance(out, dict)
    assert [sample.shape for sample in out] == [(5, 3), (9, 3), (5, 3), (12, 3)]
    found = accuracy.measure(builder, builder.int8, 1)
    assert isinstance(found, Score)
    assert 0 < abs(found.loss(found.reference_value or 0)) < 0.1


def test_sequences_of_different_length_do_not_fit_into_one_batch(build: Make, tmp_path: Path) -> None:
    builder = build(LENGTHS, onnx=sequences(tmp_path / "s.onnx"))
    with pytest.raises(OnnxliteError, match=r"shapes \[\(5, 8\), \(9, 8\)\]; run them one at a time \(batch_size=1\)"):
        builder.onnx.predict(LENGTHS, batch_size=2)  # type: ignore[arg-type]


def test_integer_and_boolean_inputs(build: Make, tmp_path: Path) -> None:
    path = save_graph(
        tmp_path / "typed.onnx",
        [
            helper.make_node("Gather", ["table", "token"], ["row"], axis=0),
            helper.make_node("Where", ["keep", "row", "zero"], ["y"]),
        ],
        [
            helper.make_tensor_value_info("token", TensorProto.INT32, ["batch"]),
            helper.make_tensor_value_info("keep", TensorProto.BOOL, ["batch", 1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        {"table": RNG.normal(size=(9, 4)).astype(np.float32), "zero": np.float32(0)},
    )
    x = {"token": np.arange(8, dtype=np.int16), "keep": np.arange(8)[:, None] % 2 == 0}
    out = build(x, onnx=path).onnx.predict(x)
    assert isinstance(out, np.ndarray)
    assert not out[1::2].any()
    with pytest.raises(OnnxliteError, match="'keep' takes bool, the data is int64"):
        build({**x, "keep": x["keep"].astype(np.int64)}, onnx=path).onnx  # noqa: B018


# -- external data -------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_external_data_is_counted_kept_and_compared(project: Project, tmp_path: Path) -> None:
    big = dense(tmp_path / "big.onnx", 3, 256)
    folder = project.path / "models"
    folder.mkdir()
    external(big, folder / "net.onnx")
    x = RNG.normal(size=(20, 256)).astype(np.float32)
    markers = (
        "@pytest.mark.onnxlite_size\n@pytest.mark.onnxlite_memory\n@pytest.mark.onnxlite_latency(max_slowdown=0.5)"
    )
    project.write({}, x, markers=markers, variant="onnx", spec="onnx='models/net.onnx'")
    project.save().assert_outcomes(passed=1)
    assert f'"bytes": {(folder / "net.onnx").stat().st_size + 3 * 256 * 256 * 4}' in project.baseline.read_text()
    (kept,) = project.path.glob("baselines/digits/onnx-*")
    assert sorted(file.name for file in kept.iterdir()) == ["net.data", "net.onnx"]
    project.compare().assert_outcomes(passed=1)
    # Another release: its artefact takes the place of the first.
    external(dense(tmp_path / "other.onnx", 3, 256, seed=1), folder / "net.onnx")
    project.save().assert_outcomes(passed=1)
    (new,) = project.path.glob("baselines/digits/onnx-*")
    assert new != kept
    with (new / "net.data").open("r+b") as file:
        file.write(b"changed!")
    result = project.compare()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*last release's file * is not the file that was measured*"])


def test_a_data_file_that_was_appended_to_twice_is_waste(build: Make, net: Path, tmp_path: Path) -> None:
    from pytest_onnxlite.checks.size import measure as size

    path = external(net, tmp_path / "e.onnx", "e.data")
    used = size.measure(build(onnx=path), build(onnx=path).onnx)
    with (tmp_path / "e.data").open("ab") as file:
        file.write((tmp_path / "e.data").read_bytes())
    found = size.measure(build(onnx=path), build(onnx=path).onnx)
    assert (found.bytes, found.waste) == (used.bytes, 3 * 16 * 16 * 4)


@pytest.mark.parametrize(
    ("location", "message"),
    [("../secret.bin", "outside of the model's folder"), ("gone.bin", "there is no such file")],
)
def test_external_data_elsewhere_is_refused(
    build: Make, net: Path, tmp_path: Path, location: str, message: str
) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = external(net, folder / "e.onnx", "e.data")
    (tmp_path / "secret.bin").write_bytes((folder / "e.data").read_bytes())

    def move(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location

    model = onnx.load(path, load_external_data=False)
    move(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(OnnxliteError, match=message):
        build(onnx=path).onnx  # noqa: B018


def test_a_data_file_that_was_cut_short_is_refused(build: Make, net: Path, tmp_path: Path) -> None:
    path = external(net, tmp_path / "e.onnx", "e.data")
    with (tmp_path / "e.data").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(OnnxliteError, match=r"reach to byte [\d,]+ of e\.data, which has 1,000"):
        build(onnx=path).onnx  # noqa: B018


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("recipe", [DynamicInt8(), StaticInt8()], ids=["dynamic", "static"])
def test_a_model_with_external_data_is_quantized(
    build: Make, tmp_path: Path, recipe: Any, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(preparation, "IN_ONE_FILE", 0)  # as a model of more than 2 GB is
    path = external(dense(tmp_path / "big.onnx", 3, 256), tmp_path / "e.onnx", "e.data")
    x = RNG.normal(size=(20, 256)).astype(np.float32)
    builder = build(x, onnx=path, recipe=recipe, calibration=x)
    assert builder.int8.size < 0.3 * builder.onnx.size
    assert ("prepared without folding constants" in builder.recipe_text("int8")) is large
    assert np.abs(builder.int8.predict(x) - builder.onnx.predict(x)).max() < 0.5  # type: ignore[operator]


@pytest.mark.parametrize("recipe", [DynamicInt8(), StaticInt8()], ids=["dynamic", "static"])
def test_external_data_changes_nothing_of_how_a_model_is_quantized(build: Make, tmp_path: Path, recipe: Any) -> None:
    # PyTorch's exporter writes weights beside the file, and computes some from others, which has to be folded first.
    half = RNG.normal(size=(32, 64)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["half"], ["turned"], "turn"),
        helper.make_node("Concat", ["turned", "turned"], ["w"], "join", axis=1),
        helper.make_node("MatMul", ["x", "w"], ["y"], "product"),
    ]
    graph = helper.make_graph(
        nodes,
        "exported",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64])],
        [onnx.numpy_helper.from_array(half, "half")],
    )
    inside = tmp_path / "inside.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), inside)
    x = RNG.normal(size=(20, 64)).astype(np.float32)
    found = []
    for path in (inside, external(inside, tmp_path / "e.onnx", "e.data")):
        builder = build(x, onnx=path, recipe=recipe, calibration=x)
        assert [f for f in check_graph(builder.int8.path, path) if f.severity == "error"] == []
        found.append((summarize(builder.int8.path), builder.int8.predict(x)))
    assert found[0][0].operators == found[1][0].operators
    assert found[0][0].weight_bytes == found[1][0].weight_bytes
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_the_waste_of_a_data_file_is_said(project: Project, tmp_path: Path) -> None:
    folder = project.path / "models"
    folder.mkdir()
    path = external(dense(tmp_path / "big.onnx", 3, 256), folder / "net.onnx")
    with (folder / "net.data").open("ab") as file:
        file.write((folder / "net.data").read_bytes())
    x = RNG.normal(size=(20, 256)).astype(np.float32)
    markers = "@pytest.mark.onnxlite_size(ratio=0.1)"
    project.write({}, x, markers=markers, spec="onnx='models/net.onnx', recipe=DynamicInt8()")
    project.run().stdout.no_fnmatch_line("*unused next to it)*")  # that of the float model is not the INT8 model's
    project.write({}, x, markers="@pytest.mark.onnxlite_size", variant="onnx", spec="onnx='models/net.onnx'")
    project.run("--onnxlite-save-baseline").stdout.fnmatch_lines(["*onnx * 768.*KiB (768.00 KiB unused next to it)*"])
    external(dense(tmp_path / "bigger.onnx", 4, 256), folder / "net.onnx")
    result = project.compare()
    result.stdout.fnmatch_lines(["*Next to it, 1.50 MiB of its data files are unused.*delete the data files*"])
    assert path.exists()


def test_more_than_2_gb_of_external_data_are_guarded(project: Project) -> None:
    # A table in a file with holes in it, which takes no room on most disks: rows of zeros behind the first ones.
    rows, width = 525_000, 1024
    table = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[rows, width])
    table.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "table.bin"), ("offset", "0"), ("length", str(4 * rows * width))):
        table.external_data.add(key=key, value=text)
    with (project.path / "table.bin").open("wb") as file:
        file.write(np.eye(4, width, dtype=np.float32).tobytes())
        file.truncate(4 * rows * width)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "token"], ["y"], name="look_up", axis=0)],
        "large",
        [helper.make_tensor_value_info("token", TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])],
        [table],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (project.path / "large.onnx").write_bytes(model.SerializeToString())
    markers = """
        @pytest.mark.onnxlite_accuracy(max_drop=0.0)
        @pytest.mark.onnxlite_size
        @pytest.mark.onnxlite_graph
    """
    x = np.arange(4)
    body = f"assert onnxlite_onnx.size > {4 * rows * width} > 2**31"
    project.write({}, x, x, markers=markers, variant="onnx", spec="onnx='large.onnx'", body=body)
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*100.0 %*2.00 GiB*"])
