"""The script of a process that has numpy imported and no thread, and forks a child for each that is asked for (Linux).

`forking` starts it, with one end of a socket. Each message there is an `Ask`, with five files: the child's standard
input, output and error, its folder, and a socket of its own. By that one the server tells how the child ended; and once its other end is
closed for writing, the child is killed. The server ends with the process that started it, and its children end with it.

The server stays on one processor, and so do the children that are to. The kernel counts a process's resident pages per
processor, in batches: of a process that moves, a peak is read wrong by up to a batch for each processor that it was on.

A child answers requests as `child` does. It imports ONNX Runtime itself: its threads and what it allocates are that
child's own, as they are in a process that is started anew.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import TypedDict

if __name__ == "__main__":
    # See child.py.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import pytest_onnxlite.runtime.child

READY = b"ready"
FILES = 5
# Bytes of an environment, as JSON; the kernel takes less in one message.
_MOST = 1 << 20
# Of prctl: a signal once the parent has ended.
_PR_SET_PDEATHSIG = 1
_PAGE_PRESENT = 0x80  # in the last of a page's eight bytes in /proc/self/pagemap


class Ask(TypedDict):
    """The environment of a child, and the processors that it may run on; none of them: the server's own."""

    environment: dict[str, str]
    processors: list[int]


def stay_on_one_processor() -> None:
    """Bind this process to one of its processors; servers that are started one after the other take different ones."""
    allowed = sorted(os.sched_getaffinity(0))
    with contextlib.suppress(OSError):  # not where the system forbids it: peaks are less exact there
        os.sched_setaffinity(0, [allowed[os.getpid() % len(allowed)]])


def import_quietly() -> bool:
    """Import what measures, and say whether this process can be forked: it has one thread."""
    # Libraries of linear algebra start their threads on import.
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    import pytest_onnxlite.runtime.peak
    import pytest_onnxlite.runtime.trial  # noqa: F401

    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    return len(list(Path("/proc/self/task").iterdir())) == 1


def mapped_pages() -> list[int]:
    """Return the addresses of the pages of files that are resident in this process.

    Raises:
        OSError: the kernel does not tell.
    """
    size, found = os.sysconf("SC_PAGE_SIZE"), []
    with Path("/proc/self/maps").open() as maps, Path("/proc/self/pagemap").open("rb", buffering=0) as pages:
        for line in maps:
            span, may, *_, name = line.split(maxsplit=5)
            if not (may.startswith("r") and name.startswith("/")):
                continue  # no file, whose place is taken by its inode's number, or one that cannot be read
            start, end = (int(text, 16) for text in span.split("-"))
            pages.seek(start // size * 8)
            states = pages.read((end - start) // size * 8)[7::8]
            found += [start + number * size for number, state in enumerate(states) if state & _PAGE_PRESENT]
    return found


class Server:
    """Forks children, and tells how each of them ended.

    Args:
        control: where children are asked for.

    Raises:
        OSError: the kernel does not tell which pages are resident.
    """

    def __init__(self, control: socket.socket) -> None:
        stay_on_one_processor()
        self._control = control
        self._pages = mapped_pages()
        # By the number of its process: the socket of each child, closed in none of them but here.
        self._children: dict[int, socket.socket] = {}
        self._ended, self._end = os.pipe()
        for end in (self._ended, self._end):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Ctrl-C is for the process that started this one, which decides what ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)

    def serve(self) -> bool:
        """Fork a child for each message; returns True in a child, False once nobody can ask any more."""
        self._control.send(READY)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    message, files, *_ = socket.recv_fds(self._control, _MOST, FILES)
                    if not message:
                        return False
                    if self._fork(files, json.loads(message)):
                        return True
                elif key.fileobj == self._ended:
                    os.read(self._ended, 1 << 12)
                else:  # nobody wants this child's answer any more
                    self._selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)
            self._tell_ends()

    def _fork(self, files: list[int], asked: Ask) -> bool:
        pid = os.fork()
        if pid:
            self._children[pid] = socket.socket(fileno=files.pop())
            self._selector.register(self._children[pid], selectors.EVENT_READ, pid)
        else:
            self._become_child(files, asked)
        for file in files:
            os.close(file)
        return not pid

    def _tell_ends(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            own = self._children.pop(pid)
            if own in self._selector.get_map():
                self._selector.unregister(own)
            with contextlib.suppress(OSError):  # nobody wants to know
                own.send(str(os.waitstatus_to_exitcode(status)).encode())
            own.close()

    def _become_child(self, files: list[int], asked: Ask) -> None:
        """Make this the process that a new one would be: files, folder, environment, signals, and what is resident."""
        environment = asked["environment"]
        if asked["processors"]:
            with contextlib.suppress(OSError):  # none of them is there any more
                os.sched_setaffinity(0, asked["processors"])
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in range(3):
            os.dup2(files[number], number)
        os.fchdir(files[3])
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        self._selector.close()
        for end in (self._control, *self._children.values()):
            end.close()
        for number in (self._ended, self._end):
            os.close(number)
        # A forked process has its parent's memory, but of files those pages alone that it touches: they would count as
        # what a model takes.
        for page in self._pages:
            ctypes.string_at(page, 1)


def main() -> None:
    """Serve by the socket whose number is the only argument; a child answers requests and ends."""
    control = socket.socket(fileno=int(sys.argv.pop()))
    if import_quietly() and Server(control).serve():
        pytest_onnxlite.runtime.child.main()


if __name__ == "__main__":
    main()
