"""Faults of the libraries that this project came across. A test fails as soon as one of them is fixed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from graph_models import dynamic, exported_lstm, finish, initializer, rng, static, value
from graph_running import prepared, quiet, run, session
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, quantize_dynamic

from pytest_onnxlite.lint import check_graph

PAGE = Path(__file__).resolve().parents[2] / "docs" / "known-faults.md"
FAULTS: dict[str, Callable[[Path], bool]] = {}


def fault(name: str):
    def add(still_there: Callable[[Path], bool]) -> Callable[[Path], bool]:
        FAULTS[name] = still_there
        return still_there

    return add


def normal(*shape: int) -> np.ndarray:
    return rng(1).normal(size=shape).astype(np.float32)


def matmul(*weight: int, opset: int = 17) -> onnx.ModelProto:
    batch = ["N"] * (len(weight) - 1)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "fc")
    inputs, outputs = [value("x", [*batch, weight[-2]])], [value("y", [*batch, weight[-1]])]
    return finish([node], inputs, outputs, [initializer("w", normal(*weight))], opset)


def refuses(judge: Callable[[], object], text: str) -> bool:
    try:
        judge()
    except Exception as error:  # onnx and ONNX Runtime have each their own
        return text in str(error)
    return False


@fault("quantizer-leaves-if-unsorted")
def _(folder):
    def branch(name):
        out = value(f"{name}_y", ["N", 8])
        node = helper.make_node("MatMul", ["x", "w"], [f"{name}_y"], f"{name}_mm")
        return helper.make_graph([node], name, [], [out], [initializer("w", normal(16, 8))])

    node = helper.make_node("If", ["c"], ["y"], "if", then_branch=branch("a"), else_branch=branch("b"))
    inputs = [value("c", [], TensorProto.BOOL), value("x", ["N", 16])]
    q = dynamic(finish([node], inputs, [value("y", ["N", 8])], []), extra_options={"EnableSubgraph": True})
    assert "OLX104" in {finding.code for finding in check_graph(q)}
    return refuses(lambda: onnx.checker.check_model(q), "topologically sorted")


@fault("quantizer-ignores-excluded-gemm")
def _(folder):
    node = helper.make_node("Gemm", ["x", "w"], ["y"], "gemm")
    model = finish([node], [value("x", ["N", 8])], [value("y", ["N", 8])], [initializer("w", normal(8, 8))])
    q = dynamic(model, nodes_to_exclude=["gemm"])
    assert [finding.code for finding in check_graph(q, model, excluded=["gemm"])] == ["OLX609"]
    return any(n.op_type == "MatMulInteger" for n in q.graph.node)


@fault("quantizer-per-channel-3d-matmul-dynamic")
def _(folder):
    q = dynamic(matmul(1, 4, 3), per_channel=True)
    assert "OLX311" in {finding.code for finding in check_graph(q)}
    return refuses(lambda: run(q, {"x": normal(2, 2, 4)}), "MatMulInteger") or refuses(
        lambda: run(q, {"x": normal(2, 2, 4)}), "DynamicQuantizeMatMul"
    )


@fault("quantizer-per-channel-3d-matmul-static")
def _(folder):
    q = static(matmul(1, 4, 3))
    assert "OLX309" in {finding.code for finding in check_graph(q)}
    node = next(n for n in q.graph.node if n.name == "w_DequantizeLinear")
    return node.attribute[0].i == 1


@fault("quantizer-per-channel-3d-matmul-qoperator")
def _(folder):
    q = static(matmul(1, 4, 3), quant_format=QuantFormat.QOperator)
    assert "OLX311" in {finding.code for finding in check_graph(q)}
    return refuses(lambda: run(q, {"x": normal(2, 2, 4)}), "QLinearMatMul")


@fault("quantizer-writes-axis-before-opset-13")
def _(folder):
    q = static(matmul(4, 3, opset=12))
    assert "OLX111" in {finding.code for finding in check_graph(q)}
    return refuses(lambda: session(q), "Unrecognized attribute: axis")


@fault("quantizer-drops-relu-that-a-branch-reads")
def _(folder):
    def branch(name):
        node = helper.make_node("MatMul", ["r", "v"], [f"{name}_y"], f"{name}_mm")
        return helper.make_graph([node], name, [], [value(f"{name}_y", ["N", 4])])

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "fc"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "v"], ["z"], "fc2"),
        helper.make_node("ReduceSum", ["z"], ["s"], "sum", keepdims=0),
        helper.make_node("Cast", ["s"], ["c"], "cast", to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], "if", then_branch=branch("a"), else_branch=branch("b")),
    ]
    weights = [initializer("w", normal(16, 8)), initializer("v", normal(8, 4))]
    model = finish(nodes, [value("x", ["N", 16])], [value("y", ["N", 4])], weights)
    q = static(model)
    assert "OLX801" in {finding.code for finding in check_graph(q, model)}
    return not any(node.op_type == "Relu" for node in q.graph.node)


@fault("quantizer-drops-relu-that-calibration-saw-silent")
def _(folder):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "fc"),
        helper.make_node("Relu", ["h"], ["y"], "relu"),
    ]
    weights = [initializer("w", -np.ones((4, 4), np.float32))]
    model = finish(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights)
    feed = {"x": np.ones((2, 4), np.float32)}
    q = static(model, [feed])
    assert "OLX505" in {finding.code for finding in check_graph(q, model)}
    return not run(model, feed).any() and bool((run(q, feed) < 0).all())


@fault("quantizer-drops-relu-of-distribution-calibration")
def _(folder):
    from onnxruntime.quantization import CalibrationMethod

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "fc"),
        helper.make_node("Relu", ["h"], ["y"], "relu"),
    ]
    weights = [initializer("w", np.eye(4, dtype=np.float32))]
    model = finish(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights)
    feed = {"x": np.array([[-1, 1, -1, 1]], np.float32)}
    q = static(model, [feed], calibrate_method=CalibrationMethod.Distribution)
    return not (run(model, feed) < 0).any() and bool((run(q, feed) < -0.5).any())


@fault("quantizer-bias-scale-underflows")
def _(folder):
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv")
    weights = [initializer("w", normal(2, 3, 3, 3) * np.float32(1e-25)), initializer("b", np.zeros(2, np.float32))]
    model = finish([node], [value("x", ["N", 3, 8, 8])], [value("y", ["N", 2, 6, 6])], weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the quantizer divides zero by zero
        q = static(model, [{"x": normal(1, 3, 8, 8) * np.float32(1e-20)}])
    assert {finding.code for finding in check_graph(q, model)} == {"OLX302", "OLX323", "OLX324"}
    (bias,) = [numpy_helper.to_array(t) for t in q.graph.initializer if t.name == "b_quantized"]
    return bool((bias == np.iinfo(np.int32).min).all())


@fault("quantizer-writes-infinite-scales-for-masks")
def _(folder):
    nodes = [
        helper.make_node("Less", ["x", "zero"], ["padded"], "padded"),
        helper.make_node("Where", ["padded", "infinite", "zero"], ["mask"], "mask"),
        helper.make_node("Add", ["x", "mask"], ["masked"], "masked"),
        helper.make_node("Softmax", ["masked"], ["y"], "shares"),
    ]
    weights = [initializer("zero", np.zeros(1, np.float32)), initializer("infinite", np.full(1, -np.inf, np.float32))]
    model = finish(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights)
    feed = {"x": np.array([[1, -1, 1, 1]], np.float32)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        q = static(model, [feed])
    assert "OLX301" in {finding.code for finding in check_graph(q, model)}
    return bool(np.isfinite(run(model, feed)).all()) and not np.allclose(run(q, feed), run(model, feed), atol=0.1)


@fault("quantizer-skips-lstm-with-computed-weights")
def _(folder):
    model = exported_lstm()
    q = dynamic(model)
    assert "OLX601" in {finding.code for finding in check_graph(q, model)}
    return any(node.op_type == "LSTM" for node in q.graph.node)


@fault("preprocessing-forgets-external-data")
def _(folder):
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 32):
        pytest.skip("seen with ONNX Runtime 1.32; 1.24 does it right")
    # A shape that depends on values, at which symbolic shape inference gives up.
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "fc"),
        helper.make_node("ReduceL1", ["h"], ["length"], "length", keepdims=0),
        helper.make_node("Cast", ["length"], ["count"], "count", to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["count", "axis"], ["shape"], "shape"),
        helper.make_node("Expand", ["one", "shape"], ["many"], "many"),
        helper.make_node("ReduceMax", ["many"], ["most"], "most", keepdims=0),
        helper.make_node("Add", ["h", "most"], ["y"], "add"),
    ]
    weights = [
        initializer("w", normal(64, 64)),
        initializer("axis", np.array([0])),
        initializer("one", np.ones(1, np.float32)),
    ]
    model = finish(nodes, [value("x", ["N", 64])], [value("y", ["N", 64])], weights)
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="w.data", size_threshold=1024)

    def prepare():
        with quiet():
            prepared(folder / "model.onnx")

    return refuses(prepare, "w.data")


@fault("preprocessing-adds-opset-imports")
def _(folder):
    onnx.save(matmul(4, 3), folder / "model.onnx")
    with quiet():
        found = onnx.load(prepared(folder / "model.onnx"))
    assert "OLX110" in {finding.code for finding in check_graph(found)}
    return len(found.opset_import) > 1


@fault("quantizer-rejects-folded-weights")
def _(folder):
    nodes = [
        helper.make_node("Identity", ["stored"], ["w"], "identity"),
        helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv"),
    ]
    weights = [initializer("stored", normal(2, 3, 3, 3)), initializer("b", normal(2))]
    model = finish(nodes, [value("x", ["N", 3, 8, 8])], [value("y", ["N", 2, 6, 6])], weights)
    onnx.save(model, folder / "model.onnx")

    def quantize():
        with quiet():
            quantize_dynamic(folder / "model.onnx", folder / "int8.onnx")

    return refuses(quantize, "Expected w to be an initializer")


@fault("runtime-lacks-dequantizelinear-of-opset-28")
def _(folder):
    if onnx.defs.onnx_opset_version() < 28:
        pytest.skip("this onnx does not know opset 28")
    opset = [helper.make_opsetid("", 28)]
    q = static(matmul(4, 3))
    q.opset_import[0].version, q.ir_version = 28, helper.find_min_ir_version_for(opset)
    return refuses(lambda: session(q), "DequantizeLinear(28)")


@fault("onnx-ir-get-const-tensor-renames")
def _(folder):
    tensor = initializer("named", normal(3))
    node = helper.make_node("Constant", [], ["y"], "constant", value=tensor)
    model = finish([node], [], [value("y", [3])], [])
    before = model.SerializeToString()
    ir.convenience.get_const_tensor(ir.from_proto(model).graph.outputs[0])
    return model.SerializeToString() != before


@fault("converter-lacks-erfc-of-gelu")
def _(folder):
    keras = pytest.importorskip("keras", reason="TensorFlow is not installed")
    from pytest_onnxlite import Dataset, ModelSpec
    from pytest_onnxlite.variants.builder import Builder
    from pytest_onnxlite.variants.cache import Cache

    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2, activation="gelu")])
    spec = ModelSpec("gelu", trained=model, evaluation=Dataset(normal(8, 4)))
    return refuses(lambda: Builder(spec, Cache(folder), lambda _: None).onnx, "Erfc")


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_still_there(name, tmp_path):
    assert FAULTS[name](tmp_path), f"fixed: take {name} out of docs/known-faults.md and out of this file"


def test_the_page_lists_these_faults_and_no_others():
    assert re.findall(r"^## `([\w-]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == list(FAULTS)
