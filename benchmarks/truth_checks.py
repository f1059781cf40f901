"""Is a reported time the time that a bare loop over the same session takes? Run by pytest; see truth_study.py."""

from __future__ import annotations

import json
import os
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import pytest
from study_models import Model, feeds_of, make_models

from pytest_onnxlite.checks.latency.stopwatch import Stopwatch
from pytest_onnxlite.runtime.sessions import open_session
from pytest_onnxlite.spec.runtimes import Runtime

FOLDER = Path(os.environ["ONNXLITE_STUDY"])
MODELS = make_models(FOLDER)


class OneSession(Stopwatch):
    """A stopwatch whose session is at hand, so that a bare loop can run it too."""

    def open_with(self, session: Any, feeds: dict[str, Any]) -> None:
        """Let the candidate be this session, and not one of its own."""
        self.open_alone()
        self._candidate = lambda: session.run(None, feeds)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_truth(benchmark: Any, model: Model) -> None:
    feeds = feeds_of(model)
    stopwatch = OneSession(model.path, feeds, Runtime(), benchmark)
    stopwatch.calibrate()
    session = open_session(model.path, Runtime(threads=1))
    stopwatch.open_with(session, feeds)
    for _ in range(3):
        session.run(None, feeds)
    bare: list[float] = []

    def turns() -> Any:
        for _ in range(40):
            yield
            start = perf_counter()
            for _ in range(stopwatch.iterations):
                session.run(None, feeds)
            bare.append((perf_counter() - start) / stopwatch.iterations)
        return {}

    stopwatch.drive(turns())
    row = {"model": model.name, "reported": median(stopwatch.data), "bare": median(bare)}
    with (FOLDER / "truth.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
