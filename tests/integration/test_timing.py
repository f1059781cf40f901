"""The clock itself: fair to both sides, at any depth of the stack, and as true as a bare loop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite.checks.latency import measure as latency
from pytest_onnxlite.checks.latency.measure import Reference
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.latency.stopwatch import Stopwatch
from pytest_onnxlite.spec.runtimes import Runtime

from onnx_models import dense

FEEDS = {"x": np.ones((1, 256), np.float32)}


def at_depth(depth: int, call: Any) -> Any:
    return call() if depth == 0 else at_depth(depth - 1, call)


def stack_depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    return depth


def at_each_run(monkeypatch: pytest.MonkeyPatch, note: Callable[[], object]) -> None:
    """Note something where each inference of either side runs."""
    opened = Stopwatch._open

    def open_and_note(self: Stopwatch, path: Path) -> Any:
        run = opened(self, path)

        def noting() -> Any:
            note()
            return run()

        return noting

    monkeypatch.setattr(Stopwatch, "_open", open_and_note)


def compare_with_itself(benchmark: Any, model: Path) -> Latency:
    return latency.measure(
        benchmark,
        model,
        {"baseline": Reference("last release", model, 2.0)},
        FEEDS,
        batch_size=1,
        runtime=Runtime(),
        resolution=0.5,
        max_time=1,
    )


@pytest.mark.alone
@pytest.mark.parametrize("depth", [0, 40, 200])
def test_both_sides_run_near_the_bottom_of_a_stack(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    # Where CPython's frames reach the end of a chunk, every call pays for a new one; which depth that is, nobody
    # knows. A few dozen frames never fill the first.
    depths = set()
    at_each_run(monkeypatch, lambda: depths.add(stack_depth()))
    model = dense(tmp_path / "a.onnx", 2)

    at_depth(depth, lambda: compare_with_itself(benchmark, model))
    assert max(depths) < 30


@pytest.mark.alone
def test_neither_side_is_traced(benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest-benchmark pauses a coverage tool for the candidate; a reference that is traced would let anything pass.
    traced = []
    at_each_run(monkeypatch, lambda: traced.append(sys.gettrace() or sys.getprofile()))
    model = dense(tmp_path / "a.onnx", 2)
    before = threading.gettrace(), threading.getprofile()
    threading.settrace(lambda *_: None)
    threading.setprofile(lambda *_: None)
    try:
        compare_with_itself(benchmark, model)
    finally:
        threading.settrace(before[0])
        threading.setprofile(before[1])
    assert traced
    assert not any(traced)


@pytest.mark.alone
def test_time_per_inference_is_that_of_a_bare_loop(benchmark: Any, tmp_path: Path) -> None:
    stopwatch = Stopwatch(dense(tmp_path / "a.onnx", 8), FEEDS, Runtime(), benchmark)
    stopwatch.calibrate()
    bare: list[float] = []

    def turns() -> Any:
        stopwatch.open_alone()
        for _ in range(60):
            yield
            run = stopwatch._candidate
            start = perf_counter()
            for _ in range(stopwatch.iterations):
                run()
            bare.append((perf_counter() - start) / stopwatch.iterations)
        return {}

    stopwatch.drive(turns())
    # The study says within 3 %; here other tests may have warmed the machine.
    assert median(stopwatch.data) == pytest.approx(median(bare), rel=0.1)


@pytest.mark.alone
def test_the_collector_of_garbage_is_left_as_it_was(benchmark: Any, tmp_path: Path) -> None:
    import gc

    model = dense(tmp_path / "a.onnx", 2)
    latency.measure(benchmark, model, {}, FEEDS, batch_size=1, runtime=Runtime(), resolution=0.05, max_time=1)
    assert gc.isenabled()


class TimeIsUp(BaseException):
    """What a plugin that limits a test's time raises in the main thread."""


@pytest.mark.alone  # no worker of pytest-xdist measures
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_whatever_is_raised_meanwhile_ends_the_measurement_at_once(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def note() -> None:
        nonlocal calls
        calls += 1
        sleep(0.01)
        if calls == 30:
            os.kill(os.getpid(), signal.SIGUSR1)  # as a timer does: to the process, so that the main thread hears it

    def interrupt(*_: object) -> None:
        raise TimeIsUp

    at_each_run(monkeypatch, note)
    before = signal.signal(signal.SIGUSR1, interrupt)
    model = dense(tmp_path / "a.onnx", 2)
    reference = {"baseline": Reference("last release", model, 1.0)}
    how = {"batch_size": 1, "runtime": Runtime(), "resolution": 1e-6, "max_time": 20}
    try:
        with pytest.raises(TimeIsUp):
            latency.measure(benchmark, model, reference, FEEDS, **how)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert 30 <= calls < 60


def test_a_model_that_cannot_be_run_is_named(benchmark: Any, tmp_path: Path) -> None:
    from pytest_onnxlite import OnnxliteError

    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    with pytest.raises(OnnxliteError, match=r"cannot run bad\.onnx to time it"):
        latency.measure(benchmark, bad, {}, FEEDS, batch_size=1, runtime=Runtime(), resolution=0.05, max_time=1)
    benchmark(lambda: None)
