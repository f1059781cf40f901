"""Bytes: what takes the room is named, with the number that would pass; what quantization can reach is the default's measure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from cause import Cause
from onnx import TensorProto, helper, numpy_helper

from onnx_models import save_graph
from projects import Project

IMAGES: npt.NDArray[np.float32] = np.random.default_rng(0).normal(size=(16, 1, 12, 12)).astype(np.float32)
ROWS: npt.NDArray[np.float32] = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
STATIC = "recipe=StaticInt8(), calibration=data['x']"
DYNAMIC = "recipe=DynamicInt8()"
NOTHING = r"notes of the exporter's take 0 B|take 0 B"


def cnn(path: Path) -> Path:
    """What a newcomer trains first: two convolutions and a dense layer, 15 thousand weights."""
    rng = np.random.default_rng(1)
    shapes = {
        "k1": (16, 1, 3, 3),
        "c1": (16,),
        "k2": (32, 16, 3, 3),
        "c2": (32,),
        "w": (32 * 9, 32),
        "b": (32,),
        "v": (32, 10),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k1", "c1"], ["a"], name="conv1", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["ra"], name="relu1"),
        helper.make_node("MaxPool", ["ra"], ["pa"], name="pool1", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pa", "k2", "c2"], ["d"], name="conv2", pads=[1] * 4),
        helper.make_node("Relu", ["d"], ["rd"], name="relu2"),
        helper.make_node("MaxPool", ["rd"], ["pd"], name="pool2", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pd"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w", "b"], ["h"], name="dense"),
        helper.make_node("Relu", ["h"], ["rh"], name="relu3"),
        helper.make_node("MatMul", ["rh", "v"], ["y"], name="digit"),
    ]
    return save_graph(
        path,
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()},
    )


def wide(path: Path, width: int = 256, *, twice: bool = False, layers: int = 1) -> Path:
    """Dense layers of a width; the weight of the last one stored twice if asked, and both read."""
    rng = np.random.default_rng(2)
    weights = {"w0": rng.normal(0, 0.1, (32, width)).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["h0"], name="first")]
    for i in range(1, layers + 1):
        weights[f"w{i}"] = rng.normal(0, 0.1, (width, width)).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [f"h{i - 1}", f"w{i}"], [f"h{i}"], name=f"layer{i}"))
    last = "z" if twice else "y"
    nodes.append(helper.make_node("Relu", [f"h{layers}"], [last], name="relu"))
    if twice:
        weights["w1_again"] = weights["w1"].copy()
        nodes.append(helper.make_node("MatMul", [last, "w1_again"], ["y"], name="again"))
    return save_graph(
        path,
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])],
        weights,
    )


def marked(arguments: str = "") -> str:
    return f"@pytest.mark.onnxlite_size{arguments}"


def judged(project: Project, *options: str) -> tuple[dict[str, Any], str, str]:
    """Run the project; return its verdict (the red one if there is one), the message, and all that was said."""
    text = project.run("--onnxlite-report=report.json", *options).stdout.str()
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    verdicts = record["verdicts"]
    verdict: dict[str, Any] = next((v for v in verdicts if v["red"]), verdicts[0])
    return verdict, verdict["message"], text


SMALL = Cause(
    "a small CNN, all of it quantized, at ratio=0.25",
    r"This is what quantization reaches with a model as small as this: .* ratio=0\.\d\d would pass",
    (NOTHING, r"[Rr]aise ratio", r"no single tensor"),
)
SMALL_IN_FLOAT = Cause(
    "a small CNN with a dense layer in float, at the default",
    r"(?s)at most 0\.3\d\d allowed \(what quantization can reach with this model is 0\.3.*Left in float:\n *w: 36",
    (NOTHING, "This is what quantization reaches"),
)


def test_a_newcomers_model_is_judged_by_what_quantization_can_reach(project: Project, tmp_path: Path) -> None:
    files = {"onnx": cnn(tmp_path / "a.onnx")}
    project.write(files, IMAGES, markers=marked(), spec=STATIC)
    verdict, _, _ = judged(project)
    assert verdict["outcome"] == "pass"
    assert 0.27 < verdict["evidence"]["ratio"] <= verdict["evidence"]["reach"] * 1.05
    # A ratio that is named is kept to; what would pass does.
    project.write(files, IMAGES, markers=marked("(ratio=0.25)"), spec=STATIC)
    verdict, message, text = judged(project)
    SMALL.hold(message, text)
    assert verdict["outcome"] == "fail"
    would = message.split("ratio=0.25", 1)[1].split("ratio=")[1].split(" ")[0]
    project.write(files, IMAGES, markers=marked(f"(ratio={would})"), spec=STATIC)
    assert judged(project)[0]["outcome"] == "pass"
    less = f"{float(would) - 0.01:.2f}"
    project.write(files, IMAGES, markers=marked(f"(ratio={less})"), spec=STATIC)
    assert judged(project)[0]["outcome"] == "fail"
    # And a weight that was left in float is still caught.
    spec = STATIC.replace("()", "(exclude=['dense'])", 1)
    project.write(files, IMAGES, markers=marked(), spec=spec)
    verdict, message, text = judged(project)
    SMALL_IN_FLOAT.hold(message, text)
    assert verdict["outcome"] == "fail"


WIDER = Cause(
    "a layer that is twice as wide as in the last release",
    r"w1_quantized grew from 16\.00 KiB in the last release to 64\.00 KiB",
    (r"the graph itself or the scales take the room", NOTHING, "no single tensor"),
)
WIDER_WEIGHTS = Cause(
    "the same, in the message",
    r"No weight of 1 KiB or more is left in float\. Of 7\d\.\d\d KiB are 7\d\.\d\d KiB integers, the weights among them",
)
WIDER_EVERYWHERE = Cause(
    "eight layers, each a little wider",
    r"several tensors grew since the last release: w\d_quantized \(\+\d",
    (NOTHING, "no single tensor"),
)


def test_a_wider_layer_is_named_and_not_the_graph(project: Project, tmp_path: Path) -> None:
    project.write({"onnx": wide(tmp_path / "a.onnx", 128)}, ROWS, markers=marked(), spec=DYNAMIC)
    project.save()
    project.replace("onnx.onnx", wide(tmp_path / "b.onnx", 256))
    verdict, message, text = judged(project, "--onnxlite-baseline")
    WIDER.hold(verdict["explanation"]["why"], text)
    WIDER_WEIGHTS.hold(message, text)


def test_layers_that_grew_together_are_named(project: Project, tmp_path: Path) -> None:
    project.write({"onnx": wide(tmp_path / "a.onnx", 64, layers=8)}, ROWS, markers=marked(), spec=DYNAMIC)
    project.save()
    project.replace("onnx.onnx", wide(tmp_path / "b.onnx", 72, layers=8))
    verdict, _, text = judged(project, "--onnxlite-baseline")
    WIDER_EVERYWHERE.hold(verdict["explanation"]["why"], text)


TWICE = Cause(
    "a weight that is stored twice",
    r"w1_again_quantized \(64\.00 KiB\) holds the values of w1_quantized: a weight is stored twice",
    ("no single tensor", "is new since", NOTHING),
)
TWICE_HERE = Cause(
    "a weight of the float model that is stored twice, and a ratio of its former size",
    r"w1_again_quantized \(64\.00 KiB\) holds the values of w1_quantized",
    ("no single tensor", NOTHING),
)


def test_a_weight_that_is_stored_twice_is_named(project: Project, tmp_path: Path) -> None:
    project.write({"onnx": wide(tmp_path / "a.onnx")}, ROWS, markers=marked(), spec=DYNAMIC)
    project.save()
    project.replace("onnx.onnx", wide(tmp_path / "b.onnx", twice=True))
    verdict, _, text = judged(project, "--onnxlite-baseline")
    TWICE.hold(verdict["explanation"]["why"], text)
    project.write({"onnx": wide(tmp_path / "b.onnx", twice=True)}, ROWS, markers=marked("(ratio=0.15)"), spec=DYNAMIC)
    verdict, _, text = judged(project)
    TWICE_HERE.hold(verdict["explanation"]["why"], text)


SOUND = Cause(
    "nothing, explained all the same", r"nothing is too large: 8-bit weights take 72\.00 KiB of", (NOTHING, "Remove")
)


def test_what_is_small_enough_has_nothing_to_remove(project: Project, tmp_path: Path) -> None:
    project.write({"onnx": wide(tmp_path / "a.onnx")}, ROWS, markers=marked(), spec=DYNAMIC)
    verdict, _, text = judged(project, "--onnxlite-explain")
    assert verdict["outcome"] == "pass"
    SOUND.hold(verdict["explanation"]["why"], text)


IN_FLOAT = Cause(
    "a file whose weights were left in float, at the default",
    r"(?s)at most 0\.26\d allowed .*Left in float:\n *w1: 256\.00 KiB, .*must stay in float: ratio=1\.\d\d would pass",
    ("This is what quantization reaches",),
)


JUNK = Cause(
    "100 kB of metadata that were written into the INT8 file",
    r"the graph itself takes 98\.99 KiB, 87\.81 KiB more than quantizing adds: look at names, metadata",
    ("weighs much where weights are few", "leave it out"),
)


def test_notes_in_a_graph_do_not_widen_the_default(project: Project, tmp_path: Path) -> None:
    """What is written beside the weights is no part of what quantization needs."""
    source = wide(tmp_path / "a.onnx")
    project.write({"onnx": source}, ROWS, markers=marked(), spec=DYNAMIC)
    sound = judged(project)[0]["evidence"]
    (path,) = {Path(r["artefact"]["path"]) for r in json.loads((project.path / "report.json").read_text())["records"]}
    model = onnx.load(path)
    model.metadata_props.add(key="junk", value="x" * 100_000)
    onnx.save(model, tmp_path / "int8.onnx")
    project.write({"onnx": source, "int8": tmp_path / "int8.onnx"}, ROWS, markers=marked())
    verdict, _, text = judged(project)
    JUNK.hold(verdict["explanation"]["why"], text)
    assert verdict["outcome"] == "fail"
    assert verdict["evidence"]["reach"] < sound["ratio"] + 0.05
    # Half of the weights in float, by whatever tool.
    float_model = onnx.load(source)
    w1 = next(t for t in float_model.graph.initializer if t.name == "w1")
    half = onnx.load(path)
    half.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(w1), "w1"))
    half.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch", 256]))
    half.graph.node.append(helper.make_node("MatMul", ["y", "w1"], ["more"], name="float_layer"))
    onnx.save(half, tmp_path / "half.onnx")
    project.write({"onnx": source, "int8": tmp_path / "half.onnx"}, ROWS, markers=marked())
    verdict, message, text = judged(project)
    IN_FLOAT.hold(message, text)


CAUSES = [SMALL, SMALL_IN_FLOAT, WIDER, WIDER_WEIGHTS, WIDER_EVERYWHERE, TWICE, TWICE_HERE, SOUND, IN_FLOAT, JUNK]
