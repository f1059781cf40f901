"""Children that are forked: they end as others do, they belong to nobody else, and their peaks are those of fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite.checks.memory.measure import measure
from pytest_onnxlite.checks.memory.soak import run_often
from pytest_onnxlite.runtime import arrays, forking, peak
from pytest_onnxlite.runtime.childprocess import Child, ChildError, ask
from pytest_onnxlite.spec.runtimes import Runtime

from asked import (
    be_killed,
    crash,
    crash_at_the_end,
    double,
    folder,
    imported,
    kill_parent,
    leave,
    open_files,
    parent,
    processors,
    threads,
    variable,
    wait_long,
)
from onnx_models import dense, wide
from processes import lives, wait_for

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork, and Linux's /proc")

MIB = 1 << 20


@contextmanager
def on_one_processor() -> Iterator[int]:
    """Keep this process, and those that it starts, on one processor: the kernel counts pages in batches for each."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield min(before)
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture(autouse=True)
def _functions_of_this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child finds a function by its module's name."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def test_children_of_one_server_answer_and_have_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = {ask(parent, "", fork=True) for _ in range(3)}
    assert len(servers) == 1
    assert servers != {os.getpid()}
    assert ask(parent, "") == os.getpid()
    assert ask(double, 4, fork=True) == 8
    assert ask(threads, "", fork=True) == 2
    assert ask(open_files, "", fork=True) == []
    modules = ask(imported, "", fork=True)
    assert "numpy" in modules
    # Its threads would not be there in a forked child.
    assert "onnxruntime" not in modules
    monkeypatch.chdir(tmp_path)
    assert ask(folder, "", fork=True) == str(tmp_path)


def test_a_child_has_the_environment_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ask(parent, "", fork=True)
    assert ask(variable, "OPENBLAS_NUM_THREADS", fork=True) == os.environ.get("OPENBLAS_NUM_THREADS", "")
    for value in ("yes", "été", "long " * 10_000):
        monkeypatch.setenv("ONNXLITE_TRIED", value)
        assert ask(variable, "ONNXLITE_TRIED", fork=True) == value
    monkeypatch.delenv("ONNXLITE_TRIED")
    assert ask(variable, "ONNXLITE_TRIED", fork=True) == ""
    assert ask(parent, "", fork=True) == before
    # What a process reads as it starts alone.
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert ask(variable, "PYTHONHASHSEED", fork=True) == "7"
    wait_for(lambda: not lives(before))


def test_a_child_that_stays_has_one_processor_and_another_those_of_the_process_that_asks() -> None:
    of_this_process = sorted(os.sched_getaffinity(0))
    (stays_on,) = ask(processors, "", fork=True, stays=True)
    assert stays_on in of_this_process
    assert ask(processors, "", fork=True) == of_this_process
    with on_one_processor() as processor:
        assert ask(processors, "", fork=True) == [processor]


@pytest.mark.parametrize("runtime", [Runtime(), Runtime(threads=2)], ids=["one thread", "two threads"])
def test_memory_is_measured_on_one_processor_where_one_thread_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: Runtime
) -> None:
    """Each child that measured is asked, before it ends, where it ran."""
    of_this_process = sorted(os.sched_getaffinity(0))
    ran_on: list[list[int]] = []
    answer = Child.answer

    def answer_twice(child: Child, function: Any, *timeout: float) -> Any:
        found = answer(child, function, *timeout)
        if function is not processors:
            ran_on.append(child.ask(processors, ""))
        return found

    monkeypatch.setattr(Child, "answer", answer_twice)
    model, feeds = dense(tmp_path / "a.onnx", 1), {"x": np.ones((1, 256), np.float32)}
    measure(model, None, feeds, 1, runtime)
    of_measure = len(ran_on)
    run_often(model, [feeds], runtime, 20)
    assert 0 < of_measure < len(ran_on)
    if runtime.has_one_thread:
        assert all(len(found) == 1 and set(found) <= set(of_this_process) for found in ran_on)
    else:
        assert ran_on == [of_this_process] * len(ran_on)


def test_an_environment_that_no_message_can_have_is_for_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        monkeypatch.setenv(f"ONNXLITE_TRIED_{number}", "x" * 100_000)
    assert ask(parent, "", fork=True) == os.getpid()
    assert ask(variable, "ONNXLITE_TRIED_9", fork=True) == "x" * 100_000


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (crash, "died of SIGSEGV: a crash in native code"),
        (be_killed, "most likely because memory ran out"),
        (crash_at_the_end, "died of SIGSEGV: a crash in native code"),
    ],
)
def test_how_a_child_died_is_told_and_the_next_is_none_the_worse(function: object, told: str) -> None:
    with pytest.raises(ChildError, match=told):
        ask(function, "", fork=True)  # type: ignore[arg-type]
    assert ask(double, 4, fork=True) == 8


def test_a_child_that_ends_early_is_told_with_what_it_alone_said() -> None:
    with Child(fork=True) as one, Child(fork=True) as other:
        one.request(leave, "one\n")
        other.request(leave, "other\n")
        for child, word in ((one, "one"), (other, "other")):
            with pytest.raises(ChildError, match=f"ended with code 3: {word}$"):
                child.answer(leave)


def test_a_child_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    note = tmp_path / "child.txt"
    with pytest.raises(ChildError, match="did not end within"):
        ask(wait_long, str(note), timeout=2, fork=True)
    assert not lives(int(note.read_text()[:-1]))


def test_a_server_that_the_system_killed_takes_its_child_along_and_is_started_again() -> None:
    with pytest.raises(ChildError, match="was killed"):
        ask(kill_parent, "", fork=True)
    assert ask(double, 4, fork=True) == 8


def test_a_server_and_its_child_end_with_the_process_that_asked(tmp_path: Path) -> None:
    note = tmp_path / "child.txt"
    code = (
        "import sys; from asked import parent, wait_long; from pytest_onnxlite.runtime.childprocess import ask;"
        "print(ask(parent, '', fork=True), flush=True); ask(wait_long, sys.argv[1], fork=True)"
    )
    asks = subprocess.Popen([sys.executable, "-c", code, str(note)], stdout=subprocess.PIPE, text=True)
    with asks:
        assert asks.stdout is not None
        server = int(asks.stdout.readline())
        wait_for(lambda: note.exists() and note.read_text().endswith("."))
        child = int(note.read_text()[:-1])
        asks.kill()
    wait_for(lambda: not lives(child) and not lives(server))


def test_nothing_is_left_open_or_said_at_the_end() -> None:
    code = (
        "import os; from asked import double, parent; from pytest_onnxlite.runtime.childprocess import ask\n"
        "print(ask(parent, '', fork=True))\nos.environ['PYTHONHASHSEED'] = '1'\nprint(ask(parent, '', fork=True))\n"
        # A forked copy of this process has servers of its own, and leaves those of this one alone.
        "pid = os.fork()\n"
        "if not pid:\n    raise SystemExit(ask(double, 2, fork=True) - 4)\n"
        "assert os.waitpid(pid, 0)[1] == 0\nprint(ask(parent, '', fork=True))"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second, third = map(int, done.stdout.split())
    assert (first != second, second == third, done.stderr) == (True, True, "")
    wait_for(lambda: not lives(first) and not lives(second))


def test_where_nothing_can_be_forked_a_process_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    script = tmp_path / "server.py"
    script.write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(forking, "_SCRIPT", script)
        assert ask(parent, "", fork=True) == os.getpid()
    monkeypatch.setenv("PYTHONHASHSEED", "2")
    assert ask(parent, "", fork=True) != os.getpid()


def test_a_forked_child_reads_the_peaks_of_a_fresh_process(tmp_path: Path) -> None:
    small, large = {"x": np.ones((1, 1024), np.float32)}, {"x": np.ones((1, 1, 64, 64), np.float32)}
    for model, feeds in ((dense(tmp_path / "a.onnx", 2, 1024), small), (wide(tmp_path / "b.onnx", 512), large)):
        arrays.save(tmp_path / "feeds.npz", feeds)
        request = peak.PeakRequest(str(model), str(tmp_path / "feeds.npz"), Runtime(), count_nodes=False)
        # The kernel's batches can make one of them too low, and none too high.
        forked = [ask(peak.measure, request, fork=True, stays=True) for _ in range(3)]
        with on_one_processor():
            fresh = [ask(peak.measure, request) for _ in range(3)]
        assert forked[0].method == fresh[0].method
        assert max(one.load for one in forked) == pytest.approx(max(one.load for one in fresh), abs=MIB / 8)
        # Where the pages of the server's files are not in the child's memory, this is 60 KiB.
        assert max(one.run for one in forked) == pytest.approx(max(one.run for one in fresh), abs=MIB / 32)


def test_a_peak_is_what_is_in_use_whatever_the_file_is_called(tmp_path: Path) -> None:
    """A heap that keeps freed blocks made peaks of one file differ by up to 19 % between two names."""
    feeds = tmp_path / "feeds.npz"
    arrays.save(feeds, {"x": np.ones((1, 1024), np.float32)})
    runs = []
    for layers in (6, 8):
        model = dense(tmp_path / "model.onnx", layers, 1024)
        for letters in (1, 25, 130):
            named = model.rename(tmp_path / f"{'x' * letters}.onnx")
            request = peak.PeakRequest(str(named), str(feeds), Runtime(), count_nodes=False)
            runs.append(ask(peak.measure, request, fork=True, stays=True).run)
            model = named
    assert max(runs[:3]) == pytest.approx(min(runs[:3]), rel=0.003)
    # Two more weights of 4 MiB each.
    assert min(runs[3:]) - min(runs[:3]) == pytest.approx(8 * MIB, rel=0.02)
