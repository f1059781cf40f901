"""What all checks of a graph take on 100 MB of weights, beside what else reads a model. Prints a table.

python benchmarks/graph_time.py            a few seconds; needs Linux's /proc
python benchmarks/graph_time.py --nodes    on many small nodes and tensors instead: four minutes, and 2 GiB of memory
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / part) for part in ("graph", ".")]

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from graph_models import initializer  # noqa: E402
from onnx import helper  # noqa: E402
from test_graph_growth import static_layers  # noqa: E402
from test_graph_large import MIB, measure, model_of, random_pair  # noqa: E402

WHAT = {
    "check": "check_graph, all checks",
    "full_check": "onnx.checker, full_check=True",
    "session": "ONNX Runtime, a session",
    "load": "onnx.load",
    "look": "onnx.load, and the largest of each weight",
}


def chain(folder: Path, nodes: int) -> Path:
    """Save a chain of nodes without weights."""
    made = [helper.make_node("Relu", [f"t{i}" if i else "x"], [f"t{i + 1}"], f"relu{i}") for i in range(nodes)]
    onnx.save(model_of(made, [], f"t{nodes}", 8), folder / "chain.onnx")
    return folder / "chain.onnx"


def vectors(folder: Path, nodes: int, size: int) -> Path:
    """Save a chain of sums, each with a float32 vector of its own."""
    made = [helper.make_node("Add", [f"t{i}" if i else "x", f"b{i}"], [f"t{i + 1}"], f"add{i}") for i in range(nodes)]
    tensors = [initializer(f"b{i}", np.full(size, 0.5, np.float32)) for i in range(nodes)]
    onnx.save(model_of(made, tensors, f"t{nodes}", size), folder / "vectors.onnx")
    return folder / "vectors.onnx"


def layers(folder: Path, nodes: int) -> Path:
    """Save small layers in QDQ form."""
    (model,) = static_layers(nodes)
    onnx.save(model, folder / "layers.onnx")
    return folder / "layers.onnx"


SHAPES: dict[str, Callable[[Path], Path]] = {
    "a chain of 100,000 nodes": lambda folder: chain(folder, 100_000),
    "a chain of 1,000,000 nodes": lambda folder: chain(folder, 1_000_000),
    "100,000 nodes of QDQ layers, 40,000 initializers": lambda folder: layers(folder, 100_000),
    "50,000 sums, 50,000 initializers of 8 floats": lambda folder: vectors(folder, 50_000, 8),
    "20,000 sums, 20,000 initializers of 1,000 floats": lambda folder: vectors(folder, 20_000, 1000),
}


def many_nodes() -> None:
    for name, make in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder))
            size = path.stat().st_size
            for what in ("load", "full_check", "check"):
                found = measure(what, path)
                print(
                    f"| {name}, {size / MIB:.1f} MiB | {WHAT[what]} | {found['seconds']:.1f} s | "
                    f"{found['bytes'] / MIB:.0f} MiB, {found['bytes'] / size:.1f} times the file |",
                    flush=True,
                )


def main() -> None:
    print("| model | read by | processor time | memory beyond the interpreter's |\n|---|---|---|---|")
    if "--nodes" in sys.argv:
        many_nodes()
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, layers in (("INT8", 25), ("INT8 beside its float model", 7)):
            quantized, original = random_pair(Path(folder), layers, 2048)
            paths = [quantized] if layers == 25 else [quantized, original]
            size = sum(path.stat().st_size for path in paths) / MIB
            for what in ("check", "full_check", "session", "look"):
                found = measure(what, *paths)
                print(
                    f"| {name}, {size:.0f} MiB | {WHAT[what]} | {found['seconds']:.2f} s | {found['bytes'] / MIB:.0f} MiB |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
