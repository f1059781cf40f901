"""Sessions that are timed, with pytest-benchmark as the candidate's clock."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from pytest_onnxlite.checks.turns.comparison import Comparison
from pytest_onnxlite.checks.turns.sessions import Sessions
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.garbage import no_collections
from pytest_onnxlite.runtime.sessions import open_runner
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.text import first_line

# Long against the timer and the loop around it, short against a scheduler's slice, so that some blocks have the
# machine for themselves.
BLOCK_SECONDS = 0.001


# ONNX Runtime plans its memory on the first run; from the second on it runs by that plan.
_WARMUP_RUNS = 2


_WARMUP_SECONDS = 0.005


class _Enough(BaseException):
    """Ends pytest-benchmark's rounds.

    No `Exception`, because pytest-benchmark marks a benchmark as failed when one of those passes through it.
    """


class Stopwatch(Sessions[Callable[[], Any]]):
    """Sessions of candidate and reference, and a pytest-benchmark fixture as the candidate's clock."""

    def __init__(
        self,
        candidate: Path,
        feeds: Mapping[str, Array],
        runtime: Runtime,
        benchmark: Any,
    ) -> None:
        super().__init__(candidate, candidate, _nothing)
        self._feeds = dict(feeds)
        self._runtime = runtime
        self._benchmark = benchmark
        self.iterations = 1
        self.data: list[float] = []
        self.sessions: list[int] = []

    def compare_with(self, reference: Path) -> None:
        """Take another reference from here on."""
        self._reference_path = reference

    def calibrate(self) -> float:
        """Choose how many inferences make a block; returns the seconds of one."""
        run = self._open(self._candidate_path)
        seconds = min(self._timed(run, 1) for _ in range(5))
        if seconds < BLOCK_SECONDS:
            trial = max(1, int(BLOCK_SECONDS / seconds / 2))
            seconds = min(self._timed(run, trial) for _ in range(3))
        self.iterations = max(1, round(BLOCK_SECONDS / seconds))
        return seconds

    def _open(self, path: Path) -> Callable[[], Any]:
        try:
            run = open_runner(path, self._runtime, self._feeds)
            start = perf_counter()
            for number in range(1000):
                if number >= _WARMUP_RUNS and perf_counter() - start > _WARMUP_SECONDS:
                    break
                self._go_on()
                run()
        except Exception as error:
            raise OnnxliteError(f"{_runtime(path)} cannot run {path.name} to time it: {first_line(error)}") from None
        return run

    def _open_candidate(self) -> None:
        super()._open_candidate()
        self.sessions.append(len(self.data))

    def open_reference(self) -> None:
        """Open a fresh session of the reference alone."""
        self.close()
        self._reference = self._open(self._reference_path)

    def time_reference(self) -> float:
        """Time a block of the reference."""
        return self._timed(self._run_reference, self.iterations)

    def time_reference_twin(self) -> float:
        """Time a block of the reference's second session."""
        return self._timed(self._run_twin, self.iterations)

    def _timed(self, run: Callable[[], Any], iterations: int) -> float:
        self._go_on()
        stats = self._benchmark.stats
        # The candidate's clock, whatever --benchmark-timer says.
        timer = perf_counter if stats is None else stats.options["timer"]
        loop = range(iterations)
        nothing: dict[str, object] = {}
        start = timer()
        # To the letter what pytest-benchmark does for the candidate: an inference of 20 µs shows a call more.
        for _ in loop:
            run(*(), **nothing)
        end = timer()
        return float(end - start) / iterations

    def run_candidate(self) -> Any:
        """Run the candidate once: what pytest-benchmark times."""
        return self._candidate()

    def _run_reference(self) -> Any:
        return self._reference()

    def _run_twin(self) -> Any:
        return self._twin()

    def drive(self, turns: Generator[None, float, dict[str, Comparison]]) -> dict[str, Comparison]:
        """Let pytest-benchmark time a block whenever the turns say that one is due.

        Returns:
            What the turns ended in; `data` then holds the candidate's seconds per inference, by round.
        """
        result: list[dict[str, Comparison]] = []

        def advance(step: Callable[[], None]) -> None:
            try:
                step()
            except StopIteration as stop:
                result.append(stop.value)
                raise _Enough from None

        def after_round() -> None:
            self._go_on()
            self.data.append(self._benchmark.stats.stats.data[-1])
            advance(lambda: turns.send(self.data[-1]))

        try:
            with no_collections():
                advance(lambda: next(turns))
                # Ends by _Enough: how many rounds are needed shows on the way.
                self._benchmark.pedantic(
                    self.run_candidate, teardown=after_round, rounds=1_000_000_000, iterations=self.iterations
                )
        except _Enough:
            pass
        finally:
            self.close()
        return result[0]

    def session_medians(self) -> tuple[float, ...]:
        """Return the candidate's median seconds per inference in each of its sessions."""
        ends = [*self.sessions[1:], len(self.data)]
        return tuple(median(self.data[a:b]) for a, b in zip(self.sessions, ends, strict=True) if b > a)


def _runtime(path: Path) -> str:
    return "LiteRT" if path.suffix == ".tflite" else "ONNX Runtime"


def _nothing() -> None:
    raise AssertionError("no session is open")
