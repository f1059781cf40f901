"""Time and memory of all checks on large models, each measured in a process of its own.

`python benchmarks/graph_time.py` prints them beside what else reads a model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graph_models import FLOAT, initializer, value
from onnx import TensorProto, helper

MIB = 1 << 20
# Where the kernel does not say how much memory a process had at most, there is nothing to compare.
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc/self/status")
CHILD = """
import json, sys, time
import onnx, onnx_ir, numpy
from pytest_onnxlite.lint import check_graph

def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

def load(path):
    onnx.load(path)

def look(path):
    for tensor in onnx.load(path).graph.initializer:
        numpy.abs(onnx.numpy_helper.to_array(tensor).astype("float32")).max()

def full_check(path):
    onnx.checker.check_model(path, full_check=True)

def session(path):
    import onnxruntime
    onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

what, *paths = sys.argv[1:]
before, start = peak(), time.process_time()
codes = [f.code for f in check_graph(*paths)] if what == "check" else [globals()[what](path) for path in paths]
print(json.dumps({"seconds": time.process_time() - start, "bytes": peak() - before, "codes": codes}))
"""


def measure(what: str, *paths: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", CHILD, what, *map(str, paths)]
    # onnxruntime_extensions, imported by whoever ran before in this process, asks for a slower protobuf of twice the memory.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROTOCOL_BUFFERS_")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def integer_model(layers: int, size: int, weight) -> onnx.ModelProto:
    """Return a chain of dynamically quantized products with uint8 weights of `size` × `size`."""
    nodes, tensors, last = [], [initializer("zero", np.array(128, np.uint8))], "x"
    for i in range(layers):
        tensors += [weight(f"w{i}_quantized"), initializer(f"w{i}_scale", np.float32(0.01))]
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [last], [f"q{i}", f"s{i}", f"z{i}"], f"dql{i}"),
            helper.make_node("MatMulInteger", [f"q{i}", f"w{i}_quantized", f"z{i}", "zero"], [f"i{i}"], f"mm{i}_quant"),
            helper.make_node("Cast", [f"i{i}"], [f"f{i}"], f"cast{i}", to=FLOAT),
            helper.make_node("Mul", [f"s{i}", f"w{i}_scale"], [f"m{i}"], f"scales{i}"),
            helper.make_node("Mul", [f"f{i}", f"m{i}"], [f"y{i}"], f"mul{i}"),
        ]
        last = f"y{i}"
    return model_of(nodes, tensors, last, size)


def float_model(layers: int, size: int, weight) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x" if i == 0 else f"y{i - 1}", f"w{i}"], [f"y{i}"], f"mm{i}")
        for i in range(layers)
    ]
    return model_of(nodes, [weight(f"w{i}") for i in range(layers)], f"y{layers - 1}", size)


def model_of(nodes, tensors, last: str, size: int) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "large", [value("x", ["N", size])], [value(last, ["N", size])], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def random_pair(folder: Path, layers: int, size: int) -> tuple[Path, Path]:
    """Save an integer model and the float one that it stands for."""
    q = np.random.default_rng(0).integers(0, 256, (size, size), np.uint8)
    w = (q.astype(np.float32) - 128) * np.float32(0.01)
    paths = folder / "int8.onnx", folder / "float.onnx"
    onnx.save(integer_model(layers, size, lambda name: initializer(name, q)), paths[0])
    onnx.save(float_model(layers, size, lambda name: initializer(name, w)), paths[1])
    return paths


@needs_proc
def test_100_mb_are_checked_in_the_time_of_a_few_looks_and_twice_their_memory(tmp_path):
    q, _ = random_pair(tmp_path, layers=25, size=2048)
    size = q.stat().st_size
    assert size > 100 * MIB
    found = measure("check", q)
    assert found["codes"] == []
    assert found["seconds"] < 4 * measure("look", q)["seconds"]
    # Reading takes the bytes and the message made of them for a moment; a tensor is looked at beside.
    assert found["bytes"] < 2 * size + 24 * MIB


@needs_proc
def test_100_mb_of_float_beside_their_int8_form_are_checked_in_the_time_of_a_few_looks(tmp_path):
    q, f = random_pair(tmp_path, layers=7, size=2048)
    assert f.stat().st_size > 100 * MIB
    found = measure("check", q, f)
    assert found["codes"] == []
    assert found["seconds"] < 4 * measure("look", q, f)["seconds"]
    assert found["bytes"] < 2 * (q.stat().st_size + f.stat().st_size)


def external(folder: Path, layers: int, size: int) -> Path:
    """Save a model whose weights are a file of zeros with holes in it, which takes no room on most disks."""

    def weight(name: str) -> onnx.TensorProto:
        tensor = TensorProto(name=name, data_type=TensorProto.UINT8, dims=[size, size])
        tensor.data_location = TensorProto.EXTERNAL
        at = int(name[1:].partition("_")[0]) * size * size
        for key, text in (("location", "weights.bin"), ("offset", str(at)), ("length", str(size * size))):
            tensor.external_data.add(key=key, value=text)
        return tensor

    with (folder / "weights.bin").open("wb") as file:
        file.truncate(layers * size * size)
    path = folder / "model.onnx"
    path.write_bytes(integer_model(layers, size, weight).SerializeToString())
    return path


@needs_proc
def test_2_gb_of_external_data_are_checked_without_loading_all_of_it(tmp_path):
    path = external(tmp_path, layers=32, size=8192)
    assert (tmp_path / "weights.bin").stat().st_size == 2048 * MIB
    found = measure("check", path)
    assert found["codes"] == []
    assert found["bytes"] < 200 * MIB  # a tensor has 64 MiB


@needs_proc
def test_the_measurement_would_see_a_model_loaded_whole(tmp_path):
    path = external(tmp_path, layers=4, size=8192)
    assert measure("load", path)["bytes"] > 256 * MIB
    assert measure("check", path)["bytes"] < 200 * MIB
