"""The cold start: creating a session, or its first run, of candidate and last release in turns, each in a fresh process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from pytest_onnxlite.checks.latency.beside import Ready, made_ready
from pytest_onnxlite.checks.latency.judge import judge_latency
from pytest_onnxlite.checks.latency.judge_total import against_last, judge_total
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.latency.references import most_today
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.task import Judged, Task
from pytest_onnxlite.checks.turns.comparison import LAST_RELEASE
from pytest_onnxlite.checks.turns.schedule import Plan, compare_in_turns
from pytest_onnxlite.checks.verdict import BASELINE
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime import arrays, timing
from pytest_onnxlite.runtime.childprocess import Child, ChildError
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.running import shapes_of
from pytest_onnxlite.workspace import working_folder

# Processes of each side that make one replicate, and replicates of a candidate that is timed alone.
_ROUNDS, _ALONE = 1, 8


def judge_cold(task: Task[LatencyLimit]) -> Judged[Latency]:
    """Time the phase that the marker names, at the longest shape, and judge it by the ratio to the last release's."""
    ready = made_ready(task, needs_baseline=task.mode != "save")
    if not isinstance(ready, Ready):
        return ready
    task, reference = ready.task, ready.reference
    task.progress(f"starting {task.name} in fresh processes")
    last = None if isinstance(reference, Absent) else task.last_file
    latency = against_last(task.limit, measure(task, ready.path, last, ready.feeds[0]))
    verdicts = judge_latency(task.limit, latency, reference, file=task.sha256)
    totals = [] if isinstance(reference, Absent) else judge_total(task.limit, latency, reference, task.sha256)
    return Judged(latency, [*totals, *verdicts])


def measure(task: Task[LatencyLimit], candidate: Path, last: Path | None, feeds: Mapping[str, Array]) -> Latency:
    """Time the phase of a candidate, and of the last release between.

    Raises:
        OnnxliteError: a process cannot load or run a model.
    """
    start = time.perf_counter()
    with working_folder() as folder:
        path = folder / "feeds.npz"
        arrays.save(path, dict(feeds))
        bench = Starts(candidate, last or candidate, path, task.runtime, task.limit.phase)
        comparisons = {}
        try:
            if last is not None:
                most, limit, same = most_today(task), task.limit, task.is_unchanged
                plan = Plan(LAST_RELEASE, most, limit.max_slowdown, _ROUNDS, False, limit.max_time, same=same)
                comparisons[BASELINE] = compare_in_turns(bench, plan)
            else:
                for _ in range(_ALONE * _ROUNDS):
                    bench.time_candidate()
        except ChildError as error:
            raise OnnxliteError(f"starting {candidate.name} in a fresh process failed: {error}.") from None
    return Latency(
        seconds=median(bench.seconds),
        sessions=tuple(bench.seconds),
        rounds=len(bench.seconds),
        iterations=1,
        batch_size=task.batch_size,
        threads=task.runtime.threads,
        comparisons=comparisons,
        duration=time.perf_counter() - start,
        shapes=shapes_of(feeds),
        phase=task.limit.phase,
    )


class Starts:
    """Fresh processes, one at a time, in each of which a model is started; a `TimingBench`."""

    def __init__(self, candidate: Path, reference: Path, feeds: Path, runtime: Runtime, phase: str) -> None:
        self._candidate, self._reference = candidate, reference
        self._feeds, self._runtime, self._phase = feeds, runtime, phase
        self.seconds: list[float] = []

    def _start(self, model: Path) -> float:
        with Child(fork=True) as child:
            found = child.ask(timing.start_up, timing.OpenRequest(str(model), str(self._feeds), self._runtime))
        return found.load if self._phase == "load" else found.first

    def open_alone(self) -> None:
        """Nothing: each start has a process of its own."""

    def open_pair(self, candidate_first: bool) -> None:
        """Nothing: each start has a process of its own."""

    def open_self_pair(self) -> None:
        """Nothing either."""

    def time_candidate(self) -> float:
        """Start the candidate, and keep its seconds."""
        self.seconds.append(self._start(self._candidate))
        return self.seconds[-1]

    def time_reference(self) -> float:
        """Start the reference."""
        return self._start(self._reference)

    def time_reference_twin(self) -> float:
        """Start the reference for itself to be compared with."""
        return self._start(self._reference)

    def rest(self, seconds: float) -> None:
        """Do nothing for a while."""
        time.sleep(seconds)

    def now(self) -> float:
        """Return the time in seconds."""
        return time.perf_counter()
