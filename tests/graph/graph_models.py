"""Small float models built by hand, and what ONNX Runtime's quantizer makes of them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

FLOAT = TensorProto.FLOAT


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def initializer(name: str, values: Any) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values), name)


def finish(nodes, inputs, outputs, initializers, opset: int = 17, **fields) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "main", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **fields)
    onnx.checker.check_model(model, full_check=True)
    return model


def value(name: str, shape, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


@functools.cache
def convnet(opset: int = 17) -> onnx.ModelProto:
    """Conv, Relu, Flatten, MatMul: the smallest model with every role a tensor can have."""
    r = rng(1)
    nodes = [
        helper.make_node("Conv", ["x", "conv_w", "conv_b"], ["conv"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], "relu"),
        helper.make_node("Flatten", ["relu"], ["flat"], "flatten"),
        helper.make_node("MatMul", ["flat", "fc_w"], ["y"], "fc"),
    ]
    weights = [
        initializer("conv_w", (r.normal(size=(8, 3, 3, 3)) * r.uniform(0.2, 2, (8, 1, 1, 1))).astype(np.float32)),
        initializer("conv_b", r.normal(size=8).astype(np.float32)),
        initializer("fc_w", (r.normal(size=(512, 10)) * r.uniform(0.02, 0.2, 10)).astype(np.float32)),
    ]
    inputs, outputs = [value("x", ["N", 3, 8, 8])], [value("y", ["N", 10])]
    model = finish(nodes, inputs, outputs, weights, opset, doc_string="a small convnet")
    helper.set_model_props(model, {"labels": "a b c d e f g h i j"})
    return model


@functools.cache
def dense(opset: int = 17) -> onnx.ModelProto:
    """Two MatMuls with an Add and a Relu between them."""
    r = rng(2)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], "fc1"),
        helper.make_node("Add", ["h", "b1"], ["hb"], "add1"),
        helper.make_node("Relu", ["hb"], ["a"], "relu"),
        helper.make_node("MatMul", ["a", "w2"], ["y"], "fc2"),
    ]
    weights = [
        initializer("w1", r.normal(size=(32, 64)).astype(np.float32)),
        initializer("b1", r.normal(size=64).astype(np.float32)),
        initializer("w2", r.normal(size=(64, 16)).astype(np.float32)),
    ]
    return finish(nodes, [value("x", ["N", 32])], [value("y", ["N", 16])], weights, opset)


class Calibration(CalibrationDataReader):
    """Batches of normal noise for every input, or what is given."""

    def __init__(self, model: onnx.ModelProto, batches: int = 4, feeds=None) -> None:
        if feeds is not None:
            self._feeds = iter(feeds)
            return
        r = rng(3)
        self._feeds = iter(
            [
                {
                    i.name: r.normal(size=[d.dim_value or 8 for d in i.type.tensor_type.shape.dim]).astype(np.float32)
                    for i in model.graph.input
                }
                for _ in range(batches)
            ]
        )

    def get_next(self):
        return next(self._feeds, None)


def exported_lstm() -> onnx.ModelProto:
    """An LSTM as PyTorch's exporter writes it, one of whose weights is computed in the graph, and a MatMul."""
    nodes = [
        helper.make_node("Concat", ["half", "half"], ["R"], "join", axis=1),
        helper.make_node("LSTM", ["x", "W", "R"], ["y"], "lstm", hidden_size=8),
        helper.make_node("MatMul", ["y", "w"], ["z"], "mm"),
    ]
    shapes = {"W": (1, 32, 64), "half": (1, 16, 8), "w": (8, 8)}
    random = rng(1)
    weights = [initializer(name, random.normal(size=shape).astype(np.float32)) for name, shape in shapes.items()]
    return finish(nodes, [value("x", ["T", 1, 64])], [value("z", ["T", 1, 1, 8])], weights)


def gelu() -> onnx.ModelProto:
    """A MatMul and a Gelu as exporters write it, which ONNX Runtime fuses into one node."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "fc"),
        helper.make_node("Div", ["h", "root"], ["d"], "divide"),
        helper.make_node("Erf", ["d"], ["e"], "erf"),
        helper.make_node("Add", ["e", "one"], ["a"], "add"),
        helper.make_node("Mul", ["h", "a"], ["m"], "multiply"),
        helper.make_node("Mul", ["m", "half"], ["g"], "halve"),
        helper.make_node("Tanh", ["g"], ["y"], "tanh"),
    ]
    weights = [initializer("w", rng(1).normal(size=(16, 16)).astype(np.float32))]
    for name, number in (("root", 2**0.5), ("one", 1), ("half", 0.5)):
        weights.append(numpy_helper.from_array(np.array(number, np.float32), name))
    return finish(nodes, [value("x", ["N", 16])], [value("y", ["N", 16])], weights)


def computed_weight() -> onnx.ModelProto:
    """A MatMul whose weight is computed from stored tensors, which preparation does beforehand."""
    nodes = [
        helper.make_node("Einsum", ["a", "b"], ["w"], "join", equation="ij,jk->ik"),
        helper.make_node("MatMul", ["x", "w"], ["y"], "fc"),
    ]
    random = rng(1)
    weights = [initializer(n, random.normal(size=s).astype(np.float32)) for n, s in (("a", (8, 4)), ("b", (4, 8)))]
    return finish(nodes, [value("x", ["N", 8])], [value("y", ["N", 8])], weights)


def dynamic(model: onnx.ModelProto, weight_type: QuantType = QuantType.QUInt8, **options) -> onnx.ModelProto:
    """Return what `quantize_dynamic` makes of a model."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "q.onnx"
        quantize_dynamic(_copy(model), target, weight_type=weight_type, **options)
        return onnx.load(target)


def static(
    model: onnx.ModelProto, feeds=None, *, per_channel: bool = True, reduce_range: bool = True, **options
) -> onnx.ModelProto:
    """Return what `quantize_static` makes of a model: QDQ, int8 weights."""
    options.setdefault("quant_format", QuantFormat.QDQ)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "q.onnx"
        quantize_static(
            _copy(model),
            target,
            Calibration(model, feeds=feeds),
            per_channel=per_channel,
            reduce_range=reduce_range,
            **options,
        )
        return onnx.load(target)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
