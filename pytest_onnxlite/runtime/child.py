"""The script of a child process: it runs functions in a fresh process and sends back what they return.

`childprocess` starts it, with a folder of packages that come before all others, where one is named. Requests come by
standard input, one after the other, and each answer goes to standard output; both are msgpack, which keeps infinity and
NaN, and both are checked against the types that the function declares. An empty request ends it.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
import typing
from pathlib import Path

if __name__ == "__main__":
    # The package itself must be importable, and no module of this folder by its bare name.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import msgspec

import pytest_onnxlite  # noqa: F401  (before other packages come first: this one, and no other version of it)
from pytest_onnxlite.errors import OnnxliteError


class Request(msgspec.Struct, frozen=True):
    """What the child is asked: which function of which module, and its only argument."""

    module: str
    function: str
    argument: msgspec.Raw


class Answer(msgspec.Struct, frozen=True):
    """What it says: what the function returned, or how it failed."""

    result: msgspec.Raw = msgspec.Raw(b"\xc0")
    error: str = ""


# Ends the child once it has answered.
NO_MORE = bytes(8)


def to_message(content: Request | Answer) -> bytes:
    """Return a request or an answer as it is sent: its length in eight bytes, then itself."""
    body = msgspec.msgpack.encode(content)
    return len(body).to_bytes(8, "little") + body


def _read(count: int) -> bytes:
    # By the descriptor: a thread that waits in sys.stdin.buffer makes Python abort as it shuts down.
    found = b""
    while len(found) < count:
        part = os.read(0, count - len(found))
        if not part:
            # The parent keeps it open for as long as it lives and wants an answer.
            os._exit(1)
        found += part
    return found


def _take(requests: queue.SimpleQueue[bytes]) -> None:
    """Take requests from standard input, whatever is being answered; and end this process once that ends."""
    while True:
        requests.put(_read(int.from_bytes(_read(8), "little")))


def _run(request: Request) -> Answer:
    try:
        function = getattr(importlib.import_module(request.module), request.function)
        argument = next(kind for name, kind in typing.get_type_hints(function).items() if name != "return")
        result = function(msgspec.msgpack.decode(request.argument, type=argument))
    except Exception as error:
        # What we raise is written for a person; of the rest the type says what it is.
        kind = "" if isinstance(error, OnnxliteError) else f"{type(error).__name__}: "
        return Answer(error=" ".join(f"{kind}{error}".split()))
    return Answer(msgspec.Raw(msgspec.msgpack.encode(result)))


def main() -> None:
    """Answer the requests on standard input."""
    # Whatever a library prints must not end up in the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if sys.argv[1:]:
        sys.path.insert(0, sys.argv[1])
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_take, args=(requests,), daemon=True).start()
    while body := requests.get():
        answers.write(to_message(_run(msgspec.msgpack.decode(body, type=Request))))
        answers.flush()
    answers.close()


if __name__ == "__main__":
    main()
