"""Paired ratios as a page draws them."""

from __future__ import annotations

from pytest_onnxlite.checks.blocks import Block, Ratios
from pytest_onnxlite.checks.turns.comparison import Comparison
from pytest_onnxlite.checks.turns.judge import against_text, bounds_of


def ratio_plot(comparison: Comparison, key: str, is_judged: bool, where: str = "") -> list[Block]:
    """Return each set of ratios of a comparison, with the bounds and what is allowed if a verdict goes by it.

    Nothing of a file that did not change: it was not timed against itself.

    Args:
        comparison: the ratios.
        key: tells the plots of one measurement apart.
        is_judged: whether a verdict goes by it.
        where: what was fed, such as `, at x (1, 3)`; empty where that goes without saying.
    """
    if comparison.same:
        return []
    sets = (
        ("First set", comparison.first),
        ("Independent second set", comparison.second),
        ("Self-check: the reference against itself", comparison.self_check),
    )
    shown = tuple((label, ratios, bounds_of(ratios) if is_judged else None) for label, ratios in sets if ratios)
    return [Ratios(f"against {against_text(comparison)}{where}", key, shown, comparison.most if is_judged else None)]
