"""Float models that are right, or wrong themselves, and that the quantizer must not be blamed for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint import check_graph, signature
from pytest_onnxlite.runtime.sessions import TensorInfo
from pytest_onnxlite.spec.recipes import DynamicInt8, Recipe, StaticInt8
from pytest_onnxlite.variants.first_run import require_sound
from pytest_onnxlite.variants.quantization import Calibration, quantize

from onnx_models import save_graph

RECIPES = [DynamicInt8(), DynamicInt8(per_channel=True), StaticInt8(), StaticInt8(format="qoperator")]
NAMES = ["dynamic", "dynamic per channel", "QDQ", "QOperator"]
X: npt.NDArray[np.float32] = np.random.default_rng(0).normal(size=(40, 32)).astype(np.float32)


def layers(path: Path) -> Path:
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["a"], name="relu"),
        helper.make_node("MatMul", ["a", "w2"], ["y"], name="second"),
    ]
    weights = {"w1": rng.normal(size=(32, 48)), "b1": rng.normal(size=48), "w2": rng.normal(size=(48, 8))}
    return save_graph(
        path,
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
        {name: values.astype(np.float32) for name, values in weights.items()},
    )


def quantized(source: Path, recipe: Recipe) -> tuple[Path, list[str]]:
    target = source.with_name("int8.onnx")
    calibration = Calibration(X, (TensorInfo("x", "float32", ("batch", 32)),))
    decided = quantize(source, recipe, "m", target, calibration)
    require_sound(target, source, [], "m", recipe)
    return target, [*decided.notes]


def answers(path: Path) -> npt.NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it warns of outputs that are declared wrongly
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found: npt.NDArray[np.float32] = session.run(["y"], {"x": X})[0]
    return found


def assert_close(source: Path, target: Path) -> None:
    expected, found = (answers(path) for path in (source, target))
    assert np.abs(expected - found).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("external", [False, True], ids=["inline", "external"])
@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_a_model_of_ir_version_3_lists_its_weights_as_inputs_and_is_quantized(
    tmp_path: Path, recipe: Recipe, external: bool
) -> None:
    source = layers(tmp_path / "float.onnx")
    model = onnx.load(source)
    model.ir_version = 3
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in model.graph.initializer
    )
    onnx.save(model, source, save_as_external_data=external, location="weights.bin", size_threshold=64)
    before = source.read_bytes()
    target, _ = quantized(source, recipe)
    assert check_graph(target, source) == []
    assert [tensor.name for tensor in signature(target).inputs] == ["x"]
    assert_close(source, target)
    assert source.read_bytes() == before


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_an_opset_that_is_imported_twice_in_one_version_is_no_fault(tmp_path: Path, recipe: Recipe) -> None:
    source = layers(tmp_path / "float.onnx")
    model = onnx.load(source)
    model.opset_import.append(helper.make_opsetid("ai.onnx", model.opset_import[0].version))
    onnx.save(model, source)
    assert check_graph(source) == []
    target, _ = quantized(source, recipe)
    assert check_graph(target, source) == []
    assert [entry.domain for entry in onnx.load(target).opset_import if entry.domain in ("", "ai.onnx")] == [""]


def test_an_opset_that_is_imported_in_two_versions_is_told(tmp_path: Path) -> None:
    source = layers(tmp_path / "float.onnx")
    model = onnx.load(source)
    model.opset_import.append(helper.make_opsetid("ai.onnx", 11))
    onnx.save(model, source)
    assert [finding.code for finding in check_graph(source)] == ["OLX109"]
    with pytest.raises(OnnxliteError, match=r"imports 'ai.onnx' in the versions \[11, 17\]"):
        quantized(source, DynamicInt8())


@pytest.mark.parametrize("dims", [["batch", 9], [1, "batch", 8], [7]], ids=["size", "more dims", "fewer dims"])
@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_outputs_that_the_float_file_declares_wrongly_are_its_own_fault(
    tmp_path: Path, recipe: Recipe, dims: list[int | str]
) -> None:
    source = layers(tmp_path / "float.onnx")
    model = onnx.load(source)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, dims))
    onnx.save(model, source)
    target, notes = quantized(source, recipe)
    declared = ", ".join(map(str, dims))
    (note,) = [note for note in notes if "declares" in note]
    assert f"declares its output 'y' as [{declared}], and its nodes give [batch, 8]" in note
    assert signature(target) == signature(source)
    assert_close(source, target)
    # Shapes behind ONNX Runtime's own operators cannot be inferred, so that nothing contradicts the declaration.
    alone = check_graph(target)
    for path, contradicted in ((target, bool(alone)), (whole_and_right(source), True)):
        findings = check_graph(path, source)
        assert [(f.code, f.where) for f in findings] == [("OLX102", "the float model float.onnx")] * contradicted
        assert all("what was made from it is not at fault" in finding.hint for finding in findings)


def whole_and_right(source: Path) -> Path:
    """Return an INT8 file of a tool that declares what the nodes give."""
    target = source.with_name("theirs.onnx")
    model = onnx.load(source.with_name("int8.onnx"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8]))
    onnx.save(model, target)
    return target


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_outputs_are_declared_as_the_float_file_has_them(tmp_path: Path, recipe: Recipe) -> None:
    source = layers(tmp_path / "float.onnx")
    for dims in (("batch", 8), ("batch", "classes"), (None, 8)):
        model = onnx.load(source)
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, dims))
        onnx.save(model, source)
        target, notes = quantized(source, recipe)
        assert not [note for note in notes if "declares" in note]
        assert signature(target) == signature(source)
        assert check_graph(target, source) == []
