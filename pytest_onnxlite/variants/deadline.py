"""How long running a variant over data may take, where somebody waits for what is only worth knowing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pytest_onnxlite.errors import OnnxliteError

_end: ContextVar[float | None] = ContextVar("onnxlite_deadline", default=None)


class OutOfTime(OnnxliteError):
    """The time that was given is up."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Let runs of variants end with `OutOfTime` after so many seconds; an outer limit that ends sooner still counts."""
    end, outer = time.monotonic() + seconds, _end.get()
    token = _end.set(end if outer is None else min(end, outer))
    try:
        yield
    finally:
        _end.reset(token)


def time_left(seconds: float) -> float:
    """Return how many of so many seconds are left, where a time limit may end sooner.

    Raises:
        OutOfTime: the time is up.
    """
    check_time()
    end = _end.get()
    return seconds if end is None else min(seconds, end - time.monotonic())


def check_time() -> None:
    """Go on if there is time, or no limit.

    Raises:
        OutOfTime: the time is up.
    """
    end = _end.get()
    if end is not None and time.monotonic() > end:
        raise OutOfTime("the time given is up.")


class Budget:
    """Seconds that are used up as time goes by.

    Args:
        seconds: how many there are.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds that are left, 0 at the end."""
        return max(0.0, self.seconds - self.spent)

    @property
    def spent(self) -> float:
        """Seconds that went by."""
        return time.monotonic() - self._start
