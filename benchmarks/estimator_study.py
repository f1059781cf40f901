"""By what should a session be known? Spreads of ratios between sessions of the same file, by block and estimator.

python benchmarks/estimator_study.py [--busy]     about four minutes on two cores; prints a table

Each figure is the standard deviation, in per cent, of the candidate / reference ratio over fresh session pairs of
one file, for which the true ratio is 1.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from latency_study import conditions, neighbour
from study_models import Model, feeds_of, make_models

from pytest_onnxlite.runtime.sessions import open_session
from pytest_onnxlite.spec.runtimes import Runtime

# Seconds of a block, and pairs of blocks for each pair of sessions.
FORMS = ((0.005, 5), (0.001, 40), (0.001, 120))
PAIRS = 16


def blocks(
    model: Model, threads: int, seconds: float, rounds: int, rng: random.Random
) -> tuple[list[float], list[float]]:
    """Time one fresh session pair of a file in alternating blocks."""
    feeds = feeds_of(model)
    sessions = [open_session(model.path, Runtime(threads=threads)) for _ in range(2)]
    for session in sessions:
        for _ in range(20):
            session.run(None, feeds)
    start = perf_counter()
    for _ in range(20):
        sessions[0].run(None, feeds)
    loops = max(1, round(seconds / ((perf_counter() - start) / 20)))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for which in rng.sample((0, 1), 2):
            start = perf_counter()
            for _ in range(loops):
                sessions[which].run(None, feeds)
            times[which].append((perf_counter() - start) / loops)
    return times


ESTIMATORS: dict[str, Callable[[list[float], list[float]], Any]] = {
    "median of ratios": lambda a, b: np.median(np.array(a) / np.array(b)),
    "ratio of medians": lambda a, b: np.median(a) / np.median(b),
    "ratio of fast tenths": lambda a, b: np.quantile(a, 0.1) / np.quantile(b, 0.1),
    "ratio of minima": lambda a, b: min(a) / min(b),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", action="store_true", help="keep one core busy beside it")
    options = parser.parse_args()
    rng = random.Random(0)
    print(conditions(), "One core busy beside it." if options.busy else "Quiet.", "\n")
    print("| model | threads | block | rounds |", " | ".join(ESTIMATORS), "|")
    print("|---|---|---|---|" + "---|" * len(ESTIMATORS))
    with tempfile.TemporaryDirectory() as folder, neighbour(options.busy):
        for model in make_models(Path(folder))[:5]:
            for threads in (1, 2):
                for seconds, rounds in FORMS:
                    pairs = [blocks(model, threads, seconds, rounds, rng) for _ in range(PAIRS)]
                    spreads = [
                        100 * float(np.std([np.log(estimate(a, b)) for a, b in pairs]))
                        for estimate in ESTIMATORS.values()
                    ]
                    cells = " | ".join(f"{spread:.1f}" for spread in spreads)
                    print(f"| {model.name} | {threads} | {seconds * 1e3:g} ms | {rounds} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
