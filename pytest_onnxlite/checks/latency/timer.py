"""Times a candidate where pytest-benchmark does not: that one's table is for what was asked to be judged."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from pytest_onnxlite.runtime.waiting import Waiting, without


class Timer:
    """What `Stopwatch` needs of pytest-benchmark's fixture.

    Args:
        leaves_waiting_out: whether what the thread waits for a processor is no part of a round. Where a reference is timed in
            turns, by a clock that keeps it, it has to be.

    Attributes:
        stats: the rounds, as pytest-benchmark keeps them; None before the first.
        disabled: always False.
    """

    def __init__(self, *, leaves_waiting_out: bool = False) -> None:
        self.stats: Any = None
        self.disabled = False
        self._leaves_waiting_out = leaves_waiting_out

    def pedantic(self, target: Callable[[], Any], teardown: Callable[[], Any], rounds: int, iterations: int) -> None:
        """Time rounds of a target, seconds per call; `teardown` runs after each round and ends them by raising."""
        data: list[float] = []
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=data), options={"timer": perf_counter})
        loop = range(iterations)
        nothing: dict[str, object] = {}
        with Waiting(is_known=self._leaves_waiting_out) as waiting:
            for _ in range(rounds):
                before, start = waiting.seconds(), perf_counter()
                # As pytest-benchmark calls it, and `Stopwatch` the reference.
                for _ in loop:
                    target(*(), **nothing)
                seconds = perf_counter() - start
                data.append(without(waiting.seconds() - before, seconds) / iterations)
                teardown()
