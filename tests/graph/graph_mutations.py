"""Ways in which a quantized graph goes wrong, each with the code of the check that must see it.

Each function takes a sound model and breaks it in one place. Run as a table by the tests, and by
`benchmarks/graph_pages.py` against onnx.checker and ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from graph_models import convnet, dynamic, static
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Mutation:
    """A fault.

    Attributes:
        name: what was done.
        form: `static` or `dynamic`, the sound model that it is done to.
        code: of the check that must see it.
        apply: breaks a model in place.
    """

    name: str
    form: str
    code: str
    apply: Callable[[onnx.ModelProto], None]

    def mutant(self) -> onnx.ModelProto:
        model = sound(self.form)
        self.apply(model)
        return model


MUTATIONS: list[Mutation] = []


def mutation(name: str, form: str, code: str) -> Callable[[Callable[[onnx.ModelProto], None]], Callable[..., Any]]:
    def add(apply: Callable[[onnx.ModelProto], None]) -> Callable[..., Any]:
        MUTATIONS.append(Mutation(name, form, code, apply))
        return apply

    return add


def sound(form: str) -> onnx.ModelProto:
    """Return a fresh copy of the quantized convnet."""
    model = onnx.ModelProto()
    model.CopyFrom(_SOUND[form]())
    return model


def _cached(make: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
    kept: list[onnx.ModelProto] = []

    def get() -> onnx.ModelProto:
        if not kept:
            kept.append(make())
        return kept[0]

    return get


_SOUND = {"static": _cached(lambda: static(convnet())), "dynamic": _cached(lambda: dynamic(convnet()))}


def tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(t for t in model.graph.initializer if t.name == name)


def array(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(tensor(model, name)).copy()


def put(model: onnx.ModelProto, name: str, values: Any) -> None:
    tensor(model, name).CopyFrom(numpy_helper.from_array(np.asarray(values), name))


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def scale_entry(entry: Callable[[np.float32], float]) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        values = array(model, "conv_w_scale")
        values[3] = entry(values[3])
        put(model, "conv_w_scale", values)

    return apply


for _name, _code, _entry in (
    ("scale 0", "OLX302", lambda s: 0.0),
    ("scale NaN", "OLX301", lambda s: np.nan),
    ("scale negative", "OLX302", lambda s: -s),
    ("scale inf", "OLX301", lambda s: np.inf),
    ("scale × 10", "OLX701", lambda s: 10 * s),
):
    mutation(_name, "static", _code)(scale_entry(_entry))


@mutation("weight zero-point dtype other than its weight's", "static", "OLX305")
def _(model):
    put(model, "conv_w_zero_point", np.zeros(8, np.uint8))


@mutation("per-channel scale length wrong", "static", "OLX310")
def _(model):
    put(model, "conv_w_scale", array(model, "conv_w_scale")[:4])
    put(model, "conv_w_zero_point", array(model, "conv_w_zero_point")[:4])


@mutation("per-channel axis wrong", "static", "OLX309")
def _(model):
    # With the lengths of the wrong axis, so that nothing but the axis is wrong.
    dq = node(model, "conv_w_DequantizeLinear")
    dq.attribute[0].i = 1
    put(model, "conv_w_scale", array(model, "conv_w_scale")[:3])
    put(model, "conv_w_zero_point", array(model, "conv_w_zero_point")[:3])


@mutation("per-channel scales permuted", "static", "OLX701")
def _(model):
    put(model, "fc_w_scale", array(model, "fc_w_scale")[::-1].copy())


@mutation("bias scale × 2", "static", "OLX323")
def _(model):
    put(model, "conv_b_quantized_scale", array(model, "conv_b_quantized_scale") * 2)


@mutation("bias zero point ≠ 0", "static", "OLX322")
def _(model):
    put(model, "conv_b_quantized_zero_point", np.full(8, 7, np.int32))


@mutation("weights all -128", "static", "OLX308")
def _(model):
    put(model, "conv_w_quantized", np.full((8, 3, 3, 3), -128, np.int8))


@mutation("the float weight left behind unused", "static", "OLX105")
def _(model):
    model.graph.initializer.append(next(t for t in convnet().graph.initializer if t.name == "fc_w"))


@mutation("duplicate initializer name", "static", "OLX103")
def _(model):
    model.graph.initializer.append(numpy_helper.from_array(array(model, "x_scale") * 2, "x_scale"))


@mutation("nodes unsorted", "static", "OLX104")
def _(model):
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@mutation("duplicate node names", "static", "OLX107")
def _(model):
    node(model, "fc").name = "conv"


@mutation("opset import missing", "static", "OLX108")
def _(model):
    node(model, "y_QuantizeLinear").domain = "com.microsoft"


@mutation("unused opset import", "static", "OLX110")
def _(model):
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


@mutation("dead node", "static", "OLX106")
def _(model):
    model.graph.node.append(helper.make_node("Relu", ["y"], ["nobody"], "dead"))


@mutation("metadata dropped", "static", "OLX113")
def _(model):
    del model.metadata_props[:]


@mutation("output renamed", "static", "OLX201")
def _(model):
    node(model, "y_DequantizeLinear").output[0] = "scores"
    model.graph.output[0].name = "scores"


@mutation("output batch dim frozen", "static", "OLX206")
def _(model):
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1


@mutation("input batch dim frozen", "static", "OLX206")
def _(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


@mutation("QDQ in front of Conv removed", "static", "OLX503")
def _(model):
    node(model, "conv").input[0] = "x"
    for name in ("x_QuantizeLinear", "x_DequantizeLinear"):
        model.graph.node.remove(node(model, name))
    for name in ("x_scale", "x_zero_point"):
        model.graph.initializer.remove(tensor(model, name))


@mutation("Q and DQ of a pair with other scales", "static", "OLX501")
def _(model):
    model.graph.initializer.append(numpy_helper.from_array(array(model, "x_scale") * 3, "x_scale_2"))
    node(model, "x_DequantizeLinear").input[1] = "x_scale_2"


@mutation("double QDQ", "static", "OLX502")
def _(model):
    first = node(model, "x_DequantizeLinear")
    first.output[0] = "x_once"
    parameters = list(first.input)[1:]
    at = list(model.graph.node).index(first)
    model.graph.node.insert(at + 1, helper.make_node("QuantizeLinear", ["x_once", *parameters], ["x_q2"], "q2"))
    model.graph.node.insert(
        at + 2,
        helper.make_node("DequantizeLinear", ["x_q2", *parameters], ["x_DequantizeLinear_Output"], "dq2"),
    )


@mutation("weight zero-point value wrong", "dynamic", "OLX701")
def _(model):
    put(model, "fc_w_zero_point", array(model, "fc_w_zero_point") + np.uint8(5))


@mutation("w_scale 0", "dynamic", "OLX302")
def _(model):
    put(model, "fc_w_scale", np.zeros((), np.float32))


@mutation("Mul with another layer's scale", "dynamic", "OLX405")
def _(model):
    mul = node(model, "fc_quant_scales_mul")
    mul.input[list(mul.input).index("fc_w_scale")] = "conv_w_scale"


@mutation("Cast to FLOAT16", "dynamic", "OLX403")
def _(model):
    # Cast back at once, so that the types fit and nothing refuses the model.
    cast = next(n for n in model.graph.node if n.op_type == "Cast" and n.input[0].startswith("y_"))
    cast.attribute[0].i = TensorProto.FLOAT16
    end = cast.output[0]
    cast.output[0] = "half"
    at = list(model.graph.node).index(cast)
    model.graph.node.insert(at + 1, helper.make_node("Cast", ["half"], [end], "back", to=TensorProto.FLOAT))


@mutation("int8 weight with uint8 zero point", "dynamic", "OLX305")
def _(model):
    values = array(model, "fc_w_quantized")
    put(model, "fc_w_quantized", (values.astype(np.int16) - 128).astype(np.int8))


@mutation("calibrated with no data", "static", "OLX325")
def _(model):
    for name in ("x", "relu", "y"):
        put(model, f"{name}_scale", np.float32(1))
        put(model, f"{name}_zero_point", np.zeros_like(array(model, f"{name}_zero_point")))


@mutation("weight zero throughout", "static", "OLX328")
def _(model):
    put(model, "fc_w_quantized", np.zeros_like(array(model, "fc_w_quantized")))
    put(model, "fc_w_scale", np.full_like(array(model, "fc_w_scale"), 1e3))


def insert_behind(model: onnx.ModelProto, name: str, made: onnx.NodeProto, stored: dict[str, np.ndarray]) -> None:
    """Put a node behind another one, whose first output it takes."""
    giver = node(model, name)
    made.input.insert(0, f"{giver.output[0]}_before")
    made.output.insert(0, giver.output[0])
    giver.output[0] = made.input[0]
    model.graph.node.insert(list(model.graph.node).index(giver) + 1, made)
    model.graph.initializer.extend(numpy_helper.from_array(values, key) for key, values in stored.items())


@mutation("Dropout in training mode", "static", "OLX119")
def _(model):
    stored = {"ratio": np.array(0.5, np.float32), "training": np.array(True)}
    insert_behind(model, "flatten", helper.make_node("Dropout", list(stored), [], "drop"), stored)


@mutation("BatchNormalization in training mode", "dynamic", "OLX119")
def _(model):
    stored = {name: np.ones(8, np.float32) for name in ("gamma", "beta", "mean", "var")}
    made = helper.make_node("BatchNormalization", list(stored), ["mean_now", "var_now"], "norm", training_mode=1)
    insert_behind(model, "relu", made, stored)


@mutation("weight dequantized and multiplied in float", "dynamic", "OLX601")
def _(model):
    dequantize_fc(model, [])


@mutation("weight dequantized, reshaped and multiplied in float", "dynamic", "OLX601")
def _(model):
    put(model, "fc_w_quantized", array(model, "fc_w_quantized").reshape(256, 20))
    model.graph.initializer.append(numpy_helper.from_array(np.array([512, 10]), "dims"))
    dequantize_fc(model, [helper.make_node("Reshape", ["fc_w_float", "dims"], ["fc_w_shaped"], "shape")])


def dequantize_fc(model: onnx.ModelProto, more: list[onnx.NodeProto]) -> None:
    """Compute the last product in float, with what is left of its integers."""
    gone = (
        "flat_QuantizeLinear",
        "fc_quant",
        "fc_quant_scales_mul",
        "y_output_quantized_cast",
        "fc_quant_output_scale_mul",
    )
    for name in gone:
        model.graph.node.remove(node(model, name))
    parameters = ["fc_w_quantized", "fc_w_scale", "fc_w_zero_point"]
    model.graph.node.append(helper.make_node("DequantizeLinear", parameters, ["fc_w_float"], "fc_w_back"))
    model.graph.node.extend(more)
    last = more[-1].output[0] if more else "fc_w_float"
    model.graph.node.append(helper.make_node("MatMul", ["flat", last], ["y"], "fc"))
