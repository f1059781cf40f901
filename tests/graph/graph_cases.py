"""For each rule a model that breaks it: what the tests see red, and what the docs show as an example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from float_mutations import FLOAT_MUTATIONS, candidate, source
from graph_models import FLOAT, computed_weight, convnet, dense, dynamic, finish, gelu, initializer, static, value
from graph_mutations import MUTATIONS, array, node, put, tensor
from graph_running import LEVELS, optimized, prepared
from onnx import helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from pytest_onnxlite.lint import Finding, Signature, check_graph, compare_signatures, signature
from pytest_onnxlite.spec.recipes import Float16, WeightOnly
from pytest_onnxlite.variants import blocks, half

CASES: dict[str, Callable[[Path], list[Finding]]] = {}


def case(code: str):
    def add(make: Callable[[Path], list[Finding]]) -> Callable[[Path], list[Finding]]:
        CASES[code] = make
        return make

    return add


def _of_mutation(mutation) -> Callable[[Path], list[Finding]]:
    return lambda folder: check_graph(mutation.mutant(), convnet())


for _mutation in MUTATIONS:
    CASES.setdefault(_mutation.code, _of_mutation(_mutation))


def _of_float_mutation(mutation) -> Callable[[Path], list[Finding]]:
    def broken(folder: Path) -> list[Finding]:
        mutant = candidate("main")
        mutation.apply(mutant)
        return check_graph(mutant, source("main"))

    return broken


for _float_mutation in FLOAT_MUTATIONS:
    if _float_mutation.code.startswith("OLX8"):
        CASES.setdefault(_float_mutation.code, _of_float_mutation(_float_mutation))


def copy(model: onnx.ModelProto) -> onnx.ModelProto:
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    return twin


def changed(side: str, **fields) -> list[Finding]:
    data = signature(convnet()).as_dict()
    data[side][0].update(fields)
    return compare_signatures(signature(convnet()), Signature.from_dict(data))


def edited(model: onnx.ModelProto, change: Callable[[onnx.ModelProto], object], reference=None) -> list[Finding]:
    twin = copy(model)
    change(twin)
    return check_graph(twin, reference)


def changed_half(folder: Path, change, keep=(), source=None) -> onnx.ModelProto:
    """Return the dense model in half precision, changed."""
    onnx.save(dense() if source is None else source, folder / "float.onnx")
    half.convert(folder / "float.onnx", Float16(keep=keep), "dense", folder / "half.onnx")
    model = onnx.load(folder / "half.onnx")
    change(model)
    return model


def changed_blocks(folder: Path, change) -> onnx.ModelProto:
    """Return the dense model with weights of 4 bits in blocks, changed."""
    onnx.save(dense(), folder / "float.onnx")
    blocks.quantize(folder / "float.onnx", WeightOnly(), "dense", folder / "blocks.onnx")
    model = onnx.load(folder / "blocks.onnx")
    change(model)
    return model


def with_weight(number: float) -> onnx.ModelProto:
    """Return the dense model with one weight of this size."""
    model = copy(dense())
    put(model, "w1", _with(number, np.float32))
    return model


def _with(number: float, dtype=np.float16) -> np.ndarray:
    values = numpy_helper.to_array(tensor(dense(), "w1")).astype(dtype)
    with np.errstate(over="ignore"):
        values[3, 5] = dtype(number)
    return values


CASES.update(
    {
        "OLX203": lambda folder: changed("inputs", dtype="UINT8"),
        "OLX204": lambda folder: changed("inputs", shape=["N", 3, 64]),
        "OLX205": lambda folder: changed("inputs", shape=["N", 1, 8, 8]),
        "OLX207": lambda folder: changed("outputs", shape=["N", None]),
        "OLX208": lambda folder: changed("outputs", shape=["M", 10]),
    }
)


@case("OLX101")
def _(folder):
    return edited(convnet(), lambda m: node(m, "relu").attribute.append(helper.make_attribute("alpha", 1.0)))


@case("OLX102")
def _(folder):
    return edited(dense(), lambda m: put(m, "w1", np.ones((31, 64), np.float32)))


@case("OLX109")
def _(folder):
    return edited(convnet(), lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx", 11)))


@case("OLX111")
def _(folder):
    def lower(model):
        model.opset_import[0].version = 12

    return edited(static(convnet()), lower)


@case("OLX112")
def _(folder):
    x, y = value("x", ["N", 3, 4]), value("y", ["N", 3, 4])
    old = finish([helper.make_node("Softmax", ["x"], ["y"], "softmax")], [x], [y], [], opset=12)

    def raise_number(model):
        model.opset_import[0].version = 17

    return edited(old, raise_number, old)


@case("OLX114")
def _(folder):
    return edited(dynamic(convnet()), lambda m: m.ClearField("doc_string"), convnet())


@case("OLX115")
def _(folder):
    return check_graph(dynamic(convnet()), dynamic(convnet()))


@case("OLX116")
def _(folder):
    def cut(model):
        weight = tensor(model, "fc_w_quantized")
        weight.raw_data = weight.raw_data[:-7]

    return edited(dynamic(convnet()), cut)


@case("OLX117")
def _(folder):
    def lay_out(model):
        node(model, "conv").domain = "com.microsoft.nchwc"
        model.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))

    return edited(convnet(), lay_out)


@case("OLX118")
def _(folder):
    noise = helper.make_node("RandomNormalLike", ["x"], ["noise"], "noise", scale=0.1)
    add = helper.make_node("Add", ["x", "noise"], ["y"], "add")
    return check_graph(finish([noise, add], [value("x", ["N", 4])], [value("y", ["N", 4])], []))


@case("OLX202")
def _(folder):
    x = value("x", ["N", 4])
    relu, tanh = (helper.make_node(op, ["x"], [op], op) for op in ("Relu", "Tanh"))
    both = finish([relu, tanh], [x], [value("Relu", ["N", 4]), value("Tanh", ["N", 4])], [])
    swapped = copy(both)
    first = swapped.graph.output.pop(0)
    swapped.graph.output.append(first)
    return compare_signatures(signature(both), signature(swapped))


@case("OLX303")
def _(folder):
    return edited(dynamic(convnet()), lambda m: put(m, "fc_w_scale", np.float32(1e-40)))


@case("OLX304")
def _(folder):
    return edited(static(convnet()), lambda m: put(m, "conv_w_scale", array(m, "conv_w_scale").reshape(8, 1, 1, 1)))


@case("OLX306")
def _(folder):
    return edited(static(convnet()), lambda m: put(m, "conv_w_zero_point", np.zeros(4, np.int8)))


@case("OLX307")
def _(folder):
    return edited(static(convnet()), lambda m: put(m, "fc_w_zero_point", np.full(10, 3, np.int8)))


@case("OLX311")
def _(folder):
    def stack(model):
        put(model, "w1_quantized", np.stack([array(model, "w1_quantized")] * 2))

    return edited(dynamic(dense(), per_channel=True), stack)


@case("OLX312")
def _(folder):
    float_model = copy(dense())
    weight = array(float_model, "w1")
    weight[0, 0] = 300  # an outlier: per channel, the other 63 channels would not mind it
    weight[:, 1:] *= 0.01
    put(float_model, "w1", weight)
    q = static(float_model)
    put(q, "w1_quantized", array(q, "w1_quantized") // 4)
    return check_graph(q)


@case("OLX321")
def _(folder):
    def narrow(model):
        put(model, "conv_b_quantized", np.clip(array(model, "conv_b_quantized"), -127, 127).astype(np.int8))
        put(model, "conv_b_quantized_zero_point", np.zeros(8, np.int8))

    return edited(static(convnet()), narrow)


@case("OLX324")
def _(folder):
    return edited(static(convnet()), lambda m: put(m, "conv_b_quantized", np.full(8, 2**31 - 1, np.int32)))


@case("OLX325")
def _(folder):
    def blank(model):
        for name in ("x", "relu", "y"):
            put(model, f"{name}_scale", np.float32(1))
            put(model, f"{name}_zero_point", np.int8(0))

    return edited(static(convnet()), blank)


@case("OLX326")
def _(folder):
    return edited(convnet(), lambda m: put(m, "conv_b", np.full(8, np.nan, np.float32)))


@case("OLX327")
def _(folder):
    return edited(convnet(), lambda m: put(m, "fc_w", np.full((512, 10), -np.inf, np.float32)))


@case("OLX331")
def _(folder):
    return check_graph(changed_half(folder, lambda model: put(model, "w1", _with(1e5))), with_weight(1e5))


@case("OLX332")
def _(folder):
    def fade(model):
        put(model, "b1", (np.random.default_rng(0).normal(size=64) * 1e-9).astype(np.float32))

    source = copy(dense())
    fade(source)
    return check_graph(changed_half(folder, lambda model: put(model, "b1", np.zeros(64, np.float16))), source)


@case("OLX333")
def _(folder):
    def lose(model):
        kept = node(model, "relu")
        for cast in [n for n in model.graph.node if n.output[0] == kept.input[0]]:
            kept.input[0] = cast.input[0]
        for cast in [n for n in model.graph.node if n.input[0] == kept.output[0]]:
            kept.output[0] = cast.output[0]
            model.graph.node.remove(cast)

    return check_graph(changed_half(folder, lose, keep=["relu"]), dense(), excluded=["relu"])


@case("OLX334")
def _(folder):
    def round_trip(model):
        relu = node(model, "relu")
        relu.input[0] = "back"
        there = helper.make_node("Cast", ["hb"], ["there"], "there", to=onnx.TensorProto.FLOAT16)
        back = helper.make_node("Cast", ["there"], ["back"], "back", to=FLOAT)
        model.graph.node.insert(2, back)
        model.graph.node.insert(2, there)

    return edited(dense(), round_trip)


@case("OLX341")
def _(folder):
    return check_graph(changed_blocks(folder, lambda model: put(model, "w1_scales", np.ones(7, np.float32))), dense())


@case("OLX342")
def _(folder):
    def odd(model):
        for attribute in next(n for n in model.graph.node if "w1_Q4" in n.input).attribute:
            attribute.i = 24 if attribute.name == "block_size" else attribute.i

    return check_graph(changed_blocks(folder, odd), dense())


@case("OLX401")
def _(folder):
    def cross(model):
        node(model, "fc_quant").input[2] = "x_zero_point"

    return edited(dynamic(convnet()), cross)


@case("OLX402")
def _(folder):
    def twice(model):
        outputs = ["q2", "s2", "z2"]
        model.graph.node.insert(0, helper.make_node("DynamicQuantizeLinear", ["x"], outputs, "again"))
        product, mul = node(model, "conv_quant"), node(model, "conv_quant_scales_mul")
        model.graph.node.insert(0, helper.make_node("Relu", ["s2"], ["s2_used"], "keeps"))
        product.input[0], product.input[2] = "q2", "z2"
        mul.input[list(mul.input).index("x_scale")] = "s2"

    return edited(dynamic(convnet()), twice)


@case("OLX404")
def _(folder):
    def drop(model):
        node(model, "fc_quant_output_scale_mul").input[1] = "fc_w_scale"

    return edited(dynamic(convnet()), drop)


@case("OLX406")
def _(folder):
    from onnxruntime.quantization import QuantType

    return check_graph(dynamic(convnet(), QuantType.QInt8))


@case("OLX407")
def _(folder):
    def constant(model):
        model.graph.initializer.append(initializer("fixed", np.ones((1, 3, 8, 8), np.float32)))
        node(model, "x_QuantizeLinear").input[0] = "fixed"

    return edited(dynamic(convnet()), constant)


@case("OLX504")
def _(folder):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("MaxPool", ["c"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "w2"], ["y"], "conv2"),
    ]
    r = np.random.default_rng(0)
    weights = [initializer(n, r.normal(size=(4, c, 3, 3)).astype(np.float32)) for n, c in (("w", 3), ("w2", 4))]
    q = static(finish(nodes, [value("x", ["N", 3, 12, 12])], [value("y", ["N", 4, 3, 3])], weights))
    at = next(n for n in q.graph.node if n.name == "p_QuantizeLinear")
    dq = next(n for n in q.graph.node if n.name == "p_DequantizeLinear")
    q.graph.initializer.append(numpy_helper.from_array(array(q, at.input[1]) * np.float32(2), "other_scale"))
    at.input[1] = dq.input[1] = "other_scale"
    return check_graph(q)


@case("OLX505")
def _(folder):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "fc"),
        helper.make_node("Relu", ["h"], ["y"], "relu"),
    ]
    weights = [initializer("w", -np.abs(np.random.default_rng(0).normal(size=(4, 4))).astype(np.float32))]
    model = finish(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights)
    return check_graph(static(model, [{"x": np.ones((2, 4), np.float32)}]), model)


@case("OLX601")
def _(folder):
    return check_graph(dynamic(convnet(), nodes_to_exclude=["fc"]), convnet())


@case("OLX602")
def _(folder):
    r = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("ConvTranspose", ["c", "t"], ["y"], "up", kernel_shape=[3, 3]),
    ]
    weights = [
        initializer("w", r.normal(size=(8, 3, 3, 3)).astype(np.float32)),
        initializer("t", r.normal(size=(8, 4, 3, 3)).astype(np.float32)),
    ]
    model = finish(nodes, [value("x", ["N", 3, 8, 8])], [value("y", ["N", 4, 8, 8])], weights)
    return check_graph(dynamic(model), model)


@case("OLX604")
def _(folder):
    def twice(model):
        model.graph.initializer.append(initializer("ballast", np.ones(20000, np.float32)))
        model.graph.node.append(helper.make_node("ReduceSum", ["ballast"], ["total"], "sum", keepdims=0))
        model.graph.output.append(value("total", [], FLOAT))

    return edited(dynamic(convnet()), twice, convnet())


def _external(folder: Path, change=lambda model: None) -> Path:
    model = copy(dynamic(convnet()))
    convert_model_to_external_data(model, location="weights.bin", size_threshold=100)
    onnx.save(model, folder / "model.onnx")
    stored = onnx.load(folder / "model.onnx", load_external_data=False)
    change(stored)
    (folder / "model.onnx").write_bytes(stored.SerializeToString())
    return folder / "model.onnx"


def _entry(model, name: str, key: str, text: str) -> None:
    next(item for item in tensor(model, name).external_data if item.key == key).value = text


@case("OLX605")
def _(folder):
    return check_graph(_external(folder, lambda m: _entry(m, "fc_w_quantized", "location", "../secret.bin")))


@case("OLX606")
def _(folder):
    path = _external(folder)
    data = folder / "weights.bin"
    data.write_bytes(data.read_bytes()[:1000])
    return check_graph(path)


@case("OLX607")
def _(folder):
    return check_graph(_external(folder, lambda m: _entry(m, "fc_w_quantized", "offset", "100")))


@case("OLX608")
def _(folder):
    path = _external(folder)
    with (folder / "weights.bin").open("ab") as file:
        file.write(bytes(5000))
    return check_graph(path)


@case("OLX609")
def _(folder):
    return check_graph(dynamic(convnet()), convnet(), excluded=["fc"])


@case("OLX610")
def _(folder):
    def swap(model):
        node(model, "relu").op_type = "Sigmoid"

    return edited(dynamic(convnet()), swap, convnet())


@case("OLX611")
def _(folder):
    from onnxruntime.quantization import QuantType

    return check_graph(static(convnet(), reduce_range=False, activation_type=QuantType.QUInt8), convnet())


@case("OLX612")
def _(folder):
    return check_graph(changed_half(folder, lambda model: None, keep=["fc1"]), dense())


@case("OLX702")
def _(folder):
    return edited(dynamic(convnet()), lambda m: put(m, "conv_b", array(m, "conv_b") * 2), convnet())


@case("OLX703")
def _(folder):
    return edited(static(convnet()), lambda m: put(m, "conv_b_quantized", array(m, "conv_b_quantized") + 40), convnet())


@case("OLX808")
def _(folder):
    return check_graph(optimized(dynamic(gelu()), LEVELS.ORT_ENABLE_EXTENDED), gelu())


@case("OLX809")
def _(folder):
    model = computed_weight()
    onnx.save(model, folder / "model.onnx")
    return check_graph(dynamic(onnx.load(prepared(folder / "model.onnx"))), model)


@case("OLX901")
def _(folder):
    return check_graph(dynamic(convnet()), convnet(), excluded=["head*"])


@case("OLX902")
def _(folder):
    return check_graph(dynamic(convnet()), convnet(), ignore=["OLX312"])
