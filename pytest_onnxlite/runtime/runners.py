"""What runs one open model with one batch after another, each prepared beforehand, so that a run alone is timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pytest_onnxlite.runtime.sessions import fed_to, open_runner, open_session, session_runner
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime


def open_runners(path: Path, runtime: Runtime, each: Sequence[Mapping[str, Array]]) -> list[Callable[[], Any]]:
    """Open a model once and return what runs it with each of these feeds.

    Raises:
        ValueError: the feeds are none of this model's.
        Exception: whatever the runtime raises for a file that it cannot load.
    """
    if path.suffix != ".tflite":
        session = open_session(path, runtime)
        return [session_runner(session, feeds) for feeds in each]
    if len(each) == 1:
        return [open_runner(path, runtime, each[0])]
    from pytest_onnxlite.runtime.interpreter import open_interpreter

    # An interpreter has room for one shape, and to make room for another is part of a run.
    interpreter = open_interpreter(path, runtime)
    return [partial(interpreter.run, fed_to(feeds, interpreter.inputs)) for feeds in each]
