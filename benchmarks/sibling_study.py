"""How much does the ratio of an INT8 model to its float model differ from one day to another? Prints a table.

python benchmarks/sibling_study.py                                    measure, a quarter of an hour on two cores
python benchmarks/sibling_study.py --rounds 20 --out rounds.jsonl     appends, so that days add up
python benchmarks/sibling_study.py --rounds 0 --out rounds.jsonl      print the table alone

Where the last release's file is not kept, its ratio to the float model, as it was saved, stands in for it. Each round is a
process of its own, and takes each ratio as the guard does; rounds have no neighbour, one or two busy ones, or one that
copies memory. Any two rounds are then taken as the save and the comparison: the model is the same, and each pair beyond a
bound would be a false alarm.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from study_models import Model, feeds_of, make_models

from pytest_onnxlite.baseline.fingerprint import describe_machine
from pytest_onnxlite.checks.latency.judge import RATIO_SINCE_SAVED
from pytest_onnxlite.checks.latency.measure import Reference, measure
from pytest_onnxlite.checks.latency.timer import Timer
from pytest_onnxlite.spec import Runtime

BOUNDS = (1.1, 1.25, 1.5, 2.0, RATIO_SINCE_SAVED)
_SPIN = "while True: sum(i * i for i in range(10**5))"
_COPY = "import numpy as np; a = np.ones(40_000_000); b = a.copy()\nwhile True: a[:] = b"
NEIGHBOURS = {"none": [], "one busy": [_SPIN], "two busy": [_SPIN, _SPIN], "one copies memory": [_COPY]}


def make_pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Build INT8 models and the float models that they were made from."""
    from onnxruntime.quantization import quantize_dynamic

    built = {model.name: model.path for model in make_models(folder)}
    dense = folder / "dense.int8.onnx"
    if not dense.exists():
        quantize_dynamic(_wide(folder / "dense.float.onnx"), dense)
    return {
        "tiny dense, 20 µs": (built["tiny dense INT8"], folder / "tiny.float.onnx"),
        "dense, 1024 wide": (dense, folder / "dense.float.onnx"),
        "dynamic CNN": (built["dynamic CNN"], built["float CNN"]),
        "static QDQ CNN": (built["static QDQ CNN"], built["float CNN"]),
    }


def _wide(path: Path) -> Path:
    """Write a dense net of 16 MiB, more than a processor's own cache holds; a quarter of it in INT8."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng, nodes, weights = np.random.default_rng(0), [], []
    for i in range(4):
        weights.append(numpy_helper.from_array(rng.normal(0, 0.04, (1024, 1024)).astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("MatMul", [f"r{i}" if i else "x", f"w{i}"], [f"m{i}"], name=f"m{i}"))
        nodes.append(helper.make_node("Relu", [f"m{i}"], [f"r{i + 1}" if i < 3 else "y"], name=f"r{i}"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1024]) for name in "xy"]
    graph = helper.make_graph(nodes, "wide", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def time_pairs(pairs: dict[str, tuple[str, str]]) -> dict[str, float]:
    """Return each ratio as a save would keep it."""
    found = {}
    for name, (int8, float_model) in pairs.items():
        feeds = feeds_of(Model(name, Path(int8), 1)) if "1024" not in name else {"x": np.ones((1, 1024), np.float32)}
        times = measure(
            Timer(),
            Path(int8),
            {"sibling": Reference("onnx", Path(float_model), 1e6)},
            feeds,
            batch_size=1,
            runtime=Runtime(),
            resolution=0.25,
            max_time=30.0,
        )
        found[name] = median(times.comparisons["sibling"].first)
    return found


def run_round(pairs: Path, neighbours: list[str]) -> dict[str, float]:
    """Take each ratio once, in a fresh process."""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for code in neighbours]
    try:
        time.sleep(1.0 if processes else 0.0)
        command = [sys.executable, __file__, "--child", str(pairs)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if done.returncode:
        sys.exit(f"a round failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print, for any two rounds, how often the second is beyond a bound of the first."""
    series = defaultdict(list)
    for row in rows:
        for name, ratio in row["ratios"].items():
            series[name].append(ratio)
    print(f"\n| model | rounds | INT8 to float | {' | '.join(f'pairs beyond {bound:g}' for bound in BOUNDS)} |")
    print("|---" * (3 + len(BOUNDS)) + "|")
    for name, ratios in series.items():
        pairs = [later / saved for saved, later in itertools.permutations(ratios, 2)]
        beyond = " | ".join(f"{sum(pair > bound for pair in pairs)}/{len(pairs)}" for bound in BOUNDS)
        print(f"| {name} | {len(ratios)} | {min(ratios):.2f}x to {max(ratios):.2f}x | {beyond} |")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(time_pairs(json.loads(arguments.child.read_text()))))
        return
    rows = []
    if arguments.out and arguments.out.exists():
        rows = [json.loads(line) for line in arguments.out.read_text().splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pairs.json"
        if arguments.rounds:
            pairs = make_pairs(Path(folder))
            config.write_text(json.dumps({name: [str(path) for path in paths] for name, paths in pairs.items()}))
        names = itertools.cycle(NEIGHBOURS)
        for number, name in zip(range(arguments.rounds), names, strict=False):
            rows.append({"neighbours": name, "ratios": run_round(config, NEIGHBOURS[name])})
            print(f"round {number + 1} of {arguments.rounds}, neighbours: {name}", flush=True)
            if arguments.out:
                with arguments.out.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(describe_machine())
    print_table(rows)


if __name__ == "__main__":
    main()
