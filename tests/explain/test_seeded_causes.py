"""Faults that were put into real models: each is found, and named first in its explanation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType

from pytest_onnxlite.explain.provenance import Provenance

from onnx_models import edit, quantize, set_weight, stretched, weights_of, wide
from projects import Digits, Project

Explained = Any

Run = Callable[..., Explained]
ACCURACY = "@pytest.mark.onnxlite_accuracy(max_drop=0.01)"
DENSE = "cnn_1/dense_7_1/MatMul"
CONV = "cnn_1/conv2d_3_1/BiasAdd"


def weight_of(model: onnx.ModelProto, node: str) -> str:
    """Return the name of a node's weight."""
    return str(next(n.input[1] for n in model.graph.node if n.name == node))


def float_model(digits: Digits, path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    return edit(digits.onnx, path, change)


# -- accuracy ------------------------------------------------------------------------------------------------


def test_weights_scaled_by_eight_lose_answers_behind_a_static_range(
    project: Project, digits: Digits, calibration: Path, tmp_path: Path, explain: Run
) -> None:
    """Judged by right answers, at the default limit: what a static range cuts off is lost."""
    spec = f"recipe=StaticInt8(), calibration=np.load({str(calibration)!r})['mixed']"
    project.write({"onnx": digits.onnx}, digits.x, digits.y, spec=spec)
    sound = Path(explain().record["artefact"]["path"])

    def scale(model: onnx.ModelProto) -> None:
        name = next(n for n in weights_of(model) if n.endswith("conv2d_3_1/convolution/ReadVariableOp:0_scale"))
        set_weight(model, name, weights_of(model)[name] * np.float32(8))

    int8 = edit(sound, tmp_path / "scaled.onnx", scale)
    project.write({"onnx": digits.onnx, "int8": int8}, digits.x, digits.y, markers=ACCURACY)
    found = explain().explanation("accuracy")
    assert found["why"].startswith(CONV.rsplit("/", 1)[0]), found
    layers = {layer["node"]: layer["own"] for layer in found["layers"]}
    worst = min(layers, key=lambda node: layers[node])
    assert worst.startswith(CONV.rsplit("/", 1)[0])


def test_weights_scaled_by_eight_are_named_with_their_layer_and_factor(
    project: Project, digits: Digits, tmp_path: Path, explain: Run
) -> None:
    def scale(model: onnx.ModelProto) -> None:
        name = next(n for n in weights_of(model) if n.endswith("conv2d_3_1/convolution/ReadVariableOp:0_scale"))
        set_weight(model, name, weights_of(model)[name] * np.float32(8))

    int8 = edit(digits.int8, tmp_path / "scaled.onnx", scale)
    # A net of Relus answers the same whatever the scale: what it is sure of is another matter.
    markers = "@pytest.mark.onnxlite_accuracy(max_drop=0.001)"
    project.write({"onnx": digits.onnx, "int8": int8}, digits.x, markers=markers, spec="metric='cosine'")
    explained = explain()
    found = explained.explanation("accuracy")
    assert found["why"].startswith(f"{CONV} (Conv) adds the largest error"), found
    assert "times the float model's" in found["why"]
    factor = float(found["why"].split("Its output is ")[1].split(" ")[0])
    assert 6 < factor < 9
    layers = {layer["node"]: layer["own"] for layer in found["layers"]}
    assert layers[CONV] < 0 < 25 < min(own for node, own in layers.items() if node != CONV)
    assert f"Why: {CONV}" in explained.text
    assert "not quantized anew" in explained.text  # a file of the user's is ranked by its errors alone


@pytest.mark.parametrize(
    ("recipe", "named", "cure"),
    [
        ("DynamicInt8()", "cnn_1/conv2d_2_1/BiasAdd (Conv)", "ConvInteger takes one scale for all channels"),
        ("StaticInt8(per_channel=False)", "cnn_1/conv2d_2_1/BiasAdd (Relu)", "quantize per_channel=True"),
    ],
)
def test_an_outlier_channel_is_named_with_its_cure(
    project: Project,
    digits: Digits,
    calibration: Path,
    tmp_path: Path,
    explain: Run,
    recipe: str,
    named: str,
    cure: str,
) -> None:
    source = stretched(digits.onnx, tmp_path / "outlier.onnx", 400)
    spec = f"recipe={recipe}, calibration=np.load({str(calibration)!r})['mixed']"
    project.write({"onnx": source}, digits.x, digits.y, markers=ACCURACY, spec=spec)
    found = explain().explanation("accuracy")
    assert found["why"].startswith(f"{named} adds the largest error"), found
    assert "Output channel 5 has weights" in found["why"]
    assert cure in found["why"]
    gains = [trial["gain"] for trial in found["left_in_float"]]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 0


def test_a_calibration_set_of_one_class_is_named(
    project: Project, digits: Digits, calibration: Path, explain: Run
) -> None:
    spec = f"recipe=StaticInt8(), calibration=np.load({str(calibration)!r})['ones']"
    # Whatever the class and the method, it costs these real digits 8 of 1,000 answers at most: less than the default limit.
    markers = "@pytest.mark.onnxlite_accuracy(max_drop=0.004)"
    project.write({"onnx": digits.onnx}, digits.x, digits.y, markers=markers, spec=spec)
    found = explain().explanation("accuracy")
    assert found["why"].startswith("the calibration data is one-sided: 64 of 64 samples are answered 1"), found
    assert any(layer["clipped"] > 0 for layer in found["layers"])


def trained_again(digits: Digits, labels: Any, x: Any, path: Path) -> Path:
    """The example CNN whose last layer was trained on with these labels: softmax regression on what it reads."""
    import onnxruntime

    model = onnx.load(digits.onnx)
    product = next(node for node in model.graph.node if node.name == "cnn_1/digit_1/MatMul")
    bias = next(node for node in model.graph.node if node.name == "cnn_1/digit_1/BiasAdd").input[1]
    weights, offset = (weights_of(model)[name].astype(np.float64) for name in (product.input[1], bias))
    features = onnx.ModelProto.FromString(model.SerializeToString())
    features.graph.output.append(onnx.helper.make_tensor_value_info(product.input[0], onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(features.SerializeToString(), providers=["CPUExecutionProvider"])
    read = session.run([product.input[0]], {session.get_inputs()[0].name: x})[0].astype(np.float64)
    rate = 1.0 / np.square(read).sum(axis=1).mean()
    for _ in range(100):
        scores = read @ weights + offset
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        chances[np.arange(len(labels)), labels] -= 1
        weights -= rate * 4 * read.T @ chances / len(labels)
        offset -= rate * 4 * chances.mean(axis=0)

    def change(candidate: onnx.ModelProto) -> None:
        set_weight(candidate, product.input[1], weights.astype(np.float32))
        set_weight(candidate, bias, offset.astype(np.float32))

    return float_model(digits, path, change)


def test_a_class_whose_images_were_relabelled_in_training_is_named(
    project: Project, digits: Digits, tmp_path: Path, explain: Run
) -> None:
    from digits import load_digits

    (x, y), _ = load_digits()
    project.write({"onnx": digits.onnx}, digits.x, digits.y, markers=ACCURACY, variant="onnx")
    project.save()
    # The same training with the true labels is as good as before, so that the labels are to blame.
    x, y = x[:1000], y[:1000]
    project.replace("onnx.onnx", trained_again(digits, y, x, tmp_path / "same.onnx"))
    project.compare().assert_outcomes(passed=1)
    project.replace("onnx.onnx", trained_again(digits, np.where(y == 3, 5, y), x, tmp_path / "relabelled.onnx"))
    found = explain("--onnxlite-baseline").explanation("accuracy")
    assert re.match(
        r"\d+ of \d+ lost answers are of class 3 \(\d+ of 104 right, .*; \d+ are answered 5\)", found["why"]
    ), found
    flipped = found["answers"]["flipped"][0]
    assert flipped["expected"] == flipped["reference"] != flipped["candidate"]
    assert digits.y[flipped["sample"]] == flipped["expected"]
    worst = found["answers"]["classes"][0]
    assert (worst["label"], worst["mistaken_for"]) == (3, 5)


def test_a_class_whose_evaluation_images_were_relabelled_is_named(
    project: Project, digits: Digits, explain: Run
) -> None:
    project.write({"onnx": digits.onnx, "int8": digits.int8}, digits.x, digits.y, markers=ACCURACY)
    project.save()
    np.savez(project.path / "data.npz", x=digits.x, y=np.where(digits.y == 3, 5, digits.y))
    found = explain("--onnxlite-baseline").explanation("accuracy")
    assert found["why"].startswith("label 5 looks wrong: "), found
    assert "are answered 3 by this variant and by the last release alike" in found["why"]


# -- size ----------------------------------------------------------------------------------------------------

SIZE = "@pytest.mark.onnxlite_size(ratio=0.25)"


def test_an_excluded_layer_is_named_with_what_it_takes(project: Project, digits: Digits, explain: Run) -> None:
    spec = "recipe=DynamicInt8(exclude=['*dense_7*'])"
    project.write({"onnx": digits.onnx}, digits.x, digits.y, markers=SIZE, spec=spec)
    found = explain().explanation("size")
    assert found["why"].startswith("cnn_1/dense_7_1/Cast/ReadVariableOp:0 (1.56 MiB, read by "), found
    assert "excluded by" in found["why"]
    assert found["cure"] == ["cnn_1/dense_7_1/Cast/ReadVariableOp:0"]
    assert found["cure_saves"] >= found["excess"] > 0


def test_a_float_copy_left_behind_is_named(project: Project, digits: Digits, tmp_path: Path, explain: Run) -> None:
    def copy(model: onnx.ModelProto) -> None:
        source = onnx.load(digits.onnx)
        name = weight_of(source, DENSE)
        model.graph.initializer.append(numpy_helper.from_array(weights_of(source)[name], "dense_copy"))

    int8 = edit(digits.int8, tmp_path / "copied.onnx", copy)
    project.write({"onnx": digits.onnx, "int8": int8}, digits.x, digits.y, markers=SIZE)
    found = explain().explanation("size")
    assert found["why"].startswith("dense_copy (1.56 MiB) is unused"), found
    assert found["bytes"]["unread"] == found["unread"][0]["bytes"] > found["excess"] > 0
    assert sum(v for k, v in found["bytes"].items() if k != "waste") == Path(project.path / "int8.onnx").stat().st_size


def test_what_an_exporter_wrote_beside_the_nodes_is_named_and_can_be_removed(
    project: Project, tmp_path: Path, explain: Run
) -> None:
    def note(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.metadata_props.add(
                key="pkg.torch.onnx.stack_trace", value="File model.py, line 1, in forward\n" * 2400
            )
            node.doc_string = "x" * 100

    net = hidden(tmp_path / "a.onnx", 2048)
    x = np.ones((4, 32), np.float32)
    spec = "recipe=DynamicInt8()"
    project.write({"onnx": edit(net, tmp_path / "noted.onnx", note)}, x, markers=SIZE, spec=spec)
    found = explain().explanation("size")
    assert found["why"].startswith("notes of the exporter's take 79."), found
    assert found["bytes"]["notes"] > 33 * 2400
    assert "exporter's notes 79." in found["details"][0]

    def clear(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")

    project.replace("onnx.onnx", edit(tmp_path / "noted.onnx", tmp_path / "cleared.onnx", clear))
    project.run().assert_outcomes(passed=1)


def hidden(path: Path, width: int) -> Path:
    """A net with one hidden layer of this width."""
    from onnx import TensorProto, helper

    from onnx_models import save_graph

    rng = np.random.default_rng(0)
    weights = {"w0": rng.normal(0, 0.1, (32, width)).astype(np.float32)}
    weights["w1"] = rng.normal(0, 0.1, (width, 4)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("MatMul", ["b", "w1"], ["y"], name="second"),
    ]
    value = helper.make_tensor_value_info
    inputs, outputs = [value("x", TensorProto.FLOAT, ["batch", 32])], [value("y", TensorProto.FLOAT, ["batch", 4])]
    return save_graph(path, nodes, inputs, outputs, weights)


def test_a_tensor_that_grew_since_the_last_release_is_named(project: Project, tmp_path: Path, explain: Run) -> None:
    x = np.ones((4, 32), np.float32)
    project.write({"onnx": hidden(tmp_path / "a.onnx", 64)}, x, variant="onnx", markers="@pytest.mark.onnxlite_size")
    project.save()
    project.replace("onnx.onnx", hidden(tmp_path / "b.onnx", 256))
    found = explain("--onnxlite-baseline").explanation("size")
    assert found["why"] == "w0 grew from 8.00 KiB in the last release to 32.00 KiB."
    assert found["grown"][0] == {"tensor": "w0", "bytes": 32768, "previous": 8192}
    assert found["reference_bytes"]["floats"] == 4 * 36 * 64
    assert "(in brackets: the last release)" in " ".join(found["details"])


def test_a_layer_that_was_quantized_in_the_last_release_is_named(
    project: Project, digits: Digits, explain: Run
) -> None:
    size = "@pytest.mark.onnxlite_size(ratio=1.0)"
    project.write({"onnx": digits.onnx}, digits.x, digits.y, markers=size, spec="recipe=DynamicInt8()")
    project.save()
    spec = "recipe=DynamicInt8(exclude=['*dense_7*'])"
    project.write({"onnx": digits.onnx}, digits.x, digits.y, markers=size, spec=spec)
    found = explain("--onnxlite-baseline").explanation("size")
    new = "cnn_1/dense_7_1/Cast/ReadVariableOp:0 (1.56 MiB) is new since the last release: it is in float, excluded by"
    assert found["why"].startswith(new), found
    assert found["cure"] == ["cnn_1/dense_7_1/Cast/ReadVariableOp:0"]


# -- latency and memory --------------------------------------------------------------------------------------


@pytest.mark.alone
def test_a_conv_turned_into_conv_integer_is_named(project: Project, tmp_path: Path, explain: Run) -> None:
    source = conv_stack(tmp_path / "float.onnx")
    int8 = quantize(source, tmp_path / "int8.onnx", weight_type=QuantType.QInt8)
    marker = "@pytest.mark.onnxlite_latency(max_ratio=1.0, max_slowdown=0.2)"
    project.write({"onnx": source, "int8": int8}, np.ones((4, 1, 64, 64), np.float32), markers=marker)
    explained = explain()
    found = explained.explanation("latency")
    assert re.match(r"ConvInteger \+.* in 3 nodes; it was Conv\.", found["why"]), found
    nodes = {node["node"]: node for node in found["nodes"]}
    assert "ConvInteger" in nodes["conv1"]["operators"]
    assert nodes["conv1"]["reference_operators"] == ["Conv"]
    assert nodes["conv1"]["seconds"] > nodes["conv1"]["reference_seconds"]
    assert "Why: ConvInteger +" in explained.text


@pytest.mark.alone
def test_an_operator_that_was_added_since_the_last_release_is_named(
    project: Project, tmp_path: Path, explain: Run
) -> None:
    marker = "@pytest.mark.onnxlite_latency(max_slowdown=0.2, max_time=20)"
    x = np.ones((4, 1, 64, 64), np.float32)
    project.write({"onnx": conv_stack(tmp_path / "a.onnx")}, x, variant="onnx", markers=marker)
    project.save()
    project.replace("onnx.onnx", conv_stack(tmp_path / "b.onnx", layers=5))
    found = explain("--onnxlite-baseline").explanation("latency")
    assert re.match(r"Conv \+.* in 5 nodes, which were 3\.", found["why"]), found
    assert found["reference"] == "the last release"
    assert {node["node"] for node in found["nodes"][:2]} == {"conv3", "conv4"}
    for node in found["nodes"][:2]:
        assert (node["operators"], node["reference_operators"], node["reference_seconds"]) == (["Conv"], [], 0)
    assert found["seconds"] > found["reference_seconds"] > 0
    assert any(re.match(r" *conv3: \+.* \(nothing → Conv\)", line) for line in found["details"])


@pytest.mark.parametrize(
    "name",
    [
        "a/MatMul",
        "a/MatMul_quant",
        "a/MatMul/MatMulAddFusion_MatMul",
        "fused a/MatMul/MatMulAddFusion_MatMul/MatMulAddFusion",
        "a/MatMul/MatMulAddFusion_MatMul_quant_token_12",
    ],
)
def test_names_of_fused_nodes_are_traced_back_to_the_file(tmp_path: Path, name: str) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[0].name = "a/MatMul"

    assert Provenance(edit(hidden(tmp_path / "a.onnx", 8), tmp_path / "b.onnx", rename)).of(name) == "a/MatMul"


def test_weights_that_grew_are_told_from_activations(project: Project, tmp_path: Path, explain: Run) -> None:
    marker = "@pytest.mark.onnxlite_memory(max_growth=0.05)"
    x = np.ones((4, 32), np.float32)
    project.write({"onnx": hidden(tmp_path / "a.onnx", 1 << 12)}, x, variant="onnx", markers=marker)
    project.save()
    project.replace("onnx.onnx", hidden(tmp_path / "b.onnx", 1 << 16))
    found = explain("--onnxlite-baseline").explanation("memory")
    assert re.match(r"the file grew from \S+ KiB to \S+ MiB, and loading holds it", found["why"]), found
    assert found["load"]["bytes"] > found["load"]["reference"]


def test_a_doubled_activation_is_named(project: Project, tmp_path: Path, explain: Run) -> None:
    before, after = wide(tmp_path / "a.onnx", 256), wide(tmp_path / "b.onnx", 512)
    x = np.ones((4, 1, 64, 64), np.float32)
    project.write({"onnx": before}, x, variant="onnx", markers="@pytest.mark.onnxlite_memory(max_growth=0.05)")
    project.save()
    project.replace("onnx.onnx", after)
    found = explain("--onnxlite-baseline").explanation("memory")
    # Which of them allocate what flows between them is the runtime's affair: older ones run the gate in place.
    grown = {node["node"] for node in found["nodes"] if node["change"] >= 4 << 20}
    assert "widen" in grown
    assert grown <= {"gate", "widen", "ReorderOutput"}
    assert re.match(
        rf"({'|'.join(grown)}) allocates 8.00 MiB in a run, was 4.00 MiB: its activations grew", found["why"]
    ), found
    assert found["run"]["bytes"] > found["run"]["reference"]


def conv_stack(path: Path, layers: int = 3) -> Path:
    """Convolutions whose work outweighs everything around them."""
    from onnx import TensorProto, helper

    from onnx_models import save_graph

    rng = np.random.default_rng(0)
    weights: dict[str, Any] = {"w0": rng.normal(0, 0.2, (32, 1, 3, 3)).astype(np.float32)}
    weights |= {f"w{i}": rng.normal(0, 0.05, (32, 32, 3, 3)).astype(np.float32) for i in range(1, layers)}
    nodes, last = [], "x"
    for i in range(layers):
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], name=f"conv{i}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], name=f"relu{i}"))
        last = f"r{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["p"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["p"], ["y"], name="flat"))
    return save_graph(
        path,
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 32])],
        weights,
    )
