"""Peak memory of loading and running a model, which only a fresh process can tell: `measure` is called in a child."""

from __future__ import annotations

import csv
import ctypes
import sys
from pathlib import Path

import msgspec

from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.runtime.sessions import open_runner, open_session, session_runner
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.workspace import working_folder

# ONNX Runtime plans its memory on the first run and allocates by that plan from the second on.
_MIN_RUNS = 3
_MAX_RUNS = 50
# Two runs in a row that add less than this share of the peak end the measurement.
_SETTLED = 0.001
# Nodes that are named for what they allocate, the largest first.
_MOST_NODES = 20
# Of glibc's mallopt: blocks of at least so many bytes come from the system one by one, and go back when they are freed.
_M_MMAP_THRESHOLD, _LARGE = -3, 128 << 10


class PeakRequest(msgspec.Struct, frozen=True):
    """The model's file, the file with one run's feeds, how it is run, and whether to count what its nodes allocate."""

    model: str
    feeds: str
    runtime: Runtime
    count_nodes: bool = True


class PeakAnswer(msgspec.Struct, frozen=True):
    """Bytes above what was resident before: after loading, and at the highest while running.

    Args:
        method: which of the system's figures was read.
        load: peak bytes of loading.
        run: peak bytes of loading and running.
        settled: whether further runs no longer added anything.
        node_bytes: what ONNX Runtime counts all nodes to allocate in one run; None if it does not tell.
        nodes: the largest nodes and their bytes.
    """

    method: str
    load: int
    run: int
    settled: bool
    node_bytes: int | None
    nodes: list[tuple[str, int]]


class LinuxPeak:
    """The kernel's own high-water mark, which it lets us set back: exact, and of this process alone."""

    name = "VmHWM, freed blocks given back"

    def reset(self) -> None:
        """Set the mark back to what is resident now."""
        Path("/proc/self/clear_refs").write_text("5")

    def current(self) -> int:
        """Return the resident bytes."""
        return _proc_status("VmRSS")

    def peak(self) -> int:
        """Return the highest resident bytes since the reset."""
        return _proc_status("VmHWM")


class LinuxResident(LinuxPeak):
    """What is resident after each step, where /proc does not let the mark be set back: misses short peaks."""

    name = "VmRSS, freed blocks given back"

    def reset(self) -> None:
        """Nothing to set back."""

    def peak(self) -> int:
        """Return the resident bytes."""
        return _proc_status("VmRSS")


class ProcessPeak:
    """The peak over the life of a fresh process, if there is no /proc."""

    name = "PeakWorkingSetSize" if sys.platform == "win32" else "ru_maxrss"

    def reset(self) -> None:
        """The mark cannot be set back."""

    def peak(self) -> int:
        """Return the highest resident bytes of this process's life."""
        if sys.platform == "win32":
            import psutil

            return int(psutil.Process().memory_info().peak_wset)
        import resource

        # macOS counts bytes; it starts anew with each spawned process, which Linux's does not.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def current(self) -> int:
        """Return the peak: there is no cheaper figure of the same kind."""
        return self.peak()


def _proc_status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def choose_meter() -> LinuxPeak | ProcessPeak:
    """Return the best meter that works here."""
    if not sys.platform.startswith("linux"):
        return ProcessPeak()
    try:
        meter = LinuxPeak()
        meter.reset()
        meter.peak()
    except OSError:
        return LinuxResident()
    return meter


def give_back_freed_blocks() -> None:
    """Let what is freed go back to the system, so that a peak is what was in use (glibc).

    Where it keeps freed blocks depends on what happened before, the length of a file's name included: peaks of one file
    under two names differed by 19 %.
    """
    if sys.platform.startswith("linux") and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)


def measure(request: PeakRequest) -> PeakAnswer:
    """Measure the peak of loading, then of running until it stops growing, both above what was resident before."""
    path = Path(request.model)
    if path.suffix == ".tflite":
        import ai_edge_litert.interpreter  # noqa: F401  (so does the library's)
    else:
        import onnxruntime  # noqa: F401
    feeds = arrays.load(Path(request.feeds))
    give_back_freed_blocks()
    meter = choose_meter()
    meter.reset()
    base = meter.current()
    run = open_runner(path, request.runtime, feeds)
    load = meter.peak() - base
    meter.reset()
    peak = before = 0
    runs = quiet_runs = 0
    while runs < _MAX_RUNS and (runs < _MIN_RUNS or quiet_runs < 2):
        run()
        runs += 1
        peak = meter.peak() - base
        quiet_runs = quiet_runs + 1 if peak - before <= _SETTLED * peak else 0
        before = peak
    del run
    node_bytes, nodes = _count_node_bytes(path, request.runtime, feeds) if request.count_nodes else (None, [])
    return PeakAnswer(meter.name, load, peak, quiet_runs >= 2, node_bytes, nodes)


def _count_node_bytes(
    path: Path, runtime: Runtime, feeds: dict[str, Array]
) -> tuple[int | None, list[tuple[str, int]]]:
    """Let ONNX Runtime count what each node allocates in one run (CPU, since 1.22)."""
    if path.suffix == ".tflite":
        return None, []
    with working_folder() as folder:
        stats = folder / "nodes.csv"
        session = open_session(path, runtime, {"session.collect_node_memory_stats_to_file": str(stats)})
        run = session_runner(session, feeds)
        run()
        run()
        del run, session  # it writes when it goes
        if not stats.exists():
            return None, []
        with stats.open(newline="") as file:
            rows = list(csv.DictReader(file))
    # A hash of the node follows its name.
    sizes = [
        (row["#name"].rsplit("_", 1)[0], int(row["total_dynamic_sizes"]) + int(row["total_temp_allocations"]))
        for row in rows
    ]
    sizes.sort(key=lambda entry: (-entry[1], entry[0]))
    return sum(size for _, size in sizes), sizes[:_MOST_NODES]
