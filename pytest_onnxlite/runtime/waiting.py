"""How long a thread has waited for a processor: on a busy machine that is most of what a slow run takes."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType

# Run time, time waited for a processor, and slices: nanoseconds and a count. Linux keeps them for each thread
# (Documentation/scheduler/sched-stats.rst).
_FILE = "/proc/thread-self/schedstat"
_MOST = 64


class Waiting:
    """Tells how long the thread that made it has waited for a processor since it began; 0 where the system does not say.

    What waits for a lock, for the disk or for another thread is not counted: that is what a model's own run may wait for.

    Args:
        is_known: whether to ask the system at all.
    """

    def __init__(self, *, is_known: bool = True) -> None:
        self._file: int | None = None
        if is_known:
            with contextlib.suppress(OSError):
                self._file = os.open(_FILE, os.O_RDONLY)

    def __enter__(self) -> Waiting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def seconds(self) -> float:
        """Return the seconds."""
        if self._file is None:
            return 0.0
        try:
            return int(os.pread(self._file, _MOST, 0).split()[1]) * 1e-9
        except (OSError, IndexError, ValueError):
            return 0.0


def without(waited: float, seconds: float) -> float:
    """Return a time without what was waited for a processor around it.

    A wait that is longer than the time lies between the reading of the one clock and of the other.
    """
    return seconds - waited if 0 < waited < seconds else seconds
