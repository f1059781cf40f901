"""Subgraphs and functions are looked at like the main graph, and named in what is reported."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from graph_models import dynamic, exported_lstm, finish, initializer, rng, value
from graph_running import LEVELS, optimized
from onnx import TensorProto, helper, version_converter

from pytest_onnxlite.lint import check_graph, summarize


def normal(*shape: int) -> np.ndarray:
    return rng(1).normal(size=shape).astype(np.float32)


def branching(scale: float = 0.01) -> onnx.ModelProto:
    """An If, one branch of which dequantizes a weight by the given scale."""

    def branch(name: str, integers: bool) -> onnx.GraphProto:
        nodes = [helper.make_node("MatMul", ["x", "w"], [f"{name}_y"], "mm")]
        tensors = [initializer("w", normal(16, 32))]
        if integers:
            nodes.insert(0, helper.make_node("DequantizeLinear", ["w_q", "s", "z"], ["w"], "dq"))
            q = np.clip(np.round(normal(16, 32) / 0.01), -127, 127).astype(np.int8)
            tensors = [
                initializer("w_q", q),
                initializer("s", np.float32(scale)),
                initializer("z", np.int8(0)),
            ]
        return helper.make_graph(nodes, name, [], [value(f"{name}_y", ["N", 32])], tensors)

    node = helper.make_node("If", ["c"], ["y"], "if", then_branch=branch("t", True), else_branch=branch("e", False))
    inputs = [value("c", [], TensorProto.BOOL), value("x", ["N", 16])]
    return finish([node], inputs, [value("y", ["N", 32])], [])


def test_a_float_weight_and_a_bad_scale_in_a_branch_are_found_where_they_are():
    found = {finding.code: finding.where for finding in check_graph(branching(scale=-1))}
    assert found == {"OLX302": "if/then_branch/s", "OLX601": "if/else_branch/mm (w)"}


def test_an_exclusion_means_a_node_in_a_branch_by_path():
    assert [f.code for f in check_graph(branching())] == ["OLX601"]
    assert check_graph(branching(), excluded=["if/else_branch/mm"]) == []


def test_a_summary_counts_branches():
    summary = summarize(branching())
    assert summary.operators == {"DequantizeLinear": 1, "If": 1, "MatMul": 2}
    assert summary.weight_bytes == {"FLOAT": 16 * 32 * 4 + 4, "INT8": 16 * 32 + 1}
    assert [(left.tensor, left.node) for left in summary.float_left] == [("if/else_branch/w", "if/else_branch/mm")]


def repeating(operator: str, scale: float) -> onnx.ModelProto:
    """A Loop, or a Scan over the first axis, whose body has a dequantized weight and a state."""
    tensors = [initializer("s", np.float32(scale)), initializer("z", np.int8(0))]
    tensors.append(initializer("w_q", np.clip(np.round(normal(16, 16) / 0.01), -127, 127).astype(np.int8)))
    nodes = [
        helper.make_node("DequantizeLinear", ["w_q", "s", "z"], ["w"], "dq"),
        helper.make_node("MatMul", ["state", "w"], ["next"], "mm"),
    ]
    state, following = value("state", ["N", 16]), value("next", ["N", 16])
    if operator == "Loop":
        nodes.append(helper.make_node("Identity", ["go"], ["go_on"], "go"))
        turn, go = value("turn", [], TensorProto.INT64), value("go", [], TensorProto.BOOL)
        body = helper.make_graph(
            nodes, "body", [turn, go, state], [value("go_on", [], TensorProto.BOOL), following], tensors
        )
        node = helper.make_node("Loop", ["turns", "", "x"], ["y"], "repeat", body=body)
        return finish([node], [value("x", ["N", 16])], [value("y", ["N", 16])], [initializer("turns", np.int64(3))])
    nodes.append(helper.make_node("Identity", ["row"], ["same"], "row"))
    inputs, outputs = [state, value("row", [2])], [following, value("same", [2])]
    body = helper.make_graph(nodes, "body", inputs, outputs, tensors)
    node = helper.make_node("Scan", ["x", "rows"], ["y", "unused"], "repeat", body=body, num_scan_inputs=1)
    return finish(
        [node],
        [value("x", ["N", 16]), value("rows", [3, 2])],
        [value("y", ["N", 16]), value("unused", [3, 2])],
        [],
    )


@pytest.mark.parametrize("operator", ["Loop", "Scan"])
def test_a_body_that_is_repeated_is_looked_into(operator: str) -> None:
    sound = repeating(operator, 0.01)
    feeds = {"x": normal(2, 16), "rows": normal(3, 2)}
    feeds = {entry.name: feeds[entry.name] for entry in sound.graph.input}
    session = onnxruntime.InferenceSession(sound.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(["y"], feeds)[0].shape == (2, 16)
    assert check_graph(sound) == []
    assert [(f.code, f.where) for f in check_graph(repeating(operator, 0))] == [("OLX302", "repeat/body/s")]
    assert summarize(sound).operators["MatMul"] == 1


def test_a_layer_whose_other_weights_are_computed_is_said_to_be_for_that_reason() -> None:
    model = exported_lstm()
    (finding,) = [f for f in check_graph(dynamic(model), model) if f.severity == "error"]
    assert (finding.code, finding.where) == ("OLX601", "lstm (W)")
    assert "its other weights, R, are computed in the graph" in finding.found


def with_function(scale: float) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Constant", [], ["s"], "s", value=initializer("", np.float32(scale))),
        helper.make_node("Constant", [], ["z"], "z", value=initializer("", np.uint8(0))),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["b"], "dq"),
    ]
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("local", "fake_quant", ["a"], ["b"], nodes, opset)
    call = helper.make_node("fake_quant", ["x"], ["y"], "call", domain="local")
    graph = helper.make_graph([call], "main", [value("x", ["N", 4])], [value("y", ["N", 4])])
    opsets = [*opset, helper.make_opsetid("local", 1)]
    return helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8)


def test_a_function_is_looked_into():
    assert check_graph(with_function(0.1)) == []
    assert [(f.code, f.where) for f in check_graph(with_function(0))] == [("OLX302", "function local::fake_quant/s")]
    assert summarize(with_function(0.1)).operators["local.fake_quant"] == 1


def softmax(opset: int, rank: int = 3, **attributes) -> onnx.ModelProto:
    shape = ["N", 3, 4][:rank]
    node = helper.make_node("Softmax", ["x"], ["y"], "softmax", **attributes)
    return finish([node], [value("x", shape)], [value("y", shape)], [], opset)


def raised(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.opset_import[0].version = 17
    return copy


def test_an_opset_that_was_converted_is_told_from_one_that_was_raised():
    old = softmax(12)
    assert [f.code for f in check_graph(raised(old), old)] == ["OLX112"]
    assert check_graph(version_converter.convert_version(old, 17), old) == []
    # Where both versions mean the same, raising the number changes nothing.
    for harmless in (softmax(12, axis=2), softmax(12, axis=-1), softmax(12, rank=2)):
        assert check_graph(raised(harmless), harmless) == []


def test_a_node_without_a_name_is_called_by_what_it_computes():
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = finish([node], [value("x", ["N", 16])], [value("y", ["N", 32])], [initializer("w", normal(16, 32))])
    (finding,) = check_graph(model, model)
    assert finding.where == "MatMul of 'y' (w)"


def convolving(inside: bool) -> onnx.ModelProto:
    """A Conv, in a branch if asked."""
    weight = initializer("w", normal(16, 16, 3, 3))
    x, y = value("x", [1, 16, 8, 8]), value("y", [1, 16, 6, 6])
    if not inside:
        return finish([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], [x], [y], [weight])
    branches = {}
    for name in ("then_branch", "else_branch"):
        conv = helper.make_node("Conv", ["x", "w"], [f"{name}_y"], "conv")
        branches[name] = helper.make_graph([conv], name, [], [value(f"{name}_y", [1, 16, 6, 6])], [weight])
    node = helper.make_node("If", ["c"], ["y"], "if", **branches)
    return finish([node], [value("c", [], TensorProto.BOOL), x], [y], [])


@pytest.mark.parametrize("inside", [False, True])
def test_a_file_that_was_optimized_for_one_processor_is_found(inside: bool) -> None:
    portable, bound = (
        optimized(convolving(inside), level) for level in (LEVELS.ORT_ENABLE_EXTENDED, LEVELS.ORT_ENABLE_ALL)
    )
    if not any(name.startswith("com.microsoft.nchwc.") for name in summarize(bound).operators):
        pytest.skip("ONNX Runtime lays out no convolution anew for this processor")
    assert [finding.code for finding in check_graph(portable) if finding.severity == "error"] == []
    (finding,) = [finding for finding in check_graph(bound) if finding.severity == "error"]
    assert finding.code == "OLX117"
    assert finding.where.startswith("if/then_branch/") == inside
    assert "com.microsoft.nchwc." in finding.found


def test_a_function_whose_branches_the_caller_gives_is_walked_past() -> None:
    given = helper.make_node("If", ["c"], ["b"], "choose")
    for side in ("then_branch", "else_branch"):
        given.attribute.append(onnx.AttributeProto(name=side, ref_attr_name=side, type=onnx.AttributeProto.GRAPH))
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("local", "choice", ["c"], ["b"], [given], opset, ["then_branch", "else_branch"])
    node = helper.make_node("Identity", ["x"], ["z"], "same")
    branch = helper.make_graph([node], "branch", [], [value("z", ["N", 4])])
    call = helper.make_node("choice", ["c"], ["y"], "call", domain="local", then_branch=branch, else_branch=branch)
    inputs = [value("c", [], TensorProto.BOOL), value("x", ["N", 4])]
    graph = helper.make_graph([call], "main", inputs, [value("y", ["N", 4])])
    opsets = [*opset, helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8)
    assert summarize(model).operators == {"Identity": 2, "If": 1, "local.choice": 1}


def test_a_body_in_a_function_is_looked_into_whatever_else_the_caller_gives() -> None:
    inner = helper.make_graph([helper.make_node("Relu", ["row"], ["a"], "relu")], "inner", [], [value("a", [4])])
    choose = helper.make_node("If", ["c"], ["b"], "choose", then_branch=inner, else_branch=inner)
    body = helper.make_graph([choose], "body", [value("row", [4])], [value("b", [4])])
    scan = helper.make_node("Scan", ["x"], ["y"], "scan", body=body)
    scan.attribute.append(
        onnx.AttributeProto(name="num_scan_inputs", ref_attr_name="count", type=onnx.AttributeProto.INT)
    )
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("local", "rows", ["x", "c"], ["y"], [scan], opset, ["count"])
    call = helper.make_node("rows", ["x", "c"], ["y"], "call", domain="local", count=1)
    inputs = [value("x", [3, 4]), value("c", [], TensorProto.BOOL)]
    graph = helper.make_graph([call], "main", inputs, [value("y", [3, 4])])
    opsets = [*opset, helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8)
    assert summarize(model).operators == {"If": 1, "Relu": 2, "Scan": 1, "local.rows": 1}
