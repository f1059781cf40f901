"""Asks a child process, and turns its end into something a person can read."""

from __future__ import annotations

import os
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
from pytest_onnxlite.runtime.child import Answer, Request, to_message

_SCRIPT = Path(__file__).with_name("child.py")
_TIMEOUT = 600.0
# Seconds that a process may take to end once it has answered.
_GRACE = 30.0
# Bytes of what a child says that are kept, the last ones: an answer is far smaller, and of its other words the end tells.
_MOST_ANSWER, _MOST_WORDS = 1 << 26, 1 << 16

Asked = TypeVar("Asked")
Told = TypeVar("Told")


class ChildError(OnnxliteError):
    """The child could not do what it was asked; the text says why."""


def ask(function: Callable[[Asked], Told], argument: Asked, timeout: float = _TIMEOUT, processor: str = "") -> Told:
    """Call a function in a fresh process, spawned and not forked, which ends when this one does.

    Args:
        function: one of a module's own, with types that msgspec can send.
        argument: what it is called with.
        timeout: seconds after which it is stopped.
        processor: the one that is emulated for it; empty for the one that this process runs on.

    Returns:
        What the function returned, checked against the type that it declares.

    Raises:
        ChildError: the function failed there, the process died, it took too long, or its answer makes no sense.
        OnnxliteError: the processor cannot be emulated here.
    """
    try:
        sent = msgspec.Raw(msgspec.msgpack.encode(argument))
    except UnicodeEncodeError as error:
        named = error.object.encode(errors="backslashreplace").decode()
        raise ChildError(
            f"{named} is not the name of a file in Unicode. Give the folder or the file another name"
        ) from None
    request = Request(function.__module__, function.__qualname__, sent)
    before = processors.command(processor) if processor else processors.command_here()
    code, said, words = _converse([*before, sys.executable, str(_SCRIPT)], to_message(request), timeout)
    if code < 0:
        raise ChildError(_killed(signal.Signals(-code)))
    try:
        answer = msgspec.msgpack.decode(said, type=Answer)
        if answer.error:
            raise ChildError(answer.error)
        result: Told = msgspec.msgpack.decode(answer.result, type=typing.get_type_hints(function)["return"])
    except (msgspec.DecodeError, ValueError) as error:
        if said and not code:
            raise ChildError(f"the process gave an answer that makes no sense: {error}") from None
        # QEMU names the features that it leaves out, each time that it starts.
        lines = words.decode(errors="replace").strip().splitlines()
        tail = [line for line in lines if not (line.startswith("qemu-") and "warning:" in line)][-1:]
        raise ChildError(f"the process ended with code {code}: {' '.join(tail) or 'no output'}") from None
    return result


def _converse(command: list[str], message: bytes, timeout: float) -> tuple[int, bytes, bytes]:
    """Return the exit code and the ends of both outputs of a process that was sent a message."""
    pipe = subprocess.PIPE
    # Its standard input stays open until it has ended: that is how it knows that this process still lives.
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        assert child.stdin and child.stdout and child.stderr  # noqa: PT018
        said, words = _Tail(child.stdout, _MOST_ANSWER), _Tail(child.stderr, _MOST_WORDS)
        try:
            try:
                child.stdin.write(message)
                child.stdin.flush()
            except OSError:
                pass  # it ended before it read; its exit code and its words say why
            if not said.ended(timeout):
                raise ChildError(f"it did not end within {timeout:.0f} s and was stopped")
            try:
                code = child.wait(_GRACE)
            except subprocess.TimeoutExpired:
                raise ChildError(f"it answered, and did not end within {_GRACE:.0f} s after that") from None
        except BaseException:
            child.kill()
            raise
        words.ended(_GRACE)
        return code, bytes(said.kept), bytes(words.kept)


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
        """Wait for the pipe's end, in short steps: on Windows Ctrl-C is heard between two of them alone."""
        deadline = time.monotonic() + timeout
        while self._thread.is_alive() and (left := deadline - time.monotonic()) > 0:
            self._thread.join(min(left, 0.5))
        return not self._thread.is_alive()


def _killed(by: signal.Signals) -> str:
    if by.name == "SIGKILL":
        return (
            "the process was killed (SIGKILL), most likely because memory ran out. Run it where more memory is free, or with "
            "a smaller batch"
        )
    return f"the process died of {by.name}: a crash in native code. The model is not safe to load where it ships"
