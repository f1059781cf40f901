"""No finding on a sound model: hand-made ones under every recipe, and real ones from wheels."""

from __future__ import annotations

import contextlib
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from graph_models import convnet, dense, dynamic, finish, initializer, rng, static, value
from graph_running import Feeds
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from pytest_onnxlite.lint import check_graph, signature


def normal(seed: int, *shape: int) -> np.ndarray:
    return rng(seed).normal(size=shape).astype(np.float32)


def gemm(trans_b: int) -> onnx.ModelProto:
    w = normal(4, 40, 24) if trans_b else normal(4, 24, 40)
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], "gemm", transB=trans_b)
    weights = [initializer("w", w), initializer("b", normal(5, 40))]
    return finish([node], [value("x", ["N", 24])], [value("y", ["N", 40])], weights)


def square_gemm() -> onnx.ModelProto:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], "gemm", transB=1)
    return finish([node], [value("x", ["N", 24])], [value("y", ["N", 24])], [initializer("w", normal(4, 24, 24))])


def lstm() -> onnx.ModelProto:
    node = helper.make_node("LSTM", ["x", "W", "R", "B"], ["y"], "lstm", hidden_size=8)
    weights = [
        initializer("W", normal(1, 1, 32, 6)),
        initializer("R", normal(2, 1, 32, 8)),
        initializer("B", normal(3, 1, 64)),
    ]
    return finish([node], [value("x", ["T", 1, 6])], [value("y", ["T", 1, 1, 8])], weights)


def square_lstm() -> onnx.ModelProto:
    """Its weights are stored transposed by the quantizer, which their shape does not show."""
    node = helper.make_node("LSTM", ["x", "W", "R"], ["y"], "lstm", hidden_size=2)
    weights = [initializer("W", normal(1, 1, 8, 8)), initializer("R", normal(2, 1, 8, 2))]
    return finish([node], [value("x", ["T", 1, 8])], [value("y", ["T", 1, 1, 2])], weights)


def embedding() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gather", ["E", "ids"], ["e"], "embed"),
        helper.make_node("MatMul", ["e", "w"], ["y"], "fc"),
    ]
    weights = [initializer("E", normal(1, 50, 16)), initializer("w", normal(2, 16, 8))]
    return finish(nodes, [value("ids", ["N", "T"], TensorProto.INT64)], [value("y", ["N", "T", 8])], weights)


def depthwise() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "d"], ["c"], "depthwise", group=6, pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["c"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ConvTranspose", ["p", "t"], ["y"], "up", strides=[2, 2]),
    ]
    weights = [initializer("d", normal(1, 6, 1, 3, 3)), initializer("t", normal(2, 6, 5, 2, 2))]
    return finish(nodes, [value("x", ["N", 6, 8, 8])], [value("y", ["N", 5, 8, 8])], weights)


def tricky_weights() -> onnx.ModelProto:
    """A zero channel, a constant one, a tiny one, one of one sign; a bias large beside its weight."""
    w = normal(1, 8, 3, 3, 3)
    w[0], w[1], w[2], w[3], w[4] = 0, 0.25, w[2] * 1e-12, np.abs(w[3]), w[4] * 1e-5
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv")]
    weights = [initializer("w", w), initializer("b", np.linspace(-300, 300, 8, dtype=np.float32))]
    return finish(nodes, [value("x", ["N", 3, 8, 8])], [value("y", ["N", 8, 6, 6])], weights)


def masked() -> onnx.ModelProto:
    """Infinity where it has its place: in a mask and as a limit."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "fc"),
        helper.make_node("Where", ["c", "h", "mask"], ["m"], "where"),
        helper.make_node("Softmax", ["m"], ["s"], "softmax", axis=-1),
        helper.make_node("Clip", ["s", "low", "high"], ["y"], "clip"),
    ]
    weights = [
        initializer("w", normal(1, 16, 8)),
        initializer("mask", np.array(-np.inf, np.float32)),
        initializer("low", np.array(0, np.float32)),
        initializer("high", np.array(np.inf, np.float32)),
    ]
    inputs = [value("x", ["N", 16]), value("c", [8], TensorProto.BOOL)]
    return finish(nodes, inputs, [value("y", ["N", 8])], weights)


MODELS = [convnet, dense, lambda: gemm(0), lambda: gemm(1), square_gemm, depthwise, tricky_weights]
NAMES = ["convnet", "dense", "gemm", "gemm transposed", "square gemm", "depthwise", "tricky weights"]


@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize("reduce_range", [False, True], ids=["full", "reduced"])
@pytest.mark.parametrize("make", MODELS, ids=NAMES)
def test_dynamic_models_are_sound(make, per_channel, reduce_range):
    model = make()
    q = dynamic(model, per_channel=per_channel, reduce_range=reduce_range)
    assert check_graph(q, model) == []


def test_weights_that_were_transposed_under_their_own_name_are_compared():
    """As ONNX Runtime's quantizers before 1.29 leave them, of a Gemm that reads them transposed."""
    model = square_gemm()
    text = dynamic(model).SerializeToString()
    kept = onnx.load_from_string(text)
    for tensor in kept.graph.initializer:
        tensor.name = tensor.name.replace("_Transposed", "")
    for node in kept.graph.node:
        node.input[:] = [name.replace("_Transposed", "") for name in node.input]
    assert check_graph(kept, model) == []
    weight = next(tensor for tensor in kept.graph.initializer if tensor.name.endswith("_quantized"))
    turned = numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(weight).T), weight.name)
    weight.CopyFrom(turned)
    assert "OLX701" in {finding.code for finding in check_graph(kept, model)}


# Its quantizer fails on a scale that it has changed itself, to fit a bias into 32 bits.
NO_SCALE_FOR_A_BIAS = tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 27)


@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize("reduce_range", [False, True], ids=["full", "reduced"])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qlinear"])
@pytest.mark.parametrize("activation", [QuantType.QInt8, QuantType.QUInt8], ids=["s8", "u8"])
@pytest.mark.parametrize("make", MODELS, ids=NAMES)
def test_static_models_are_sound(make, per_channel, reduce_range, form, activation):
    model = make()
    options = {
        "per_channel": per_channel,
        "reduce_range": reduce_range,
        "quant_format": form,
        "activation_type": activation,
    }
    if NO_SCALE_FOR_A_BIAS and make is tricky_weights and per_channel and form == QuantFormat.QOperator:
        with pytest.raises(ValueError, match="could not be broadcast"):
            static(model, **options)
        return
    q = static(model, **options)
    codes = {finding.code for finding in check_graph(q, model)}
    # The forecast of saturation is true of full-range int8 weights beside uint8 activations.
    assert codes <= ({"OLX611"} if activation == QuantType.QUInt8 and not reduce_range else set())


@pytest.mark.parametrize("kept", [True, False])
def test_a_relu_at_the_end_is_kept_under_symmetric_activations(kept):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"], "fc"), helper.make_node("Relu", ["m"], ["y"], "relu")]
    weights = [initializer("w", normal(1, 24, 24))]
    model = finish(nodes, [value("x", ["N", 24])], [value("y", ["N", 24])], weights)
    q = static(model, activation_type=QuantType.QInt8, extra_options={"ActivationSymmetric": True})
    relu = next(node for node in q.graph.node if node.op_type == "Relu")
    if not kept:
        relu.op_type = "Identity"
    codes = {finding.code for finding in check_graph(q, model) if finding.severity == "error"}
    assert ("OLX505" in codes) is not kept
    assert not kept or not codes


@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize("make", [lstm, square_lstm, embedding, masked])
def test_other_dynamic_forms_are_sound(make, per_channel):
    model = make()
    assert check_graph(dynamic(model, per_channel=per_channel), model) == []


@pytest.mark.parametrize(("low", "high", "dtype"), [(-7, 7, TensorProto.INT4), (-127, 127, TensorProto.INT8)])
def test_weights_in_blocks_are_sound_and_compared(low, high, dtype):
    w = normal(1, 32, 16)
    scale = (np.abs(w).reshape(2, 16, 16).max(axis=1) / high).astype(np.float32)
    q = np.clip(np.round(w / np.repeat(scale, 16, axis=0)), low, high).astype(np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["w_quantized", "w_scale"], ["w_dq"], "dq", axis=0, block_size=16),
        helper.make_node("MatMul", ["x", "w_dq"], ["y"], "fc"),
    ]
    inputs, outputs = [value("x", ["N", 32])], [value("y", ["N", 16])]
    fc = helper.make_node("MatMul", ["x", "w"], ["y"], "fc")
    model = finish([fc], inputs, outputs, [initializer("w", w)], 21)

    def blocked(values: np.ndarray) -> onnx.ModelProto:
        weights = [
            helper.make_tensor("w_quantized", dtype, [32, 16], values.ravel()),
            initializer("w_scale", scale),
        ]
        graph = helper.make_graph(nodes, "main", inputs, outputs, weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)

    assert check_graph(blocked(q), model) == []
    assert "OLX701" in {finding.code for finding in check_graph(blocked(np.roll(q, 1, axis=0)), model)}


def test_int8_weights_without_convolutions_are_sound():
    codes = {f.code for f in check_graph(dynamic(dense(), QuantType.QInt8, reduce_range=True), dense())}
    assert codes == set()


def real_feed(path: Path) -> dict[str, np.ndarray]:
    """Return noise in the shapes that a model takes."""
    images = {"_det_": (1, 3, 64, 64), "_rec_": (1, 3, 48, 64), "_cls_": (1, 3, 48, 96)}
    feed = {}
    for tensor in signature(path).inputs:
        shape: tuple[int, ...] | None = next((size for name, size in images.items() if name in path.name), None)
        if shape is None:
            samples = 512 if tensor.name == "input" else 1
            dims = enumerate(tensor.shape or ())
            shape = tuple(dim if isinstance(dim, int) else samples if axis else 1 for axis, dim in dims)
        feed[tensor.name] = normal(7, *shape) if tensor.dtype == "FLOAT" else np.array(16000, np.int64)
    return feed


def real_models() -> list[Path]:
    found = []
    for package in ("rapidocr-onnxruntime", "silero-vad"):
        try:
            found += [Path(str(f.locate())) for f in files(package) or [] if f.name.endswith(".onnx")]
        except PackageNotFoundError:
            continue
    return found


# What is true of them as they are shipped: unused initializers, and one name for many nodes.
FLOAT_TRUTHS = {
    "silero_vad_op18_ifless.onnx": {"OLX105"},
    "silero_vad_openvino_16k.onnx": {"OLX107"},
}
# Every INT8 form has the opset imports that ONNX Runtime's pre-processing adds (OLX110). Beyond that:
INT8_TRUTHS = {
    # Its ConvTranspose has no integer form in dynamic quantization.
    "ch_PP-OCRv4_det_infer.onnx": {"OLX602"},
    # The quantizer puts nodes behind the If whose branches read them: see docs/known-faults.md.
    "silero_vad_16k_op15.onnx": {"OLX101", "OLX104"},
    "silero_vad_half.onnx": {"OLX101", "OLX104"},
}
# Its convolution weights come out of nodes that pre-processing does not fold.
UNQUANTIZABLE = {"silero_vad_op18_ifless.onnx"}
# Static quantization leaves LSTM and subgraphs in float; pre-processing folds one weight into two branches.
STATIC_TRUTHS = {
    "silero_vad.onnx": {"OLX601", "OLX602"},
    # The quantizer drops a Relu that branches of an If read: see docs/known-faults.md.
    "silero_vad_16k_op15.onnx": {"OLX101", "OLX104", "OLX602", "OLX604", "OLX801"},
    "silero_vad_half.onnx": {"OLX101", "OLX104", "OLX602", "OLX604", "OLX801"},
    "silero_vad_16k_sequence.onnx": {"OLX602"},
    "silero_vad_op18_ifless.onnx": {"OLX601"},
    "silero_vad_openvino_16k.onnx": {"OLX602"},
}
REAL = real_models()
needs_real = pytest.mark.skipif(not REAL, reason="pip install --no-deps rapidocr-onnxruntime silero-vad")


def prepare(path: Path, target: Path) -> Path:
    with contextlib.chdir(target.parent):  # it leaves a work file where it fails
        try:
            quant_pre_process(path, target)
        except Exception:  # symbolic shape inference gives up on some of them
            quant_pre_process(path, target, skip_symbolic_shape=True)
    return target


@needs_real
@pytest.mark.parametrize("path", REAL, ids=lambda p: p.name)
def test_real_float_models_have_true_findings_only(path):
    assert {finding.code for finding in check_graph(path)} == FLOAT_TRUTHS.get(path.name, set())


@needs_real
@pytest.mark.parametrize("path", REAL, ids=lambda p: p.name)
def test_real_int8_models_have_true_findings_only(path, tmp_path):
    prepared, target = prepare(path, tmp_path / "prepared.onnx"), tmp_path / "int8.onnx"
    options = {"weight_type": QuantType.QUInt8, "extra_options": {"EnableSubgraph": True}}
    if path.name in UNQUANTIZABLE:
        with pytest.raises(ValueError, match="to be an initializer"):
            quantize_dynamic(prepared, target, **options)
        return
    quantize_dynamic(prepared, target, **options)
    found = {finding.code for finding in check_graph(target, path)}
    assert found == {"OLX110"} | INT8_TRUTHS.get(path.name, set())


@needs_real
@pytest.mark.parametrize("path", REAL, ids=lambda p: p.name)
def test_real_static_models_have_true_findings_only(path, tmp_path):
    prepared, target = prepare(path, tmp_path / "prepared.onnx"), tmp_path / "int8.onnx"
    quantize_static(str(prepared), str(target), Feeds([real_feed(path)] * 2), reduce_range=True)
    found = {finding.code for finding in check_graph(target, path)}
    assert found == {"OLX110"} | STATIC_TRUTHS.get(path.name, set())
