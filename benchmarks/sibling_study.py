"""How much does the ratio of an INT8 model to its float model differ from one run to another?

    python benchmarks/sibling_study.py OUT.jsonl --rounds 48     a quarter of an hour on two cores
    python benchmarks/sibling_study.py OUT.jsonl --table

Where the last release's file is not kept, its ratio to the float model, as it was saved, stands in for it. Each round is a
process of its own, and takes each ratio as the guard does; rounds have no neighbour, one or two busy ones, or one that
copies memory. Any two rounds are then taken as the save and the comparison: the model is the same, and each pair beyond a
bound would be a false alarm. Rounds add up in the file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import study_rows
from study_models import feeds_of, make_models

from pytest_onnxlite.baseline.fingerprint import describe_machine
from pytest_onnxlite.checks.latency.judge import RATIO_SINCE_SAVED
from pytest_onnxlite.checks.latency.measure import Reference, measure
from pytest_onnxlite.checks.latency.measurement import SIBLING
from pytest_onnxlite.checks.latency.timer import Timer
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from onnx_models import dense, quantize

BOUNDS = (1.1, 1.25, 1.5, 2.0, RATIO_SINCE_SAVED)
_SPIN = "while True: sum(i * i for i in range(10**5))"
_COPY = "import numpy as np; a = np.ones(40_000_000); b = a.copy()\nwhile True: a[:] = b"
NEIGHBOURS = {"none": [], "one busy": [_SPIN], "two busy": [_SPIN, _SPIN], "one copies memory": [_COPY]}
# In each round, in a process of its own.
_CHILD = "import json, sys, sibling_study; print(json.dumps(sibling_study.time_pairs(sys.argv[1])))"


@dataclass(frozen=True)
class Pair:
    """An INT8 model and the float model that it was made from."""

    int8: Path
    float_model: Path
    feeds: dict[str, Array]


def make_pairs(folder: Path) -> dict[str, Pair]:
    """Build the pairs into a folder, or take what lies there."""
    models = {model.name: model for model in make_models(folder)}
    float_cnn, wide, wide_int8 = models["float CNN"].path, folder / "wide.float.onnx", folder / "wide.int8.onnx"
    if not wide_int8.exists():
        # 16 MiB, more than a processor's own cache holds; a quarter of it in INT8.
        quantize(dense(wide, 4, 1024), wide_int8)
    tiny, dynamic, static = (models[name] for name in ("tiny dense INT8", "dynamic CNN", "static QDQ CNN"))
    return {
        "tiny dense, 20 µs": Pair(tiny.path, folder / "tiny.float.onnx", feeds_of(tiny)),
        "dense, 1024 wide": Pair(wide_int8, wide, {"x": np.ones((1, 1024), np.float32)}),
        "dynamic CNN": Pair(dynamic.path, float_cnn, feeds_of(dynamic)),
        "static QDQ CNN": Pair(static.path, float_cnn, feeds_of(static)),
    }


def time_pairs(folder: str) -> dict[str, float]:
    """Return each ratio as a save would keep it."""
    found = {}
    for name, pair in make_pairs(Path(folder)).items():
        times = measure(
            Timer(),
            pair.int8,
            {SIBLING: Reference("onnx", pair.float_model, 1e6)},
            pair.feeds,
            batch_size=1,
            runtime=Runtime(),
            resolution=0.25,
            max_time=30.0,
        )
        found[name] = median(times.comparisons[SIBLING].first)
    return found


def run_round(folder: Path, neighbours: list[str]) -> dict[str, float]:
    """Take each ratio once, in a fresh process."""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for code in neighbours]
    try:
        time.sleep(1.0 if processes else 0.0)
        command = [sys.executable, "-c", _CHILD, str(folder)]
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if done.returncode:
        sys.exit(f"a round failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(asked: argparse.Namespace) -> None:
    """Take the ratios of so many rounds, whose neighbours take turns; appends."""
    names = list(NEIGHBOURS)
    with tempfile.TemporaryDirectory() as folder:
        make_pairs(Path(folder))
        for number in range(asked.first, asked.first + asked.rounds):
            name = names[number % len(names)]
            study_rows.append(asked.out, {"neighbours": name, "ratios": run_round(Path(folder), NEIGHBOURS[name])})


def table(rows: list[dict[str, Any]]) -> None:
    """Print, for any two rounds, how often the second is beyond a bound of the first."""
    print(f"{describe_machine()}\n")
    print(f"| model | rounds | INT8 to float | {' | '.join(f'pairs beyond {bound:g}' for bound in BOUNDS)} |")
    print("|---" * (3 + len(BOUNDS)) + "|")
    for name in rows[0]["ratios"]:
        ratios = [row["ratios"][name] for row in rows]
        pairs = [later / saved for saved, later in itertools.permutations(ratios, 2)]
        beyond = " | ".join(f"{sum(pair > bound for pair in pairs)}/{len(pairs)}" for bound in BOUNDS)
        print(f"| {name} | {len(ratios)} | {min(ratios):.2f}x to {max(ratios):.2f}x | {beyond} |")


if __name__ == "__main__":
    study_rows.main(__doc__, run, table)
