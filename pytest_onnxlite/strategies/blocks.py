"""What a random model is made of: small blocks, each of which fits behind any value of its rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper

from pytest_onnxlite.strategies.graph_builder import DISTRIBUTIONS, Builder

WEIGHTS: tuple[str, ...] = tuple(DISTRIBUTIONS)
"""The distributions that weights are drawn from."""


@dataclass(frozen=True)
class Block:
    """A kind of block.

    Attributes:
        name: what it is called in a drawn model.
        rank: of the values it fits behind: 2 for (N, features), 3 for (N, steps, features), 4 for
            (N, C, H, W).
        build: adds it to a graph, with a number of features or channels to choose.
        linear: whether zero in gives zero out.
    """

    name: str
    rank: int
    build: Callable[[Builder, int], None]
    linear: bool = True


def _width(b: Builder) -> int:
    size = b.shape[1] if len(b.shape) in (2, 4) else b.shape[-1]
    assert size is not None  # only the batch is dynamic
    return size


def _dense(b: Builder, n: int) -> None:
    b.then("MatMul", b.weight(_width(b), n))
    b.shape = (*b.shape[:-1], n)


def _dense_bias(b: Builder, n: int) -> None:
    _dense(b, n)
    b.then("Add", b.weight(n))


def _gemm(b: Builder, n: int, trans: int) -> None:
    k = _width(b)
    b.then("Gemm", b.weight(n, k) if trans else b.weight(k, n), b.weight(n), transB=trans)
    b.shape = (None, n)


def _residual(b: Builder, n: int) -> None:
    before, k = b.last, _width(b)
    b.then("MatMul", b.weight(k, k))
    b.last = b.node("Add", [before, b.last])


def _branches(b: Builder, n: int) -> None:
    before, k = b.last, _width(b)
    sides = [b.node("MatMul", [before, b.weight(k, size)]) for size in (n, 2)]
    b.last = b.node("Concat", sides, axis=1)
    b.shape = (None, n + 2)


def _shared(b: Builder, n: int) -> None:
    k = _width(b)
    weight = b.weight(k, k)
    b.then("MatMul", weight)
    b.then("Relu")
    b.then("MatMul", weight)


def _if(b: Builder, n: int) -> None:
    k = _width(b)
    total = b.moved("ReduceSum", b.last, (0, 1), keepdims=0) if b.opset >= 18 else _sum_before_18(b)
    condition = b.node("Greater", [total, b.tensor(np.array(0, np.float32))])
    branches = {side: b.subgraph("MatMul", [b.weight(k, n)], side) for side in ("then_branch", "else_branch")}
    b.last = b.node("If", [condition], **branches)
    b.shape = (None, n)


def _sum_before_18(b: Builder) -> str:
    # ReduceSum took its axes as an input from 13 on, five versions before the other reductions.
    if b.opset >= 13:
        return b.node("ReduceSum", [b.last, b.ints(0, 1)], keepdims=0)
    return b.node("ReduceSum", [b.last], axes=[0, 1], keepdims=0)


def _loop(b: Builder, n: int) -> None:
    k = _width(b)
    weight = b.weight(k, k)
    state = helper.make_tensor_value_info("state", TensorProto.FLOAT, ["N", k])
    following = helper.make_tensor_value_info("following", TensorProto.FLOAT, ["N", k])
    counter = helper.make_tensor_value_info("counter", TensorProto.INT64, [])
    go_in, go_out = (helper.make_tensor_value_info(go, TensorProto.BOOL, []) for go in ("go_in", "go_out"))
    nodes = [
        helper.make_node("Identity", ["go_in"], ["go_out"], b.name("loop_go")),
        helper.make_node("MatMul", ["state", weight], ["product"], b.name("loop_matmul")),
        helper.make_node("Tanh", ["product"], ["following"], b.name("loop_tanh")),
    ]
    body = helper.make_graph(nodes, "body", [counter, go_in, state], [go_out, following])
    trips, go = b.tensor(np.array(2, np.int64)), b.tensor(np.array(True))
    b.last = b.node("Loop", [trips, go, b.last], body=body)


def _scalar(b: Builder, n: int) -> None:
    b.then("Mul", b.tensor(np.array(0.5, np.float32)))


def _empty(b: Builder, n: int) -> None:
    nothing = b.tensor(np.zeros((0, _width(b)), np.float32))
    b.last = b.node("Concat", [b.last, nothing], axis=0)


def _matmul_stack(b: Builder, n: int) -> None:
    b.then("MatMul", b.weight(1, _width(b), n))
    b.shape = (*b.shape[:-1], n)


def _lstm(b: Builder, n: int) -> None:
    weights = (b.weight(1, 4 * n, _width(b)), b.weight(1, 4 * n, n), b.weight(1, 8 * n))
    b.then("LSTM", *weights, hidden_size=n)
    b.last = b.moved("Squeeze", b.last, (1,))
    b.shape = (*b.shape[:-1], n)


def _mean_of_steps(b: Builder, n: int) -> None:
    b.last = b.moved("ReduceMean", b.last, (1,), keepdims=0)
    b.shape = (b.shape[0], b.shape[2])


def _conv(b: Builder, n: int, bias: bool) -> None:
    k = _width(b)
    weights = [b.weight(n, k, 3, 3), *([b.weight(n)] if bias else [])]
    b.then("Conv", *weights, pads=[1, 1, 1, 1])
    b.shape = (None, n, *b.shape[2:])


def _depthwise(b: Builder, n: int) -> None:
    k = _width(b)
    b.then("Conv", b.weight(k, 1, 3, 3), pads=[1, 1, 1, 1], group=k)


def _conv_residual(b: Builder, n: int) -> None:
    before, k = b.last, _width(b)
    b.then("Conv", b.weight(k, k, 1, 1))
    b.last = b.node("Add", [before, b.last])


def _pool(b: Builder, op: str) -> None:
    b.then(op, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def _flatten(b: Builder, n: int) -> None:
    b.then("Flatten")
    b.shape = (None, int(np.prod([dim for dim in b.shape[1:] if dim is not None])))


BLOCKS: dict[str, Block] = {
    block.name: block
    for block in (
        Block("dense", 2, _dense),
        Block("dense_bias", 2, _dense_bias, linear=False),
        Block("gemm", 2, lambda b, n: _gemm(b, n, 0), linear=False),
        Block("gemm_transposed", 2, lambda b, n: _gemm(b, n, 1), linear=False),
        Block("relu", 2, lambda b, n: b.then("Relu")),
        Block("sigmoid", 2, lambda b, n: b.then("Sigmoid"), linear=False),
        Block("scalar", 2, _scalar),
        Block("empty", 2, _empty),
        Block("residual", 2, _residual),
        Block("branches", 2, _branches),
        Block("shared_weight", 2, _shared),
        Block("if", 2, _if),
        Block("loop", 2, _loop),
        Block("steps_dense", 3, _dense),
        Block("matmul_3d", 3, _matmul_stack),
        Block("lstm", 3, _lstm, linear=False),
        Block("mean_of_steps", 3, _mean_of_steps),
        Block("conv", 4, lambda b, n: _conv(b, n, bias=False)),
        Block("conv_bias", 4, lambda b, n: _conv(b, n, bias=True), linear=False),
        Block("depthwise", 4, _depthwise),
        Block("conv_residual", 4, _conv_residual),
        Block("conv_relu", 4, lambda b, n: b.then("Relu")),
        Block("max_pool", 4, lambda b, n: _pool(b, "MaxPool")),
        Block("average_pool", 4, lambda b, n: _pool(b, "AveragePool")),
        Block("flatten", 4, _flatten),
    )
}
"""The kinds of block by name."""
