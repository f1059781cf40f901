"""Steps that wait for somebody else's server: each has a time limit, and can be interrupted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from pytest_onnxlite.errors import OnnxliteError

T = TypeVar("T")
# How often it is looked whether a step goes on, in seconds.
_LOOK = 0.05


class NoAnswer(OnnxliteError):
    """Nothing moved for as long as a step may take."""


def within(seconds: float, step: Callable[[], T], moved: Callable[[], int] = lambda: 0) -> T:
    """Return what a step returns.

    It runs in a thread of its own, since no library's time limits hold in all cases. One that does not end is left behind: it
    writes nowhere but into files that nobody reads any more, and does not keep the process from ending.

    Args:
        seconds: how long it may take; where `moved` tells, how long nothing may move.
        step: what is done; what it raises passes through.
        moved: how many bytes it has moved.

    Raises:
        NoAnswer: nothing moved for that long.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(step())
        except BaseException as error:  # it is raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, name="onnxlite-place", daemon=True)
    thread.start()
    last, since = moved(), time.monotonic()
    while thread.is_alive():
        thread.join(_LOOK)
        now = moved()
        if now != last:
            last, since = now, time.monotonic()
        if thread.is_alive() and time.monotonic() - since > seconds:
            raise NoAnswer(f"nothing was heard of it for {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]


class Patience:
    """Asks a server, each step within a time limit; one that once did not answer is not asked again.

    Args:
        who: what it is called.
        seconds: how long nothing may be heard of it.
    """

    def __init__(self, who: str, seconds: float) -> None:
        self._who = who
        self._seconds = seconds
        self._silent = ""

    def within(self, step: Callable[[], T], moved: Callable[[], int] = lambda: 0) -> T:
        """Return what a step returns; see `within`.

        Raises:
            NoAnswer: nothing moved for too long, in this step or in one before.
        """
        if self._silent:
            raise NoAnswer(self._silent)
        try:
            return within(self._seconds, step, moved)
        except NoAnswer as error:
            self._silent = f"{self._who} does not answer: {error} (onnxlite_artefact_time)"
            raise NoAnswer(self._silent) from None
