"""Asks the child process, and turns its end into something a person can read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from pytest_onnxlite import processors
from pytest_onnxlite.errors import OnnxliteError

_SCRIPT = Path(__file__).parents[1] / "child.py"
_TIMEOUT = 600.0


class ChildError(OnnxliteError):
    """The child could not do what it was asked; the text says why."""


def ask(request: dict[str, Any], timeout: float = _TIMEOUT, processor: str = "") -> dict[str, Any]:
    """Run one request in a fresh process, spawned and not forked.

    Args:
        request: what the child is to do.
        timeout: seconds after which it is stopped.
        processor: the one that is emulated for it; empty for the one that this process runs on.

    Raises:
        ChildError: the model could not be loaded or run there, the process died, or it took too long.
        OnnxliteError: the processor cannot be emulated here.
    """
    before = processors.command(processor) if processor else processors.command_here()
    try:
        done = subprocess.run(
            [*before, sys.executable, str(_SCRIPT)],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ChildError(f"it did not end within {timeout:.0f} s and was stopped") from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ChildError(
            f"the process died of {name}: a crash in native code. The model is not safe to load where it ships"
        )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        # QEMU names the features that it leaves out, each time that it starts.
        tail = [line for line in said if not (line.startswith("qemu-") and "warning:" in line)][-1:]
        raise ChildError(f"the process ended with code {done.returncode}: {' '.join(tail) or 'no output'}") from None
    if "error" in answer:
        raise ChildError(answer["error"])
    return answer
