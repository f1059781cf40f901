"""What a person at a terminal is told while it is measured; a file and a pipe are told nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import dense
from projects import Project

pty: Any = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")

TWO = """
    import pytest

    @pytest.mark.onnxlite_memory(max="1 GiB")
    def test_one(onnxlite_onnx):
        pass

    @pytest.mark.onnxlite_memory(max="1 GiB")
    def test_two(onnxlite_onnx):
        pass
"""


def at_a_terminal(folder: Path, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", *arguments]
    with subprocess.Popen(command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 1 << 16):
                said += part
        except OSError:  # so a pseudo-terminal ends on Linux
            pass
    os.close(ours)
    assert child.returncode == 0
    return said.decode()


def test_a_person_is_told_what_is_done_and_how_many_are_left(project: Project, tmp_path: Path) -> None:
    project.write(
        {"onnx": dense(tmp_path / "a.onnx", 2)}, np.ones((4, 256), np.float32), test=TWO.replace("\n    ", "\n")
    )
    said = at_a_terminal(project.path, "--onnxlite-save-baseline")
    told = [line for line in said.replace("\r", "\n").splitlines() if "onnxlite [" in line]
    assert "onnxlite [2 of 2 left]: " in told[0]
    assert "onnxlite [1 of 2 left]: " in told[-1]
    assert "left]" not in at_a_terminal(project.path, "--onnxlite-baseline", "-q")
    assert "left]" not in project.run("--onnxlite-baseline").stdout.str()
