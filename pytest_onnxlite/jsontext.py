"""JSON from a file that anybody may have written, read the same by every Python. Imports nothing of ours."""

from __future__ import annotations

from typing import Any

import msgspec

# Nothing that we write is nested half as deeply. How deep a decoder goes differs from one Python to the next, and
# functions that call themselves go less deep than that.
MOST_DEEP = 100


def decode(text: bytes | str) -> Any:
    """Return the data of a JSON text.

    Raises:
        msgspec.DecodeError: it is no JSON: NaN, infinity and numbers beyond what a float holds are none.
        UnicodeDecodeError: it is no UTF-8.
        RecursionError: it is nested more than 100 deep.
    """
    content = msgspec.json.decode(text)
    level: list[Any] = [content]
    for _ in range(MOST_DEEP):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return content
    raise RecursionError(f"nested more than {MOST_DEEP} deep")
