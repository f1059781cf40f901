"""What default recipes make gives the same answers on x86 processors with and without VNNI.

The processors are emulated: AVX2 without VNNI, whose sums of a uint8's and an int8's products saturate, and one whose sums are
exact. Where this machine's own are exact, it stands for the second.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from portability import EXACT, WITHOUT_VNNI, Pair, Ran, emulate, run_here, saturates, why_not

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, StaticInt8
from pytest_onnxlite.lint import check_graph
from pytest_onnxlite.runtime.sessions import TensorInfo
from pytest_onnxlite.spec.recipes import Recipe, Weights, choose_weights, recipe_key, recipe_text
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.variants.quantization import Calibration, _store_unsigned, quantize

from onnx_models import save_graph
from projects import once_made

WHY_NOT = why_not()
emulated = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can be emulated")
RNG = np.random.default_rng(0)
Floats = npt.NDArray[np.float32]
value = helper.make_tensor_value_info


def uniform(*shape: int, fan: int) -> Floats:
    """Weights as Keras initializes them: of one size, so that neighbours are often large together."""
    limit = (6 / fan) ** 0.5
    return RNG.uniform(-limit, limit, shape).astype(np.float32)


def pixels(*shape: int) -> Floats:
    return RNG.uniform(0, 1, shape).astype(np.float32)


def dense(path: Path) -> Floats:
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Gemm", ["b", "w1", "bias"], ["y"], name="second", transB=1),
    ]
    weights = {"w0": uniform(128, 96, fan=224), "w1": uniform(32, 96, fan=128), "bias": uniform(32, fan=128)}
    x, y = value("x", TensorProto.FLOAT, ["batch", 128]), value("y", TensorProto.FLOAT, ["batch", 32])
    save_graph(path, nodes, [x], [y], weights)
    return pixels(32, 128)


def convolutional(path: Path) -> Floats:
    """Convolutions: plain, depthwise, pointwise.

    None has 17 to 24 channels: ONNX Runtime 1.24 can compute those wrongly on processors with AMX (onnxruntime#27671).
    """
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["a"], name="plain", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu0"),
        helper.make_node("Conv", ["b", "w1"], ["c"], name="depthwise", group=16, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"], name="relu1"),
        helper.make_node("Conv", ["d", "w2"], ["e"], name="pointwise"),
        helper.make_node("Relu", ["e"], ["f"], name="relu2"),
        helper.make_node("Conv", ["f", "w3"], ["g"], name="last"),
        helper.make_node("Flatten", ["g"], ["y"], name="flat"),
    ]
    weights = {
        "w0": uniform(16, 3, 3, 3, fan=40),
        "b0": uniform(16, fan=40),
        "w1": uniform(16, 1, 3, 3, fan=18),
        "w2": uniform(32, 16, 1, 1, fan=48),
        "w3": uniform(8, 32, 3, 3, fan=296),
    }
    x, y = value("x", TensorProto.FLOAT, ["batch", 3, 6, 6]), value("y", TensorProto.FLOAT, ["batch", 128])
    save_graph(path, nodes, [x], [y], weights)
    return pixels(4, 3, 6, 6)


def lstm(path: Path) -> Floats:
    """Both directions, so that there are two matrices of each kind."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], name="time_first", perm=[1, 0, 2]),
        helper.make_node(
            "LSTM", ["t", "W", "R", "B"], ["", "h"], name="lstm", hidden_size=32, direction="bidirectional"
        ),
        helper.make_node("Transpose", ["h"], ["s"], name="batch_first", perm=[1, 0, 2]),
        helper.make_node("Flatten", ["s"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "w"], ["y"], name="head"),
    ]
    weights = {
        "W": uniform(2, 128, 16, fan=100),
        "R": uniform(2, 128, 32, fan=100),
        "B": np.zeros((2, 256), np.float32),
        "w": uniform(64, 8, fan=72),
    }
    x, y = value("x", TensorProto.FLOAT, ["batch", 5, 16]), value("y", TensorProto.FLOAT, ["batch", 8])
    save_graph(path, nodes, [x], [y], weights)
    return pixels(8, 5, 16)


def gated(path: Path) -> Floats:
    """A state that goes through a loop, as a GRU of Keras does."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w_gate"], ["g"], name="gate"),
            helper.make_node("Sigmoid", ["g"], ["gate"], name="sigmoid"),
            helper.make_node("MatMul", ["state", "w_new"], ["n"], name="new"),
            helper.make_node("Mul", ["gate", "n"], ["next"], name="gated"),
            helper.make_node("Identity", ["go"], ["go_on"], name="go_on"),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("state", TensorProto.FLOAT, ["batch", 64]),
        ],
        [value("go_on", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, ["batch", 64])],
        [numpy_helper.from_array(uniform(64, 64, fan=40), name) for name in ("w_gate", "w_new")],
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], name="relu"),
        helper.make_node("Loop", ["count", "", "h"], ["y"], name="loop", body=body),
    ]
    x, y = value("x", TensorProto.FLOAT, ["batch", 64]), value("y", TensorProto.FLOAT, ["batch", 64])
    save_graph(path, nodes, [x], [y], {"count": np.array(3, np.int64)})
    return pixels(16, 64)


def attention(path: Path) -> Floats:
    nodes = [
        *(helper.make_node("MatMul", ["x", f"w_{name}"], [name], name=name) for name in "qkv"),
        helper.make_node("Transpose", ["k"], ["kt"], name="turn", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["scores"], name="scores"),
        helper.make_node("Mul", ["scores", "scale"], ["scaled"], name="scale"),
        helper.make_node("Softmax", ["scaled"], ["shares"], name="shares", axis=-1),
        helper.make_node("MatMul", ["shares", "v"], ["read"], name="read"),
        helper.make_node("MatMul", ["read", "w_o"], ["out"], name="out"),
        helper.make_node("Add", ["x", "out"], ["y"], name="residual"),
    ]
    weights = {f"w_{name}": uniform(48, 48, fan=96) for name in "qkvo"} | {"scale": np.float32(48**-0.5)}
    x, y = value("x", TensorProto.FLOAT, ["batch", 12, 48]), value("y", TensorProto.FLOAT, ["batch", 12, 48])
    save_graph(path, nodes, [x], [y], weights)
    return pixels(4, 12, 48)


NETS: dict[str, Callable[[Path], Floats]] = {
    "dense": dense,
    "convolutional": convolutional,
    "lstm": lstm,
    "loop": gated,
    "attention": attention,
}
PORTABLE: list[Recipe] = [
    DynamicInt8(),
    DynamicInt8(per_channel=True),
    DynamicInt8(weight_type="uint8"),
    DynamicInt8(reduce_range=True),
    StaticInt8(),
    StaticInt8(per_channel=False),
    StaticInt8(format="qoperator"),
    StaticInt8(activation_type="int8"),
    StaticInt8(weight_type="uint8"),
    StaticInt8(weight_type="uint8", format="qoperator"),
]
# A product of matrices is computed by the same kernels in every net: these are shown by the dense one.
ALIKE: list[Recipe] = [
    DynamicInt8(reduce_range=True),
    StaticInt8(per_channel=False),
    StaticInt8(weight_type="uint8"),
    StaticInt8(weight_type="uint8", format="qoperator"),
]
NAMED: list[Recipe] = [DynamicInt8(weight_type="int8"), StaticInt8(weight_type="int8")]


def name_of(net: str, recipe: Recipe) -> str:
    return f"{net}, {recipe_text(recipe)}"


def means_something(net: str, recipe: Recipe) -> bool:
    if net in ("lstm", "loop") and isinstance(recipe, StaticInt8):
        # What is recurrent stays in float there; of the LSTM net the head is left.
        return net == "lstm" and recipe == StaticInt8()
    if net != "dense" and recipe == DynamicInt8(weight_type="uint8"):
        return False  # what is chosen by itself, byte for byte
    if net in ("loop", "attention") and recipe in ALIKE:
        return False
    # ConvInteger computes int8 weights by a kernel that saturates nowhere, and is slow.
    return not (net == "convolutional" and recipe in NAMED and isinstance(recipe, DynamicInt8))


CASES = [(net, recipe) for net in NETS for recipe in (*PORTABLE, *NAMED) if means_something(net, recipe)]


def cases(recipes: list[Recipe]) -> pytest.MarkDecorator:
    found = [case for case in CASES if case[1] in recipes]
    return pytest.mark.parametrize(("net", "recipe"), found, ids=[name_of(*case) for case in found])


def made_pairs(folder: Path) -> dict[str, Pair]:
    folder.mkdir()
    inputs = {net: make(folder / f"{net}.onnx") for net, make in NETS.items()}
    found = {}
    for number, (net, recipe) in enumerate(CASES):
        source, int8, x = folder / f"{net}.onnx", folder / f"{number}.onnx", inputs[net]
        infos = (TensorInfo("x", "float32", ("batch", *x.shape[1:])),)
        quantize(source, recipe, net, int8, Calibration(x, infos) if isinstance(recipe, StaticInt8) else None)
        found[name_of(net, recipe)] = Pair(source, int8, x)
        if recipe in NAMED:
            found[f"{name_of(net, recipe)}, precise"] = Pair(source, int8, x, {"session.x64quantprecision": "1"})
    return found


# Each is made once for all workers: emulation takes half a minute.


@pytest.fixture(scope="module")
def pairs(shared_folder: Path) -> dict[str, Pair]:
    found: dict[str, Pair] = once_made(shared_folder / "pairs", lambda: made_pairs(shared_folder / "nets"))
    return found


@pytest.fixture(scope="module")
def without_vnni(pairs: Mapping[str, Pair], shared_folder: Path) -> dict[str, Ran]:
    found: dict[str, Ran] = once_made(shared_folder / "without_vnni", lambda: emulate(WITHOUT_VNNI, pairs))
    return found


@pytest.fixture(scope="module")
def exact(pairs: Mapping[str, Pair], shared_folder: Path) -> dict[str, Ran]:
    found: dict[str, Ran] = once_made(
        shared_folder / "exact", lambda: emulate(EXACT, pairs) if saturates() else run_here(pairs)
    )
    return found


@emulated
@cases(PORTABLE)
def test_a_recipe_that_names_no_int8_gives_the_same_answers_without_vnni(
    net: str, recipe: Recipe, without_vnni: dict[str, Ran], exact: dict[str, Ran]
) -> None:
    here, there = exact[name_of(net, recipe)], without_vnni[name_of(net, recipe)]
    assert here.layers.keys() == there.layers.keys() != set()
    for layer, signal in here.layers.items():
        assert abs(there.layers[layer] - signal) < 1, (layer, signal, there.layers[layer])
    assert abs(there.output - here.output) < 1, (here.output, there.output)
    assert here.output > 25


@emulated
@cases(NAMED)
def test_int8_by_name_has_all_eight_bits_and_loses_them_without_vnni(
    net: str, recipe: Recipe, pairs: dict[str, Pair], without_vnni: dict[str, Ran], exact: dict[str, Ran]
) -> None:
    name = name_of(net, recipe)
    assert exact[name].output - without_vnni[name].output > 3
    stored = [t for t in onnx.load(pairs[name].int8).graph.initializer if t.data_type == TensorProto.INT8]
    if net != "loop":
        assert max(int(np.abs(numpy_helper.to_array(t).astype(int)).max()) for t in stored) == 127
    # It is said: the graph's check is what the summary's remark is made from.
    assert "OLX611" in {finding.code for finding in check_graph(pairs[name].int8)}


@emulated
@cases(NAMED)
def test_a_session_option_of_onnx_runtime_gives_int8_its_bits_back(
    net: str, recipe: Recipe, without_vnni: dict[str, Ran], exact: dict[str, Ran]
) -> None:
    name = name_of(net, recipe)
    assert abs(without_vnni[f"{name}, precise"].output - exact[name].output) < 1


# -- the choice ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "operators", "said"),
    [
        (DynamicInt8(), ["MatMul"], "uint8 weights"),
        (DynamicInt8(), ["Conv"], "uint8 weights"),
        (DynamicInt8(weight_type="int8"), ["MatMul"], "int8 weights"),
        (DynamicInt8(reduce_range=True), ["MatMul"], "int8 weights of 7 bits"),
        (DynamicInt8(reduce_range=True), ["Conv"], "uint8 weights of 7 bits"),
        (StaticInt8(), ["Conv"], "int8 weights of 7 bits"),
        (StaticInt8(weight_type="int8"), ["Conv"], "int8 weights"),
        (StaticInt8(weight_type="uint8"), ["Conv"], "uint8 weights"),
        (StaticInt8(weight_type="int8", reduce_range=True), ["Conv"], "int8 weights of 7 bits"),
    ],
    ids=str,
)
def test_the_choice_of_weights(recipe: Recipe, operators: Collection[str], said: str) -> None:
    assert str(choose_weights(recipe, operators)) == said


@pytest.mark.parametrize("recipe", [DynamicInt8(), DynamicInt8(per_channel=True)], ids=recipe_text)
def test_weights_of_an_lstm_are_uint8_and_no_output_changes(recipe: Recipe, tmp_path: Path) -> None:
    x = lstm(tmp_path / "a.onnx")
    quantize(tmp_path / "a.onnx", recipe, "m", tmp_path / "b.onnx")
    model = onnx.load(tmp_path / "b.onnx")
    node = next(node for node in model.graph.node if node.op_type == "DynamicQuantizeLSTM")
    tensors = {t.name: t for t in model.graph.initializer}
    for place in (1, 2, 9, 11):
        tensor = tensors[node.input[place]]
        assert tensor.data_type == TensorProto.UINT8
        signed = numpy_helper.to_array(tensor).astype(int) - 128
        tensor.CopyFrom(numpy_helper.from_array(signed.astype(np.int8), tensor.name))
    onnx.save(model, tmp_path / "signed.onnx")
    if not saturates():
        np.testing.assert_array_equal(outputs(tmp_path / "b.onnx", x), outputs(tmp_path / "signed.onnx", x))
    assert check_graph(tmp_path / "b.onnx", tmp_path / "a.onnx") == []


def test_weights_in_a_file_of_their_own_are_made_uint8_in_their_place(tmp_path: Path) -> None:
    # As a model above 2 GB has them; QLinearConv per channel is int8 too, whatever is asked for.
    x = convolutional(tmp_path / "a.onnx")
    recipe = StaticInt8(weight_type="int8", format="qoperator", reduce_range=True)  # no product saturates here
    infos = (TensorInfo("x", "float32", ("batch", 3, 6, 6)),)
    quantize(tmp_path / "a.onnx", recipe, "m", tmp_path / "b.onnx", Calibration(x, infos))
    model = onnx.load(tmp_path / "b.onnx")
    onnx.save(model, tmp_path / "c.onnx", save_as_external_data=True, location="c.data", size_threshold=16)
    size = (tmp_path / "c.data").stat().st_size
    unsigned = onnx.load(tmp_path / "c.onnx", load_external_data=False)
    _store_unsigned(unsigned, tmp_path)
    onnx.save(unsigned, tmp_path / "c.onnx")
    assert (tmp_path / "c.data").stat().st_size == size
    stored = {t.name: t for t in onnx.load(tmp_path / "c.onnx").graph.initializer}
    for node in unsigned.graph.node:
        if node.op_type == "QLinearConv":
            assert {stored[node.input[place]].data_type for place in (3, 5)} == {TensorProto.UINT8}
    np.testing.assert_array_equal(outputs(tmp_path / "b.onnx", x), outputs(tmp_path / "c.onnx", x))


def outputs(path: Path, x: Floats) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def test_what_an_earlier_default_made_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    """Files of `DynamicInt8()` were kept under a name without an edition, and had int8 weights."""
    x = dense(tmp_path / "a.onnx")
    spec = ModelSpec("m", onnx=tmp_path / "a.onnx", evaluation=Dataset(x), recipe=DynamicInt8(), metric="cosine")
    builder = Builder(spec, Cache(tmp_path / "cache"), lambda _: None)
    earlier = {key: entry for key, entry in recipe_key(DynamicInt8()).items() if key != "edition"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_onnxlite.variants.builder.recipe_key", lambda _: earlier)
        patch.setattr("pytest_onnxlite.variants.quantization.choose_weights", lambda *_: Weights("int8", False))
        stale = builder.quantized(DynamicInt8())
    assert "int8 weights" in (stale / "recipe.json").read_text().replace("uint8", "")
    assert builder.quantized(DynamicInt8()) != stale
    assert builder.recipe_text("int8") == ""
    _ = builder.int8
    assert builder.recipe_text("int8") == "DynamicInt8(), uint8 weights"
