"""Code that a test runs on another processor than this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_onnxlite.commands import INSTALL_QEMU
from pytest_onnxlite.processors import command, find_qemu, this_processor

# If .ci/run says so, tests marked int8_judged judge their models on this processor too.
JUDGED_ON = os.environ.get("ONNXLITE_TESTS_JUDGED_ON", "")
_TESTS = Path(__file__).parent
# In CI a test that needs QEMU fails without it: a skipped one would look as if it had passed.
_MUST_RUN = os.environ.get("CI") == "true" and sys.platform.startswith("linux")

needs_qemu = pytest.mark.skipif(
    find_qemu() is None and not _MUST_RUN,
    reason=f"qemu-user is not installed, which emulates processors: {INSTALL_QEMU}",
)
# One that is not this machine's: what is native is not emulated.
ELSEWHERE = "sse4" if this_processor() == "avx2" else "avx2"


def run_on(processor: str, code: str, *arguments: object) -> str:
    """Run Python code on an emulated processor, or on this one if none is named; returns what it printed.

    The helpers in tests/ can be imported by it, and `sys.argv[1:]` are the arguments.
    """
    before = command(processor) if processor else []
    done = subprocess.run(
        [*before, sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
