"""Asks child processes, and turns their end into something a person can read."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
import typing
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from pytest_onnxlite import processors
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import not_unicode
from pytest_onnxlite.runtime import forking
from pytest_onnxlite.runtime.child import NO_MORE, Answer, Request, to_message
from pytest_onnxlite.workspace import environment_of_children

_SCRIPT = Path(__file__).with_name("child.py")
_TIMEOUT = 600.0
# Seconds that a process may take to end once it has answered.
_GRACE = 30.0
# Bytes that an answer may have, which is far smaller; and of a child's other words those that are kept, the last ones.
_MOST_ANSWER, _MOST_WORDS = 1 << 26, 1 << 16

Asked = TypeVar("Asked")
Told = TypeVar("Told")


class ChildError(OnnxliteError):
    """The child could not do what it was asked; the text says why."""


def ask(
    function: Callable[[Asked], Told],
    argument: Asked,
    timeout: float = _TIMEOUT,
    processor: str = "",
    packages: Path | None = None,
    fork: bool = False,
    stays: bool = False,
) -> Told:
    """Call a function in a fresh process, no copy of this one, which ends when this one does.

    Args:
        function: one of a module's own, with types that msgspec can send.
        argument: what it is called with.
        timeout: seconds after which it is stopped.
        processor: the one that is emulated for it; empty for the one that this process runs on.
        packages: a folder of packages that come before all others there; None for those of this process.
        fork: fork it from a process that has numpy imported, where that can be done; see `forking`.
        stays: keep it on one processor where it is forked, so that the kernel counts its pages exactly.

    Returns:
        What the function returned, checked against the type that it declares.

    Raises:
        ChildError: the function failed there, the process died, it took too long, or its answer makes no sense.
        OnnxliteError: the processor cannot be emulated here.
    """
    with Child(processor, packages, fork, stays) as child:
        result = child.ask(function, argument, timeout)
        child.end()
    return result


class Child:
    """A process that is asked one thing after the other, and that ends when this one does.

    Args:
        processor: the one that is emulated for it; empty for the one that this process runs on.
        packages: a folder of packages that come before all others there; None for those of this process.
        fork: fork it from a process that has numpy imported, where that can be done; see `forking`.
        stays: keep it on one processor where it is forked, so that the kernel counts its pages exactly.

    Raises:
        OnnxliteError: the processor cannot be emulated here.
    """

    def __init__(
        self, processor: str = "", packages: Path | None = None, fork: bool = False, stays: bool = False
    ) -> None:
        forked = forking.fork(stays) if fork and not processor and packages is None else None
        # Its standard input stays open until it has ended: that is how it knows that this process still lives.
        self._process = forked or _started(processor, packages)
        assert self._process.stdin and self._process.stdout and self._process.stderr  # noqa: PT018
        self._stdin = self._process.stdin
        self._answers, self._words = _Answers(self._process.stdout), _Tail(self._process.stderr, _MOST_WORDS)

    def __enter__(self) -> Child:
        """Nothing more: it runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, whatever it does."""
        self._process.kill()
        self._process.wait()
        # Nobody may read a pipe that is closed.
        self._answers.ended(_GRACE)
        self._words.ended(_GRACE)
        self._process.__exit__(None, None, None)

    def ask(self, function: Callable[[Asked], Told], argument: Asked, timeout: float = _TIMEOUT) -> Told:
        """Call a function there; see the function `ask`."""
        self.request(function, argument)
        return self.answer(function, timeout)

    def request(self, function: Callable[[Asked], object], argument: Asked) -> None:
        """Send what it is asked, and wait for nothing.

        Raises:
            ChildError: the argument cannot be sent.
        """
        try:
            sent = msgspec.Raw(msgspec.msgpack.encode(argument))
        except UnicodeEncodeError as error:
            raise ChildError(not_unicode(error.object)) from None
        request = Request(function.__module__, function.__qualname__, sent)
        self._send(to_message(request))

    def answer(self, function: Callable[[Asked], Told], timeout: float = _TIMEOUT) -> Told:
        """Wait for what it answers to a request; see the function `ask`."""
        said = self._answers.next(timeout)
        if said is None:
            raise ChildError(f"it did not end within {timeout:.0f} s and was stopped")
        if not said:
            raise ChildError(self._why_it_ended())
        try:
            answer = msgspec.msgpack.decode(said, type=Answer)
            if answer.error:
                raise ChildError(answer.error)
            result: Told = msgspec.msgpack.decode(answer.result, type=typing.get_type_hints(function)["return"])
        except (msgspec.DecodeError, ValueError) as error:
            raise ChildError(f"the process gave an answer that makes no sense: {error}") from None
        return result

    def end(self) -> None:
        """Let it end by itself.

        Raises:
            ChildError: it died of it, or does not end.
        """
        self._send(NO_MORE)
        code = self._wait()
        if code < 0:
            raise ChildError(_killed(signal.Signals(-code)))

    def _send(self, message: bytes) -> None:
        try:
            self._stdin.write(message)
            self._stdin.flush()
        except OSError:
            pass  # it ended before it read; its exit code and its words say why

    def _wait(self) -> int:
        try:
            return self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            raise ChildError(f"it answered, and did not end within {_GRACE:.0f} s after that") from None

    def _why_it_ended(self) -> str:
        code = self._wait()
        if code < 0:
            return _killed(signal.Signals(-code))
        self._words.ended(_GRACE)
        # QEMU names the features that it leaves out, each time that it starts.
        lines = bytes(self._words.kept).decode(errors="replace").strip().splitlines()
        tail = [line for line in lines if not (line.startswith("qemu-") and "warning:" in line)][-1:]
        if not code:
            return "the process gave an answer that makes no sense: it is cut off"
        return f"the process ended with code {code}: {' '.join(tail) or 'no output'}"


def _started(processor: str, packages: Path | None) -> subprocess.Popen[bytes]:
    before = processors.command(processor) if processor else processors.command_here()
    # Packages may lie in a cache whose files are known by their hashes: nothing is written there.
    command = [*before, sys.executable, "-B", str(_SCRIPT), *([str(packages)] if packages else [])]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment_of_children())


class _Answers:
    """Takes a child's answers from a pipe, in a thread of its own."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._found: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while (head := self._bytes(8)) and (length := int.from_bytes(head, "little")) <= _MOST_ANSWER:
            body = self._bytes(length)
            if not body:
                break
            self._found.put(body)
        self._found.put(b"")

    def _bytes(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count and (part := os.read(self._pipe.fileno(), min(count - len(found), 1 << 20))):
            found += part
        return bytes(found) if len(found) == count else b""

    def next(self, timeout: float) -> bytes | None:
        """Return the next answer, empty if none comes any more, None if it takes too long.

        It waits in short steps: on Windows Ctrl-C is heard between two of them alone.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                return self._found.get(timeout=min(left, 0.5))
            except queue.Empty:
                continue
        return None

    def ended(self, timeout: float) -> None:
        """Wait for the pipe's end."""
        self._thread.join(timeout)


class _Tail:
    """Reads a pipe in a thread of its own and keeps its end, so that no child can fill this process's memory."""

    def __init__(self, pipe: IO[bytes], most: int) -> None:
        self.kept = bytearray()
        self._pipe, self._most = pipe, most
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while part := os.read(self._pipe.fileno(), 1 << 16):
            self.kept += part
            if len(self.kept) > 2 * self._most:
                del self.kept[: -self._most]

    def ended(self, timeout: float) -> bool:
        """Wait for the pipe's end."""
        self._thread.join(timeout)
        return not self._thread.is_alive()


def _killed(by: signal.Signals) -> str:
    if by.name == "SIGKILL":
        return (
            "the process was killed (SIGKILL), most likely because memory ran out. Run it where more memory is free, or with "
            "a smaller batch"
        )
    return f"the process died of {by.name}: a crash in native code. The model is not safe to load where it ships"
