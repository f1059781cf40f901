"""Inference that can be ended: by Ctrl-C, by what limits a test's time, and by a limit of our own, whatever a model does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from threading import Event, Thread
from typing import TypeVar

from pytest_onnxlite.errors import hide_mistakes

__tracebackhide__ = hide_mistakes

Result = TypeVar("Result")

# Seconds that one inference may take.
_limit: ContextVar[float] = ContextVar("onnxlite_inference_time", default=600.0)
# How often is looked, and how long is waited for an inference that was told to end.
_STEP, _PATIENCE = 0.2, 2.0


class TooLong(Exception):
    """An inference took longer than it may: its first sample, and that limit in seconds."""

    def __init__(self, first: int, seconds: float) -> None:
        super().__init__(first, seconds)
        self.first, self.seconds = first, seconds


def limit_inferences(seconds: float) -> None:
    """Say how long one inference may take from here on."""
    _limit.set(seconds)


def interruptible(
    work: Callable[[], Result], under_way: Callable[[], tuple[float, int] | None], end: Callable[[], None]
) -> Result:
    """Do work that runs inferences in a thread of its own, since Python hears no signal while native code runs.

    Args:
        work: what is done; what it raises is raised here.
        under_way: when the inference under way began, by `time.monotonic`, and its first sample; None for none.
        end: lets the inference under way end, if it can.

    Raises:
        TooLong: an inference took longer than it may.
    """
    results: list[Result] = []
    errors: list[BaseException] = []
    done = Event()  # a thread whose join() is interrupted passes for one that has ended

    def do() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    # A daemon, so that one which cannot be ended does not keep the process alive.
    thread = Thread(target=copy_context().run, args=(do,), name="onnxlite-inference", daemon=True)
    try:
        thread.start()  # waits for the thread, and a signal may come meanwhile
        while not done.wait(_STEP):
            began = under_way()
            if began is not None and time.monotonic() - began[0] > _limit.get():
                raise TooLong(began[1], _limit.get())
    except BaseException:
        end()
        done.wait(_PATIENCE)
        raise
    if errors:
        raise errors[0]
    return results[0]
