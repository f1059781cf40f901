"""Layers of quantized models, each form that ONNX Runtime writes, with an error put into one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_onnxlite import DynamicInt8, StaticInt8
from pytest_onnxlite.explain.layer import Analysis, LayersRequest
from pytest_onnxlite.explain.layers import analyse
from pytest_onnxlite.explain.noise import decibel
from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.runtime.sessions import TensorInfo
from pytest_onnxlite.spec.recipes import Recipe
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.quantization import Calibration, quantize

from onnx_models import branching, dense, edit, save_graph, set_weight, weights_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 32)).astype(np.float32)
FORMS: dict[str, Recipe] = {
    "dynamic": DynamicInt8(),
    "dynamic per channel": DynamicInt8(per_channel=True),
    "qdq": StaticInt8(),
    "qoperator": StaticInt8(format="qoperator"),
}


def quantized(source: Path, recipe: Recipe, folder: Path, x: Any = X) -> Path:
    target = folder / "int8.onnx"
    calibration = Calibration(x, (TensorInfo("x", "float32", ("batch", 32)),))
    quantize(source, recipe, "m", target, calibration if isinstance(recipe, StaticInt8) else None)
    return target


def compare(source: Path, int8: Path, folder: Path, x: Any = X) -> Analysis:
    feeds = folder / "feeds.npz"
    arrays.save(feeds, {f"{i} x": x[i : i + 2] for i in range(0, len(x), 2)})
    return analyse(LayersRequest(str(source), str(int8), str(feeds), Runtime(), 20))


def rescaled(int8: Path, target: Path, part: str, factor: float) -> Path:
    """A quantized model in which one weight's scale is off."""

    def change(model: onnx.ModelProto) -> None:
        name = next(n for n in weights_of(model) if part in n and n.endswith("_scale"))
        set_weight(model, name, weights_of(model)[name] * np.float32(factor))

    return edit(int8, target, change)


@pytest.mark.parametrize("form", FORMS)
def test_a_sound_model_has_no_bad_layer(tmp_path: Path, form: str) -> None:
    source = dense(tmp_path / "a.onnx", 3, 32)
    found = compare(source, quantized(source, FORMS[form], tmp_path), tmp_path)
    layers = [layer for layer in found.layers if layer.quantized]
    assert {"matmul0", "matmul1", "matmul2"} == {layer.node for layer in layers}
    assert all(layer.own > 30 for layer in layers)
    assert found.runs == 8


@pytest.mark.int8_answers
@pytest.mark.parametrize("form", FORMS)
def test_an_error_is_the_layers_own_and_inherited_by_those_behind(tmp_path: Path, form: str) -> None:
    source = dense(tmp_path / "a.onnx", 3, 32)
    int8 = rescaled(quantized(source, FORMS[form], tmp_path), tmp_path / "b.onnx", "w1", 1.5)
    layers = {layer.node: layer for layer in compare(source, int8, tmp_path).layers if layer.quantized}
    limits = [layer.own for node, layer in layers.items() if node != "matmul1"]
    assert layers["matmul1"].own < 10 < 25 < min(limits)
    assert layers["matmul2"].inherited < 10 < layers["matmul2"].own
    assert layers["matmul0"].inherited > 25
    if form.startswith("dynamic"):  # a static range cuts off what is too large
        assert layers["matmul1"].gain == pytest.approx(1.5, rel=0.02)


@pytest.mark.int8_answers
def test_each_branch_of_an_if_is_looked_into(tmp_path: Path) -> None:
    source = branching(tmp_path / "a.onnx")

    def either(model: onnx.ModelProto) -> None:
        next(node for node in model.graph.node if node.name == "sum").input[0] = "x"

    source = edit(source, tmp_path / "b.onnx", either)  # the sum of a Relu is never negative
    x = X * np.where(np.arange(16) // 2 % 2, 1, -1)[:, None].astype(np.float32) + np.where(
        np.arange(16) // 2 % 2, 1, -1
    )[:, None].astype(np.float32)
    int8 = quantized(source, DynamicInt8(), tmp_path, x)

    def rescale(model: onnx.ModelProto) -> None:
        branch = next(a.g for n in model.graph.node for a in n.attribute if a.name == "else_branch")
        for tensor in branch.initializer:
            if tensor.name == "w_else_scale":
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(3), tensor.name))
                return
        raise KeyError

    found = compare(source, edit(int8, tmp_path / "c.onnx", rescale), tmp_path, x)
    layers = {layer.tensor: layer for layer in found.layers}
    assert layers["if/else_branch/y_else"].own < 0 < 30 < layers["if/then_branch/y_then"].own
    assert layers["if/else_branch/y_else"].node == "matmul_else"
    assert layers["y"].own < 10


def looping(path: Path, width: int = 32) -> Path:
    """A loop that multiplies its state by a weight three times."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(0, width**-0.5, (width, width)).astype(np.float32), "w_loop")
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w_loop"], ["product"], name="matmul_loop"),
            helper.make_node("Tanh", ["product"], ["next"], name="tanh"),
            helper.make_node("Identity", ["go"], ["go_on"], name="go_on"),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("state", TensorProto.FLOAT, ["batch", width]),
        ],
        [value("go_on", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, ["batch", width])],
        [weight],
    )
    return save_graph(
        path,
        [
            helper.make_node("Relu", ["x"], ["h"], name="relu"),
            helper.make_node("Loop", ["count", "", "h"], ["y"], name="loop", body=body),
        ],
        [value("x", TensorProto.FLOAT, ["batch", width])],
        [value("y", TensorProto.FLOAT, ["batch", width])],
        {"count": np.array(3, np.int64)},
    )


@pytest.mark.int8_answers
def test_the_body_of_a_loop_is_looked_into_in_its_first_iteration(tmp_path: Path) -> None:
    source = looping(tmp_path / "a.onnx")
    found = compare(source, quantized(source, DynamicInt8(), tmp_path), tmp_path)
    layers = {layer.tensor: layer for layer in found.layers}
    assert layers["loop/body/product"].node == "matmul_loop"
    assert layers["loop/body/product"].quantized == ["MatMulInteger"]
    assert 25 < layers["loop/body/product"].own < 100
    assert found.notes == ["loop/body/ was compared in its first iteration alone"]


@pytest.mark.int8_answers
def test_values_beyond_a_static_range_are_counted(tmp_path: Path) -> None:
    source = dense(tmp_path / "a.onnx", 2, 32)
    int8 = quantized(source, StaticInt8(), tmp_path, X / 4)
    layers = {layer.node: layer for layer in compare(source, int8, tmp_path).layers}
    assert layers["matmul0"].clipped > 0.05
    assert 2 < layers["matmul0"].reach < 8


@pytest.mark.parametrize(
    ("signal", "noise", "expected"),
    [(100.0, 1.0, 20.0), (1.0, 1.0, 0.0), (1.0, 0.0, 120.0), (0.0, 1.0, -60.0), (1.0, 1e30, -60.0)],
)
def test_decibel(signal: float, noise: float, expected: float) -> None:
    assert decibel(signal, noise) == expected
