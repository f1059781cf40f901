"""The checks take time and memory as the graph is large, and not as its square: two sizes are compared, and no time is asserted."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from graph_models import initializer
from onnx import helper
from test_graph_large import MIB, measure, model_of, needs_proc

from pytest_onnxlite.lint import check_graph

Models = tuple[onnx.ModelProto, ...]
Q = np.random.default_rng(0).integers(1, 256, (8, 8), np.uint8)


def static_layers(nodes: int) -> Models:
    """Layers in QDQ form with biases."""
    scales = {"s": np.float32(0.1), "ws": np.float32(0.01), "bs": np.float32(0.1) * np.float32(0.01)}
    zeros = {"z": np.uint8(128), "wz": np.int8(0), "bz": np.int32(0)}
    tensors = [initializer(name, number) for name, number in {**scales, **zeros}.items()]
    w, b, made, last = (Q // 2).astype(np.int8), np.arange(8, dtype=np.int32), [], "x"
    for i in range(nodes // 5):
        tensors += [initializer(f"w{i}_q", w), initializer(f"b{i}_q", b)]
        made += [
            helper.make_node("QuantizeLinear", [last, "s", "z"], [f"q{i}"], f"q{i}"),
            helper.make_node("DequantizeLinear", [f"q{i}", "s", "z"], [f"d{i}"], f"d{i}"),
            helper.make_node("DequantizeLinear", [f"w{i}_q", "ws", "wz"], [f"w{i}"], f"w{i}"),
            helper.make_node("DequantizeLinear", [f"b{i}_q", "bs", "bz"], [f"b{i}"], f"b{i}"),
            helper.make_node("Gemm", [f"d{i}", f"w{i}", f"b{i}"], [f"y{i}"], f"gemm{i}"),
        ]
        last = f"y{i}"
    return (model_of(made, tensors, last, 8),)


def names_twice(nodes: int) -> Models:
    made = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"], f"relu{i // 2}") for i in range(nodes)]
    made[0].input[0] = "x"
    return (model_of(made, [], f"t{nodes}", 8),)


def integers_handed_on(nodes: int) -> Models:
    """Integers that go through one Identity after another, and are dequantized behind each."""
    count = nodes // 2
    made = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q0"], "q")]
    for i in range(count):
        made.append(helper.make_node("Identity", [f"q{i}"], [f"q{i + 1}"], f"identity{i}"))
        made.append(helper.make_node("DequantizeLinear", [f"q{i + 1}", "s", "z"], [f"d{i}"], f"d{i}"))
    made.append(helper.make_node("Sum", [f"d{i}" for i in range(count)], ["y"], "sum"))
    return (model_of(made, [initializer("s", np.float32(0.1)), initializer("z", np.uint8(128))], "y", 8),)


# Eight times the nodes take eight times as long, or 64 times where something grows as the square.
FEWER, MORE, LIMIT = 1000, 8000, 24


def growth(check: Callable[[Models], object], make: Callable[[int], Models]) -> float:
    """Return how many times longer the larger graph takes, each the best of two."""

    def seconds(nodes: int) -> float:
        models, times = make(nodes), []
        for _ in range(2):
            start = time.process_time()
            check(models)
            times.append(time.process_time() - start)
        return min(times)

    check(make(10))  # what is loaded once
    return seconds(MORE) / seconds(FEWER)


MAKERS: list[Callable[[int], Models]] = [static_layers, names_twice, integers_handed_on]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_the_checks_grow_as_the_graph_does(make: Callable[[int], Models]) -> None:
    assert growth(lambda models: check_graph(*models), make) < LIMIT


# Bytes of Python's objects for each node, of which onnx-ir's are most: 1,500 to 3,000. Eight times the nodes take eight times as many.
BYTES, MEMORY_LIMIT = 4000, 10


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_their_memory_grows_as_the_graph_does(make: Callable[[int], Models]) -> None:
    def peak(nodes: int) -> int:
        models = make(nodes)
        tracemalloc.start()
        check_graph(*models)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    check_graph(*make(10))
    fewer, more = peak(300), peak(2400)
    assert more < MEMORY_LIMIT * fewer
    assert more < BYTES * 2400


@needs_proc
def test_the_formats_own_checker_has_its_memory_before_the_graph_is_built(tmp_path: Path) -> None:
    """It takes as much as onnx-ir does: 48 MiB one after the other for this graph, 71 at once."""
    (model,) = names_twice(20_000)
    onnx.save(model, tmp_path / "chain.onnx")
    assert measure("check", tmp_path / "chain.onnx")["bytes"] < 59 * MIB
