"""Weights that are stored in integers and multiplied in float; and what a runtime folds, which is not."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from graph_models import dynamic, finish, initializer, rng, value
from graph_running import LEVELS, optimized
from onnx import TensorProto, helper

from pytest_onnxlite.lint import check_graph

RUNTIME = tuple(map(int, onnxruntime.__version__.split(".")[:2]))


def normal(seed: int, *shape: int) -> np.ndarray:
    return rng(seed).normal(size=shape).astype(np.float32)


def tied() -> onnx.ModelProto:
    """A table that is looked up at the start, and turned around multiplied with at the end."""
    nodes = [
        helper.make_node("Gather", ["E", "ids"], ["e"], "embed"),
        helper.make_node("MatMul", ["e", "w"], ["h"], "fc"),
        helper.make_node("Transpose", ["E"], ["turned"], "turn", perm=[1, 0]),
        helper.make_node("MatMul", ["h", "turned"], ["y"], "head"),
    ]
    weights = [initializer("E", normal(1, 100, 32)), initializer("w", normal(2, 32, 32))]
    return finish(nodes, [value("ids", ["N", "T"], TensorProto.INT64)], [value("y", ["N", "T", 100])], weights)


def test_the_head_of_a_tied_embedding_is_left_in_float_by_plain_quantize_dynamic() -> None:
    model = tied()
    q = dynamic(model)
    assert "head" in {node.name for node in q.graph.node if node.op_type == "MatMul"}
    (finding,) = check_graph(q, model)
    assert (finding.code, finding.severity, finding.where) == ("OLX601", "error", "head (E_quantized)")
    assert "3,200 bytes of UINT8" in finding.found
    assert "Transpose and DequantizeLinear" in finding.found
    assert check_graph(q, model, excluded=["head"]) == []


WAYS = {
    "straight": [],
    "Transpose": ["Transpose"],
    "Identity": ["Identity"],
    "Reshape": ["Reshape"],
    "Unsqueeze, Squeeze": ["Unsqueeze", "Squeeze"],
}


def chain(way: list[str], *, activation: bool) -> onnx.ModelProto:
    """A product of an input, quantized if asked, and a dequantized weight that goes some way; its output is quantized."""
    q = np.clip(np.round(normal(1, 32, 40) * 40), -63, 63).astype(np.int8)
    nodes, given = [helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["w0"], "back")], "x"
    if activation:
        nodes.append(helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"], "xq"))
        nodes.append(helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "xd"))
        given = "xd"
    more = {"Reshape": ["dims"], "Unsqueeze": ["axis"], "Squeeze": ["axis"]}
    stored = {"dims": np.array([32, 40]), "axis": np.array([0])}
    for number, op in enumerate(way):
        attributes = {"perm": [1, 0]} if op == "Transpose" else {}
        nodes.append(
            helper.make_node(op, [f"w{number}", *more.get(op, [])], [f"w{number + 1}"], f"{op}{number}", **attributes)  # type: ignore[arg-type]
        )
    nodes += [
        helper.make_node("MatMul", [given, f"w{len(way)}"], ["m"], "product"),
        helper.make_node("QuantizeLinear", ["m", "s", "z"], ["mq"], "mq"),
        helper.make_node("DequantizeLinear", ["mq", "s", "z"], ["y"], "yd"),
    ]
    read = {name for op in way for name in more.get(op, [])}
    weights = [
        initializer("w", q.T if way == ["Transpose"] else q),
        initializer("ws", np.float32(0.02)),
        initializer("wz", np.int8(0)),
        initializer("s", np.float32(0.1)),
        initializer("z", np.uint8(128)),
        *(initializer(name, stored[name]) for name in sorted(read)),
    ]
    return finish(nodes, [value("x", ["N", 32])], [value("y", ["N", 40])], weights)


@pytest.mark.parametrize("activation", [True, False], ids=["quantized input", "float input"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_product_of_a_dequantized_weight_is_found_where_a_runtime_computes_it_in_float(way, activation) -> None:
    model = chain(way, activation=activation)
    fused = {node.op_type for node in optimized(model, LEVELS.ORT_ENABLE_EXTENDED).graph.node}
    in_float = not activation or bool({"Reshape", "Squeeze"} & set(way))
    # Before 1.27 it took integers through a Reshape; a file must be sound for later ones too.
    assert ("MatMul" in fused) == (in_float if not activation or RUNTIME >= (1, 27) else False)
    errors = {finding.code for finding in check_graph(model) if finding.severity == "error"}
    assert errors <= {"OLX503", "OLX601"}
    assert bool(errors) == in_float


def test_weights_alone_in_integers_are_no_fault() -> None:
    for way in WAYS.values():
        model = chain(way, activation=False)
        del model.graph.node[-2:]
        model.graph.node[-1].output[0] = "y"
        kept = [tensor for tensor in model.graph.initializer if tensor.name not in ("s", "z")]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        assert check_graph(model) == []


def test_a_float_weight_is_seen_through_whatever_hands_it_on() -> None:
    nodes = [
        helper.make_node("Reshape", ["w", "dims"], ["a"], "shape"),
        helper.make_node("Unsqueeze", ["a", "axis"], ["b"], "widen"),
        helper.make_node("Squeeze", ["b", "axis"], ["c"], "narrow"),
        helper.make_node("Cast", ["c"], ["d"], "cast", to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "d"], ["h"], "first"),
        helper.make_node("MatMul", ["h", "v"], ["y"], "second"),
    ]
    stored = {"w": normal(1, 16, 64).astype(np.float16), "v": normal(2, 32, 8)}
    stored |= {"dims": np.array([32, 32]), "axis": np.array([0])}
    weights = [initializer(name, values) for name, values in stored.items()]
    model = finish(nodes, [value("x", ["N", 32])], [value("y", ["N", 8])], weights)
    (finding,) = check_graph(dynamic(model), model)
    assert (finding.code, finding.where) == ("OLX601", "first (w)")
    assert "through Reshape and Unsqueeze and Squeeze and Cast" in finding.found


def test_a_weight_of_ten_thousand_steps_is_followed_to_its_end() -> None:
    steps = 10_000
    nodes = [helper.make_node("Identity", ["w" if i == 0 else f"w{i}"], [f"w{i + 1}"], f"n{i}") for i in range(steps)]
    nodes.append(helper.make_node("MatMul", ["x", f"w{steps}"], ["y"], "product"))
    model = finish(nodes, [value("x", ["N", 32])], [value("y", ["N", 40])], [initializer("w", normal(1, 32, 40))])
    assert [finding.where for finding in check_graph(model, model)] == ["product (w)"]
