"""Starts child processes by forking one that has imported what they need, which is several times faster (Linux)."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

from pytest_onnxlite import processors
from pytest_onnxlite.runtime.forkserver import FILES, READY, Ask
from pytest_onnxlite.workspace import environment_of_children

_SCRIPT = Path(__file__).with_name("forkserver.py")
# Seconds that imports may take.
_PATIENCE = 60.0
# What Python and the C library read once, as they start: a child that needs it otherwise needs another server.
_READ_AT_START = ("GLIBC_", "LANG", "LC_", "LD_", "MALLOC_", "PYTHON")


class Forked:
    """A child of the server, as `subprocess.Popen` has it: its pipes, how to kill it, and how it ended."""

    def __init__(self, server: _Server, stays: bool) -> None:
        theirs: list[int] = []
        ours: list[int] = []
        try:
            for reads in (True, False, False):
                pair = os.pipe()
                theirs.append(pair[not reads])
                ours.append(pair[reads])
            theirs.append(os.open(".", os.O_PATH | os.O_DIRECTORY))
            self._end, end = socket.socketpair()
            theirs.append(end.detach())
            assert len(theirs) == FILES
            server.send(theirs, stays)
        except OSError:
            for number in ours:
                os.close(number)
            raise
        finally:
            for number in theirs:
                os.close(number)
        self.stdin: IO[bytes] = os.fdopen(ours[0], "wb")
        self.stdout: IO[bytes] = os.fdopen(ours[1], "rb")
        self.stderr: IO[bytes] = os.fdopen(ours[2], "rb")
        self._server, self._code = server, ""
        server.children += 1

    def kill(self) -> None:
        """Kill it, whatever it does."""
        with contextlib.suppress(OSError):  # it has ended, and so has its socket
            self._end.shutdown(socket.SHUT_WR)

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended, as `subprocess.Popen.returncode` says it.

        Raises:
            subprocess.TimeoutExpired: it has not.
        """
        if not self._code:
            self._end.settimeout(timeout)
            try:
                # Nothing comes where the server itself was ended, and its children with it.
                self._code = self._end.recv(16).decode() or str(self._server.code())
            except TimeoutError:
                raise subprocess.TimeoutExpired("forked", timeout or 0.0) from None
            except OSError:
                self._code = str(self._server.code())
        return int(self._code)

    def __exit__(self, *_: object) -> None:
        """Close its pipes, once it has ended."""
        for file in (self.stdin, self.stdout, self.stderr, self._end):
            with contextlib.suppress(OSError):  # what was not sent is not wanted any more
                file.close()
        self._server.children -= 1


class _Server:
    """The process that forks; it lives as long as this one. Each child is sent the environment of its day.

    Attributes:
        at_start: what this process's environment said then of how a process starts.
        is_ready: whether it can fork.
        children: how many of its children are in use.
    """

    def __init__(self) -> None:
        self.at_start, self._process_id, self.children = _read_at_start(), os.getpid(), 0
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number, none = theirs.fileno(), subprocess.DEVNULL
            command = [sys.executable, "-B", str(_SCRIPT), str(number)]
            self._process = subprocess.Popen(
                command, pass_fds=[number], stdin=none, stdout=none, stderr=none, env=environment_of_children()
            )
        atexit.register(self.close)
        self._control.settimeout(_PATIENCE)
        try:
            self.is_ready = self._control.recv(len(READY)) == READY
        except OSError:
            self.is_ready = False
        if not self.is_ready:
            self.close()

    @property
    def is_of_use(self) -> bool:
        """Whether it is this process's own, a process would start so today, and it did not end since it was ready."""
        if self._process_id != os.getpid() or self.at_start != _read_at_start():
            return False
        return not self.is_ready or self._process.poll() is None

    def send(self, files: list[int], stays: bool) -> None:
        """Ask for a child that has these files, and the environment of now; it may stay on the server's processor.

        Raises:
            OSError: it has ended, or the environment is longer than a message may be.
        """
        processors_of_now = [] if stays else sorted(os.sched_getaffinity(0))
        asked = Ask(environment=environment_of_children(), processors=processors_of_now)
        socket.send_fds(self._control, [json.dumps(asked).encode()], files)

    def code(self) -> int:
        """Return how it ended."""
        return self._process.wait(_PATIENCE)

    def close(self) -> None:
        """End it; in a forked copy of the process that it belongs to, have no more to do with it."""
        self._control.close()
        if self._process_id == os.getpid():
            self._process.kill()
            self._process.wait()
        else:
            self._process.returncode = 0  # or it is warned of as one that still runs


def _read_at_start() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_READ_AT_START)}


# The last is in use. None is forgotten, so that a forked copy of this process closes nothing.
_servers: list[_Server] = []


def fork(stays: bool = False) -> Forked | None:
    """Fork a child that answers requests as `child` does; None if a new process must be started for it.

    Args:
        stays: whether it stays on one processor, so that the kernel counts its pages exactly; see `forkserver`.
    """
    if not sys.platform.startswith("linux") or processors.is_emulated():
        return None
    if not _servers or not _servers[-1].is_of_use:
        for server in _servers:
            if not server.children:
                server.close()
        _servers.append(_Server())
    try:
        return Forked(_servers[-1], stays) if _servers[-1].is_ready else None
    except OSError:
        return None  # it ended just now, or a message cannot have all that a child needs
