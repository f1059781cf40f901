"""Accuracy: the cause that is said first is the one that was put in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from cause import Cause
from onnx import TensorProto, helper, numpy_helper
from patterns import CLASSES, fitted, pictures
from seeded import Said, Seed, read, write

from onnx_models import edit, quantize, save_graph, set_weight, weights_of
from pages import Outline, network_faults, structure_faults
from projects import Project

X, Y = pictures(200)
STATIC = "StaticInt8()"
BLAMED = (r"adds the largest error", r"Where the error enters", r"training data or labels", r"no layer stands out")
LAYERS = (r"adds the largest error", r"Where the error enters", r"no layer stands out")
value = helper.make_tensor_value_info


# -- INT8 beside the float model -----------------------------------------------------------------------------


def scaled(int8: Path, target: Path, factor: float) -> Path:
    """An INT8 file with the scale of the hidden layer's weights off by a factor."""

    def change(model: onnx.ModelProto) -> None:
        set_weight(model, "w1_scale", weights_of(model)["w1_scale"] * np.float32(factor))

    return edit(int8, target, change)


def centred(source: Path, target: Path) -> Path:
    """The net with a first step of its own that adds 0.5, for pixels around 0."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
        model.graph.node[0].input[0] = "pixels"
        model.graph.node.insert(0, helper.make_node("Add", ["x", "half"], ["pixels"], name="shift"))

    return edit(source, target, change)


def detector(path: Path) -> tuple[Path, npt.NDArray[Any]]:
    """Boxes in pixels and scores from 0 to 1 in one output, `(batch, 12)`; the answer is the highest of eight scores.

    The boxes come out between 0 and 640, the scores of what is detected differ by hundredths.
    """
    rng = np.random.default_rng(3)
    weights = {
        "w_box": rng.uniform(0, 40, (16, 4)).astype(np.float32),
        "w_score": rng.normal(0, 0.4, (16, 8)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w_box"], ["box"], name="boxes"),
        helper.make_node("MatMul", ["x", "w_score"], ["raw"], name="scores"),
        helper.make_node("Sigmoid", ["raw"], ["score"], name="sigmoid"),
        helper.make_node("Concat", ["score", "box"], ["joined"], name="join", axis=1),
        helper.make_node("Slice", ["joined", "starts", "ends", "axes"], ["y"], name="pick"),
    ]
    ends: dict[str, Any] = {
        name: np.array([number], np.int64) for name, number in (("starts", 0), ("ends", 8), ("axes", 1))
    }
    inputs = [value("x", TensorProto.FLOAT, ["batch", 16])]
    save_graph(path, nodes, inputs, [value("y", TensorProto.FLOAT, ["batch", 8])], weights | ends)
    return path, rng.uniform(0, 1, (200, 16)).astype(np.float32)


def masked(path: Path) -> tuple[Path, npt.NDArray[Any]]:
    """Scores with a mask in front of a Softmax, as attention has it: 1 - mask, times -10,000, added."""
    rng = np.random.default_rng(4)
    weights = {
        "w": rng.normal(0, 1, (16, 8)).astype(np.float32),
        "much": np.array(-10000, np.float32),
        "v": np.eye(8, dtype=np.float32),
        "root": np.array(0.5, np.float32),
        "edge": np.array(0.5, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["raw"], name="scores"),
        helper.make_node("Mul", ["raw", "root"], ["scores"], name="scale"),
        helper.make_node("Greater", ["flags", "edge"], ["is_off"], name="off"),
        helper.make_node("Cast", ["is_off"], ["off_f"], name="as_float", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["off_f", "much"], ["mask"], name="mask_mul"),
        helper.make_node("Add", ["scores", "mask"], ["seen"], name="mask_add"),
        helper.make_node("Softmax", ["seen"], ["shares"], name="softmax", axis=-1),
        helper.make_node("MatMul", ["shares", "v"], ["y"], name="values"),
    ]
    nodes.insert(1, helper.make_node("Slice", ["x", "starts", "ends", "axes"], ["flags"], name="flags"))
    ends: dict[str, Any] = {
        name: np.array([number], np.int64) for name, number in (("starts", 0), ("ends", 8), ("axes", 1))
    }
    inputs = [value("x", TensorProto.FLOAT, ["batch", 16])]
    save_graph(path, nodes, inputs, [value("y", TensorProto.FLOAT, ["batch", 8])], weights | ends)
    return path, rng.uniform(0, 1, (200, 16)).astype(np.float32)


def outlier(source: Path, target: Path) -> Path:
    """The net with a channel of the convolution 200 times as large, which the next layer takes back: the same function."""

    def change(model: onnx.ModelProto) -> None:
        found = {name: array.copy() for name, array in weights_of(model).items()}
        found["w0"][5] *= 200
        found["b0"][5] *= 200
        found["w1"][5 * 36 : 6 * 36] /= 200
        for name in ("w0", "b0", "w1"):
            set_weight(model, name, found[name])

    return edit(source, target, change)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("files")
    net = fitted(folder / "net.onnx")
    int8 = quantize(net, folder / "int8.onnx")
    return {
        "folder": folder,
        "net": net,
        "int8": int8,
        "scaled": scaled(int8, folder / "scaled.onnx", 8),
        "outlier": outlier(net, folder / "outlier.onnx"),
        "centred": centred(net, folder / "centred.onnx"),
        "retrained": fitted(folder / "retrained.onnx", relabel={3: 5}),
        "detector": detector(folder / "detector.onnx"),
        "masked": masked(folder / "masked.onnx"),
    }


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are run by the code that a child process runs, without starting one: there are dozens of runs."""
    from pytest_onnxlite.checks.accuracy import explain
    from pytest_onnxlite.variants import first_run

    def ask(function: Callable[[Any], Any], argument: Any, **_: Any) -> Any:
        return function(argument)

    monkeypatch.setattr(explain, "ask", ask)
    monkeypatch.setattr(first_run, "ask", ask)


BESIDE_FLOAT = {
    "fifth": Cause(
        "static INT8 that was calibrated on a fifth of the data's range",
        r"^\d+\.\d % of the values of input x lie beyond what its integers hold, up to 5\.\d+ times.* gives back \d+ of the \d+",
        BLAMED,
    ),
    "zeros": Cause(
        "static INT8 of a convolution that was calibrated on zeros",
        r"^the calibration samples are all the same, such as zeros: .* gives back \d+ of the \d+ lost answers",
        (r"one-sided", *BLAMED),
    ),
    "shifted": Cause(
        "static INT8 that was calibrated on the sizes of values, evaluated on values of both signs",
        r"^\d+\.\d % of the values of input x lie beyond .*: calibration saw no values below 0\. .* gives back \d+ of the \d+",
        BLAMED,
    ),
    "bytes": Cause(
        "static INT8 that was calibrated on pixels from 0 to 255, evaluated on pixels around 0",
        r"^the values of input x use 0\.\d % of the range .* calibration saw values \d+\.\d times as large\. .* gives back \d+ of",
        BLAMED,
    ),
    "raw": Cause(
        "static INT8 that was calibrated on pixels from 0 to 255, evaluated on 0 to 1",
        r"^the values of input x use 0\.4 % of the range .* calibration saw values 2\d\d\.\d times as large\..* gives back",
        BLAMED,
    ),
    "one_class": Cause(
        "static INT8 that was calibrated on dark pictures of one class",
        r"^the calibration data is one-sided: \d+ of \d+ samples are answered 3",
        BLAMED,
    ),
    "detector": Cause(
        "boxes in pixels and scores in one Concat, static",
        r"^join \(Concat\) joins tensors of very different size under one scale: score reaches .* gives back \d+ of the \d+",
        (r"^boxes", r"\(Sigmoid\) adds the largest error", r"no layer stands out"),
    ),
    "masked": Cause(
        "a mask of -10,000 in front of a Softmax, static",
        r"^scale, mask_mul, mask_add and softmax together lose most: left in float, they give back \d+ of the \d+ lost",
        (r"softmax \(Softmax\) adds the largest", r"no layer stands out"),
    ),
    "outlier": Cause(
        "a channel 200 times as large under one scale for all channels",
        r"^conv \(Relu\) adds .*Output channel 5 has weights \d+ times .*: quantize per_channel=True\. Left in float, conv gives",
        (r"training data or labels", r"^Calibrate"),
    ),
    "scaled": Cause(
        "an INT8 file of the user's with a weight scale eight times as large",
        r"^hidden \(MatMul\) adds the largest error .*Its output is (7\.9\d|8\.\d+|8) times the float model's",
        (r"recipe exclude=", r"per_channel=True"),
    ),
    "blocks": Cause(
        "weights in blocks of 4 bits, some of whose scales are six times as large",
        r"^hidden \(MatMul\) adds the largest error",
        (r"exclude=", r"per_channel", r"[Cc]alibrat", r"no layer stands out", r"hidden_Q4"),
    ),
    "uneven": Cause(
        "an output column with a wrong scale, of a class with 80 % of the samples",
        r"^head.* adds the largest error",
        (r"training data or labels", r"no layer stands out"),
    ),
}


def in_blocks(source: Path, target: Path) -> Path:
    """The net with weights in blocks of 4 bits, of which every second unit of the hidden layer has a scale six times as large."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(source), bits=4, block_size=32, is_symmetric=True)
    quantizer.process()
    model = quantizer.model.model
    scales = weights_of(model)["w1_scales"].copy()
    scales[::2] *= 6
    set_weight(model, "w1_scales", scales)
    onnx.save(model, target)
    return target


def off_by_column(int8: Path, target: Path) -> Path:
    """The dynamic INT8 file with the weights of class 3 in the last layer at a fraction of what they were."""

    def change(model: onnx.ModelProto) -> None:
        found = weights_of(model)["w2_quantized"].copy()
        zero = int(weights_of(model)["w2_zero_point"].reshape(-1)[0])
        found[:, 3] = zero + (found[:, 3].astype(int) - zero) // 6
        set_weight(model, "w2_quantized", found.astype(np.uint8 if found.dtype == np.uint8 else np.int8))

    return edit(int8, target, change)


@pytest.fixture(scope="module")
def beside_float(files: dict[str, Any]) -> dict[str, Seed]:
    net = {"onnx": files["net"]}
    ones, _ = pictures(60, seed=6, noise=0.02, shares=np.eye(CLASSES)[3])
    shares = np.full(CLASSES, 0.2 / (CLASSES - 1))
    shares[3] = 0.8
    many, labels = pictures(300, seed=7, shares=shares)
    column = off_by_column(files["int8"], files["folder"] / "column.onnx")
    (detector_path, boxes), (mask_path, masks) = files["detector"], files["masked"]
    return {
        "fifth": Seed(net, X, Y, calibration=X[:100] * 0.2, recipe=STATIC),
        "zeros": Seed(net, X, Y, calibration=X[:20] * 0, recipe=STATIC),
        "shifted": Seed({"onnx": files["centred"]}, X - 0.5, Y, calibration=np.abs(X[:100] - 0.5), recipe=STATIC),
        "bytes": Seed({"onnx": files["centred"]}, X - 0.5, Y, calibration=np.abs(X[:100]) * 127, recipe=STATIC),
        "raw": Seed(net, X, Y, calibration=X[:100] * 255, recipe=STATIC),
        "one_class": Seed(net, X, Y, calibration=ones * 0.5, recipe=STATIC),
        "detector": Seed({"onnx": detector_path}, boxes, calibration=boxes[:100], recipe=STATIC),
        "masked": Seed({"onnx": mask_path}, masks, calibration=masks[:100], recipe=STATIC),
        "outlier": Seed({"onnx": files["outlier"]}, X, Y, calibration=X[:100], recipe="StaticInt8(per_channel=False)"),
        "scaled": Seed(net | {"int8": files["scaled"]}, X, metric="cosine"),
        "blocks": Seed(net | {"int8": in_blocks(files["net"], files["folder"] / "blocks.onnx")}, X, Y),
        "uneven": Seed(net | {"int8": column}, many, labels),
    }


def test_what_int8_loses_beside_float_is_laid_to_what_was_broken(
    project: Project, beside_float: dict[str, Seed]
) -> None:
    write(project.path, beside_float)
    said = read(project.run("--onnxlite-report=report.json", "--onnxlite-html=report.html"), project.path)
    hold(BESIDE_FLOAT, said)
    # What is advised is what there is for that format.
    assert "Quantize its weights anew in smaller blocks or in 8 bits, or leave" in said["blocks"].message
    page = (project.path / "report.html").read_text()
    assert structure_faults(page) == []
    assert network_faults(page) == []
    shown = Outline(page).text
    for drawn in ("How the samples of each class", "Calibrated ranges", "Where the error enters", "Left in float, on"):
        assert drawn in shown
    assert "64.8 % cut off" in shown
    assert page.count("<img ") > 6
    assert len(page) < 100_000 * len(said)


def hold(causes: dict[str, Cause], said: dict[str, Said]) -> None:
    assert set(said) >= set(causes), set(causes) - set(said)
    wrong = []
    for name, cause in causes.items():
        try:
            cause.hold(said[name].why, said[name].text)
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong, "\n\n".join(wrong)


# -- against the last release --------------------------------------------------------------------------------

LOST = "@pytest.mark.onnxlite_accuracy(max_drop=0.02)"
AGAINST_LAST = {
    "retrained": Cause(
        "a model that was trained again with one class relabelled, quantized as before",
        r"^\d+ of the \d+ answers were lost before quantization: the onnx model itself has \d+ right now\.",
        LAYERS,
    ),
    "float_retrained": Cause(
        "the same of the float model",
        r"^\d+ of \d+ lost answers are of class 3 .* comes from its training data or labels\.",
        (r"before quantization", r"no layer stands out"),
    ),
    "batch": Cause(
        "another batch size",
        r"^the batch size changed from 1 to 8, and the data did not\. With 8, of today's 200 samples",
        (r"^the data changed", r"of different data", *LAYERS),
    ),
    "metric": Cause(
        "another metric",
        r"^the metric changed from top1 to top2, and the data did not\.",
        (r"^the data changed", r"of different data", *LAYERS),
    ),
    "relabelled": Cause(
        "evaluation images that were relabelled",
        r"^label 5 looks wrong: .* answered 3 by this variant and by the last release alike\. Were their images relabelled\?",
        LAYERS,
    ),
    "words": Cause(
        "evaluation texts that were relabelled",
        r"^label 5 looks wrong: .* answered 3 by .* alike\. Were these samples labelled anew\?",
        (r"images", *LAYERS),
    ),
    "machine": Cause(
        "another machine or runtime, on which the last release's own file loses as much",
        r"^the last release's own file has \d+ right today, and had \d+ right when it was saved: 10 of the 10 answers lost come",
        (r"[Ff]ind out what changed in the model", r"it is the model that changed", *LAYERS),
    ),
    "random": Cause(
        "a node that draws random numbers",
        r"^random int8 is nondeterministic|^random onnx is nondeterministic",
        (r"[Ff]ind out what changed in the model", *LAYERS),
    ),
}

CAUSES = [*BESIDE_FLOAT.values(), *AGAINST_LAST.values()]


def table(path: Path) -> tuple[Path, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A model that reads tokens, `(batch, 6) int64`, and answers by their sum of vectors; texts, and what it answers."""
    rng = np.random.default_rng(8)
    weights = {"table": rng.normal(size=(40, CLASSES)).astype(np.float32)}
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["e"], name="embed"),
        helper.make_node("ReduceMean", ["e"], ["y"], name="mean", axes=[1], keepdims=0),
    ]
    inputs = [value("tokens", TensorProto.INT64, ["batch", 6])]
    save_graph(path, nodes, inputs, [value("y", TensorProto.FLOAT, ["batch", CLASSES])], weights)
    texts = rng.integers(0, 40, (200, 6))
    return path, texts, weights["table"][texts].mean(axis=1).argmax(axis=1)


def noisy(source: Path, target: Path) -> Path:
    """The net with noise on its scores, as a dropout that was left in adds it."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "clean"
        noise = helper.make_node("RandomNormalLike", ["clean"], ["noise"], name="dropout", scale=2.0)
        model.graph.node.extend([noise, helper.make_node("Add", ["clean", "noise"], ["y"], name="noisy")])

    return edit(source, target, change)


def test_what_was_lost_since_the_last_release_is_laid_to_what_changed(
    project: Project, files: dict[str, Any], tmp_path: Path
) -> None:
    net = {"onnx": files["net"]}
    dynamic = Seed(net, X, Y, recipe="DynamicInt8()", marker=LOST)
    given = Seed(net, X, Y, variant="onnx", marker=LOST)
    words, texts, meant = table(tmp_path / "words.onnx")
    seeds = {
        "retrained": dynamic,
        "float_retrained": given,
        "batch": given,
        "metric": given,
        "relabelled": given,
        "words": Seed({"onnx": words}, texts, meant, variant="onnx", marker=LOST),
        "machine": given,
        "random": given,
    }
    write(project.path, seeds)
    project.save()
    saved = project.path / "baselines" / "machine" / "onnx.json"
    baseline = json.loads(saved.read_text())
    correct = baseline["accuracy"]["correct"]
    saved.write_text(json.dumps(baseline | {"accuracy": baseline["accuracy"] | {"correct": correct + 10}}))
    changed = seeds | {
        "retrained": replace(dynamic, files={"onnx": files["retrained"]}),
        "float_retrained": replace(given, files={"onnx": files["retrained"]}),
        "batch": replace(given, batch_size=8),
        "metric": replace(given, metric="top2"),
        "relabelled": replace(given, y=np.where(Y == 3, 5, Y)),
        "words": replace(seeds["words"], y=np.where(meant == 3, 5, meant)),
        "random": replace(given, files={"onnx": noisy(files["net"], tmp_path / "noisy.onnx")}),
    }
    write(project.path, changed)
    said = read(project.compare("--onnxlite-report=report.json"), project.path)
    hold(AGAINST_LAST, said)
    # Counts that are named fit together.
    assert said["retrained"].why.split(" of the ")[0] <= said["retrained"].why.split(" of the ")[1]
