"""Whether enough of a graph runs where it is asked to."""

from __future__ import annotations

from pytest_onnxlite.checks.placement.limit import PlacementLimit
from pytest_onnxlite.checks.placement.measurement import Placed, PlacementEvidence, PlacementSection
from pytest_onnxlite.checks.reference import Reference, saved_section
from pytest_onnxlite.checks.verdict import BASELINE, LIMIT, Outcome, Verdict
from pytest_onnxlite.text import percent, shortened

NAME = "placement"


def judge_placement(limit: PlacementLimit, found: Placed, reference: Reference) -> list[Verdict]:
    """Judge the share of nodes that run where they are asked to; what is new since the last release is told.

    Args:
        limit: the marker.
        found: where the nodes run.
        reference: the baseline, or why there is none.
    """
    fell = found.share < limit.min_share
    evidence = PlacementEvidence(share=found.share, min_share=limit.min_share, fallen_back=found.operators)
    outcome = Outcome.FAIL if fell else Outcome.PASS
    own = Verdict(NAME, LIMIT, outcome, found.figure, _message(limit, found) if fell else "", evidence)
    saved, lacking = saved_section(reference, PlacementSection, NAME, found.figure)
    if saved is None:
        return [own, *lacking]
    new = tuple(sorted(set(found.operators) - set(saved.operators)))
    told = PlacementEvidence(share=found.share, fallen_back=found.operators, new=new)
    return [own, Verdict(NAME, BASELINE, Outcome.PASS, found.figure, "", told)]


def _message(limit: PlacementLimit, found: Placed) -> str:
    nodes = [
        f"{node.name or 'a node without a name'} ({node.operator}) on {node.provider}" for node in found.fallen_back
    ]
    counts = ", ".join(f"{count} {operator}" for operator, count in found.operators.items())
    return (
        f"{found.figure} ({percent(found.share)}), at least {percent(limit.min_share)} asked for (min_share={limit.min_share:g}). "
        f"Fell back: {counts}.\n  {shortened(nodes, between=chr(10) + '  ')}\n"
        "Each change of providers costs time and copies. Export the model with operators that the provider has, take a version of "
        "it that has these; or, if it is meant so, lower min_share."
    )
