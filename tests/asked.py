"""What children are asked in tests: functions of a module that imports nothing that takes time."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import time
from pathlib import Path


def double(number: int) -> int:
    return 2 * number


def wait_long(note: str) -> None:
    Path(note).write_text(f"{os.getpid()}.")
    time.sleep(600)


def parent(_: str) -> int:
    return os.getppid()


def folder(_: str) -> str:
    return str(Path.cwd())


def variable(name: str) -> str:
    return os.environ.get(name, "")


def imported(_: str) -> list[str]:
    return sorted(name for name in sys.modules if "." not in name)


def processors(_: str) -> list[int]:
    return sorted(os.sched_getaffinity(0))


def threads(_: str) -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def open_files(_: str) -> list[str]:
    links = [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.exists()]
    return [link for link in links if link.startswith("socket:")]


def crash(_: str) -> int:
    ctypes.string_at(0)
    return 0


def be_killed(_: str) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def leave(words: str) -> int:
    os.write(2, words.encode())
    os._exit(3)


def crash_at_the_end(_: str) -> int:
    atexit.register(lambda: ctypes.string_at(0))
    return 1


def kill_parent(_: str) -> int:
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()
    return 0
