"""Times a candidate where pytest-benchmark does not: that one's table is for what was asked to be judged."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from types import SimpleNamespace
from typing import Any


class Timer:
    """What `Stopwatch` needs of pytest-benchmark's fixture.

    Attributes:
        stats: the rounds, as pytest-benchmark keeps them; None before the first.
        disabled: always False.
    """

    def __init__(self) -> None:
        self.stats: Any = None
        self.disabled = False

    def pedantic(self, target: Callable[[], Any], teardown: Callable[[], Any], rounds: int, iterations: int) -> None:
        """Time rounds of a target, seconds per call; `teardown` runs after each round and ends them by raising."""
        data: list[float] = []
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=data), options={"timer": perf_counter})
        loop = range(iterations)
        nothing: dict[str, object] = {}
        for _ in range(rounds):
            start = perf_counter()
            # As pytest-benchmark calls it, and `Stopwatch` the reference.
            for _ in loop:
                target(*(), **nothing)
            data.append((perf_counter() - start) / iterations)
            teardown()
