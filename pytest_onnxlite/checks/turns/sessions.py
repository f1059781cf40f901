"""Sessions of candidate and reference in this process: opened afresh in the order that is asked for, and timed in turns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Generic, TypeVar

Session = TypeVar("Session")


class Stopped(BaseException):
    """Somebody else wants the measurement to end."""


class Sessions(ABC, Generic[Session]):
    """What every `TimingBench` has that opens both sides in this process.

    Args:
        candidate: its file.
        reference: the file that it is compared with.
        closed: what stands for a session that is not open.
    """

    def __init__(self, candidate: Path, reference: Path, closed: Session) -> None:
        self._candidate_path, self._reference_path = candidate, reference
        self._closed = closed
        self._candidate = self._reference = self._twin = closed
        self._stopped = Event()

    @abstractmethod
    def _open(self, path: Path) -> Session:
        """Open a fresh session of a file, and warm it up.

        Raises:
            OnnxliteError: it cannot be loaded or run.
        """

    def _open_candidate(self) -> None:
        self._candidate = self._open(self._candidate_path)

    def close(self) -> None:
        """Let all sessions go."""
        self._candidate = self._reference = self._twin = self._closed

    def open_alone(self) -> None:
        """Open a fresh session of the candidate."""
        self.close()
        self._open_candidate()

    def open_pair(self, candidate_first: bool) -> None:
        """Open fresh sessions of both, in the order given."""
        self.close()
        if candidate_first:
            self._open_candidate()
        self._reference = self._open(self._reference_path)
        if not candidate_first:
            self._open_candidate()

    def open_self_pair(self) -> None:
        """Open two fresh sessions of the reference."""
        self.close()
        self._reference = self._open(self._reference_path)
        self._twin = self._open(self._reference_path)

    def stop(self) -> None:
        """End the measurement, from another thread: the inference or the block that is under way is the last."""
        self._stopped.set()

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise Stopped

    def rest(self, seconds: float) -> None:
        """Let the machine's scheduler place the threads anew."""
        self._stopped.wait(seconds)

    def now(self) -> float:
        """Return the time in seconds."""
        return perf_counter()
