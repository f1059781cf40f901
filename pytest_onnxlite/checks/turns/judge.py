"""When ratios of times that were taken in turns are within their limit."""

from __future__ import annotations

from typing import Protocol

from pytest_onnxlite.checks.turns.comparison import Comparison, Interval
from pytest_onnxlite.checks.turns.ratios import CONFIDENCE, is_clear, is_suspicious, is_too_noisy
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.statistics import median_interval
from pytest_onnxlite.text import percent


class Slowdown(Protocol):
    """What a marker asks of times in turns."""

    @property
    def max_slowdown(self) -> float:
        """How much slower it may be, relatively."""

    @property
    def max_time(self) -> float:
        """Seconds after which measuring longer is given up."""


def ratio_text(comparison: Comparison, second: bool = False) -> str:
    """Say how sure a ratio is: `1.12x (99.5 % ≥ 1.09x, 24 replicates, against the onnx variant, noise ±1.4 %)`."""
    interval = median_interval(comparison.second if second else comparison.first, CONFIDENCE)
    return (
        f"{interval.median:.2f}x ({percent(CONFIDENCE)} ≥ {interval.lower:.2f}x, {interval.count} replicates, against "
        f"{against_text(comparison)}, noise ±{percent(interval.noise / interval.median)})"
    )


def against_text(comparison: Comparison) -> str:
    """Say what it was timed in turns with."""
    if comparison.is_last_release:
        return f"the last release{f' in {comparison.runtime}' if comparison.runtime else ''}"
    return f"the {comparison.reference} variant"


def why_it_passes(comparison: Comparison) -> str:
    """Say why a ratio above the limit passes; empty for one within it, and for one that does not pass."""
    ratios = comparison.second or comparison.first
    if median_interval(comparison.first, CONFIDENCE).median <= comparison.most or is_suspicious(
        ratios, comparison.most
    ):
        return ""
    found = median_interval(ratios, CONFIDENCE)
    if comparison.second and found.median <= comparison.most:
        return f"passes: an independent second set says {_beyond(found.median, comparison.most)}"
    bound = f"the lower bound, {_beyond(found.lower, comparison.most)}"
    return f"passes: what counts is {bound}{' of an independent second set' if comparison.second else ''}"


def _beyond(ratio: float, most: float) -> str:
    """Return a ratio with as many digits as tell it from the limit."""
    return f"{ratio:.{2 if f'{ratio:.2f}' != f'{most:.2f}' else 4}f}x"


def bounds_of(ratios: tuple[float, ...]) -> Interval | None:
    """Return the bounds on the median of ratios; None for none."""
    if not ratios:
        return None
    found = median_interval(ratios, CONFIDENCE)
    return Interval(round(found.median, 5), round(found.lower, 5), round(found.upper, 5), CONFIDENCE, found.count)


def judge_comparison(limit: Slowdown, comparison: Comparison, duration: float, where: str = "") -> tuple[Outcome, str]:
    """Judge one set of ratios, or two where the first is suspicious; the text says what was seen.

    Args:
        limit: what the marker asks.
        comparison: the ratios.
        duration: seconds that measuring took.
        where: what was fed, such as ` at x 1×3`; empty where that goes without saying.
    """
    first, most = comparison.first, comparison.most
    if is_clear(first, most):
        return Outcome.PASS, ""
    suspicious = is_suspicious(first, most)
    undecided = comparison.second if suspicious else first
    confirmed = suspicious and is_suspicious(comparison.second, most)
    if not confirmed and (is_clear(undecided, most) or not is_too_noisy(undecided, limit.max_slowdown)):
        why = why_it_passes(comparison)
        return Outcome.PASS, f"{ratio_text(comparison)}, {why}; at most {most:.2f}x allowed." if why else ""
    itself = median_interval(comparison.self_check, CONFIDENCE)
    restless = is_too_noisy(comparison.self_check, limit.max_slowdown) or abs(itself.median - 1) > limit.max_slowdown
    if confirmed and not restless:
        return Outcome.FAIL, f"An independent second set agrees: {ratio_text(comparison, second=True)}."
    what = "the reference against itself" if restless else "the candidate, on a machine that is quiet enough,"
    spread = max(itself.noise, abs(itself.median - 1)) if restless else median_interval(undecided, CONFIDENCE).noise
    return Outcome.INCONCLUSIVE, (
        f"a difference of {percent(limit.max_slowdown)} cannot be shown here: {what} varies by ±{percent(spread)} after "
        f"{duration:.0f} s of measuring{where}. Run it on a quieter machine or with nothing else at work, allow "
        f"longer with max_time= (now {limit.max_time:g} s), or raise max_slowdown=."
    )
