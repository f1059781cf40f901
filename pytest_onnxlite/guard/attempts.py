"""What recipes that were tried came to: which is nearest by each limit, and how that is told. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from pytest_onnxlite.checks.size.judge import NAME as SIZE
from pytest_onnxlite.records import Attempt

# What stops a recipe that cannot be built.
BUILD = "build"


def nearest(tried: Sequence[Attempt]) -> dict[str, Attempt]:
    """Return by each limit that stopped recipes the one that came nearest to it, the limit that stopped most first."""
    stopped = Counter(attempt.stopped_by for attempt in tried)
    found = {}
    for check in sorted(stopped, key=lambda name: (-stopped[name], name)):
        here = [attempt for attempt in tried if attempt.stopped_by == check]
        if check != BUILD:
            found[check] = max(_built(here) or here, key=_nearness)
    return found


def _built(attempts: Sequence[Attempt]) -> list[Attempt]:
    return [attempt for attempt in attempts if not attempt.was_ruled_out]


def _nearness(attempt: Attempt) -> tuple[float, float]:
    """Return how near an attempt is, larger for nearer: of what size stopped the smallest, of all else the most accurate."""
    size = attempt.least if attempt.was_ruled_out else attempt.bytes
    small = -(size or math.inf)
    accurate = attempt.accuracy if attempt.accuracy is not None else -math.inf
    return (small, accurate) if attempt.stopped_by == SIZE else (accurate, small)


def nothing_text(tried: Sequence[Attempt], seconds: float, ended: bool) -> str:
    """Say that no recipe passes, what stopped them, and what the nearest ones are.

    Args:
        tried: the recipes.
        seconds: how long the search might take.
        ended: whether it ended for that.
    """
    if not tried:
        return "No recipe was tried: there is no time left (--onnxlite-suggest-time)."
    stopped: Mapping[str, int] = Counter(attempt.stopped_by for attempt in tried)
    reasons = ", ".join(
        f"{'quantizing failed for' if check == BUILD else f'{check} stopped'} {count}"
        for check, count in sorted(stopped.items(), key=lambda entry: (-entry[1], entry[0]))
    )
    end = f" within {seconds:.0f} s (--onnxlite-suggest-time)" if ended else ""
    unbuilt = len(tried) - len(_built(tried))
    told = f" ({unbuilt} of them were not built: their weights alone are too large)" if unbuilt else ""
    text = f"None of {len(tried)} recipes passes{end}: {reasons}{told}."
    return "\n".join([text, *(f"  {_line(check, attempt)}" for check, attempt in nearest(tried).items())])


def _line(check: str, attempt: Attempt) -> str:
    """Say what is known of the recipe that is nearest by a limit, and what would have to give."""
    figures = ", ".join(f"{name} {figure}" for name, figure in attempt.figures.items())
    what = f", with {figures}" if figures else ""
    gives = attempt.message.splitlines()[0] if attempt.message else ""
    return f"Nearest by {check}: recipe={attempt.recipe}{what}. What would have to give: {gives}".rstrip()
