"""Files and quantizers: the float file is looked at before the quantizer is blamed, and the quantizer's words are ours."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime.quantization
import pytest
from cause import Cause
from onnx import TensorProto, helper, numpy_helper

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, StaticInt8
from pytest_onnxlite.__main__ import main
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint import check_graph
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache

from onnx_models import edit

X: npt.NDArray[np.float32] = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)
Build = Callable[..., Builder]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"
STATIC: dict[str, Any] = {"recipe": StaticInt8(), "calibration": X}
DYNAMIC: dict[str, Any] = {"recipe": DynamicInt8()}
# What the quantizer says of them, and what is advised where it is the recipe that is at fault.
BLAMED = (
    r"scale issue",
    r"calibration saw",
    r"quantized the model wrongly",
    r"exclude=",
    r"ONNX Runtime (said|cannot)",
)


def net(
    path: Path,
    bias: Any = (),
    batch: int | str = "batch",
    *,
    gemm: bool = True,
    domain: str = "",
    transposed: bool = False,
) -> Path:
    """Two dense layers of 16, 24 and 4, the first with a bias; behind an operator of another domain if asked."""
    rng = np.random.default_rng(1)
    odd = [helper.make_node("ExpandDims", ["x", "axis"], ["deep"], name="odd", domain=domain)] if domain else []
    first = "flat" if domain else "x"
    back = [helper.make_node("Squeeze", ["deep", "axes"], ["flat"], name="squeeze")] if domain else []
    layer = (
        [helper.make_node("Gemm", [first, "w1", "b1"], ["h"], name="dense1", transB=int(transposed))]
        if gemm
        else [
            helper.make_node("MatMul", [first, "w1"], ["m"], name="dense1"),
            helper.make_node("Add", ["m", "b1"], ["h"], name="add1"),
        ]
    )
    nodes = [
        *odd,
        *back,
        *layer,
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], name="dense2"),
    ]
    w1 = rng.normal(size=(16, 24)).astype(np.float32)
    weights: dict[str, Any] = {
        "w1": w1.T.copy() if transposed else w1,
        "b1": np.asarray(bias if np.size(bias) else rng.normal(size=24), np.float32),
        "w2": rng.normal(size=(24, 4)).astype(np.float32),
        **({"axis": np.array(1, np.int32), "axes": np.array([1], np.int64)} if domain else {}),
    }
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def holding(name: str, value: float, **options: Any) -> Callable[[Path], Path]:
    """The net with a value in a tensor."""

    def make(path: Path) -> Path:
        def change(model: onnx.ModelProto) -> None:
            tensor = next(t for t in model.graph.initializer if t.name == name)
            array = numpy_helper.to_array(tensor).copy()
            array.flat[3] = value
            tensor.CopyFrom(numpy_helper.from_array(array, name))

        return edit(net(path.with_name("before.onnx"), **options), path, change)

    return make


def twice(path: Path) -> Path:
    """The net with another initializer of the same name."""
    other = numpy_helper.from_array(np.zeros((16, 24), np.float32), "w1")
    return edit(net(path.with_name("before.onnx")), path, lambda model: model.graph.initializer.append(other))


def bytes_of(content: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return make


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build a variant in a new folder; what is run first of one file is kept."""
    cache = Cache(tmp_path_factory.mktemp("cache"))

    def build(make: Callable[[Path], Path], given: dict[str, Any], kind: str = "int8") -> Builder:
        path = make(tmp_path_factory.mktemp("toy") / "model.onnx")
        builder = Builder(ModelSpec("toy", **{"onnx": path, "evaluation": Dataset(X), **given}), cache, lambda _: None)
        builder.variant(kind)
        return builder

    return build


def excluding(name: str, kind: type = StaticInt8) -> dict[str, Any]:
    return {**STATIC, "recipe": kind(exclude=[name])}


REFUSED: list[tuple[Cause, Callable[[Path], Path], dict[str, Any]]] = [
    *(
        (Cause(f"{what}, {name}", rf"float model model\.onnx is at fault.*{said}", BLAMED), make, given)
        for name, given in (("static", STATIC), ("dynamic", DYNAMIC))
        for what, make, said in (
            ("NaN in a weight", holding("w1", np.nan), r"w1 has NaN, 1 of 384 \(OLX326\)"),
            ("NaN in a bias", holding("b1", np.nan), r"b1 has NaN, 1 of 24 \(OLX326\)"),
            ("infinity in a weight", holding("w1", np.inf), r"w1 has infinity, 1 of 384 \(OLX327\)"),
            ("two initializers of one name", twice, r"w1 has 2 initializers \(OLX103\)"),
        )
    ),
    (
        Cause(
            "infinity in a bias of a Gemm",
            r"b1, the bias of dense1 of model\.onnx, holds infinity, .* -1e4 .* DynamicInt8\(\)",
            ("calibration saw", "attention mask", "w1", "exclude="),
        ),
        holding("b1", -np.inf),
        STATIC,
    ),
    (
        Cause("infinity in a bias that an Add adds", r"b1, the bias of add1 of model\.onnx, holds infinity", ("w1",)),
        holding("b1", -np.inf, gemm=False),
        STATIC,
    ),
    *(
        (
            Cause(
                f"five calibration samples for batches of eight, {method}",
                r"takes batches of 8 only, and calibration= has 5 samples: too few to run it once\. Give calibration= 8",
                ("NoneType", "collector", "exclude=", "stumbles"),
            ),
            lambda path: net(path, batch=8),
            {"recipe": StaticInt8(method=method), "calibration": X[:5], "batch_size": 8},
        )
        for method in ("minmax", "entropy")
    ),
    (
        Cause(
            "a batch that was frozen at 0",
            r"declares its input 'x' as \[0, 16\], and a dim of 0 has room for no sample\. Export .* dynamic",
            ("range()", "batch_size=0", "ONNXRuntimeError"),
        ),
        lambda path: net(path, batch=0),
        DYNAMIC,
    ),
    (
        Cause("an empty file", r"model\.onnx' is empty: it was never written, or cut off", (r"0 inputs", "protobuf")),
        bytes_of(b""),
        DYNAMIC,
    ),
    (
        Cause("a file of zeros", r"not an ONNX model: it looks like nothing but zeros or white space", ("Wire", "LFS")),
        bytes_of(b"\0" * 64),
        DYNAMIC,
    ),
    (
        Cause(
            "a Keras file given as ONNX", r"not an ONNX model: it looks like an HDF5 file, as Keras", ("Wire", "LFS")
        ),
        bytes_of(b"\x89HDF\r\n\x1a\n" + bytes(64)),
        DYNAMIC,
    ),
    (
        Cause("a model without inputs", r"model\.onnx has no inputs, so that its answers cannot", (r"0 inputs \(\)",)),
        lambda path: edit(net(path.with_name("a.onnx")), path, lambda model: model.graph.ClearField("input")),
        DYNAMIC,
    ),
    (
        Cause(
            "an exclusion with a typing error",
            r"exclude='dens2' matches no node .*; did you mean 'dense2'.*\? Nodes with weights: dense1, dense2\.",
            ("none",),
        ),
        net,
        excluding("dens2"),
    ),
    (
        Cause("an exclusion in other letters", r"exclude='matmul' matches .*; did you mean 'MatMul'\?"),
        net,
        excluding("matmul"),
    ),
    (
        Cause(
            "an exclusion of a node that preparation fuses",
            r"exclude='add1' matches no node .*: add1 \(Add\) of the float model is fused into dense1/MatMulAddFusion there",
        ),
        lambda path: net(path, gemm=False),
        excluding("add1"),
    ),
]


@pytest.mark.parametrize(("cause", "make", "given"), REFUSED, ids=[cause.broken for cause, _, _ in REFUSED])
def test_what_cannot_be_quantized_is_refused_by_its_first_cause(
    build: Build, cause: Cause, make: Callable[[Path], Path], given: dict[str, Any]
) -> None:
    with pytest.raises(OnnxliteError) as caught:
        build(make, given)
    text = str(caught.value)
    cause.hold(text.splitlines()[0], text)


NAN_IN_FLOAT = Cause(
    "a float model whose answers are NaN",
    r"output 'y' holds NaN .* It comes from the file itself: b1 \(NaN, 1 of 24\)",
    ("overflows",),
)


def test_a_float_model_that_answers_nan_is_told_with_its_tensor(build: Build) -> None:
    builder = build(holding("b1", np.nan), {}, "onnx")
    with pytest.raises(OnnxliteError) as caught:
        builder.onnx.predict(X)
    NAN_IN_FLOAT.hold(str(caught.value), str(caught.value))


# -- the quantizer's own words, if it fails --------------------------------------------------------------

FAILURES = [
    (
        Cause(
            "a full disk",
            r"model\.onnx was not quantized: the disk of .* is full, with .* free; make room",
            ("exclude",),
        ),
        OSError(errno.ENOSPC, "No space left on device"),
    ),
    (
        Cause(
            "a full disk, told by C++", r"model\.onnx was not quantized: the disk of .* is full", ("exclude", "said")
        ),
        RuntimeError("[ONNXRuntimeError] : 1 : FAIL : write failed, No space left on device"),
    ),
    (
        Cause("a machine without memory left", r"was not quantized: this machine has too little memory", ("exclude",)),
        MemoryError(),
    ),
    (
        Cause(
            "a tensor of an unknown type",
            r"the data type of its tensor 'h' cannot be inferred: it comes from dense1 \(Gemm\).*exclude=\['dense1'\]",
            ("DefaultTensorType", "extra_options"),
        ),
        RuntimeError(
            "Unable to find data type for weight_name='h'. shape_inference failed to return a type probably this node is "
            "from a different domain. You may use extra_options `DefaultTensorType` to indicate the default weight type."
        ),
    ),
    (
        Cause(
            "a failure at a node",
            r"quantizer fails at dense2 of model\.onnx\. Leave that in float .*exclude=\['dense2'\]",
        ),
        ValueError("dense2: expected another rank"),
    ),
    (
        Cause(
            "a failure that names nothing",
            r"quantizer fails on model\.onnx, and names no node\. .* it quantizes dense1, dense2\. .* It said: index 3 is",
        ),
        IndexError("index 3 is out of bounds"),
    ),
]


@pytest.mark.parametrize(("cause", "error"), FAILURES, ids=[cause.broken for cause, _ in FAILURES])
def test_a_quantizer_that_fails_is_told_in_words_that_help(
    build: Build, monkeypatch: pytest.MonkeyPatch, cause: Cause, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(onnxruntime.quantization, "quantize_static", fail)
    with pytest.raises(OnnxliteError) as caught:
        build(net, STATIC)
    cause.hold(str(caught.value), str(caught.value))


def test_a_cache_on_a_full_disk_is_told_as_that(tmp_path: Path) -> None:
    def fill(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        OnnxliteError, match=r"the disk of .* is full, .* or point --onnxlite-cache-dir to another folder"
    ):
        Cache(tmp_path).entry("x", {}, fill)


# -- what is mended ------------------------------------------------------------------------------------------

BIASES: dict[str, tuple[Any, int | str, bool]] = {
    "[1, C]": (np.linspace(-1, 1, 24).reshape(1, 24), "batch", False),
    "[1], and the weight transposed": (np.array([0.5]), "batch", True),
    "[N, C], another one in each row": (np.linspace(-1, 1, 8 * 24).reshape(8, 24), 8, False),
}


@pytest.mark.parametrize("shape", BIASES)
def test_a_bias_of_any_shape_that_a_gemm_takes_is_quantized_for_each_channel(build: Build, shape: str) -> None:
    bias, batch, transposed = BIASES[shape]
    given = {**STATIC, "batch_size": 8, "evaluation": Dataset(X[:24])}
    builder = build(lambda path: net(path, bias, batch, transposed=transposed), given)
    found, expected = (variant.run(X[:24], 8)["y"] for variant in (builder.int8, builder.onnx))
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert [f for f in check_graph(builder.int8.path, builder.onnx.path) if f.severity == "error"] == []


def test_samples_that_fill_no_batch_are_told(build: Build) -> None:
    builder = build(lambda path: net(path, batch=8), {**STATIC, "batch_size": 8})
    assert "6 of 30 calibration samples are left out: model.onnx takes batches of 8 only" in builder.recipe_text("int8")
    whole = build(lambda path: net(path, batch=8), {**STATIC, "batch_size": 8, "calibration": X[:24]})
    assert "left out" not in whole.recipe_text("int8")


@pytest.mark.parametrize("given", [STATIC, DYNAMIC], ids=["static", "dynamic"])
def test_types_behind_an_operator_that_onnx_does_not_know_are_asked_of_onnx_runtime(
    build: Build, given: dict[str, Any]
) -> None:
    builder = build(lambda path: net(path, domain="com.microsoft"), given)
    assert builder.int8.graph.float_left == ()
    found, expected = (variant.run(X, 30)["y"] for variant in (builder.int8, builder.onnx))
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_infinity_in_a_bias_stays_in_float_with_the_dynamic_recipe(build: Build) -> None:
    build(holding("b1", -np.inf), DYNAMIC)


# -- pointers of Git LFS in the place of files of other kinds ------------------------------------------------

POINTERS = Cause("a Git LFS pointer", r"is a Git LFS pointer, not the file .* git lfs pull", ("not JSON", "signature"))


def test_a_pointer_of_git_lfs_is_told_as_one_whatever_stands_for(
    build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = bytes_of(POINTER)(tmp_path / "report.json")
    for command in ("report", "merge"):
        assert main([command, str(report)]) == 2
        said = capsys.readouterr().err
        POINTERS.hold(said.splitlines()[0], said)
    with pytest.raises(OnnxliteError) as caught:
        ModelSpec("toy", trained=bytes_of(POINTER)(tmp_path / "model.h5"))
    POINTERS.hold(str(caught.value), str(caught.value))
    # Data next to a model.
    onnx.save(
        onnx.load(net(tmp_path / "inline.onnx")),
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="model.data",
        size_threshold=0,
    )
    bytes_of(POINTER)(tmp_path / "model.data")
    with pytest.raises(OnnxliteError) as caught:
        _ = build(lambda _: tmp_path / "model.onnx", DYNAMIC)
    POINTERS.hold(str(caught.value), str(caught.value))


def test_an_h5_file_that_is_none_is_told_without_loading_keras(tmp_path: Path) -> None:
    from pytest_onnxlite.variants.trained import _load_keras

    path = bytes_of(json.dumps({"layers": []}).encode())(tmp_path / "model.h5")
    with pytest.raises(OnnxliteError, match=r"not a whole \.h5 file: it looks like JSON\. Save or fetch it again"):
        _load_keras(ModelSpec("toy", trained=path), path)


CAUSES = [*(cause for cause, _, _ in REFUSED), NAN_IN_FLOAT, *(cause for cause, _ in FAILURES), POINTERS]
