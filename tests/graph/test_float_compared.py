"""Dequantized, a candidate is its source: in every form that quantizers and ONNX Runtime's optimizer write."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from float_mutations import candidate, source
from graph_models import computed_weight, convnet, dense, dynamic, finish, gelu, initializer, rng, static, value
from graph_mutations import array, put
from graph_running import LEVELS, optimized
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType

from pytest_onnxlite.checks.graph.judge import judge_graph
from pytest_onnxlite.checks.graph.limit import GraphLimit
from pytest_onnxlite.checks.graph.measurement import Graph
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.lint import Finding, check_graph, signature


def compared(q: onnx.ModelProto, model: onnx.ModelProto) -> dict[str, str]:
    """Return what the comparison found, by code."""
    return {f.code: f.found for f in check_graph(q, model) if f.code.startswith(("OLX7", "OLX8"))}


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model in which every tensor and node inside has another name."""
    twin = onnx.load_from_string(model.SerializeToString())
    ends = {end.name for end in (*twin.graph.input, *twin.graph.output)}
    for node in twin.graph.node:
        node.name = f"zz_{node.name}"
        for names in (node.input, node.output):
            names[:] = [name if name in ends or not name else f"zz/{name}" for name in names]
    for tensor in twin.graph.initializer:
        if tensor.name not in ends:
            tensor.name = f"zz/{tensor.name}"
    del twin.graph.value_info[:]
    return twin


def turned(name: str) -> Callable[[onnx.ModelProto], None]:
    """Return what puts the rows of a weight in another order."""
    return lambda model: put(model, name, np.roll(array(model, name), 1, axis=0))


FORMS = {
    "dynamic": lambda model: dynamic(model),
    "QDQ": lambda model: static(model),
    "QOperator": lambda model: static(model, quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8),
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_found_by_what_they_feed(form):
    model = convnet()
    q = renamed(FORMS[form](model))
    assert compared(q, model) == {}
    turned("zz/fc_w_quantized")(q)
    assert set(compared(q, model)) == {"OLX701"}


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_an_int32_bias_is_found_by_what_it_feeds(form):
    model = convnet()
    q = renamed(FORMS[form](model))
    put(q, "zz/conv_b_quantized", array(q, "zz/conv_b_quantized") + 40)
    assert set(compared(q, model)) == {"OLX703"}


def gemm(alpha: float = 1.0) -> onnx.ModelProto:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], "gemm", transB=1, alpha=alpha)
    weights = [initializer("w", rng(4).normal(size=(40, 24)).astype(np.float32))]
    weights.append(initializer("b", rng(5).normal(size=40).astype(np.float32)))
    return finish([node], [value("x", ["N", 24])], [value("y", ["N", 40])], weights)


def test_a_gemm_in_integers_is_compared_with_its_bias():
    q = FORMS["QOperator"](gemm())
    assert "QGemm" in {node.op_type for node in q.graph.node}
    assert compared(renamed(q), gemm()) == {}
    other = renamed(q)
    bias = next(node.input[6] for node in other.graph.node if node.op_type == "QGemm")
    put(other, bias, array(other, bias) + 40)
    assert set(compared(other, gemm())) == {"OLX703"}
    assert set(compared(renamed(q), gemm(alpha=0.5))) == {"OLX801"}


@pytest.mark.parametrize("op", ["Transpose", "Reshape"])
def test_a_weight_that_is_moved_behind_its_dequantization_is_compared(op):
    w = rng(1).normal(size=(16, 16)).astype(np.float32)
    scale = np.float32(np.abs(w).max() / 127)
    stored = np.round(w / scale).astype(np.int8)
    dims = {"Transpose": (16, 16), "Reshape": (4, 64)}[op]
    kept = stored.T.copy() if op == "Transpose" else stored.reshape(dims)

    def made(integers: np.ndarray) -> onnx.ModelProto:
        reads = ["w_dq"] if op == "Transpose" else ["w_dq", "dims"]
        nodes = [
            helper.make_node("DequantizeLinear", ["q", "s"], ["w_dq"], "dq"),
            helper.make_node(op, reads, ["moved"], "move"),
            helper.make_node("MatMul", ["x", "moved"], ["y"], "fc"),
        ]
        weights = [initializer("q", integers), numpy_helper.from_array(scale, "s")]  # type: ignore[arg-type]
        weights += [initializer("dims", np.array([16, 16], np.int64))] if op == "Reshape" else []
        return finish(nodes, [value("x", ["N", 16])], [value("y", ["N", 16])], weights)

    fc = helper.make_node("MatMul", ["x", "w"], ["y"], "fc")
    model = finish([fc], [value("x", ["N", 16])], [value("y", ["N", 16])], [initializer("w", w)])
    assert compared(made(kept), model) == {}
    assert set(compared(made(np.roll(kept, 1, axis=0)), model)) == {"OLX701"}


def packed(bits: int) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return a MatMul, and the same with weights of a few bits in blocks of 16."""
    columns, rows, block, most = 32, 8, 16, 1 << bits
    w = rng(3).normal(size=(columns, rows)).astype(np.float32)
    parts = w.T.reshape(rows, columns // block, block)
    scale = (np.abs(parts).max(axis=2) * 2 / (most - 1)).astype(np.float32)
    integers = np.clip(np.round(parts / scale[..., None]) + most // 2, 0, most - 1).astype(np.uint8)
    per_byte = 8 // bits
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    stored = (integers.reshape(rows, -1, block // per_byte, per_byte) << shifts).sum(axis=3).astype(np.uint8)
    fields = {"K": columns, "N": rows, "bits": bits, "block_size": block}
    node = helper.make_node("MatMulNBits", ["x", "w_q", "w_s"], ["y"], "fc", domain="com.microsoft", **fields)  # type: ignore[arg-type]
    inputs, outputs = [value("x", ["N", columns])], [value("y", ["N", rows])]
    weights = [initializer("w_q", stored), initializer("w_s", scale)]
    graph = helper.make_graph([node], "main", inputs, outputs, weights)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    fc = helper.make_node("MatMul", ["x", "w"], ["y"], "fc")
    # What those integers stand for: rounding to so few is not the matter here.
    exact = (integers.astype(np.float32) - most // 2) * scale[..., None]
    model = finish([fc], inputs, outputs, [initializer("w", exact.reshape(rows, columns).T.copy())])
    return helper.make_model(graph, opset_imports=imports, ir_version=8), model


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_packed_in_blocks_are_compared(bits):
    q, model = packed(bits)
    assert compared(q, model) == {}
    turned("w_q")(q)
    assert set(compared(q, model)) == {"OLX701"}


FUSED = {"MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearConv", "QGemm", "QLinearMatMul", "QLinearAdd"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [convnet, dense])
def test_what_the_optimizer_fuses_is_compared(make, form):
    q = optimized(FORMS[form](make()), LEVELS.ORT_ENABLE_EXTENDED)
    if make is dense:
        assert FUSED & {node.op_type for node in q.graph.node}
    found = compared(q, make())
    assert not {code for code in found if code not in ("OLX808", "OLX809")}, found
    weight = next(tensor.name for tensor in q.graph.initializer if array(q, tensor.name).size > 500)
    turned(weight)(q)
    assert {"OLX701", "OLX809"} & set(compared(q, make()))


def test_what_cannot_be_compared_is_counted_and_named():
    q = optimized(dynamic(gelu()), LEVELS.ORT_ENABLE_EXTENDED)
    assert compared(q, gelu()) == {"OLX808": "5 of 7 nodes not compared ('halve', 'multiply', 'add' and 2 more)"}
    # Behind the fused node everything is compared again.
    last = next(node for node in q.graph.node if node.op_type == "Tanh")
    last.op_type = "Softsign"
    assert set(compared(q, gelu())) == {"OLX801"}


def test_the_figure_of_a_sound_graph_says_what_was_not_compared():
    finding = Finding("OLX809", "info", "m", "", "2 of 14 weights not compared ('a', 'b')", "", "")
    none = Absent(Outcome.MISSING, "no baseline is asked for")
    for findings, figure in (((finding,), "sound, 2 of 14 weights not compared ('a', 'b')"), ((), "sound")):
        found = Graph(findings, signature(computed_weight()), {})
        assert judge_graph(GraphLimit(), found, None, none)[0].figure == figure


@pytest.mark.parametrize("scope", ["main", "If", "Loop", "function"])
def test_names_of_the_graphs_inside_change_no_finding(scope):
    assert compared(renamed(candidate(scope)) if scope == "main" else candidate(scope), source(scope)) == {}


def test_a_chain_of_many_nodes_is_compared_in_time_that_grows_with_it():
    def chain(changed: int = -1) -> onnx.ModelProto:
        ops = ["Softsign" if i == changed else ("Tanh", "Sigmoid", "Abs")[i % 3] for i in range(5000)]
        nodes = [helper.make_node(op, [f"t{i}"], [f"t{i + 1}"], f"n{i}") for i, op in enumerate(ops)]
        graph = helper.make_graph(nodes, "main", [value("t0", ["N"])], [value("t5000", ["N"])])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    assert [f.where for f in check_graph(chain(2501), chain()) if f.code == "OLX801"] == ["n2501"]


def residual(relu: bool = True) -> onnx.ModelProto:
    """A convolution, and another behind it with a Relu and a factor, as a normalization after a Relu comes out, added up."""
    r = rng(6)
    first, second = ((r.normal(size=(8, width, 3, 3)) / 5).astype(np.float32) for width in (3, 8))
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "w2"], ["b"], "conv2", pads=[1, 1, 1, 1]),
        *([helper.make_node("Relu", ["b"], ["c"], "relu")] if relu else []),
        helper.make_node("Mul", ["c" if relu else "b", "k"], ["d"], "factor"),
        helper.make_node("Add", ["a", "d"], ["e"], "add"),
        helper.make_node("GlobalAveragePool", ["e"], ["y"], "pool"),
    ]
    weights = [initializer("w1", first), initializer("w2", second)]
    factors = initializer("k", r.uniform(0.5, 2, (8, 1, 1)).astype(np.float32))
    return finish(nodes, [value("x", ["N", 3, 8, 8])], [value("y", ["N", 8, 1, 1])], [*weights, factors])


@pytest.mark.parametrize("relu", [True, False], ids=["Relu", "no Relu"])
@pytest.mark.parametrize("form", FORMS)
def test_a_factor_behind_a_relu_that_integers_stand_for(form, relu):
    model = residual(relu)
    assert compared(FORMS[form](model), model) == {}


def test_a_relu_in_front_of_a_factor_that_nothing_stands_for():
    found = compared(static(residual(relu=False)), residual())
    assert "OLX801" in found


def test_an_lstm_that_gives_its_second_output_alone():
    r = rng(7)
    weights = [
        initializer("w", r.normal(size=(1, 16, 4)).astype(np.float32)),
        initializer("r", r.normal(size=(1, 16, 4)).astype(np.float32)),
    ]
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["", "y"], "lstm", hidden_size=4)]
    model = finish(nodes, [value("x", [5, "N", 4])], [value("y", [1, "N", 4])], weights)
    q = dynamic(model, op_types_to_quantize=["LSTM"])
    assert [node.op_type for node in q.graph.node] == ["DynamicQuantizeLSTM"]
    assert compared(q, model) == {}
    changed = onnx.load_from_string(model.SerializeToString())
    put(changed, "w", array(changed, "w")[:, ::-1].copy())
    assert set(compared(q, changed)) == {"OLX701"}
