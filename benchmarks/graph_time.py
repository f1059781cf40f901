"""What all checks of a graph take on 100 MB of weights, beside what else reads a model. Prints a table.

python benchmarks/graph_time.py       a few seconds; needs Linux's /proc
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / part) for part in ("graph", ".")]

from test_graph_large import MIB, measure, random_pair  # noqa: E402

WHAT = {
    "check": "check_graph, all checks",
    "full_check": "onnx.checker, full_check=True",
    "session": "ONNX Runtime, a session",
    "look": "onnx.load, and the largest of each weight",
}


def main() -> None:
    print("| model | read by | processor time | memory beyond the interpreter's |\n|---|---|---|---|")
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
