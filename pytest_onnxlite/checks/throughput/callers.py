"""Threads that call one session at the same time, and how long they take for a number of inferences."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import numpy as np

from pytest_onnxlite.checks.determinism import differs
from pytest_onnxlite.checks.turns.sessions import Sessions, Stopped
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.sessions import open_session, session_runner
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.text import first_line

Runner = Callable[[], Any]
# The inferences of a block take so long: long against the time in which threads wake up.
BLOCK_SECONDS = 0.01
# Inferences of each caller before a session is timed. ONNX Runtime plans its memory on the first.
_WARMUPS = 2
# Inferences of each caller whose answers are compared with those of one caller by itself.
_ANSWERS = 8


class Crew:
    """Threads that wait for inferences to do together.

    They are daemons, so that an inference that cannot be ended does not keep the process alive.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._stopped = Event()
        self._began: float | None = None
        self._done: SimpleQueue[tuple[float, float, BaseException | None]] = SimpleQueue()
        self._jobs: list[SimpleQueue[tuple[Runner, Iterator[int]] | None]] = [SimpleQueue() for _ in range(count)]
        for number, jobs in enumerate(self._jobs):
            Thread(target=self._work, args=(jobs,), name=f"onnxlite-caller-{number}", daemon=True).start()

    def _work(self, jobs: SimpleQueue[tuple[Runner, Iterator[int]] | None]) -> None:
        # A coverage tool would slow the callers by what it costs to trace them.
        sys.settrace(None)
        sys.setprofile(None)
        while (job := jobs.get()) is not None:
            run, turns = job
            error: BaseException | None = None
            begin = time.perf_counter()
            try:
                # One iterator for all: who is faster does more, and all end together.
                for _ in turns:
                    if self._stopped.is_set():
                        break
                    run()
            except BaseException as raised:
                error = raised
            self._done.put((begin, time.perf_counter(), error))

    def run(self, runners: Sequence[Runner], inferences: int) -> float:
        """Let each thread call its runner until so many inferences are done; returns the seconds that it took.

        Raises:
            Exception: what the first inference that failed raised.
            Stopped: `stop` was called.
        """
        turns = iter(range(inferences))
        self._began = time.monotonic()
        for run, jobs in zip(runners, self._jobs, strict=True):
            jobs.put((run, turns))
        found = [self._done.get() for _ in self._jobs]
        self._began = None
        if self._stopped.is_set():
            raise Stopped
        for _, _, error in found:
            if error is not None:
                raise error
        return max(end for _, end, _ in found) - min(begin for begin, _, _ in found)

    def under_way(self) -> tuple[float, int] | None:
        """Return when the inferences under way began, by `time.monotonic`; None for none."""
        return None if self._began is None else (self._began, 0)

    def stop(self) -> None:
        """End at once, from another thread: the inferences that are under way are the last."""
        self._stopped.set()

    def close(self) -> None:
        """Let the threads end."""
        for jobs in self._jobs:
            jobs.put(None)


class Callers(Sessions[Sequence[Runner]]):
    """Sessions of candidate and reference, each called by all threads of a crew in its turn; a `TimingBench`."""

    def __init__(
        self, candidate: Path, reference: Path, feeds: Mapping[str, Array], runtime: Runtime, crew: Crew
    ) -> None:
        super().__init__(candidate, reference, ())
        self._feeds, self._runtime, self._crew = dict(feeds), runtime, crew
        self.iterations = crew.count
        self.seconds: list[float] = []

    def _open(self, path: Path) -> Sequence[Runner]:
        try:
            session = open_session(path, self._runtime)
            runners = [session_runner(session, self._feeds) for _ in range(self._crew.count)]
        except Exception as error:
            raise OnnxliteError(f"ONNX Runtime cannot load {path.name}: {first_line(error)}") from None
        self._run(path, runners, _WARMUPS * self._crew.count)
        return runners

    def _run(self, path: Path, runners: Sequence[Runner], inferences: int) -> float:
        try:
            return self._crew.run(runners, inferences)
        except Exception as error:
            raise OnnxliteError(
                f"ONNX Runtime cannot run {path.name} for {self._crew.count} callers at the same time: {first_line(error)}"
            ) from None

    def require_same_answers(self) -> None:
        """Check that the candidate answers several callers as it answers one.

        What differs between two runs of one caller is random, and the check of accuracy says so.

        Raises:
            OnnxliteError: an output differs, or the candidate cannot be run.
        """
        path, runners = self._candidate_path, self._open(self._candidate_path)
        answers: list[list[Array]] = []

        def kept(run: Runner) -> Runner:
            return lambda: answers.append(_arrays(run()))

        def alone(count: int) -> list[list[Array]]:
            answers.clear()
            for _ in range(count):
                self._run(path, [kept(runners[0])] * self._crew.count, 1)
            return list(answers)

        def together(count: int) -> list[list[Array]]:
            answers.clear()
            self._run(path, [kept(run) for run in runners], count)
            return list(answers)

        first, second = alone(2)
        several = together(_ANSWERS * self._crew.count)
        wrong = [
            number
            for number, output in enumerate(first)
            if not differs(output, second[number]) and any(differs(output, answer[number]) for answer in several)
        ]
        if wrong:
            # Random numbers that are close together can be alike twice, so one caller is asked as often.
            more = alone(len(several))
            wrong = [number for number in wrong if not any(differs(first[number], answer[number]) for answer in more)]
        if wrong:
            count = sum(any(differs(first[number], answer[number]) for number in wrong) for answer in several)
            raise OnnxliteError(
                f"{path.name} gives {count} of {len(several)} times other answers when {self._crew.count} callers ask one session at "
                "the same time than when one asks. Look for an operator of your own that keeps something between calls and is "
                "not safe for threads; until then give each caller a session."
            )

    def calibrate(self) -> float:
        """Choose how many inferences make a block; returns the seconds of one block."""
        self._open_candidate()
        count = self._crew.count
        each = min(self._run(self._candidate_path, self._candidate, count) for _ in range(3))
        if each < BLOCK_SECONDS:
            trial = max(1, int(BLOCK_SECONDS / each / 2))
            each = min(self._run(self._candidate_path, self._candidate, trial * count) for _ in range(3)) / trial
        # As many for each caller, so that none waits at the end while another does one more.
        self.iterations = count * max(1, round(BLOCK_SECONDS / each))
        return each * self.iterations / count

    def _time(self, path: Path, runners: Sequence[Runner]) -> float:
        return self._run(path, runners, self.iterations) / self.iterations

    def time_candidate(self) -> float:
        """Time a block of the candidate; seconds per inference of all callers together."""
        self.seconds.append(self._time(self._candidate_path, self._candidate))
        return self.seconds[-1]

    def time_reference(self) -> float:
        """Time a block of the reference."""
        return self._time(self._reference_path, self._reference)

    def time_reference_twin(self) -> float:
        """Time a block of the reference's second session."""
        return self._time(self._reference_path, self._twin)


def _arrays(answer: Sequence[Any]) -> list[Array]:
    """Return the outputs of one inference that are arrays of numbers; a sequence or a map is not compared."""
    return [output for output in answer if isinstance(output, np.ndarray) and output.dtype.kind in "biuf"]
