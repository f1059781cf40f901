"""The child process: what it answers, and what is said when it dies."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pytest_onnxlite.checks.memory import measure as memory
from pytest_onnxlite.runtime import arrays, peak, trial
from pytest_onnxlite.runtime.childprocess import ChildError, ask
from pytest_onnxlite.spec.runtimes import Runtime

from asked import double
from onnx_models import dense, wide
from processes import lives, wait_for

MIB = 1 << 20


def test_a_model_that_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no model")
    feeds = tmp_path / "feeds.npz"
    arrays.save(feeds, {"x": np.ones((1, 4), np.float32)})
    with pytest.raises(ChildError, match=r"INVALID_PROTOBUF|Protobuf parsing failed"):
        ask(trial.run, trial.TrialRequest(str(path), str(feeds), "", Runtime()))


def _child_is(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "child.py"
    script.write_text(text)
    monkeypatch.setattr("pytest_onnxlite.runtime.childprocess._SCRIPT", script)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_crash_in_native_code_is_told_by_its_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _child_is("import ctypes; ctypes.string_at(0)", tmp_path, monkeypatch)
    with pytest.raises(ChildError, match="died of SIGSEGV: a crash in native code"):
        ask(double, 4)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_child_that_the_system_killed_is_not_told_as_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _child_is("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", tmp_path, monkeypatch)
    with pytest.raises(ChildError, match="most likely because memory ran out"):
        ask(double, 4)


def test_a_child_that_ends_early_is_told_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _child_is("import sys; sys.exit('out of luck')", tmp_path, monkeypatch)
    with pytest.raises(ChildError, match="ended with code 1: out of luck"):
        ask(double, 4)


def test_a_child_that_does_not_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _child_is("import time; time.sleep(60)", tmp_path, monkeypatch)
    with pytest.raises(ChildError, match="did not end within"):
        ask(double, 4, timeout=0.2)


@pytest.mark.parametrize(
    "answer", [[], None, {}, {"result": "eight"}, {"result": [8]}, {"result": 8, "error": 3}, {"error": []}], ids=str
)
def test_an_answer_that_makes_no_sense_is_no_answer(
    answer: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _child_is(
        f"import sys, msgspec; body = msgspec.msgpack.encode({answer!r})\n"
        "sys.stdout.buffer.write(len(body).to_bytes(8, 'little') + body)",
        tmp_path,
        monkeypatch,
    )
    with pytest.raises(ChildError, match="an answer that makes no sense"):
        ask(double, 4)


def test_of_a_child_that_says_too_much_the_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _child_is(
        "import sys\nfor _ in range(300):\n    sys.stderr.write('x' * (1 << 20))\nsys.exit('\\nthe end')",
        tmp_path,
        monkeypatch,
    )
    tracemalloc.start()
    try:
        with pytest.raises(ChildError, match=r"code 1: the end$"):
            ask(double, 4)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * MIB


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    note = tmp_path / "child.txt"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from asked import wait_long; from pytest_onnxlite.runtime.childprocess import ask;"
            "ask(wait_long, sys.argv[1])",
            str(note),
        ],
        # The child finds the function by its module's name.
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    wait_for(lambda: note.exists() and note.read_text().endswith("."))
    pid = int(note.read_text()[:-1])
    parent.kill()
    parent.wait()
    wait_for(lambda: not lives(pid))


def test_the_child_imports_numpy_and_onnx_runtime_alone(tmp_path: Path) -> None:
    code = (
        "import sys, runpy; sys.argv = [sys.argv[1]]; sys.stdin = open('/dev/null');"
        "import pytest_onnxlite.runtime.peak, onnxruntime, numpy;"
        "print([m for m in ('pytest', 'onnx', 'tensorflow', 'hypothesis', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, "x"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_activations_show_in_the_peak_while_running(tmp_path: Path) -> None:
    feeds = {"x": np.ones((1, 1, 64, 64), np.float32)}
    one = memory.measure(wide(tmp_path / "a.onnx", 1024), None, feeds, 1, Runtime())
    two = memory.measure(wide(tmp_path / "b.onnx", 2048), None, feeds, 1, Runtime())
    # 1,024 more maps of 64 × 64 floats are 16 MiB in each tensor that lives at once; at least two do.
    assert two.candidate.run - one.candidate.run > 30 * MIB
    assert (one.method, one.reference) == ("VmHWM, freed blocks given back", None)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_peak_repeats(tmp_path: Path) -> None:
    path = dense(tmp_path / "a.onnx", 4, 1024)
    feeds = {"x": np.ones((1, 1024), np.float32)}
    found = memory.measure(path, path, feeds, 1, Runtime())
    assert found.reference is not None
    for phase in ("load", "run"):
        assert getattr(found.candidate, phase) == pytest.approx(getattr(found.reference, phase), rel=0.005)


def test_where_proc_is_locked_the_resident_set_is_read_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(self: peak.LinuxPeak) -> None:
        raise PermissionError

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(peak.LinuxPeak, "reset", locked)
    meter = peak.choose_meter()
    assert meter.name == "VmRSS, freed blocks given back"


def test_where_there_is_no_proc_the_process_peak_is_read_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    meter = peak.choose_meter()
    assert isinstance(meter, peak.ProcessPeak)
    assert meter.name == "ru_maxrss"
    assert meter.peak() > 0
