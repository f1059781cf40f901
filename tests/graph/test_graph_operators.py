"""The table of quantized operators: ONNX Runtime's own schemas agree with it, and every place that asks reads it."""

from __future__ import annotations

import re
from typing import Any

import onnx
import pytest
from graph_models import dense, dynamic, value
from graph_running import LEVELS, optimized
from onnx import helper
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from pytest_onnxlite.lint import check_graph, summarize
from pytest_onnxlite.lint.operators import OUTPUT, QUANTIZED, QuantizedOperator, quantized_operator
from pytest_onnxlite.lint.protobuf import is_quantized

# How ONNX and ONNX Runtime name what computes with quantized tensors.
_NAMES = re.compile(
    r"^(De)?[Qq]uantize|^DynamicQuantize|^Q(Linear|Ordered|Attention|Gemm|MoE|Embed)|Integer(16|ToFloat)?$|NBits"
    r"|Bnb4|FpQ4|Float8|BlockQuantized|(MatMul|Gather|MoE)Packed$"
)


def schemas() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for schema in get_all_operator_schema():
        found.setdefault(schema.name, []).append(schema)
    return found


def test_every_quantized_operator_of_the_runtime_is_in_the_table() -> None:
    named = {name for name in schemas() if _NAMES.search(name)}
    assert len(named) > 30
    assert named - set(QUANTIZED) == set()
    assert {"QLinearConv", "MatMulNBits", "DynamicQuantizeMatMul", "QMoE"} <= named


@pytest.mark.parametrize("row", QUANTIZED.values(), ids=lambda row: row.name)
def test_the_positions_are_those_of_the_runtimes_schema(row: QuantizedOperator) -> None:
    known = schemas().get(row.name)
    if known is None:
        pytest.skip(f"this ONNX Runtime has no {row.name}")
    assert {schema.domain for schema in known} <= set(row.domains)
    names = [item.name.lower() for item in max(known, key=lambda schema: schema.since_version).inputs]
    for slots in row.tensors:
        assert slots.data == OUTPUT or not re.search("scale|zero|zp", names[slots.data])
        if slots.scale is not None:
            assert re.search("scale|absmax", names[slots.scale])
        if slots.zero_point is not None:
            assert re.search("zero_point|zp", names[slots.zero_point])
    if row.more is not None:
        assert names[row.more :] == ["inputs"]
    if row.bias is not None:
        assert names[row.bias] in ("b", "c", "bias")


def alone(row: QuantizedOperator, domain: str, inside: str) -> onnx.ModelProto:
    """A model with one quantized operator and no other, which nothing could run."""
    node = helper.make_node(row.name, ["x"] * 3, ["y"], "n", domain=domain)
    y = helper.make_empty_tensor_value_info("y")
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    functions = []
    if inside == "branch":
        branch = helper.make_graph([node], "branch", [], [y])
        node = helper.make_node("If", ["x"], ["y"], "if", then_branch=branch, else_branch=branch)
    if inside == "function":
        functions = [helper.make_function("local", "inner", ["x"], ["y"], [node], opsets)]
        node = helper.make_node("inner", ["x"], ["y"], "call", domain="local")
    graph = helper.make_graph([node], "main", [value("x", [1])], [y])
    return helper.make_model(graph, opset_imports=[*opsets, helper.make_opsetid("local", 1)], functions=functions)


@pytest.mark.parametrize("inside", ["", "branch", "function"])
@pytest.mark.parametrize("row", QUANTIZED.values(), ids=lambda row: row.name)
def test_each_operator_alone_makes_a_model_quantized(row: QuantizedOperator, inside: str) -> None:
    model = alone(row, row.domains[0], inside)
    assert is_quantized(model)
    assert "OLX115" in {finding.code for finding in check_graph(dense(), model)}


def test_an_operator_of_that_name_in_a_foreign_domain_is_another() -> None:
    assert quantized_operator(helper.make_node("QGemm", [], ["y"], domain="my.company")) is None
    assert quantized_operator(helper.make_node("QGemm", [], ["y"])) is None
    assert quantized_operator(helper.make_node("QGemm", [], ["y"], domain="com.microsoft")) is QUANTIZED["QGemm"]


def test_a_file_that_the_runtime_fused_is_a_quantized_one() -> None:
    fused = optimized(dynamic(dense()), LEVELS.ORT_ENABLE_EXTENDED)
    assert "com.microsoft.DynamicQuantizeMatMul" in summarize(fused).operators
    assert {finding.code for finding in check_graph(fused, dense())} == {"OLX110"}  # ONNX Runtime imports all it has
    assert {finding.code for finding in check_graph(dense(), fused)} >= {"OLX115"}
