"""What all checks of a graph take on 100 MB of weights, beside what else reads a model. Prints a table.

python benchmarks/graph_time.py            a few seconds; needs Linux's /proc
python benchmarks/graph_time.py --nodes    on many small nodes instead: two minutes, and 3 GiB of memory
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / part) for part in ("graph", ".")]

import onnx  # noqa: E402
from onnx import helper  # noqa: E402
from test_graph_large import MIB, measure, model_of, random_pair  # noqa: E402

WHAT = {
    "check": "check_graph, all checks",
    "full_check": "onnx.checker, full_check=True",
    "session": "ONNX Runtime, a session",
    "look": "onnx.load, and the largest of each weight",
}


def chain(folder: Path, nodes: int) -> Path:
    """Save a chain of nodes without weights."""
    made = [helper.make_node("Relu", [f"t{i}" if i else "x"], [f"t{i + 1}"], f"relu{i}") for i in range(nodes)]
    onnx.save(model_of(made, [], f"t{nodes}", 8), folder / "chain.onnx")
    return folder / "chain.onnx"


def many_nodes() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for nodes in (100_000, 1_000_000):
            path = chain(Path(folder), nodes)
            for what in ("check", "full_check"):
                found = measure(what, path)
                print(
                    f"| {nodes:,} nodes, {path.stat().st_size / MIB:.0f} MiB | {WHAT[what]} | {found['seconds']:.1f} s | "
                    f"{found['bytes'] / MIB:.0f} MiB |",
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
            for what, words in WHAT.items():
                found = measure(what, *paths)
                print(
                    f"| {name}, {size:.0f} MiB | {words} | {found['seconds']:.2f} s | {found['bytes'] / MIB:.0f} MiB |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
