"""How often `onnxlite_latency(percentile=...)` is red of a model against itself, and against one that stalls now and then.

    python benchmarks/tail_study.py OUT.jsonl --rounds 200
    python benchmarks/tail_study.py OUT.jsonl --rounds 200 --budgets --room 4
    python benchmarks/tail_study.py OUT.jsonl --table

Each round judges a model against its own file as the check does, by its ratio and by a budget (`max=`) of its own percentile and a
half more (`--room`), and its median by one of its own median and a half more; `--budgets` leaves the ratio out. The models of the studies take turns. Every tenth round has a twin of it too, whose every fiftieth run, at random, takes
several times as long. Rounds add up in the file. Each row has what pytest-benchmark would have compared: the medians.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import study_rows
from study_models import Model, feeds_of, make_models, with_stalls

from pytest_onnxlite.baseline.record import Artefact, Baseline
from pytest_onnxlite.checks.latency.budget import against_budget
from pytest_onnxlite.checks.latency.judge import judge_latency
from pytest_onnxlite.checks.latency.judge_budget import judge_budget, judge_tail_budget
from pytest_onnxlite.checks.latency.limit import TAIL, LatencyLimit
from pytest_onnxlite.checks.latency.measure import Reference
from pytest_onnxlite.checks.latency.measure import measure as measure_median
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.latency.tail import Asked, measure
from pytest_onnxlite.checks.latency.timer import Timer
from pytest_onnxlite.checks.turns.comparison import LAST_RELEASE
from pytest_onnxlite.checks.turns.schedule import STEP
from pytest_onnxlite.checks.verdict import BASELINE, Outcome
from pytest_onnxlite.runtime.sessions import open_runner
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime

# Every so many rounds a model that stalls is judged too.
STALLED_EVERY = 10
SHARE = 1 / 50
# How many times as long such a run takes.
STALLS = (3, 10)
# And the other twin, each of whose runs does.
SLOWER = 2
# Of the percentile that is measured when the study begins, if nothing else is asked for.
ROOM = 1.5
Feeds = list[dict[str, Array]]


@dataclass(frozen=True)
class Budget:
    """Seconds that are allowed, of the percentile and of the median."""

    tail: float
    median: float


def digits(model: Model) -> Feeds:
    """Return as many batches as there are, of real digits."""
    many = feeds_of(Model(model.name, model.path, 200 * model.batch_size))
    ((name, array),) = many.items()
    return [{name: array[start : start + model.batch_size]} for start in range(0, len(array), model.batch_size)]


def seconds_of(path: Path, feeds: Feeds) -> float:
    """Return the median of a hundred runs."""
    run, times = open_runner(path, Runtime(), feeds[0]), []
    for _ in range(100):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return median(times)


def stalled(model: Model, feeds: Feeds, folder: Path, times: float, share: float = SHARE) -> Path:
    """Return a twin, a share of whose runs takes so many times as long."""
    target = folder / "stalled.onnx"
    always = seconds_of(with_stalls(model, target, 2.0, 100).path, feeds)
    own = seconds_of(model.path, feeds)
    nodes = max(1, round(100 * (times - 1) * own / max(always - own, 1e-9)))
    return with_stalls(model, target, share, nodes).path


def judge(candidate: Path, reference: Path, feeds: Feeds, batch_size: int, percentile: float) -> dict[str, object]:
    """Compare two files once, and return what came of it."""
    began = time.perf_counter()
    limit = LatencyLimit(percentile=percentile, max_slowdown=TAIL)
    asked = Asked(percentile, batch_size, Runtime(), TAIL, limit.max_time)
    found = measure(candidate, {BASELINE: Reference(LAST_RELEASE, reference, 1 + TAIL)}, feeds, asked)
    baseline = Baseline("study", "onnx", Artefact("study.onnx", "0" * 64, 1, kept=True))
    (verdict,) = judge_latency(limit, found, baseline)
    beside = found.comparisons[BASELINE]
    return row("ratio", percentile, verdict.outcome, found, median(beside.first), beside.typical, began)


def judge_max(candidate: Path, feeds: Feeds, batch_size: int, percentile: float, most: float) -> dict[str, object]:
    """Hold a file against a budget once, and return what came of it."""
    began = time.perf_counter()
    asked = Asked(percentile, batch_size, Runtime(), TAIL, 120.0)
    found = measure(candidate, {}, feeds, asked)
    again = measure(candidate, {}, feeds, asked, sessions=2 * STEP) if (found.upper or 0) > most else None
    verdict = judge_tail_budget(most, found, again)
    return row("max=", percentile, verdict.outcome, found, (again or found).seconds / most, None, began)


def judge_median(candidate: Path, feeds: Feeds, batch_size: int, most: float) -> dict[str, object]:
    """Hold the median of a file against a budget once."""
    began = time.perf_counter()
    limit = LatencyLimit(max=most)
    found = measure_median(
        Timer(),
        candidate,
        {},
        feeds[0],
        batch_size=batch_size,
        runtime=Runtime(),
        resolution=0.05,
        max_time=limit.max_time,
    )
    verdict = judge_budget(most, [against_budget(limit, found, candidate, feeds[0], Runtime())])
    return row("max=", 50.0, verdict.outcome, found, found.seconds / most, None, began)


def row(
    by: str, percentile: float, outcome: Outcome, found: Latency, ratio: float, typical: float | None, began: float
) -> dict[str, object]:
    """Return what is kept of a verdict."""
    return {
        "by": by,
        "percentile": percentile,
        "outcome": str(outcome),
        "ratio": ratio,
        "typical": typical,
        "queries": found.rounds,
        "seconds": time.perf_counter() - began,
        "load": os.getloadavg()[0],
    }


def run(asked: argparse.Namespace) -> None:
    """Judge twins, and models that stall; appends."""
    out, percentile = asked.out, asked.percentile
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = [model for model in make_models(folder) if "batch" not in model.name]
        budgets: dict[str, Budget] = {}
        for number in range(asked.first, asked.first + asked.rounds):
            model = models[number % len(models)]
            feeds, size = digits(model), model.batch_size
            if model.name not in budgets:
                how = Asked(percentile, size, Runtime(), TAIL, 120.0)
                seen = measure(model.path, {}, feeds, how, sessions=3 * STEP)
                budgets[model.name] = Budget(asked.room * seen.seconds, asked.room * (seen.typical or 0.0))
            for kind, path in candidates(model, feeds, folder, number // len(models), asked.room):
                rows = [
                    judge_max(path, feeds, size, percentile, budgets[model.name].tail),
                    judge_median(path, feeds, size, budgets[model.name].median),
                ]
                if not asked.budgets:
                    rows.append(judge(path, model.path, feeds, size, percentile))
                study_rows.append(out, *({"kind": kind, "model": model.name, **one} for one in rows))


def candidates(model: Model, feeds: Feeds, folder: Path, number: int, room: float) -> Iterator[tuple[str, Path]]:
    """Yield the model itself, and in every tenth round of it the twins, beyond what a budget with more room allows too."""
    yield "the same file", model.path
    if number % STALLED_EVERY:
        return
    for times in (one * room / ROOM for one in STALLS):
        yield f"every 50th run {times:.3g} times as long", stalled(model, feeds, folder, times)
    times = SLOWER * room / ROOM
    yield f"every run {times:.2g} times as long", stalled(model, feeds, folder, times, share=2.0)


def table(rows: list[dict[str, Any]]) -> None:
    """Print how often each was red."""
    print(
        "| candidate | percentile | by | checks | red | of it inconclusive | ratio | ratio of medians | seconds a check | load |"
    )
    print("|---|--:|---|--:|--:|--:|---|---|--:|--:|")
    for key in sorted(
        {(row["kind"], row["percentile"], row["by"]) for row in rows}, key=lambda key: (key[1], key[2], key[0])
    ):
        own = [row for row in rows if (row["kind"], row["percentile"], row["by"]) == key]
        fails, unsure = (sum(row["outcome"] == outcome for row in own) for outcome in ("fail", "inconclusive"))
        seconds, load = (median(row[name] for row in own) for name in ("seconds", "load"))
        kind, percentile, by = key
        print(
            f"| {kind} | {percentile:g} | {by} | {len(own)} | {fails + unsure} | {unsure} | {span(own, 'ratio')} | "
            f"{span(own, 'typical')} | {seconds:.1f} | {load:.1f} |"
        )


def span(rows: list[dict[str, float]], name: str) -> str:
    """Return the range of a figure."""
    values = sorted(row[name] for row in rows if row[name] is not None)
    return f"{values[0]:.2f} to {values[-1]:.2f}" if values else "-"


if __name__ == "__main__":
    study_rows.main(
        __doc__,
        run,
        table,
        [
            ("--percentile", {"type": float, "default": 99.0}),
            ("--room", {"type": float, "default": ROOM, "help": "how many times what was seen a budget is"}),
            ("--budgets", {"action": "store_true", "help": "leave the ratio to the last release out"}),
        ],
    )
