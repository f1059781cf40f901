"""Are the figures that we report true? Times against a bare loop, memory against known differences.

python benchmarks/truth_study.py      about four minutes on two cores; prints two tables
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytest_onnxlite.baseline.record import Artefact, Baseline
from pytest_onnxlite.checks.memory import measure as memory
from pytest_onnxlite.checks.memory.judge import judge_memory
from pytest_onnxlite.checks.memory.limit import MemoryLimit

HERE = Path(__file__).parent
MIB = 1 << 20
NOTHING_SAVED = Baseline("study", "onnx", Artefact("", "", 0, True))
# A run's activations, for the peak while running: side² values in each of three maps.
BASE_MAPS = 400


def times(folder: Path) -> str:
    """Return the table of reported and bare times."""
    command = [sys.executable, "-m", "pytest", str(HERE / "truth_checks.py"), "-q", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(folder), "-c", os.devnull]
    (folder / "truth.jsonl").unlink(missing_ok=True)
    subprocess.run(command, env={**os.environ, "ONNXLITE_STUDY": str(folder)}, check=True, capture_output=True)
    lines = ["| model | reported | bare loop | difference |", "|---|---|---|---|"]
    for line in (folder / "truth.jsonl").read_text().splitlines():
        row = json.loads(line)
        difference = row["reported"] / row["bare"] - 1
        lines.append(
            f"| {row['model']} | {row['reported'] * 1e6:,.1f} µs | {row['bare'] * 1e6:,.1f} µs | {difference:+.1%} |"
        )
    return "\n".join(lines)


def memory_model(path: Path, table_bytes: int, maps: int = BASE_MAPS, side: int = 64) -> Path:
    """Save a model with a weight table of a size, and activations of `maps` times `side`² floats."""
    rng = np.random.default_rng(0)
    weights = {
        "table": rng.normal(size=(table_bytes // 4096, 1024)).astype(np.float32),
        "w": rng.normal(size=(maps, 1, 1, 1)).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"]),
            helper.make_node("Sigmoid", ["a"], ["b"]),
            helper.make_node("Mul", ["a", "b"], ["c"]),
            helper.make_node("GlobalAveragePool", ["c"], ["d"]),
            helper.make_node("Flatten", ["d"], ["e"]),
            helper.make_node("Gather", ["table", "at"], ["f"]),
            helper.make_node("ReduceSum", ["f"], ["g"], keepdims=0),
            helper.make_node("Add", ["e", "g"], ["y"]),
        ],
        "memory",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, side, side]),
            helper.make_tensor_value_info("at", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", maps])],
        [numpy_helper.from_array(w, n) for n, w in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def peaks(folder: Path, checks: int) -> str:
    """Return the table of memory figures against what is known of the models."""
    feeds = {"x": np.ones((1, 1, 64, 64), np.float32), "at": np.zeros(1, np.int64)}
    base = memory_model(folder / "base.onnx", 32 * MIB)
    more_weights = memory_model(folder / "weights.onnx", 40 * MIB)
    lines = ["| what | expected | found |", "|---|---|---|"]

    found = memory.measure(more_weights, base, feeds, 1, 1)
    assert found.reference is not None
    extra = (found.candidate.run - found.reference.run) / MIB
    lines.append(
        f"| 8 MiB more of weights, peak while running | 8 MiB ± 3 % | {extra:.2f} MiB ({extra / 8 - 1:+.1%}) |"
    )

    repeats = [memory.measure(base, None, feeds, 1, 1).candidate for _ in range(10)]
    for phase in ("load", "run"):
        values = [getattr(peak, phase) for peak in repeats]
        spread = (max(values) - min(values)) / min(values)
        lines.append(f"| ten measurements, peak of the {phase} phase | within 0.5 % | within {spread:.2%} |")

    grown = memory_model(
        folder / "grown.onnx", 32 * MIB, maps=BASE_MAPS + round(0.05 * repeats[0].run / (4 * 4 * 64 * 64))
    )
    limit = MemoryLimit(max_growth=0.03)
    outcomes = []
    for _ in range(10):
        measured = memory.measure(grown, base, feeds, 1, 1)
        assert measured.reference is not None
        outcomes.append(judge_memory(limit, measured, NOTHING_SAVED)[0].outcome.value)
    true_growth = measured.candidate.run / measured.reference.run - 1
    lines.append(
        f"| about 5 % more peak ({true_growth:.1%}) at max_growth=0.03 | red | red in {outcomes.count('fail')} of 10 |"
    )

    alarms = sum(
        judge_memory(limit, memory.measure(base, base, feeds, 1, 1), NOTHING_SAVED)[0].outcome.value != "pass"
        for _ in range(checks)
    )
    lines.append(f"| the same file at max_growth=0.03 | never red | red in {alarms} of {checks} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=100, help="memory checks of one file (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(times(Path(folder)), "\n")
        print(peaks(Path(folder), options.checks))


if __name__ == "__main__":
    main()
