"""When is the last release slower than it was saved? Prints the table behind the bound on what a runtime may do.

python benchmarks/runtime_study.py --rounds 100 --pause 20 --out rounds.jsonl    measure; appends, so that days add up
python benchmarks/runtime_study.py --rounds 0 --out rounds.jsonl                 print the table alone

The last release's own time and memory of today are held against those that were saved. Nothing runs in turns there: the
two lie hours or days apart, in two processes, on a machine whose neighbours come and go. Each round is a process of its
own and times every model as the guard does. The first table takes any two rounds as the save and the comparison. The
second judges each round by the guard's rule, against the most adverse save: the smallest time that any round before it
would have saved. Every red is a false alarm.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from study_models import Model, feeds_of, make_models

from pytest_onnxlite.baseline.fingerprint import describe_machine
from pytest_onnxlite.checks.latency.judge import LOOK_SECONDS, SINCE_SAVED
from pytest_onnxlite.checks.latency.measure import look_longer
from pytest_onnxlite.checks.latency.stopwatch import BLOCK_SECONDS
from pytest_onnxlite.checks.memory.measure import measure as measure_memory
from pytest_onnxlite.checks.turns.schedule import FAST, STEP
from pytest_onnxlite.runtime.sessions import open_runner
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.statistics import quantile

BOUNDS = (1.5, 2.0, 2.5)
# What a session's blocks take in the guard.
SESSION_SECONDS, FEWEST_BLOCKS = 0.04, 5


def time_sessions(model: Model, runtime: Runtime) -> list[list[float]]:
    """Return the seconds per inference of each block of as many fresh sessions as a set has."""
    feeds, sessions = feeds_of(model), []
    for _ in range(STEP):
        run = open_runner(model.path, runtime, feeds)
        run()
        run()
        start = time.perf_counter()
        run()
        once = time.perf_counter() - start
        loops = max(1, round(BLOCK_SECONDS / once))
        blocks = []
        for _ in range(max(FEWEST_BLOCKS, round(SESSION_SECONDS / max(once, BLOCK_SECONDS)))):
            start = time.perf_counter()
            for _ in range(loops):
                run()
            blocks.append((time.perf_counter() - start) / loops)
        sessions.append(blocks)
    return sessions


MEDIAN, SAVED, TODAY = "median of all blocks", "fast tenth of all blocks", "fastest block"
# Each way to sum up a round's sessions of blocks.
ESTIMATES: dict[str, Callable[[Sequence[Sequence[float]]], float]] = {
    MEDIAN: lambda sessions: median(itertools.chain(*sessions)),
    SAVED: lambda sessions: quantile(list(itertools.chain(*sessions)), FAST),
    TODAY: lambda sessions: min(itertools.chain(*sessions)),
}
# What is held against what: saved, today.
PAIRS = ((MEDIAN, MEDIAN), (SAVED, SAVED), (TODAY, TODAY), (SAVED, TODAY), (MEDIAN, TODAY))


def one_round(models: list[dict[str, Any]], out: Path, number: int) -> None:
    """Measure every model once, in this process."""
    before = read(out)
    for entry in models:
        model = Model(entry["name"], Path(entry["path"]), entry["batch_size"])
        for threads in (1, 2):
            runtime = Runtime(threads=threads)
            sessions = time_sessions(model, runtime)
            row: dict[str, Any] = {
                "kind": "time",
                "model": model.name,
                "threads": threads,
                "round": number,
                "at": time.time(),
            }
            row |= {name: estimate(sessions) for name, estimate in ESTIMATES.items()}
            same = [old[SAVED] for old in before if (old["model"], old.get("threads")) == (model.name, threads)]
            row |= judge(model, runtime, min(same, default=0.0), row[TODAY])
            write(out, {**row, "load": os.getloadavg()[0]})
        # Three child processes: every fifth round is enough.
        if number % 5 == 0:
            found = measure_memory(model.path, None, feeds_of(model), model.batch_size, Runtime())
            row = {"kind": "memory", "model": model.name, "round": number, "at": time.time()}
            write(out, {**row, "load bytes": found.candidate.load, "run bytes": found.candidate.run})


def judge(model: Model, runtime: Runtime, saved: float, fastest: float) -> dict[str, float]:
    """Hold a round against a saved time as the guard does."""
    if not saved:
        return {}
    start = time.perf_counter()
    if fastest > SINCE_SAVED * saved:
        longer = look_longer(model.path, feeds_of(model), runtime, SINCE_SAVED * saved, LOOK_SECONDS)
        return {"ratio": min(fastest, longer) / saved, "looked": time.perf_counter() - start}
    return {"ratio": fastest / saved, "looked": 0.0}


def write(out: Path, row: dict[str, Any]) -> None:
    """Append a row."""
    with out.open("a") as file:
        file.write(json.dumps(row) + "\n")


def read(out: Path) -> list[dict[str, Any]]:
    """Return the rows of all rounds so far."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def table(rows: list[dict[str, Any]]) -> str:
    """Return the study's tables as Markdown."""
    times = [row for row in rows if row["kind"] == "time"]
    hours = (max(row["at"] for row in rows) - min(row["at"] for row in rows)) / 3600
    loads = sorted(row["load"] for row in times)
    groups = defaultdict(list)
    for row in times:
        groups[row["model"], row["threads"]].append(row)
    lines = [
        f"{max(map(len, groups.values()))} rounds over {hours:.1f} hours; load average {loads[0]:.1f} to {loads[-1]:.1f}, "
        f"{median(loads):.1f} in the median.",
        "",
        f"| saved | today | largest ratio of two rounds | {' | '.join(f'pairs beyond {b:g}' for b in BOUNDS)} |",
        f"|---|---|---|{'---|' * len(BOUNDS)}",
    ]
    for saved, today in PAIRS:
        ratios = [two[today] / one[saved] for group in groups.values() for one, two in itertools.permutations(group, 2)]
        counts = [f"{sum(ratio > bound for ratio in ratios)}/{len(ratios)}" for bound in BOUNDS]
        lines.append(f"| {saved} | {today} | {max(ratios):.2f} | {' | '.join(counts)} |")
    return "\n".join([*lines, "", *rule_table(groups), "", *found_table(groups), "", *memory_table(rows)])


def found_table(groups: dict[tuple[str, int], list[dict[str, Any]]]) -> list[str]:
    """Return how often a runtime that is so many times slower is found, at the least: by the fastest block of all rounds."""
    lines = ["| a runtime that is slower by | is found after so many of all saves |", "|---|---|"]
    for factor in (2.5, 3, 4, 5):
        found = [
            factor * min(row[TODAY] for row in group) > SINCE_SAVED * saved[SAVED]
            for group in groups.values()
            for saved in group
        ]
        lines.append(f"| {factor:g} times | {sum(found)}/{len(found)} |")
    return lines


def rule_table(groups: dict[tuple[str, int], list[dict[str, Any]]]) -> list[str]:
    """Return the lines of the guard's rule against the most adverse save."""
    lines = [
        "| model | threads | per run | checks | looked longer | largest ratio | red |",
        "|---|---|---|---|---|---|---|",
    ]
    judged = {key: [row for row in group if "ratio" in row] for key, group in groups.items()}
    for (model, threads), group in judged.items():
        ratios = [row["ratio"] for row in group]
        red = f"{sum(ratio > SINCE_SAVED for ratio in ratios)}/{len(ratios)}"
        longer = sum(row["looked"] > 0 for row in group)
        per_run = median(row[MEDIAN] for row in group)
        lines.append(
            f"| {model} | {threads} | {1e6 * per_run:,.0f} µs | {len(ratios)} | {longer} | {max(ratios):.2f} | {red} |"
        )
    every = [row for group in judged.values() for row in group]
    red = f"**{sum(row['ratio'] > SINCE_SAVED for row in every)}/{len(every)}**"
    longer = sum(row["looked"] > 0 for row in every)
    lines.append(f"| **all** | | | {len(every)} | {longer} | {max(row['ratio'] for row in every):.2f} | {red} |")
    return lines


def memory_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of how far apart two measurements of memory are."""
    peaks = defaultdict(list)
    for row in rows:
        if row["kind"] == "memory":
            for phase in ("load", "run"):
                peaks[row["model"], phase].append(row[f"{phase} bytes"])
    lines = ["| model | peak of | measurements | largest ratio of two | largest difference |", "|---|---|---|---|---|"]
    for (model, phase), values in peaks.items():
        lines.append(
            f"| {model} | {phase} | {len(values)} | {max(values) / min(values):.3f} | {(max(values) - min(values)) >> 10} KiB |"
        )
    return lines


def main() -> None:
    """Measure the rounds, each in a fresh process, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--pause", type=float, default=20, help="seconds between rounds")
    parser.add_argument("--out", type=Path, default=Path("runtime-study.jsonl"))
    parser.add_argument("--round", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.round:
        request = json.loads(args.round)
        one_round(request["models"], args.out, request["number"])
        return
    if args.rounds:
        with tempfile.TemporaryDirectory() as folder:
            models = [
                {"name": model.name, "path": str(model.path), "batch_size": min(model.batch_size, 200)}
                for model in make_models(Path(folder))
            ]
            for number in range(args.rounds):
                request = json.dumps({"models": models, "number": number})
                command = [sys.executable, __file__, "--out", str(args.out), "--round", request]
                subprocess.run(command, check=True)
                time.sleep(args.pause)
    machine = describe_machine()
    print(
        f"{machine.cpu} ({', '.join(machine.isa)}), {machine.cpus:g} CPUs, {machine.os}, Python {platform.python_version()}, "
    )
    print(f"onnxruntime {machine.onnxruntime}\n")
    print(table(read(args.out)))


if __name__ == "__main__":
    main()
