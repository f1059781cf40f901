"""How often `onnxlite_latency(phase=...)` is red of a model against itself, and against one with more nodes.

    python benchmarks/cold_start_study.py OUT.jsonl --rounds 200
    python benchmarks/cold_start_study.py OUT.jsonl --table

Each round starts candidate and last release in turns, in fresh processes, and judges them as the check does; the models of
the studies take turns. Each fiftieth round of a model has a slower one too. Rounds add up in the file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import study_rows
from study_models import feeds_of, make_models, with_extra_work

from pytest_onnxlite.baseline.record import Artefact, Baseline
from pytest_onnxlite.checks.latency.cold import Starts
from pytest_onnxlite.checks.latency.judge import judge_latency
from pytest_onnxlite.checks.latency.limit import COLD, LatencyLimit
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.turns.comparison import LAST_RELEASE
from pytest_onnxlite.checks.turns.schedule import Plan, compare_in_turns
from pytest_onnxlite.checks.verdict import BASELINE
from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.spec.runtimes import Runtime

TWIN = "the same file"
# Every so many rounds of each model, a slower one is judged too.
SLOWER_EVERY = 50


def judge(candidate: Path, reference: Path, feeds: Path, phase: str) -> dict[str, object]:
    """Compare two files once, and return what came of it."""
    began = time.perf_counter()
    limit = LatencyLimit(phase=phase, max_slowdown=COLD)
    starts = Starts(candidate, reference, feeds, Runtime(), phase)
    found = compare_in_turns(starts, Plan(LAST_RELEASE, 1 + COLD, COLD, 1, False, limit.max_time))
    times = tuple(starts.seconds)
    latency = Latency(median(times), times, len(times), 1, 1, 1, {BASELINE: found}, phase=phase)
    baseline = Baseline("study", "onnx", Artefact("study.onnx", "0" * 64, 1, kept=True))
    (verdict,) = judge_latency(limit, latency, baseline)
    return {
        "phase": phase,
        "outcome": str(verdict.outcome),
        "ratio": median(found.first),
        "replicates": len(found.first),
        "seconds": time.perf_counter() - began,
        "load": os.getloadavg()[0],
    }


def run(asked: argparse.Namespace) -> None:
    """Judge each phase of twins and of a slower model; appends."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = [model for model in make_models(folder) if "batch" not in model.name]
        for number in range(asked.first, asked.first + asked.rounds):
            model = models[number % len(models)]
            arrays.save(folder / "x.npz", feeds_of(model))
            candidates = [(model, TWIN)]
            if number % SLOWER_EVERY == number % len(models):  # each model in its turn
                candidates.append(
                    (with_extra_work(model, folder / "slower.onnx", asked.nodes), f"{asked.nodes} nodes more")
                )
            for candidate, kind in candidates:
                for phase in ("load", "first"):
                    row = judge(candidate.path, model.path, folder / "x.npz", phase)
                    study_rows.append(asked.out, {"kind": kind, "model": model.name, **row})


def table(rows: list[dict[str, Any]]) -> None:
    """Print how often each was red."""
    print("| against | phase | compared | fail | inconclusive | ratios | seconds | load |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for kind, phase in sorted({(row["kind"], row["phase"]) for row in rows}):
        own = [row for row in rows if (row["kind"], row["phase"]) == (kind, phase)]
        fails, unsure = (sum(row["outcome"] == outcome for row in own) for outcome in ("fail", "inconclusive"))
        ratios = sorted(row["ratio"] for row in own)
        seconds, load = (median(row[name] for row in own) for name in ("seconds", "load"))
        print(
            f"| {kind} | {phase} | {len(own)} | {fails} | {unsure} | {ratios[0]:.2f} to {ratios[-1]:.2f} | {seconds:.0f} | "
            f"{load:.1f} |"
        )


if __name__ == "__main__":
    study_rows.main(__doc__, run, table, [("--nodes", {"type": int, "default": 1500})])
