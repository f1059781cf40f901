"""A dense model of more than 2 GB with external data, quantized here: peak memory, time, and what came of it.

python benchmarks/large_model.py      two minutes and six times the model's size of memory; needs Linux's /proc
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache


def chain(path: Path, layers: int, width: int) -> None:
    """Save a chain of dense layers, each with weights of its own in one file next to the model."""
    rng = np.random.default_rng(0)
    nodes, weights, size = [], [], 4 * width * width
    with path.with_suffix(".data").open("wb") as file:
        for layer in range(layers):
            file.write((rng.standard_normal((width, width), dtype=np.float32) / np.float32(width**0.5)).tobytes())
            tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, dims=[width, width])
            tensor.data_location = TensorProto.EXTERNAL
            entries = {"location": path.with_suffix(".data").name, "offset": layer * size, "length": size}
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=str(value))
            weights.append(tensor)
            source, target = "x" if layer == 0 else f"h{layer}", "y" if layer == layers - 1 else f"h{layer + 1}"
            nodes.append(helper.make_node("MatMul", [source, f"w{layer}"], [target], f"fc{layer}"))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])]
    graph = helper.make_graph(nodes, "chain", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def peak() -> float:
    """Return the most memory that this process had, in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=33)
    parser.add_argument("--width", type=int, default=4096)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        chain(source, options.layers, options.width)
        x = np.random.default_rng(1).normal(size=(4, options.width)).astype(np.float32)
        spec = ModelSpec("large", onnx=source, evaluation=Dataset(x), recipe=DynamicInt8())
        builder = Builder(spec, Cache(Path(folder) / "cache"), lambda text: print(f"... {text}", flush=True))
        print("| step | time | bytes | peak of the process so far |\n|---|---|---|---|")
        for kind in ("onnx", "int8"):
            start = time.perf_counter()
            variant = builder.variant(kind)
            took = time.perf_counter() - start
            print(f"| {kind} | {took:.0f} s | {variant.size:,} | {peak():.2f} GB |", flush=True)
        expected, found = (np.asarray(variant.predict(x)) for variant in (builder.onnx, builder.int8))
        builder.release()
        signal = np.linalg.norm(expected) / np.linalg.norm(expected - found)
        operators = {node.op_type for node in onnx.load(builder.int8.path, load_external_data=False).graph.node}
        print(f"\nsignal to noise {20 * np.log10(signal):.0f} dB; operators: {', '.join(sorted(operators))}")


if __name__ == "__main__":
    main()
