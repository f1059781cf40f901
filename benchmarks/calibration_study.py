"""What static calibration of a 50-layer CNN needs: peak memory of the whole process, for each method, beside ONNX Runtime's own.

python benchmarks/calibration_study.py                     1,000 images of 224 x 224; minmax takes minutes, the others an hour each
python benchmarks/calibration_study.py --images 100 --methods minmax entropy

ONNX Runtime's `quantize_static`, as its users call it, is stopped where it exceeds `--most`. Needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

METHODS = ("minmax", "entropy", "percentile", "distribution")
SIDE = 224
BLOCKS = (
    (3, 64, 256),
    (4, 128, 512),
    (6, 256, 1024),
    (3, 512, 2048),
)  # of ResNet-50: repeats, inner and outer channels


def resnet(path: Path) -> None:
    """Save a net of ResNet-50's shape with random weights, batch normalization folded in: 53 convolutions, 25.5 M weights."""
    rng = np.random.default_rng(0)
    nodes: list[Any] = []
    weights: list[Any] = []

    def conv(source: str, inputs: int, outputs: int, size: int, stride: int = 1, relu: bool = True) -> str:
        name = f"conv{len(weights)}"
        scale = (2 / (inputs * size * size)) ** 0.5
        values = rng.normal(0, scale, (outputs, inputs, size, size)).astype(np.float32)
        weights.extend(
            [
                numpy_helper.from_array(values, f"{name}_w"),
                numpy_helper.from_array(np.zeros(outputs, np.float32), f"{name}_b"),
            ]
        )
        pads = [size // 2] * 4
        nodes.append(
            helper.make_node("Conv", [source, f"{name}_w", f"{name}_b"], [name], name, strides=[stride] * 2, pads=pads)
        )
        if not relu:
            return name
        nodes.append(helper.make_node("Relu", [name], [f"{name}_relu"], f"{name}_relu"))
        return f"{name}_relu"

    last = conv("x", 3, 64, 7, 2)
    nodes.append(
        helper.make_node("MaxPool", [last], ["pool"], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    )
    last, channels = "pool", 64
    for stage, (repeats, inner, outer) in enumerate(BLOCKS):
        for block in range(repeats):
            stride = 2 if block == 0 and stage > 0 else 1
            branch = conv(conv(conv(last, channels, inner, 1), inner, inner, 3, stride), inner, outer, 1, relu=False)
            beside = conv(last, channels, outer, 1, stride, relu=False) if block == 0 else last
            name = f"block{stage}_{block}"
            nodes.append(helper.make_node("Add", [branch, beside], [f"{name}_sum"], f"{name}_sum"))
            nodes.append(helper.make_node("Relu", [f"{name}_sum"], [name], name))
            last, channels = name, outer
    weights.append(numpy_helper.from_array(rng.normal(0, 0.02, (2048, 1000)).astype(np.float32), "fc_w"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        helper.make_node("MatMul", ["flat", "fc_w"], ["y"], "fc"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1000])]
    graph = helper.make_graph(nodes, "resnet", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def images(count: int) -> Any:
    """Return noise in the shape of images, whole in memory as most users have them, `(count, 3, 224, 224) float32`."""
    rng = np.random.default_rng(0)
    found = np.empty((count, 3, SIDE, SIDE), np.float32)
    for image in found:
        rng.standard_normal(out=image, dtype=np.float32)
    return found


def ours(model: Path, method: Any, count: int, folder: Path, note: Callable[[int], None]) -> None:
    from pytest_onnxlite import Dataset, ModelSpec, StaticInt8
    from pytest_onnxlite.variants import quantization
    from pytest_onnxlite.variants.builder import Builder
    from pytest_onnxlite.variants.cache import Cache

    class Noted(quantization._Reader):
        def get_next(self) -> Any:
            note(self._range.start)
            return super().get_next()

    quantization._Reader = Noted  # type: ignore[misc]
    x = images(count)
    spec = ModelSpec("resnet", onnx=model, evaluation=Dataset(x[:4]), calibration=x, recipe=StaticInt8(method=method))
    assert Builder(spec, Cache(folder), lambda _: None).int8.path.exists()


def runtimes(model: Path, method: str, count: int, folder: Path, note: Callable[[int], None]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.data, self.at = images(count), 0

        def get_next(self) -> Any:
            note(self.at)
            self.at += 1
            return {"x": self.data[self.at - 1 : self.at]} if self.at <= count else None

    prepared = folder / "prepared.onnx"
    quant_pre_process(model, prepared)
    chosen = {m.name.lower(): m for m in CalibrationMethod}[method]
    quantize_static(
        prepared,
        folder / "int8.onnx",
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        calibrate_method=chosen,
    )


def peak(pid: int | str) -> int:
    """Return the most memory that a process had, in bytes; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def measure(who: str, model: Path, method: str, count: int, most: int, seconds: float) -> str:
    """Run one in a process of its own, and return a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--child", json.dumps([who, str(model), method, count, folder])]
        start, highest, end = time.perf_counter(), 0, "done"
        with subprocess.Popen(command) as child:
            while child.poll() is None:
                highest = max(highest, peak(child.pid))
                if highest > most or time.perf_counter() - start > seconds:
                    end = "stopped: " + ("memory" if highest > most else "time")
                    child.kill()
                    break
                time.sleep(0.02)
        if child.returncode and end == "done":
            end = "failed"
        seen = Path(folder, "seen")
        done = int(seen.read_text()) if seen.exists() else 0
    took = time.perf_counter() - start
    return f"| {who} | {method} | {done} of {count} | {highest / 1e9:.2f} GB | {took:.0f} s | {end} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--who", nargs="+", choices=["ours", "runtime"], default=["ours", "runtime"])
    parser.add_argument("--most", type=float, default=4.0, help="GB at which a run is stopped")
    parser.add_argument("--seconds", type=float, default=7200, help="at which a run is stopped")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        who, model, method, count, folder = json.loads(options.child)
        seen = Path(folder, "seen")
        run = ours if who == "ours" else runtimes

        def note(number: int) -> None:
            seen.write_text(str(number))

        run(Path(model), method, count, Path(folder), note)
        return
    print("| who | method | images | peak | time | end |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "resnet.onnx"
        resnet(model)
        for method in options.methods:
            for who in options.who:
                print(measure(who, model, method, options.images, int(options.most * 1e9), options.seconds), flush=True)


if __name__ == "__main__":
    main()
