"""Times in turns where candidate and last release have a runtime each: two processes, one in each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_onnxlite.checks.last_runtime import LastRuntime
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.latency.references import most_today
from pytest_onnxlite.checks.latency.stopwatch import BLOCK_SECONDS
from pytest_onnxlite.checks.task import Task
from pytest_onnxlite.checks.turns.comparison import LAST_RELEASE, Comparison
from pytest_onnxlite.checks.turns.schedule import Plan, compare_in_turns, rounds_in
from pytest_onnxlite.checks.verdict import BASELINE
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime import arrays, timing
from pytest_onnxlite.runtime.childprocess import Child, ChildError
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.workspace import working_folder

# Pairs of blocks from one pair of processes: for this many seconds, within these numbers. A process costs more than a
# session, and asks to be used for longer.
_PAIR_SECONDS = 0.08
_FEWEST_ROUNDS, _MOST_ROUNDS = 5, 60
_LONG_SECONDS = 0.002


@dataclass(frozen=True)
class Side:
    """What one process times: a file, how it is run, and the packages that come first there.

    Attributes:
        model: the file.
        runtime: how it is run.
        packages: a folder of packages that come before all others; None for those of this process.
    """

    model: Path
    runtime: Runtime
    packages: Path | None

    def start(self) -> Child:
        """Start a process."""
        return Child(packages=self.packages)

    def open_in(self, child: Child, feeds: Path) -> float:
        """Open the file there; returns the seconds of one inference."""
        return child.ask(timing.open_model, timing.OpenRequest(str(self.model), str(feeds), self.runtime))


def with_last_release(
    task: Task[LatencyLimit], last: LastRuntime, found: Latency, feeds: Mapping[str, Array]
) -> Latency:
    """Return a candidate's times with their comparison with the last release in its own runtime."""
    assert task.last_file is not None
    task.progress(f"timing {task.name} in turns with the last release in {last.name}")
    candidate = Side(task.variant.path, task.runtime, None)
    reference = Side(task.last_file, last.runtime, last.packages)
    comparison = compare(candidate, reference, last.name, feeds, task.limit, most_today(task))
    return replace(found, comparisons={**found.comparisons, BASELINE: comparison})


def compare(
    candidate: Side, reference: Side, name: str, feeds: Mapping[str, Array], limit: LatencyLimit, most: float
) -> Comparison:
    """Compare a candidate in today's runtime with the last release in its own.

    What a replicate of the usual comparison does with a fresh pair of sessions, this does with a fresh pair of processes,
    so that both sides pay the same for being one.

    Args:
        candidate: what is judged.
        reference: the last release.
        name: of the last release's runtime.
        feeds: one batch, by input name.
        limit: what the marker asks.
        most: the ratio to look for.

    Raises:
        OnnxliteError: a process cannot load or run a model.
    """
    with working_folder() as folder:
        path = folder / "feeds.npz"
        arrays.save(path, dict(feeds))
        bench = _Processes(candidate, reference, path)
        try:
            seconds = bench.calibrate()
            rounds = rounds_in(_PAIR_SECONDS, max(seconds, BLOCK_SECONDS), _FEWEST_ROUNDS, _MOST_ROUNDS)
            is_long = seconds > _LONG_SECONDS
            plan = Plan(LAST_RELEASE, most, limit.max_slowdown, rounds, is_long, limit.max_time, rests=is_long)
            found = compare_in_turns(bench, plan)
        except ChildError as error:
            raise OnnxliteError(
                f"timing {candidate.model.name} in turns with the last release in {name} failed: {error}."
            ) from None
        finally:
            bench.close()
    return replace(found, runtime=name)


class _Processes:
    """Two processes, one idle while the other is timed; a `TimingBench`."""

    def __init__(self, candidate: Side, reference: Side, feeds: Path) -> None:
        self._candidate, self._reference, self._feeds = candidate, reference, feeds
        # The candidate's, or the reference's twin; and the reference's.
        self._one: Child | None = None
        self._other: Child | None = None
        self._iterations = 1

    def calibrate(self) -> float:
        """Choose how many inferences make a block; returns the seconds of one."""
        seconds = self._open_candidate()
        self._iterations = max(1, round(BLOCK_SECONDS / seconds))
        return seconds

    def _open_candidate(self) -> float:
        self.close()
        self._one = self._candidate.start()
        return self._candidate.open_in(self._one, self._feeds)

    def open_alone(self) -> None:
        """Start a fresh process of the candidate."""
        self._open_candidate()

    def close(self) -> None:
        """Stop both processes."""
        for child in (self._one, self._other):
            if child is not None:
                child.__exit__()
        self._one = self._other = None

    def _open(self, one: Side, one_first: bool) -> None:
        self.close()
        # They start together, which halves the time, and load their models one after the other.
        self._one, self._other = one.start(), self._reference.start()
        order = [(one, self._one), (self._reference, self._other)]
        for side, child in order if one_first else reversed(order):
            side.open_in(child, self._feeds)

    def open_pair(self, candidate_first: bool) -> None:
        """Start fresh processes of both, and open the models in the order given."""
        self._open(self._candidate, candidate_first)

    def open_self_pair(self) -> None:
        """Start two fresh processes of the reference."""
        self._open(self._reference, True)

    def _time(self, child: Child | None) -> float:
        assert child is not None
        return child.ask(timing.time_block, self._iterations)

    def time_candidate(self) -> float:
        """Time a block of the candidate."""
        return self._time(self._one)

    def time_reference(self) -> float:
        """Time a block of the reference."""
        return self._time(self._other)

    def time_reference_twin(self) -> float:
        """Time a block of the reference's second process."""
        return self._time(self._one)

    def rest(self, seconds: float) -> None:
        """Do nothing for a while."""
        time.sleep(seconds)

    def now(self) -> float:
        """Return the time in seconds."""
        return time.perf_counter()
