"""The thread that times."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_a_thread(stop: Callable[[], None], work: Callable[[], T]) -> T:
    """Do what is timed in a thread of its own, whose stack is nearly empty.

    CPython (3.11 and later) keeps its frames in chunks, and a call that crosses the end of a chunk allocates one and frees
    it again, each time: up to 25 µs. The candidate's blocks and the reference's lie at different depths below pytest, so
    that one of the two would pay for it.

    Args:
        stop: asks the work to end, where somebody else wants that.
        work: what is done.
    """

    def untraced() -> T:
        # As pytest-benchmark does around the candidate's rounds: a coverage tool would slow the reference alone.
        sys.settrace(None)
        sys.setprofile(None)
        return work()

    with ThreadPoolExecutor(1, thread_name_prefix="onnxlite-timing") as pool:
        future = pool.submit(untraced)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, or a time limit's signal
            stop()
            raise
