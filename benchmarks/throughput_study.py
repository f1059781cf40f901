"""How often `onnxlite_throughput` is red of a model against itself, of slower ones, and of one whose callers wait for each other.

    python benchmarks/throughput_study.py OUT.jsonl --rounds 200
    python benchmarks/throughput_study.py OUT.jsonl --table

Each round times callers of a model and of itself in turns, and judges them as the check does; every 16th round the other models
as well. The slower ones have a known share of layers more. `locked` draws its random numbers in one node, which one caller may use at a time, and is compared
with a model that draws as many in 16 nodes: one caller by itself takes the same time. Rounds add up in the file. Run it while
nothing else runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import study_rows
from onnx import TensorProto, helper

from pytest_onnxlite.baseline.record import Artefact, Baseline
from pytest_onnxlite.checks.throughput.judge import judge_throughput
from pytest_onnxlite.checks.throughput.limit import ThroughputLimit
from pytest_onnxlite.checks.throughput.measure import measure
from pytest_onnxlite.spec.runtimes import Runtime

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from onnx_models import dense, save_graph

LAYERS, BATCH, NUMBERS = 20, 8, 400_000


def noise(path: Path, nodes: int) -> Path:
    """A model that draws 400,000 numbers in so many nodes, and adds their mean to its input."""
    parts = [
        helper.make_node("RandomUniform", [], [f"n{i}"], shape=[NUMBERS // nodes], seed=float(i)) for i in range(nodes)
    ]
    parts += [helper.make_node("ReduceMean", [f"n{i}"], [f"m{i}"], keepdims=1) for i in range(nodes)]
    parts.append(helper.make_node("Sum", ["x", *(f"m{i}" for i in range(nodes))], ["y"]))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 256]) for name in ("x", "y"))
    return save_graph(path, parts, [x], [y], {})


def judge(candidate: Path, reference: Path, clients: int, max_time: float) -> dict[str, Any]:
    """Compare two files once, and return what came of it."""
    began = time.perf_counter()
    limit = ThroughputLimit(clients=max(clients, 2), max_time=max_time)
    feeds = {"x": np.random.default_rng(0).normal(size=(BATCH, 256)).astype(np.float32)}
    found = measure(candidate, reference, feeds, limit=limit, clients=clients, batch_size=BATCH, runtime=Runtime())
    baseline = Baseline("study", "onnx", Artefact("study.onnx", "0" * 64, 1, kept=True))
    (verdict,) = judge_throughput(limit, found, baseline)
    assert found.comparison is not None
    return {
        "clients": clients,
        "outcome": str(verdict.outcome),
        "ratio": median(found.comparison.first),
        "replicates": len(found.comparison.first),
        "seconds": time.perf_counter() - began,
        "load": os.getloadavg()[0],
    }


def cases(folder: Path) -> Iterator[tuple[str, Path, Path, int]]:
    """Yield what is compared: its name, candidate, reference, and the callers."""
    base, many = dense(folder / "base.onnx", LAYERS), noise(folder / "many.onnx", 16)
    yield "dense, itself", base, base, 2
    yield "random, itself", many, many, 2
    for layers in (23, 25):
        yield f"dense, {layers / LAYERS - 1:.0%} more", dense(folder / f"{layers}.onnx", layers), base, 2
    locked = noise(folder / "locked.onnx", 1)
    yield "locked", locked, many, 2
    yield "locked, one caller", locked, many, 1


def run(asked: argparse.Namespace) -> None:
    """Judge each case so often; appends."""
    with tempfile.TemporaryDirectory() as name:
        all_cases = list(cases(Path(name)))
        for number in range(asked.first, asked.first + asked.rounds):
            twins = [case for case in all_cases if "itself" in case[0]]
            others = [case for case in all_cases if "itself" not in case[0]]
            for kind, candidate, reference, clients in [
                twins[number % len(twins)],
                *(others if number % 16 == 0 else []),
            ]:
                row = judge(candidate, reference, clients, asked.max_time)
                study_rows.append(asked.out, {"kind": kind, **row})


def table(rows: list[dict[str, Any]]) -> None:
    """Print how often each was red."""
    print("| candidate | callers | compared | fail | inconclusive | ratios, middle 90 % | seconds | load |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        fails, unsure = (sum(row["outcome"] == outcome for row in own) for outcome in ("fail", "inconclusive"))
        ratios = sorted(row["ratio"] for row in own)
        low, high = ratios[len(ratios) // 20], ratios[-1 - len(ratios) // 20]
        seconds, load = (median(row[name] for row in own) for name in ("seconds", "load"))
        print(
            f"| {kind} | {own[0]['clients']} | {len(own)} | {fails} | {unsure} | {low:.2f} to {high:.2f} | {seconds:.0f} | "
            f"{load:.1f} |"
        )


if __name__ == "__main__":
    study_rows.main(__doc__, run, table, [("--max-time", {"type": float, "default": 120.0})])
