"""Paired ratios as a page draws them."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_onnxlite.checks.blocks import Block
from pytest_onnxlite.checks.latency.measurement import FLOAT, Latency, LatencyEvidence
from pytest_onnxlite.checks.turns.drawn import ratio_plot
from pytest_onnxlite.checks.verdict import Verdict
from pytest_onnxlite.text import shapes_text


def ratio_plots(found: Latency, verdicts: Sequence[Verdict]) -> list[Block]:
    """Return each set of paired ratios."""
    blocks: list[Block] = []
    for number, one in enumerate(found.each):
        where = f", at {shapes_text(one.shapes)}" if found.others else ""
        for purpose, comparison in one.comparisons.items():
            key = f"{purpose}-{number}" if number else purpose
            is_judged = evidence_of(purpose, found, verdicts) is not None
            blocks += ratio_plot(comparison, key, is_judged, where)
    return blocks


def evidence_of(purpose: str, found: Latency, verdicts: Sequence[Verdict]) -> LatencyEvidence | None:
    """Return the evidence of the verdict about a comparison: one with the float model is against that variant."""
    against = found.comparisons[purpose].reference if purpose == FLOAT else purpose
    for verdict in verdicts:
        if verdict.against == against and isinstance(verdict.evidence, LatencyEvidence) and verdict.evidence.first:
            return verdict.evidence
    return None
