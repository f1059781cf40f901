"""One round of the latency study, run by pytest in a process of its own; started by latency_study.py.

`test_guard` is one full check, by pytest-benchmark's fixture and by the rule that judges releases;
`test_plain` is what pytest-benchmark alone times, for `--benchmark-compare-fail`.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from study_models import Model, feeds_of, true_ratio

from pytest_onnxlite.baseline.record import Artefact, Baseline
from pytest_onnxlite.checks.latency import measure as latency
from pytest_onnxlite.checks.latency.judge import judge_latency
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.turns.comparison import LAST_RELEASE
from pytest_onnxlite.runtime.sessions import open_session
from pytest_onnxlite.spec.runtimes import Runtime

LIMIT = LatencyLimit(max_slowdown=0.05)
NOTHING_SAVED = Baseline("study", "int8", Artefact("", "", 0, True))
ROUND = json.loads(Path(os.environ["ONNXLITE_STUDY"]).read_text())


def _write(row: dict[str, Any]) -> None:
    with Path(ROUND["out"]).open("a") as file:
        file.write(json.dumps({**row, "round": ROUND["round"], "neighbour": ROUND["neighbour"]}) + "\n")


def _ids(case: dict[str, Any]) -> str:
    return f"{case['model']}, {case['threads']}, {case['twin']}"


@pytest.mark.parametrize("case", ROUND["cases"], ids=_ids)
def test_guard(benchmark: Any, case: dict[str, Any]) -> None:
    model = Model(case["model"], Path(case["candidate"]), case["batch_size"])
    start = time.perf_counter()
    found = latency.measure(
        benchmark,
        model.path,
        {"baseline": latency.Reference(LAST_RELEASE, Path(case["reference"]), 1 + LIMIT.max_slowdown)},
        feeds_of(model),
        batch_size=model.batch_size,
        runtime=Runtime(threads=case["threads"]),
        resolution=LIMIT.max_slowdown,
        max_time=LIMIT.max_time,
    )
    seconds = time.perf_counter() - start
    (verdict,) = judge_latency(LIMIT, found, NOTHING_SAVED)
    # How much slower it is in this process, by bare loops: two threads are worth another share in each.
    reference = Model(case["model"], Path(case["reference"]), case["batch_size"])
    true = true_ratio(model, reference, case["threads"], 4) if case["twin"] and ROUND["true"] else None
    row = {
        "kind": "guard",
        **case,
        "outcome": verdict.outcome.value,
        "seconds": seconds,
        "true": true,
    }
    _write({**row, "comparison": asdict(found.comparisons["baseline"]), "inference": found.seconds})


@pytest.mark.parametrize("case", ROUND["cases"], ids=_ids)
def test_plain(benchmark: Any, case: dict[str, Any]) -> None:
    model = Model(case["model"], Path(case["candidate"]), case["batch_size"])
    session = open_session(model.path, Runtime(threads=case["threads"]))
    feeds = feeds_of(model)
    for _ in range(5):
        session.run(None, feeds)
    benchmark(lambda: session.run(None, feeds))
    _write({"kind": "plain", **case, "median": benchmark.stats.stats.median})
