"""The child process: what it answers, and what is said when it dies."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from pytest_onnxlite import child
from pytest_onnxlite.checks.memory import measure as memory
from pytest_onnxlite.runtime.childprocess import ChildError, ask

from onnx_models import dense, wide

MIB = 1 << 20


def test_a_model_that_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ChildError, match=r"INVALID_PROTOBUF|Protobuf parsing failed"):
        ask({"task": "first_run", "model": str(path), "threads": 1, "feeds": "", "outputs": ""})


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_crash_in_native_code_is_told_by_its_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashing = tmp_path / "child.py"
    crashing.write_text("import ctypes; ctypes.string_at(0)")
    monkeypatch.setattr("pytest_onnxlite.runtime.childprocess._SCRIPT", crashing)
    with pytest.raises(ChildError, match="died of SIGSEGV"):
        ask({})


def test_a_child_that_ends_early_is_told_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "child.py"
    script.write_text("import sys; sys.exit('out of luck')")
    monkeypatch.setattr("pytest_onnxlite.runtime.childprocess._SCRIPT", script)
    with pytest.raises(ChildError, match="ended with code 1: out of luck"):
        ask({})


def test_a_child_that_does_not_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "child.py"
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr("pytest_onnxlite.runtime.childprocess._SCRIPT", script)
    with pytest.raises(ChildError, match="did not end within"):
        ask({}, timeout=0.2)


def test_the_child_imports_numpy_and_onnx_runtime_alone(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys, runpy; sys.argv = [sys.argv[1]]; sys.stdin = open('/dev/null');"
        "import pytest_onnxlite.child, onnxruntime, numpy;"
        "print([m for m in ('pytest', 'onnx', 'tensorflow', 'hypothesis', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, "x"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_activations_show_in_the_peak_while_running(tmp_path: Path) -> None:
    feeds = {"x": np.ones((1, 1, 64, 64), np.float32)}
    one = memory.measure(wide(tmp_path / "a.onnx", 1024), None, feeds, 1, 1)
    two = memory.measure(wide(tmp_path / "b.onnx", 2048), None, feeds, 1, 1)
    # 1,024 more maps of 64 × 64 floats are 16 MiB in each tensor that lives at once; at least two do.
    assert two.candidate.run - one.candidate.run > 30 * MIB
    assert (one.method, one.reference) == ("VmHWM", None)


@pytest.mark.alone  # next to a busy worker a peak is now and then one weight higher; so a guard refuses to measure there
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_peak_repeats(tmp_path: Path) -> None:
    path = dense(tmp_path / "a.onnx", 4, 1024)
    feeds = {"x": np.ones((1, 1024), np.float32)}
    found = memory.measure(path, path, feeds, 1, 1)
    assert found.reference is not None
    for phase in ("load", "run"):
        assert getattr(found.candidate, phase) == pytest.approx(getattr(found.reference, phase), rel=0.005)


def test_where_proc_is_locked_the_resident_set_is_read_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(self: child.LinuxPeak) -> None:
        raise PermissionError

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(child.LinuxPeak, "reset", locked)
    meter = child.choose_meter()
    assert meter.name == "VmRSS"


def test_where_there_is_no_proc_the_process_peak_is_read_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    meter = child.choose_meter()
    assert isinstance(meter, child.ProcessPeak)
    assert meter.name == "ru_maxrss"
    assert meter.peak() > 0
