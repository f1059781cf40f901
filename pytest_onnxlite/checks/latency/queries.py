"""Single inferences over many batches, in sessions of candidate and reference that take turns: what a percentile is of."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from pytest_onnxlite.checks.turns.sessions import Sessions
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.runners import open_runners
from pytest_onnxlite.runtime.waiting import Waiting, without
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.running import shapes_of, size_of

Run = Callable[[], Any]
# The runtime plans its memory for each shape when that is run first.
_WARM_UP_SECONDS = 0.005


class _Session:
    """One open model, and which batch is next."""

    def __init__(self, runs: Sequence[Run], offset: int) -> None:
        self._runs, self._next = runs, offset

    def next(self) -> Run:
        run = self._runs[self._next % len(self._runs)]
        self._next += 1
        return run


class Queries(Sessions[_Session]):
    """What `take_turns` needs to time single inferences; made, used and closed in one thread.

    Both sessions of a pair are fed with the same batches in the same order, and the next pair goes on with the batch after.

    Args:
        candidate: its file.
        feeds: what is fed in one inference each.
        runtime: how the models are run.
        has_waiting: whether to leave out what the thread waits for a processor.

    Attributes:
        longest: the shapes of the largest batch.
        data: the candidate's seconds by session.
    """

    def __init__(
        self, candidate: Path, feeds: Sequence[Mapping[str, Array]], runtime: Runtime, *, has_waiting: bool
    ) -> None:
        super().__init__(candidate, candidate, _Session([], 0))
        self._feeds = [dict(one) for one in feeds]
        random.Random(0).shuffle(self._feeds)  # data sets are often sorted by class
        shapes = [tuple(sorted(shapes_of(one).items())) for one in self._feeds]
        self._of_each_shape = [shapes.index(shape) for shape in dict.fromkeys(shapes)]
        self.longest = shapes_of(max(self._feeds, key=lambda one: size_of(shapes_of(one))))
        self._runtime, self._has_waiting = runtime, has_waiting
        self._waiting = Waiting(is_known=False)
        self._asked = 0
        self.data: list[list[float]] = []

    def compare_with(self, reference: Path) -> None:
        """Take another reference from here on."""
        self._reference_path = reference

    def _open(self, path: Path) -> _Session:
        try:
            runs = open_runners(path, self._runtime, self._feeds)
            start = perf_counter()
            for _ in range(2):
                for index in self._of_each_shape:
                    self._go_on()
                    runs[index]()
            while perf_counter() - start < _WARM_UP_SECONDS:
                runs[0]()
        except Exception as error:
            raise OnnxliteError(f"{path.name} cannot be run to time it: {first_line(error)}") from None
        return _Session(runs, self._asked)

    def calibrate(self) -> float:
        """Begin, in the thread that times; returns the seconds of one inference."""
        self._waiting = Waiting(is_known=self._has_waiting)
        session = self._open(self._candidate_path)
        return min(self._timed(session) for _ in range(5))

    def open_alone(self) -> None:
        """Open a fresh session of the candidate."""
        self._begin()
        super().open_alone()

    def open_pair(self, candidate_first: bool) -> None:
        """Open fresh sessions of both, in the order given."""
        self._begin()
        super().open_pair(candidate_first)

    def _begin(self) -> None:
        self._asked += len(self.data[-1]) if self.data else 0
        self.data.append([])

    def end(self) -> None:
        """Let everything go."""
        self.close()
        self._waiting.close()

    def _timed(self, session: _Session) -> float:
        self._go_on()
        run, waiting = session.next(), self._waiting
        before, start = waiting.seconds(), perf_counter()
        run()
        seconds = perf_counter() - start
        return without(waiting.seconds() - before, seconds)

    def time_candidate(self) -> float:
        """Time one inference of the candidate, and keep it."""
        self.data[-1].append(self._timed(self._candidate))
        return self.data[-1][-1]

    def time_reference(self) -> float:
        """Time one inference of the reference."""
        return self._timed(self._reference)

    def time_reference_twin(self) -> float:
        """Time one inference of the reference's second session."""
        return self._timed(self._twin)
