"""A table that is looked up and multiplied with is stored once, gives the answers that it should, and is multiplied in integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from pytest_onnxlite.lint import check_graph
from pytest_onnxlite.lint.protobuf import graphs
from pytest_onnxlite.runtime.sessions import TensorInfo
from pytest_onnxlite.spec.recipes import DynamicInt8, Recipe, StaticInt8, recipe_text
from pytest_onnxlite.variants.first_run import require_sound
from pytest_onnxlite.variants.quantization import Calibration, quantize
from pytest_onnxlite.variants.tying import untie_shared

from onnx_models import quantize as quantize_plainly
from onnx_models import tied

WORDS, WIDTH = 400, 64
TOKENS = np.random.default_rng(0).integers(0, WORDS, size=(100, 5))
RECIPES: list[Recipe] = [
    DynamicInt8(),
    DynamicInt8(per_channel=True),
    DynamicInt8(weight_type="int8"),
    StaticInt8(),
    StaticInt8(per_channel=False),
    StaticInt8(format="qoperator"),
    StaticInt8(weight_type="uint8"),
    StaticInt8(activation_type="int8"),
]
PRODUCTS = {"DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat", "QGemm", "QLinearMatMul"}


def quantized(source: Path, recipe: Recipe) -> tuple[Path, list[str], list[str]]:
    target = source.with_name("int8.onnx")
    calibration = Calibration(TOKENS, (TensorInfo("token", "int64", ("batch", 5)),))
    decided = quantize(source, recipe, "m", target, calibration)
    require_sound(target, source, decided.excluded, "m", recipe)
    return target, [*decided.notes], [*decided.excluded]


def run(path: Path) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Return the answers, and the operators that ONNX Runtime runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    return session.run(["y"], {"token": TOKENS})[0], operators


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("gemm", [False, True], ids=["Transpose", "Gemm"])
@pytest.mark.parametrize("recipe", RECIPES, ids=recipe_text)
def test_a_tied_table_is_stored_once_and_multiplied_in_integers(
    tmp_path: Path, recipe: Recipe, gemm: bool, bias: bool
) -> None:
    source = tied(tmp_path / "float.onnx", WORDS, WIDTH, gemm=gemm, bias=bias)
    target, notes, _ = quantized(source, recipe)
    assert [note for note in notes if "stored once" in note]
    # The table and the layer in a byte each, the bias, and at most 4 KiB of nodes, names and scales.
    stored = WORDS * WIDTH + WIDTH * WIDTH + 4 * WORDS * bias
    assert stored < target.stat().st_size < stored + 4096
    # Int8 activations are asymmetric, and what is looked up is one.
    known = {"OLX307"} if recipe == StaticInt8(activation_type="int8") else set()
    assert {finding.code for finding in check_graph(target, source)} <= known
    (expected, _), (found, operators) = run(source), run(target)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    # Both products are of integers; what turns the table around was folded when the file was loaded.
    assert sum(name in PRODUCTS for name in operators) == 2
    assert not {"MatMul", "Gemm", "Transpose"} & set(operators)


def test_it_takes_no_more_than_by_plain_quantize_dynamic_which_multiplies_in_float(tmp_path: Path) -> None:
    source = tied(tmp_path / "float.onnx", WORDS, WIDTH)
    plain = quantize_plainly(source, tmp_path / "plain.onnx")
    target, _, _ = quantized(source, DynamicInt8())
    assert target.stat().st_size < plain.stat().st_size + 1024
    (_, ours), (_, theirs) = run(target), run(plain)
    assert [sum(name in PRODUCTS for name in operators) for operators in (ours, theirs)] == [2, 1]


@pytest.mark.parametrize("recipe", [DynamicInt8(), StaticInt8()], ids=["dynamic", "static"])
def test_tables_that_only_look_alike_are_kept_apart(tmp_path: Path, recipe: Recipe) -> None:
    source = tied(tmp_path / "float.onnx", WORDS, WIDTH)
    model = onnx.load(source)
    (table,) = [tensor for tensor in model.graph.initializer if tensor.name == "table"]
    values = onnx.numpy_helper.to_array(table).T.copy()
    values[3, 7] += 0.5  # one of 25,600
    model.graph.initializer.append(onnx.numpy_helper.from_array(values, "turned"))
    (turn,) = [node for node in model.graph.node if node.op_type == "Transpose"]
    model.graph.node.remove(turn)
    onnx.save(model, source)
    target, notes, _ = quantized(source, recipe)
    assert not [note for note in notes if "stored once" in note]
    assert target.stat().st_size > 2 * WORDS * WIDTH
    assert check_graph(target, source) == []


@pytest.mark.parametrize("gemm", [False, True], ids=["Transpose", "Gemm"])
@pytest.mark.parametrize("kind", [DynamicInt8, StaticInt8], ids=["dynamic", "static"])
@pytest.mark.parametrize("node", ["head*", "embed"])
def test_what_is_excluded_stays_float(
    tmp_path: Path, kind: type[DynamicInt8 | StaticInt8], node: str, gemm: bool
) -> None:
    source = tied(tmp_path / "float.onnx", WORDS, WIDTH, gemm=gemm)
    target, _, excluded = quantized(source, kind(exclude=[node]))
    assert not [f for f in check_graph(target, source, excluded=excluded) if f.severity == "error"]
    expected, found = run(source)[0], run(target)[0]
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def shared(path: Path) -> Path:
    """Write a model whose one square weight two Gemms read transposed, one in a branch too, and a MatMul as it is."""
    weight = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32) / 8
    make = onnx.helper.make_node
    vector: list[str | int | None] = ["batch", WIDTH]
    branches = [
        onnx.helper.make_graph(
            [make("Gemm", ["b", "w"], [name], f"gemm_{name}", transB=1)],
            name,
            [],
            [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, vector)],
        )
        for name in ("then", "else")
    ]
    nodes = [
        make("Gemm", ["x", "w"], ["a"], "first", transB=1),
        make("MatMul", ["a", "w"], ["b"], "second"),
        make("If", ["which"], ["y"], "branch", then_branch=branches[0], else_branch=branches[1]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "main",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, vector)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, vector)],
        [
            onnx.numpy_helper.from_array(weight, "w"),
            onnx.numpy_helper.from_array(np.array(True), "which"),
            onnx.numpy_helper.from_array(np.zeros(1, np.float32), "w_Transposed"),  # its name is taken
        ],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def answers(path: Path) -> npt.NDArray[np.float32]:
    x = np.random.default_rng(1).normal(size=(9, WIDTH)).astype(np.float32)
    found = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0]
    return np.asarray(found)


def test_a_weight_that_several_gemms_read_is_transposed_once(tmp_path: Path) -> None:
    source = shared(tmp_path / "a.onnx")
    model = onnx.load(source)
    untie_shared(model)
    gemms = [node for graph in graphs(model.graph) for node in graph.node if node.op_type == "Gemm"]
    assert [(node.input[1], len(node.attribute)) for node in gemms] == [("w_Transposed_", 0)] * 3
    assert [tensor.name for tensor in model.graph.initializer if tensor.dims == [WIDTH, WIDTH]] == [
        "w",
        "w_Transposed_",
    ]
    onnx.save(model, tmp_path / "b.onnx")
    assert np.array_equal(answers(tmp_path / "b.onnx"), answers(source))


@pytest.mark.parametrize("recipe", [DynamicInt8(), DynamicInt8(per_channel=True)], ids=recipe_text)
def test_a_weight_that_several_gemms_read_gives_the_right_answers(tmp_path: Path, recipe: Recipe) -> None:
    source = shared(tmp_path / "a.onnx")
    target, _, _ = quantized(source, recipe)
    right = answers(source)
    assert 10 * np.log10((right**2).sum() / ((answers(target) - right) ** 2).sum()) > 20
