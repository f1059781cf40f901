"""What runs in a child process: a new model's first run; memory, which only a fresh process can tell; answers on
another processor.

Started as a script with one JSON request on standard input; answers with one line of JSON, and imports numpy
and ONNX Runtime alone.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # The package itself must be importable, and nothing that lies beside this file must be.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pytest_onnxlite.runtime.interpreter import open_interpreter
from pytest_onnxlite.runtime.sessions import open_runner, open_session, session_outputs

# ONNX Runtime plans its memory on the first run and allocates by that plan from the second on.
_MIN_RUNS = 3
# Nodes that are named for what they allocate, the largest first.
_MOST_NODES = 20
_MAX_RUNS = 50
# Two runs in a row that add less than this share of the peak end the measurement.
_SETTLED = 0.001


def _read_feeds(path: str) -> dict[str, Any]:
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def first_run(request: dict[str, Any]) -> dict[str, Any]:
    """Load the model and run it once, writing the outputs beside the feeds."""
    import numpy as np

    path = Path(request["model"])
    if path.suffix == ".tflite":
        outputs = open_interpreter(path, request["threads"]).run(_read_feeds(request["feeds"]))
    else:
        session = open_session(path, request["threads"])
        names = [info.name for info in session_outputs(session)]
        outputs = dict(zip(names, session.run(names, _read_feeds(request["feeds"])), strict=True))
    np.savez(request["outputs"], **outputs)  # type: ignore[arg-type]
    return {}


class LinuxPeak:
    """The kernel's own high-water mark, which it lets us set back: exact, and of this process alone."""

    name = "VmHWM"

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

    name = "VmRSS"

    def reset(self) -> None:
        """Nothing to set back."""

    def peak(self) -> int:
        """Return the resident bytes."""
        return _proc_status("VmRSS")


class ProcessPeak:
    """The peak over the life of a fresh process, where there is no /proc."""

    name = "PeakWorkingSetSize" if sys.platform == "win32" else "ru_maxrss"

    def reset(self) -> None:
        """The mark cannot be set back."""

    def peak(self) -> int:
        """Return the highest resident bytes of this process's life."""
        if sys.platform == "win32":
            return _windows_peak()
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


def _windows_peak() -> int:
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", wintypes.DWORD),
            ("PageFaultCount", wintypes.DWORD),
            *((name, ctypes.c_size_t) for name in ("PeakWorkingSetSize", "WorkingSetSize", *"abcdef")),
        )

    counters = Counters()
    counters.cb = ctypes.sizeof(counters)
    windll: Any = ctypes.windll  # type: ignore[attr-defined,unused-ignore]
    windll.kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    windll.psapi.GetProcessMemoryInfo.argtypes = (wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD)
    handle = windll.kernel32.GetCurrentProcess()
    if not windll.psapi.GetProcessMemoryInfo(handle, ctypes.byref(counters), counters.cb):
        raise OSError("GetProcessMemoryInfo failed")
    return int(counters.PeakWorkingSetSize)


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


def memory(request: dict[str, Any]) -> dict[str, Any]:
    """Measure the peak of loading, then of running until it stops growing, both above what stood before."""
    import numpy as np  # noqa: F401  (its memory belongs to what stands before)

    path = Path(request["model"])
    if path.suffix == ".tflite":
        import ai_edge_litert.interpreter  # noqa: F401  (so does the library's)
    else:
        import onnxruntime  # noqa: F401
    feeds = _read_feeds(request["feeds"])
    meter = choose_meter()
    meter.reset()
    base = meter.current()
    run = open_runner(path, request["threads"], feeds)
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
    return {
        **_count_node_bytes(request, feeds),
        "method": meter.name,
        "base": base,
        "load": load,
        "run": peak,
        "runs": runs,
        "settled": quiet_runs >= 2,
    }


def _count_node_bytes(request: dict[str, Any], feeds: dict[str, Any]) -> dict[str, Any]:
    """Let ONNX Runtime count what each node allocates in one run (CPU, since 1.22)."""
    if Path(request["model"]).suffix == ".tflite":
        return {"node_bytes": None, "nodes": []}
    with tempfile.TemporaryDirectory(prefix="onnxlite-") as folder:
        path = Path(folder) / "nodes.csv"
        session = open_session(
            Path(request["model"]), request["threads"], {"session.collect_node_memory_stats_to_file": str(path)}
        )
        session.run(None, feeds)
        session.run(None, feeds)
        del session  # it writes when it goes
        if not path.exists():
            return {"node_bytes": None, "nodes": []}
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    # A hash of the node follows its name.
    sizes = [
        (row["#name"].rsplit("_", 1)[0], int(row["total_dynamic_sizes"]) + int(row["total_temp_allocations"]))
        for row in rows
    ]
    sizes.sort(key=lambda entry: (-entry[1], entry[0]))
    return {"node_bytes": sum(size for _, size in sizes), "nodes": sizes[:_MOST_NODES]}


def layers(request: dict[str, Any]) -> dict[str, Any]:
    """Compare a quantized model with the float one, tensor by tensor."""
    from pytest_onnxlite.explain.layers import analyse

    runs: dict[int, dict[str, Any]] = {}
    for key, array in _read_feeds(request["feeds"]).items():
        number, _, name = key.partition(" ")
        runs.setdefault(int(number), {})[name] = array
    with tempfile.TemporaryDirectory(prefix="onnxlite-") as folder:
        return analyse(
            Path(request["reference"]),
            Path(request["candidate"]),
            list(runs.values()),
            request["threads"],
            Path(folder),
            request["seconds"],
        )


def outputs(request: dict[str, Any]) -> dict[str, Any]:
    """Run the samples of `feeds` batch by batch while there is time, and write the outputs of those that were run.

    Returns:
        `samples`, how many were run, the first ones; `seconds`, how long that took; `processor`, what this process runs on.
    """
    from pytest_onnxlite.processors import this_processor
    from pytest_onnxlite.variants import arrays
    from pytest_onnxlite.variants.variant import OnnxVariant

    start = time.monotonic()
    samples = arrays.load(Path(request["feeds"]))
    total = len(next(iter(samples.values())))
    batch_size = request["batch_size"]
    variant = OnnxVariant(
        request["name"], request["kind"], Path(request["model"]), threads=request["threads"], batched=request["batched"]
    )
    parts = []
    longest, began = 0.0, time.monotonic()
    for part in variant.parts(samples, batch_size):
        parts.append(part)
        now = time.monotonic()
        longest, began = max(longest, now - began), now
        # One more of the longest must fit: what is not written when the time is up is lost.
        if now + longest - start > request["seconds"]:
            break
    done = min(len(parts) * batch_size, total)
    arrays.save(Path(request["outputs"]), variant.join(parts, batch_size, done))
    return {"samples": done, "seconds": time.monotonic() - start, "processor": this_processor()}


def main() -> None:
    """Answer the request on standard input."""
    # Whatever a library prints must not end up in the answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.read())
    tasks = {"first_run": first_run, "memory": memory, "layers": layers, "outputs": outputs}
    try:
        result = tasks[request["task"]](request)
    except Exception as error:
        result = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    answer.write(json.dumps(result) + "\n")
    answer.flush()


if __name__ == "__main__":
    main()
