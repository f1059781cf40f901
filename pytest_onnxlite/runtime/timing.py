"""Times one model in a process of its own, a block of inferences at a time: what a child process is asked in turns."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec

from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.runtime.sessions import open_runner
from pytest_onnxlite.runtime.waiting import Waiting, without
from pytest_onnxlite.spec.runtimes import Runtime

# The library plans its memory on the first run; from the second on it runs by that plan.
_WARMUP_RUNS, _WARMUP_SECONDS = 2, 0.02


class OpenRequest(msgspec.Struct, frozen=True):
    """The model's file, the file with one run's feeds, and how the model is run."""

    model: str
    feeds: str
    runtime: Runtime


# A model that hands its input on: what ONNX Runtime sets up once in a process, it sets up for this one.
_IDENTITY = bytes.fromhex(
    "080712003a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a02080142040a00100d"
)


class StartUp(msgspec.Struct, frozen=True):
    """Seconds that a fresh process takes to make a model ready, and for its first run; what it waits for a processor is in neither."""

    load: float
    first: float


def start_up(request: OpenRequest) -> StartUp:
    """Open a model in a process that has opened none but the smallest one, and run it once."""
    feeds = arrays.load(Path(request.feeds))
    if Path(request.model).suffix != ".tflite":
        import onnxruntime

        onnxruntime.InferenceSession(_IDENTITY, providers=["CPUExecutionProvider"])
    gc.disable()
    with Waiting() as waiting:
        before, start = waiting.seconds(), perf_counter()
        run = open_runner(Path(request.model), request.runtime, feeds)
        opened, between = perf_counter(), waiting.seconds()
        ready = perf_counter()
        run()
        done, after = perf_counter(), waiting.seconds()
    return StartUp(without(between - before, opened - start), without(after - between, done - ready))


class _Opened:
    """The model that this process times."""

    run: Callable[[], Any] | None = None


def open_model(request: OpenRequest) -> float:
    """Open a model and warm it up; returns the seconds of its fastest inference so far."""
    run = open_runner(Path(request.model), request.runtime, arrays.load(Path(request.feeds)))
    began, runs, fastest = perf_counter(), 0, float("inf")
    while runs < _WARMUP_RUNS or perf_counter() - began < _WARMUP_SECONDS:
        start = perf_counter()
        run()
        fastest = min(fastest, perf_counter() - start)
        runs += 1
    _Opened.run = run
    gc.disable()  # as pytest-benchmark does
    return fastest


def time_block(iterations: int) -> float:
    """Run the model so often; returns the seconds of one inference."""
    run = _Opened.run
    assert run is not None, "no model is open"
    loop = range(iterations)
    start = perf_counter()
    for _ in loop:
        run()
    return (perf_counter() - start) / iterations
