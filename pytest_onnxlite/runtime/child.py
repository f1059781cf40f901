"""The script of a child process: it runs one function in a fresh process and sends back what the function returns.

`childprocess.ask` starts it. The request comes by standard input, the answer goes to standard output; both are msgpack,
which keeps infinity and NaN, and both are checked against the types that the function declares.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import typing
from pathlib import Path

if __name__ == "__main__":
    # The package itself must be importable, and no module of this folder by its bare name.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import msgspec


class Request(msgspec.Struct, frozen=True):
    """What the child is asked: which function of which module, and its only argument."""

    module: str
    function: str
    argument: msgspec.Raw


class Answer(msgspec.Struct, frozen=True):
    """What it says: what the function returned, or how it failed."""

    result: msgspec.Raw = msgspec.Raw(b"\xc0")
    error: str = ""


def to_message(content: Request) -> bytes:
    """Return a request as it is sent: its length in eight bytes, then itself."""
    body = msgspec.msgpack.encode(content)
    return len(body).to_bytes(8, "little") + body


def _read(count: int) -> bytes:
    # By the descriptor: a thread that waits in sys.stdin.buffer makes Python abort as it shuts down.
    found = b""
    while len(found) < count:
        part = os.read(0, count - len(found))
        if not part:
            sys.exit("the request was cut off")
        found += part
    return found


def _end_with_parent() -> None:
    """End this process once standard input ends: the parent keeps it open for as long as it lives and wants an answer."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _run(request: Request) -> Answer:
    try:
        function = getattr(importlib.import_module(request.module), request.function)
        argument = next(kind for name, kind in typing.get_type_hints(function).items() if name != "return")
        result = function(msgspec.msgpack.decode(request.argument, type=argument))
    except Exception as error:
        return Answer(error=" ".join(f"{type(error).__name__}: {error}".split()))
    return Answer(msgspec.Raw(msgspec.msgpack.encode(result)))


def main() -> None:
    """Answer the request on standard input."""
    # Whatever a library prints must not end up in the answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    request = msgspec.msgpack.decode(_read(int.from_bytes(_read(8), "little")), type=Request)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer.write(msgspec.msgpack.encode(_run(request)))
    answer.close()


if __name__ == "__main__":
    main()
