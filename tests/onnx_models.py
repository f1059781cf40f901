"""Small real ONNX models with a property that a test needs: answers, work, activations, outputs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def save_graph(path: Path, nodes: Sequence[Any], inputs: Any, outputs: Any, weights: dict[str, Any]) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "main",
        inputs,
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def in_other_bytes(model: Path, path: Path) -> Path:
    """The same model in a file that is another one, so that it is measured: a file that did not change is not."""
    other = onnx.load(model)
    other.doc_string = "the same model in other bytes"
    onnx.save(other, path)
    return path


def lookup(path: Path, answers: Sequence[int] | npt.NDArray[np.int64], classes: int = 10, int8: bool = False) -> Path:
    """A model whose answer to the input i, (batch, 1) int64, is answers[i]; the answers are stored in 8 bits if asked."""
    table = np.zeros((len(answers), classes), np.uint8 if int8 else np.float32)
    table[np.arange(len(answers)), answers] = 1
    return score_lookup(path, table)


def score_lookup(path: Path, table: npt.NDArray[Any]) -> Path:
    """A model whose scores for the input i, (batch, 1) int64, are table[i], (N, classes) float32 or uint8."""
    int8, classes = table.dtype == np.uint8, table.shape[1]
    name = "float_table" if int8 else "table"
    return save_graph(
        path,
        [
            *([helper.make_node("DequantizeLinear", ["table", "scale", "zero"], [name])] if int8 else []),
            helper.make_node("Gather", [name, "index"], ["row"], axis=0),
            helper.make_node("Squeeze", ["row", "axes"], ["digit"]),
        ],
        [helper.make_tensor_value_info("index", TensorProto.INT64, ["batch", 1])],
        [helper.make_tensor_value_info("digit", TensorProto.FLOAT, ["batch", classes])],
        {
            "table": table,
            "axes": np.array([1], np.int64),
            **({"scale": np.float32(1), "zero": np.uint8(0)} if int8 else {}),
        },
    )


def dense(path: Path, layers: int, width: int = 256, seed: int = 0, int8: bool = False) -> Path:
    """A chain of dense layers of one width: twice the layers is twice the work. With one number in 8 bits if asked."""
    rng = np.random.default_rng(seed)
    nodes, weights, last = [], {}, "x"
    for i in range(layers):
        weights[f"w{i}"] = rng.normal(0, (2 / width) ** 0.5, (width, width)).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"], name=f"matmul{i}"))
        last = "y" if i == layers - 1 and not int8 else f"r{i}"
        nodes.append(helper.make_node("Relu", [f"m{i}"], [last], name=f"relu{i}"))
    if int8:
        weights |= {"small": np.array(0, np.int8), "scale": np.array(1, np.float32), "zero": np.array(0, np.int8)}
        nodes.append(helper.make_node("DequantizeLinear", ["small", "scale", "zero"], ["nothing"], name="dequantize"))
        nodes.append(helper.make_node("Add", [last, "nothing"], ["y"], name="add"))
    return save_graph(
        path,
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])],
        weights,
    )


def wide(path: Path, maps: int, side: int = 64) -> Path:
    """A convolution with many feature maps: its activations take 4 * side² * maps bytes a sample."""
    rng = np.random.default_rng(0)
    return save_graph(
        path,
        [
            helper.make_node("Conv", ["x", "w0"], ["a"], name="widen"),
            helper.make_node("Sigmoid", ["a"], ["b"], name="act"),
            helper.make_node("Mul", ["a", "b"], ["c"], name="gate"),
            helper.make_node("GlobalAveragePool", ["c"], ["d"], name="pool"),
            helper.make_node("Flatten", ["d"], ["y"], name="flat"),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", maps])],
        {"w0": rng.normal(0, 1, (maps, 1, 1, 1)).astype(np.float32)},
    )


def two_outputs(path: Path, names: Sequence[str] = ("digit", "score"), batch: str | int = "batch") -> Path:
    """A model with two outputs of one shape, in the order of the names."""
    weights = {n: np.random.default_rng(len(n)).normal(0, 1, (8, 4)).astype(np.float32) for n in ("digit", "score")}
    renamed = dict(zip(("digit", "score"), sorted(names), strict=True))
    return save_graph(
        path,
        [helper.make_node("MatMul", ["x", f"w_{n}"], [renamed[n]], name=f"matmul_{n}") for n in ("digit", "score")],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 4]) for name in names],
        {f"w_{n}": w for n, w in weights.items()},
    )


def branching(path: Path, width: int = 32) -> Path:
    """A model with a MatMul in each branch of an If, which reads a hidden tensor from outside."""
    rng = np.random.default_rng(0)

    def branch(name: str) -> Any:
        weight = numpy_helper.from_array(rng.normal(size=(width, width)).astype(np.float32), f"w_{name}")
        node = helper.make_node("MatMul", ["h", f"w_{name}"], [f"y_{name}"], name=f"matmul_{name}")
        out = helper.make_tensor_value_info(f"y_{name}", TensorProto.FLOAT, ["batch", width])
        return helper.make_graph([node], name, [], [out], [weight])

    return save_graph(
        path,
        [
            helper.make_node("Relu", ["x"], ["h"], name="relu"),
            helper.make_node("ReduceSum", ["h"], ["sum"], name="sum", keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["positive"], name="greater"),
            helper.make_node(
                "If", ["positive"], ["y"], name="if", then_branch=branch("then"), else_branch=branch("else")
            ),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])],
        {"zero": np.float32(0)},
    )


def overflowing(path: Path, width: int = 8) -> Path:
    """A model whose output is NaN for every input: infinity minus infinity."""
    return save_graph(
        path,
        [
            helper.make_node("Mul", ["x", "huge"], ["a"]),
            helper.make_node("Exp", ["a"], ["b"]),
            helper.make_node("Sub", ["b", "b"], ["y"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])],
        {"huge": np.float32(1e6)},
    )


def edit(source: Path, target: Path, change: Any) -> Path:
    """Save a changed copy of a model; `change` works on the ModelProto."""
    model = onnx.load(source)
    change(model)
    onnx.save(model, target)
    return target


def external(source: Path, target: Path, location: str = "net.data", smallest: int = 0) -> Path:
    """Save a model with its weights of at least so many bytes in a file next to it."""
    onnx.save_model(onnx.load(source), target, save_as_external_data=True, location=location, size_threshold=smallest)
    return target


def ruin(source: Path, target: Path) -> Path:
    """Mix up the largest layer, so that a part of the answers is wrong."""

    def change(model: onnx.ModelProto) -> None:
        name, weights = max(weights_of(model).items(), key=lambda entry: entry[1].size)
        set_weight(model, name, np.roll(weights, 40, axis=0))

    return edit(source, target, change)


def stretched(source: Path, target: Path, factor: float) -> Path:
    """The example CNN with one channel larger by a factor, which the next layer takes back: the same function."""

    def change(model: onnx.ModelProto) -> None:
        weights = weights_of(model)
        first, bias, second = (
            next(name for name in weights if name.endswith(ending))
            for ending in ("2_1/convolution/ReadVariableOp:0", "2_1/Squeeze:0", "3_1/convolution/ReadVariableOp:0")
        )
        for name, index, by in ((first, 5, factor), (bias, 5, factor), (second, np.s_[:, 5], 1 / factor)):
            changed = weights[name].copy()
            changed[index] *= np.float32(by)
            set_weight(model, name, changed)

    return edit(source, target, change)


def weights_of(model: onnx.ModelProto) -> dict[str, npt.NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def set_weight(model: onnx.ModelProto, name: str, value: npt.NDArray[Any]) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(value, name))
            return
    raise KeyError(name)


def quantize(source: Path, target: Path, **options: Any) -> Path:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, target, **options)
    return target


def saturating(folder: Path) -> tuple[Path, Path]:
    """A float model and its INT8 form, QDQ with uint8 inputs and int8 weights, (batch, 64) to 3 classes.

    Both answer 0 to a sample of ones, and 1 to one of stripes, 1 0 1 0 ... Where two products are added in 16 bits, the INT8
    form answers 1 to ones too: the large weights of class 0 are neighbours, those of class 1 are not. Half as bright nothing
    saturates.
    """
    pattern = np.array([[127, 127, 0, 0], [127, 0, 64, 0], [0, 0, 0, 0]], np.int8)
    weights, scale = np.tile(pattern, 16).T.copy(), np.float32(1 / 127)
    x = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])]
    y = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])]
    plain = save_graph(
        folder / "plain.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="matmul")],
        x,
        y,
        {"w": weights * scale},
    )
    quantized = save_graph(
        folder / "saturating.onnx",
        [
            helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["x_q"], name="quantize"),
            helper.make_node("DequantizeLinear", ["x_q", "x_scale", "x_zero"], ["x_d"], name="dequantize"),
            helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w_d"], name="weights"),
            helper.make_node("MatMul", ["x_d", "w_d"], ["m"], name="matmul"),
            helper.make_node("QuantizeLinear", ["m", "y_scale", "x_zero"], ["y_q"], name="quantize_y"),
            helper.make_node("DequantizeLinear", ["y_q", "y_scale", "x_zero"], ["y"], name="dequantize_y"),
        ],
        x,
        y,
        {
            "x_scale": np.float32(1 / 255),
            "x_zero": np.uint8(0),
            "w": weights,
            "w_scale": scale,
            "w_zero": np.int8(0),
            "y_scale": np.float32(32 / 255),
        },
    )
    return plain, quantized


def attention(path: Path, heads: int, width: int = 8) -> Path:
    """Attention over a sequence, (batch, length, width): what each head adds grows with the square of the length."""
    rng = np.random.default_rng(0)
    return save_graph(
        path,
        [
            helper.make_node("Unsqueeze", ["x", "one"], ["rows"], name="rows"),
            helper.make_node("MatMul", ["rows", "query"], ["q"], name="query"),
            helper.make_node("Transpose", ["rows"], ["keys"], name="keys", perm=[0, 1, 3, 2]),
            helper.make_node("MatMul", ["q", "keys"], ["scores"], name="scores"),
            helper.make_node("Softmax", ["scores"], ["shares"], name="shares", axis=-1),
            helper.make_node("MatMul", ["shares", "rows"], ["seen"], name="seen"),
            helper.make_node("ReduceMean", ["seen"], ["y"], name="mean", axes=[1, 2], keepdims=0),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])],
        {"query": rng.normal(size=(1, heads, width, width)).astype(np.float32), "one": np.array([1], np.int64)},
    )


def lstm_step(path: Path, wrong: bool = False, slow: bool = False) -> Path:
    """One step of an LSTM, (batch, 4) to (batch, 3), its state among inputs and outputs; wired wrong, or slow, if asked."""
    hidden, width, rng = 8, 4, np.random.default_rng(0)
    return save_graph(
        path,
        [
            helper.make_node("Unsqueeze", ["x", "zero"], ["step"], name="step"),
            helper.make_node("LSTM", ["step", "w", "r", "b", "", "h_in", "c_in"], ["", "h", "c"], hidden_size=hidden),
            helper.make_node("Squeeze", ["h", "zero"], ["seen"], name="seen"),
            *(
                helper.make_node("Sin", ["seen" if n == 0 else f"s{n}"], [f"s{n + 1}"], name=f"s{n}")
                for n in range(100 * slow)
            ),
            helper.make_node("MatMul", ["s100" if slow else "seen", "v"], ["score"], name="score"),
            helper.make_node("Identity", ["c" if wrong else "h"], ["h_out"], name="keep_h"),
            helper.make_node("Identity", ["c"], ["c_out"], name="keep_c"),
        ],
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width]),
            helper.make_tensor_value_info("h_in", TensorProto.FLOAT, [1, "batch", hidden]),
            helper.make_tensor_value_info("c_in", TensorProto.FLOAT, [1, "batch", hidden]),
        ],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("h_out", TensorProto.FLOAT, [1, "batch", hidden]),
            helper.make_tensor_value_info("c_out", TensorProto.FLOAT, [1, "batch", hidden]),
        ],
        {
            "w": rng.normal(size=(1, 4 * hidden, width)).astype(np.float32),
            "r": rng.normal(size=(1, 4 * hidden, hidden)).astype(np.float32),
            "b": rng.normal(size=(1, 8 * hidden)).astype(np.float32),
            "v": rng.normal(size=(hidden, 3)).astype(np.float32),
            "zero": np.array([0], np.int64),
        },
    )


def tied(
    path: Path, words: int = 200, width: int = 32, *, gemm: bool = False, bias: bool = False, seed: int = 0
) -> Path:
    """A table of words that is looked up at the start and multiplied with at the end: `(batch, 5) int64` to scores of words.

    The product is a Transpose and a MatMul, as exporters write it for sentences, or a Gemm that reads the table transposed.
    """
    rng = np.random.default_rng(seed)
    weights = {
        "table": rng.normal(size=(words, width)).astype(np.float32),
        "w": (rng.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "token"], ["e"], name="embed"),
        helper.make_node("MatMul", ["e", "w"], ["h"], name="layer"),
        helper.make_node("Tanh", ["h"], ["a"], name="tanh"),
        helper.make_node("ReduceMean", ["a"], ["m"], name="mean", axes=[1], keepdims=0),
    ]
    if gemm:
        nodes.append(helper.make_node("Gemm", ["m", "table", *(["b"] if bias else [])], ["y"], name="head", transB=1))
    else:
        nodes.append(helper.make_node("Transpose", ["table"], ["turned"], name="turn", perm=[1, 0]))
        nodes.append(helper.make_node("MatMul", ["m", "turned"], ["p" if bias else "y"], name="head"))
        nodes += [helper.make_node("Add", ["p", "b"], ["y"], name="bias")] if bias else []
    if bias:
        weights["b"] = rng.normal(size=words).astype(np.float32)
    return save_graph(
        path,
        nodes,
        [helper.make_tensor_value_info("token", TensorProto.INT64, ["batch", 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", words])],
        weights,
    )


def stalling(path: Path, share: float, layers: int = 8, times: int = 6, width: int = 256) -> Path:
    """A chain of dense layers that in a share of its runs, at random, takes about so many times as long; the answer is the same.

    Of the input x, (batch, width) float32. Nobody can tell from the input when it stalls, nor from the output that it did. All
    sessions of a process draw the same numbers: a share that is near a percentile is now and then on its other side throughout.
    """

    def chain(first: str, name: str, count: int) -> list[Any]:
        names = [first, *(f"{name}{i}" for i in range(count))]
        return [helper.make_node("MatMul", [a, "w"], [b], name=b) for a, b in itertools.pairwise(names)]

    stalled = chain("x", "again", (times - 1) * layers)
    stalled.append(helper.make_node("ReduceMax", [stalled[-1].output[0]], ["worked"], keepdims=0))
    idle = [helper.make_node("Identity", ["tiny"], ["idle"])]
    branches = {
        f"{name}_branch": helper.make_graph(
            nodes, name, [], [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [])]
        )
        for name, nodes in (("then", stalled), ("else", idle))
    }
    once = chain("x", "m", layers)
    return save_graph(
        path,
        [
            *once,
            helper.make_node("RandomUniform", [], ["chance"], name="chance", shape=[1]),
            helper.make_node("Less", ["chance", "share"], ["now"], name="less"),
            helper.make_node("If", ["now"], ["extra"], name="if", **branches),
            helper.make_node("Mul", ["extra", "tiny"], ["nothing"], name="mul"),
            helper.make_node("Add", [once[-1].output[0], "nothing"], ["y"], name="add"),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])],
        {
            "w": np.random.default_rng(0).normal(0, width**-0.5, (width, width)).astype(np.float32),
            "share": np.float32(share),
            "tiny": np.float32(1e-30),
        },
    )
