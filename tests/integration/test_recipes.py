"""Static INT8: what is written, what is chosen, what is refused."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, OnnxliteError, StaticInt8
from pytest_onnxlite.lint import check_graph
from pytest_onnxlite.spec.recipes import recipe_text
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache

from onnx_models import branching, dense, edit, external, save_graph, wide
from projects import REPOSITORY

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(40, 3, 16, 16)).astype(np.float32)
Make = Callable[..., Builder]


def convolutional(path: Path, constants: bool = False) -> Path:
    """Two convolutions, pooling, a dense layer; its weights in Constant nodes where asked."""
    weights = {
        "w0": RNG.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "w1": RNG.normal(0, 0.2, (16, 8, 3, 3)).astype(np.float32),
        "w2": RNG.normal(0, 0.3, (16, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="conv0"),
        helper.make_node("Relu", ["a"], ["b"], name="relu0"),
        helper.make_node("Conv", ["b", "w1"], ["c"], name="conv1"),
        helper.make_node("Relu", ["c"], ["d"], name="relu1"),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], name="pool"),
        helper.make_node("Flatten", ["e"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "w2"], ["y"], name="dense"),
    ]
    if constants:
        nodes = [
            *(
                helper.make_node("Constant", [], [name], name=f"c_{name}", value=numpy_helper.from_array(value))
                for name, value in weights.items()
            ),
            *nodes,
        ]
        weights = {}
    return save_graph(
        path,
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])],
        weights,
    )


@pytest.fixture
def build(tmp_path: Path) -> Make:
    def make(path: Path, recipe: Any = None, calibration: Any = IMAGES, x: Any = IMAGES, **options: Any) -> Builder:
        spec = ModelSpec(
            "small",
            onnx=path,
            evaluation=Dataset(x),
            recipe=recipe,
            calibration=calibration,
            metric="cosine",
            **options,
        )
        return Builder(spec, Cache(tmp_path / "cache"), lambda _: None)

    return make


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


STATIC = [
    # Each form, per channel and per tensor; a method changes ranges alone, and where weights lie is seen in each form.
    *(
        pytest.param("minmax", form, per_channel, False, marks=pytest.mark.int8_answers)
        for form in ("qdq", "qoperator")
        for per_channel in (True, False)
    ),
    *(("minmax", form, True, True) for form in ("qdq", "qoperator")),
    *(
        (method, form, True, False)
        for method in ("entropy", "percentile", "distribution")
        for form in ("qdq", "qoperator")
    ),
    *((method, "qdq", False, True) for method in ("entropy", "percentile", "distribution")),
]


@pytest.mark.parametrize(("method", "form", "per_channel", "constants"), STATIC)
def test_every_static_recipe_quantizes_all_weights_and_agrees_with_float(
    build: Make, tmp_path: Path, method: Any, form: Any, per_channel: bool, constants: bool
) -> None:
    source = convolutional(tmp_path / "a.onnx", constants)
    builder = build(source, StaticInt8(method=method, format=form, per_channel=per_channel))
    found = operators(builder.int8.path)
    assert (found["DequantizeLinear"] > 3) if form == "qdq" else (found["QLinearConv"] == 2)
    summary = builder.int8.graph
    assert not summary.float_left
    scales = [
        t for t in onnx.load(builder.int8.path).graph.initializer if t.name.startswith("w0") and "scale" in t.name
    ]
    assert [numpy_helper.to_array(t).size for t in scales] == ([8] if per_channel else [1])
    expected, got = builder.onnx.predict(IMAGES), builder.int8.predict(IMAGES)
    signal = np.linalg.norm(expected) / np.linalg.norm(expected - got)  # type: ignore[operator,arg-type]
    assert signal > (3 if method == "entropy" else 10), signal
    errors = [f for f in check_graph(builder.int8.path, builder.onnx.path) if f.severity == "error"]
    assert not errors


def test_reading_calibration_samples_one_by_one_loses_none_of_them(build: Make, tmp_path: Path) -> None:
    source = convolutional(tmp_path / "a.onnx")
    calibration = np.zeros_like(IMAGES)
    calibration[-1] = 7 * np.sign(IMAGES[0])  # the last sample alone has a range
    path = build(source, StaticInt8(), calibration).int8.path
    scale = next(t for t in onnx.load(path).graph.initializer if t.name == "x_scale")
    assert float(numpy_helper.to_array(scale)) == pytest.approx(14 / 255, rel=1e-3)


@pytest.mark.parametrize(
    ("model", "calibration", "recipe", "reason"),
    [
        (convolutional, IMAGES, "StaticInt8()", "dynamic quantization makes slower"),
        (convolutional, None, "DynamicInt8()", "no calibration= is given"),
        (lambda path: dense(path, 2, 16), IMAGES[:, 0, 0], "DynamicInt8()", "no convolution"),
    ],
    ids=["convolutional", "not calibrated", "dense"],
)
def test_where_no_recipe_is_named_one_is_chosen_and_said(
    build: Make, tmp_path: Path, model: Any, calibration: Any, recipe: str, reason: str
) -> None:
    x = IMAGES if calibration is None else calibration
    builder = build(model(tmp_path / "a.onnx"), None, calibration, x)
    _ = builder.int8
    text = builder.recipe_text("int8")
    assert text.startswith(recipe)
    assert reason in text


def test_what_a_user_names_is_used(build: Make, tmp_path: Path) -> None:
    builder = build(convolutional(tmp_path / "a.onnx"), DynamicInt8())
    assert "ConvInteger" in operators(builder.int8.path)
    assert builder.recipe_text("int8") == "DynamicInt8(), uint8 weights"


@pytest.mark.parametrize(("node", "weight", "other"), [("conv0", "w0", "w1"), ("conv1", "w1", "w0")])
def test_exclusions_stay_float(build: Make, tmp_path: Path, node: str, weight: str, other: str) -> None:
    builder = build(convolutional(tmp_path / "a.onnx"), StaticInt8(exclude=[node]))
    assert builder.excluded("int8") == [node]
    weights = {t.name: t.data_type for t in onnx.load(builder.int8.path).graph.initializer}
    assert weights[weight] == TensorProto.FLOAT
    assert other not in weights


@pytest.mark.parametrize("is_external", [False, True], ids=["inline", "external data"])
def test_an_old_opset_is_converted_and_said(build: Make, tmp_path: Path, is_external: bool) -> None:
    model = onnx.load(convolutional(tmp_path / "new.onnx"))
    model.opset_import[0].version = 11
    source = tmp_path / "old.onnx"
    onnx.save(model, source, save_as_external_data=is_external, location="old.data", size_threshold=0)
    builder = build(source, StaticInt8())
    assert builder.int8.predict(IMAGES[:2]).shape == (2, 5)  # type: ignore[union-attr]
    assert "converted from opset 11 to 13" in builder.recipe_text("int8")


def test_a_frozen_batch_is_calibrated_in_batches(build: Make, tmp_path: Path) -> None:
    def freeze(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 4

    source = edit(convolutional(tmp_path / "a.onnx"), tmp_path / "frozen.onnx", freeze)
    builder = build(source, StaticInt8(), batch_size=4)
    assert builder.int8.run(IMAGES, 4)["y"].shape == (40, 5)


def half(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16


def test_half_precision_is_quantized_by_way_of_float32(build: Make, tmp_path: Path) -> None:
    source = edit(dense(tmp_path / "a.onnx", 2, 16), tmp_path / "half.onnx", half)
    x = IMAGES[:, 0, 0].astype(np.float16)
    builder = build(source, DynamicInt8(), None, x)
    assert {info.dtype for info in (*builder.int8.inputs_info, *builder.int8.outputs_info)} == {"float16"}
    assert "quantized from its values in float32" in builder.recipe_text("int8")
    assert "MatMulInteger" in builder.int8.graph.operators


def test_static_without_samples_is_an_error(build: Make, tmp_path: Path) -> None:
    with pytest.raises(OnnxliteError, match=r"StaticInt8\(\) calibrates with samples.*Give calibration="):
        build(convolutional(tmp_path / "a.onnx"), StaticInt8(), None).int8  # noqa: B018


def test_samples_of_another_shape_are_an_error(build: Make, tmp_path: Path) -> None:
    with pytest.raises(OnnxliteError, match=r"calibration data and model do not fit: .*takes \(N, 3, 16, 16\)"):
        build(convolutional(tmp_path / "a.onnx"), StaticInt8(), IMAGES[:, :, :8]).int8  # noqa: B018


def test_layers_in_branches_are_left_by_static_quantization_and_reached_by_dynamic(build: Make, tmp_path: Path) -> None:
    x = IMAGES[:, 0].reshape(40, -1)[:, :32]
    source = branching(tmp_path / "a.onnx", 256)
    x = np.tile(x, 8)
    with pytest.raises(OnnxliteError, match=r"the 2 layers of a.onnx .* lie in branches.*Use recipe=DynamicInt8\(\)"):
        build(source, StaticInt8(), x, x).int8  # noqa: B018
    builder = build(source, None, x, x)
    assert builder.int8.size < 0.3 * builder.onnx.size
    assert "DynamicInt8(), uint8 weights: the model computes in branches" in builder.recipe_text("int8")


@pytest.mark.parametrize("shared", [pytest.param(False, marks=pytest.mark.int8_answers), True])
def test_weights_of_the_outer_graph_are_reached_in_branches(build: Make, tmp_path: Path, shared: bool) -> None:
    def branch(name: str) -> Any:
        weight = "w" if shared else f"w_{name}"
        node = helper.make_node("Conv", ["x", weight, "b"], [f"y_{name}"], name=f"conv_{name}")
        return helper.make_graph([node], name, [], [helper.make_empty_tensor_value_info(f"y_{name}")])

    source = save_graph(
        tmp_path / "a.onnx",
        [
            helper.make_node("ReduceSum", ["x"], ["sum"], name="sum", keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["positive"], name="greater"),
            helper.make_node("If", ["positive"], ["y"], name="if", then_branch=branch("a"), else_branch=branch("b")),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64, 14, 14])],
        {
            **{
                name: RNG.normal(size=(64, 3, 3, 3)).astype(np.float32)
                for name in (["w"] if shared else ["w_a", "w_b"])
            },
            "b": RNG.normal(size=64).astype(np.float32),
            "zero": np.float32(0),
        },
    )
    builder = build(source, DynamicInt8(), batch_size=1)
    if shared:
        with pytest.raises(
            OnnxliteError,
            match=r"fails at conv_a, conv_b of a\.onnx.*exclude=\['conv_a', 'conv_b'\].*Expected w to be an initializer",
        ):
            builder.int8  # noqa: B018
        left = build(source, DynamicInt8(exclude=["conv_a", "conv_b"]))
        with pytest.raises(OnnxliteError, match="quantization changed nothing"):
            left.int8  # noqa: B018
        return
    assert not builder.int8.graph.float_left
    expected, got = builder.onnx.predict(IMAGES, batch_size=1), builder.int8.predict(IMAGES, batch_size=1)
    assert np.linalg.norm(expected - got) < 0.05 * np.linalg.norm(expected)  # type: ignore[operator,arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "mean"}, "expected 'minmax', 'entropy', 'percentile' or 'distribution'"),
        ({"format": "onnx"}, "expected 'qdq' or 'qoperator'"),
        ({"weight_type": "int4"}, "expected 'auto', 'uint8' or 'int8'"),
        ({"weight_type": "uint8", "activation_type": "int8"}, "no kernels for that pair"),
        ({"exclude": "Conv"}, "expected a list of globs"),
    ],
)
def test_a_recipe_that_means_nothing(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(OnnxliteError, match=message):
        StaticInt8(**arguments)


def test_a_changed_sample_quantizes_anew_and_the_same_ones_do_not(build: Make, tmp_path: Path) -> None:
    source = convolutional(tmp_path / "a.onnx")
    first = build(source).int8.path
    assert build(source).int8.path == first
    changed = IMAGES.copy()
    changed[0, 0, 0, 0] += 1
    assert build(source, None, changed).int8.path != first


EXAMPLE_RECIPES = [
    DynamicInt8(),
    DynamicInt8(weight_type="uint8", per_channel=True),
    StaticInt8(activation_type="int8"),
    StaticInt8(activation_type="int8", per_channel=False),
    StaticInt8(activation_type="int8", format="qoperator"),
    StaticInt8(),
    StaticInt8(weight_type="uint8"),
    StaticInt8(weight_type="uint8", format="qoperator"),
]


@pytest.mark.parametrize("recipe", EXAMPLE_RECIPES, ids=recipe_text)
@pytest.mark.parametrize("model", ["dnn", "cnn"])
def test_the_example_models_are_sound_in_every_form(shared_cache: Path, model: str, recipe: Any) -> None:
    from digits import load_digits

    (calibration, _), (x, y) = load_digits()
    trained = REPOSITORY / "examples" / "models" / f"{model}.keras"
    spec = ModelSpec(model, trained=trained, evaluation=Dataset(x, y), recipe=recipe, calibration=calibration[:100])
    builder = Builder(spec, Cache(shared_cache), lambda _: None)
    assert check_graph(builder.int8.path, builder.onnx.path) == []


# -- what breaks in this field -------------------------------------------------------------------------------


# What is quantized is the same node in the end, so that one of them shows its answers.
@pytest.mark.parametrize("behind", ["Constant", "Identity", pytest.param("Transpose", marks=pytest.mark.int8_answers)])
@pytest.mark.parametrize("recipe", [DynamicInt8(), StaticInt8()], ids=["dynamic", "static"])
def test_weights_behind_other_nodes_are_quantized(build: Make, tmp_path: Path, behind: str, recipe: Any) -> None:
    weight = RNG.normal(size=(256, 64)).astype(np.float32)
    if behind == "Constant":
        hidden = helper.make_node("Constant", [], ["w"], name="hidden", value=numpy_helper.from_array(weight))
    else:
        hidden = helper.make_node(behind, ["stored"], ["w"], name="hidden")
    stored = {"Constant": {}, "Identity": {"stored": weight}, "Transpose": {"stored": weight.T.copy()}}
    source = save_graph(
        tmp_path / "a.onnx",
        [hidden, helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64])],
        stored[behind],
    )
    x = IMAGES[:, 0].reshape(40, 256)
    builder = build(source, recipe, x, x)
    assert not builder.int8.graph.float_left
    assert builder.int8.size < 0.35 * builder.onnx.size
    assert np.allclose(builder.int8.predict(x), builder.onnx.predict(x), atol=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", [DynamicInt8(), StaticInt8()], ids=["dynamic", "static"])
def test_domains_that_no_node_uses_are_not_imported(build: Make, tmp_path: Path, recipe: Any) -> None:
    path = build(convolutional(tmp_path / "a.onnx"), recipe).int8.path
    assert [entry.domain for entry in onnx.load(path).opset_import] == [""]
    assert "OLX110" not in {finding.code for finding in check_graph(path)}


@pytest.mark.parametrize("glob", ["MatMul", "MatMul_*"])
def test_nodes_without_names_can_be_excluded(build: Make, tmp_path: Path, glob: str) -> None:
    def forget(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.name = ""

    source = edit(dense(tmp_path / "named.onnx", 2, 16), tmp_path / "unnamed.onnx", forget)
    x = IMAGES[:, 0, 0]
    with pytest.raises(OnnxliteError, match="quantization changed nothing"):
        build(source, DynamicInt8(exclude=[glob]), None, x).int8  # noqa: B018
    assert operators(build(source, DynamicInt8(), None, x).int8.path)["MatMulInteger"] == 2


@pytest.mark.parametrize("is_external", [False, True])
def test_what_symbolic_shape_inference_cannot_do_is_done_without_and_said(
    build: Make, tmp_path: Path, is_external: bool
) -> None:
    # A shape that depends on values (onnxruntime#10484).
    source = save_graph(
        tmp_path / "a.onnx",
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="fc"),
            helper.make_node("ReduceL1", ["h"], ["length"], name="length", keepdims=0),
            helper.make_node("Cast", ["length"], ["count"], name="count", to=TensorProto.INT64),
            helper.make_node("Unsqueeze", ["count", "axis"], ["shape"], name="shape"),
            helper.make_node("Expand", ["small", "shape"], ["many"], name="many"),
            helper.make_node("ReduceMax", ["many"], ["one"], name="one", keepdims=0),
            helper.make_node("Add", ["h", "one"], ["y"], name="add"),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 256])],
        {
            "w": RNG.normal(size=(256, 256)).astype(np.float32),
            "axis": np.array([0], np.int64),
            "small": np.ones(1, np.float32),
        },
    )
    if is_external:  # as PyTorch's exporter writes all models
        source = external(source, tmp_path / "b.onnx", "b.data", smallest=1024)
    builder = build(source, DynamicInt8(), None, IMAGES[:, 0].reshape(40, 256))
    assert builder.int8.size < builder.onnx.size
    assert "prepared without symbolic shape inference: Incomplete" in builder.recipe_text("int8")


@pytest.mark.int8_answers
def test_a_mask_of_minus_infinity_is_told_with_what_to_leave_in_float(build: Make, tmp_path: Path) -> None:
    # As attention masks what a sequence was filled up with: no INT8 range reaches to infinity.
    source = save_graph(
        tmp_path / "a.onnx",
        [
            helper.make_node("MatMul", ["x", "q"], ["scores"], name="scores"),
            helper.make_node("Less", ["x", "zero"], ["padded"], name="padded"),
            helper.make_node("Where", ["padded", "infinite", "zero"], ["mask"], name="mask"),
            helper.make_node("Add", ["scores", "mask"], ["masked"], name="masked"),
            helper.make_node("Softmax", ["masked"], ["shares"], name="shares"),
            helper.make_node("MatMul", ["shares", "v"], ["y"], name="values"),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 256])],
        {
            "q": RNG.normal(size=(256, 256)).astype(np.float32) / 16,
            "v": RNG.normal(size=(256, 256)).astype(np.float32),
            "zero": np.zeros(1, np.float32),
            "infinite": np.full(1, -np.inf, np.float32),
        },
    )
    x = RNG.normal(size=(40, 256)).astype(np.float32)
    with pytest.raises(OnnxliteError, match="infinite values or NaN in masked, which") as told:
        build(source, StaticInt8(), x, x).int8  # noqa: B018
    exclude = ast.literal_eval(str(told.value).split("exclude=")[1].split(")")[0])
    assert exclude == ["scores/MatMulAddFusion", "shares"]
    builder = build(source, StaticInt8(exclude=exclude), x, x)
    assert operators(builder.int8.path)["DequantizeLinear"] >= 2
    assert np.abs(builder.int8.predict(x) - builder.onnx.predict(x)).max() < 0.1  # type: ignore[operator]


def test_a_file_that_the_quantizer_wrote_wrong_is_not_returned(build: Make, tmp_path: Path) -> None:
    source = save_graph(
        tmp_path / "a.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16, 3])],
        {"w": RNG.normal(size=(1, 16, 3)).astype(np.float32)},
    )
    x = IMAGES[:, 0]
    with pytest.raises(
        OnnxliteError, match=r"quantized the model wrongly, with DynamicInt8\(per_channel=True\)"
    ) as raised:
        build(source, DynamicInt8(per_channel=True), None, x).int8  # noqa: B018
    assert "OLX311" in str(raised.value)
    assert "Choose another recipe, leave the node in float" in str(raised.value)
    assert build(source, DynamicInt8(), None, x).int8.predict(x).shape == (40, 16, 3)  # type: ignore[union-attr]


# -- nothing is left behind ----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [DynamicInt8(), StaticInt8(), StaticInt8(method="percentile")], ids=str)
def test_nothing_is_left_and_nothing_said(
    build: Make, tmp_path: Path, recipe: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("temporary", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "work")
    source = convolutional(tmp_path / "a.onnx")
    before = source.read_bytes()
    assert build(source, recipe).int8.path.exists()
    failing = type(recipe)(exclude=["Conv", "MatMul", "Relu", "*pool*", "*flat*"])
    with pytest.raises(OnnxliteError, match="quantization changed nothing"):
        build(source, failing).int8  # noqa: B018
    assert source.read_bytes() == before
    assert list((tmp_path / "work").iterdir()) == []
    # The folder of this process is there until it ends, with a file of ONNX Runtime's own
    assert {path.name for path in (tmp_path / "temporary").glob("*/*")} <= {"lock", ".ses"}
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")]
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_nothing_is_left_by_a_run_that_is_interrupted(tmp_path: Path) -> None:
    for name in ("temporary", "project", "cache"):
        (tmp_path / name).mkdir()
    wide(tmp_path / "wide.onnx", 64)
    (tmp_path / "project" / "conftest.py").write_text(
        "import numpy, pytest\n"
        "from pytest_onnxlite import Dataset, ModelSpec, StaticInt8\n"
        "@pytest.fixture(scope='session')\n"
        "def onnxlite_model():\n"
        "    x = numpy.random.default_rng(0).normal(size=(5000, 1, 64, 64)).astype('float32')\n"
        "    recipe = StaticInt8(method='percentile')\n"
        f"    return ModelSpec('w', onnx={str(tmp_path / 'wide.onnx')!r}, evaluation=Dataset(x[:9]), calibration=x, recipe=recipe)\n"
    )
    (tmp_path / "project" / "test_w.py").write_text("def test_w(onnxlite_int8): pass\n")
    command = [sys.executable, "-m", "pytest", f"--onnxlite-cache-dir={tmp_path / 'cache'}"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "PYTEST_ADDOPTS": ""}
    with subprocess.Popen(
        command,
        cwd=tmp_path / "project",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell that starts jobs in the background has them ignore the signal, and their children after them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as run:
        # Until it calibrates: the quantizer's own model lies there.
        while run.poll() is None and not list((tmp_path / "temporary").rglob("*augmented*")):
            time.sleep(0.05)
        time.sleep(0.5)
        assert list((tmp_path / "cache").glob(".building-*"))
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, out
    # ONNX Runtime itself writes that one when it is imported.
    assert {path.name for path in (tmp_path / "temporary").iterdir()} <= {".ses"}
    assert list((tmp_path / "cache").glob(".building-*")) == []
