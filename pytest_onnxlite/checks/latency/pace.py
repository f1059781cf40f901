"""At what pace a machine runs: what tells a runtime that got slow from a processor that was slowed down."""

from __future__ import annotations

import hashlib
from time import perf_counter

_BYTES = bytes(1 << 18)
_BLOCKS = 20


def pace() -> float:
    """Return the seconds of a fixed piece of work that no runtime has a part in, the fastest of several.

    A laptop on its battery, or a processor that is too hot, is several times slower at everything.
    """
    times = []
    for _ in range(_BLOCKS):
        start = perf_counter()
        hashlib.sha256(_BYTES).digest()
        times.append(perf_counter() - start)
    return min(times)
