"""Many runs of a model in one session, and what is resident meanwhile: `soak` is called in a child process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.runtime.peak import choose_meter, give_back_freed_blocks
from pytest_onnxlite.runtime.sessions import open_for_any
from pytest_onnxlite.spec.runtimes import Runtime

# What is resident is read so often: before the first part of the runs, and after each.
PARTS = 4
# The share of the runs that come before: the runtime plans its memory in the first ones, and keeps what it needs.
_WARM_UP = 5


class SoakRequest(msgspec.Struct, frozen=True):
    """The model's file, how it is run, files with the feeds of one run each, the longest first, and how many runs."""

    model: str
    runtime: Runtime
    feeds: tuple[str, ...]
    runs: int


class SoakAnswer(msgspec.Struct, frozen=True):
    """Resident bytes before the first quarter of the runs, and after each.

    Args:
        runs: while one and the same is run; the warm-up is in none of them.
        shapes: while each run has another shape, the longest first, so that none needs more than those before; empty
            where there are too few.
        repeats: how many runs the former are.
        kinds: how many the latter are.
    """

    runs: list[int]
    shapes: list[int]
    repeats: int
    kinds: int


def resident() -> int:
    """Return the resident bytes that are of no file: exact where the kernel walks the pages for it (Linux)."""
    try:
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return choose_meter().current()


def soak(request: SoakRequest) -> SoakAnswer:
    """Run the model as often as is asked for, then once at each shape."""
    give_back_freed_blocks()
    run = open_for_any(Path(request.model), request.runtime)
    feeds = [arrays.load(Path(file)) for file in request.feeds]
    first = request.runs // _WARM_UP
    runs = _watch([partial(run, feeds[0])] * request.runs, first)
    kinds = feeds[1 : request.runs + 1]
    shapes = _watch([partial(run, one) for one in kinds], 0) if len(kinds) >= 2 * PARTS else []
    return SoakAnswer(runs, shapes, request.runs - first, len(kinds))


def _watch(runs: list[Callable[[], object]], first: int) -> list[int]:
    """Return what is resident before the first part of some runs, and after each; the first ones are in no part."""
    marks = [first + (len(runs) - first) * part // PARTS for part in range(PARTS + 1)]
    found = []
    for done, run in enumerate([*runs, None]):
        if done in marks:
            found.append(resident())
        if run is not None:
            run()
    return found
