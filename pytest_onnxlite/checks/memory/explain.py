"""Where the memory goes: loading and running apart, and the nodes that allocate most."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from pytest_onnxlite.checks.memory.measurement import Memory, MemoryEvidence, Peak
from pytest_onnxlite.checks.memory.reasons import Bytes, MemoryReasons, NodeBytes, details
from pytest_onnxlite.checks.size.contents import count_bytes
from pytest_onnxlite.checks.task import Case
from pytest_onnxlite.checks.verdict import Explanation, Outcome
from pytest_onnxlite.explain.provenance import Provenance
from pytest_onnxlite.text import size_text


def explain_memory(case: Case[Memory]) -> Explanation:
    """Explain a peak that is higher than the last release's."""
    evidence = case.verdict.evidence
    found = case.found.at(evidence.shapes) if isinstance(evidence, MemoryEvidence) else case.found
    ours, theirs = found.candidate, found.reference
    if theirs is None:
        return Explanation("there is no release to compare with.")
    load, run = Bytes(ours.load, theirs.load), Bytes(ours.run, theirs.run)
    nodes = compare_nodes(ours, theirs, case.task.variant.path, case.task.last_file)
    weights = _weight_growth(case)
    reasons = MemoryReasons(
        load=load, run=run, nodes=tuple(nodes), weights=weights, is_red=case.verdict.outcome is Outcome.FAIL
    )
    return Explanation(_why(reasons), (), reasons, details(reasons))


def _why(reasons: MemoryReasons) -> str:
    nodes, weights = reasons.nodes, reasons.weights
    grown = next((node for node in nodes if node.change > 0), None)
    # Buffers are reused and rounded up, so that the peak is not the sum of what nodes allocate.
    activations = sum(node.change for node in nodes)
    run, load = (peak.bytes - peak.reference for peak in (reasons.run, reasons.load))
    if grown is not None and activations >= max(run, load, 1) / 4:
        was = f", was {size_text(grown.reference)}" if grown.reference else ", and was not there or among the largest"
        return f"{grown.node} allocates {size_text(grown.bytes)} in a run{was}: its activations grew."
    if weights is not None and weights.bytes - weights.reference >= max(load, 1) / 4:
        return (
            f"the file grew from {size_text(weights.reference)} to {size_text(weights.bytes)}, and loading holds it: "
            "the weights grew, not the activations."
        )
    return "no node allocates more than in the last release: look for what ONNX Runtime packs or copies while loading."


def _weight_growth(case: Case[Memory]) -> Bytes | None:
    if case.task.last_file is None or case.task.last_file.suffix != ".onnx" or case.task.variant.path.suffix != ".onnx":
        return None
    return Bytes(count_bytes(case.task.variant.path)[0].total, count_bytes(case.task.last_file)[0].total)


def compare_nodes(ours: Peak, theirs: Peak, path: Path, previous: Path | None) -> list[NodeBytes]:
    """Return the bytes that nodes allocate in one run in both models, what grew most first.

    Args:
        ours: the candidate's peak.
        theirs: the reference's.
        path: the candidate's file.
        previous: the reference's.
    """
    if path.suffix != ".onnx":
        return []
    sums = []
    for peak, file in ((ours, path), (theirs, previous or path)):
        provenance = Provenance(file)
        total: dict[str, int] = defaultdict(int)
        for name, size in peak.nodes:
            total[provenance.of(name)] += size
        sums.append(total)
    names = sorted(set(sums[0]) | set(sums[1]))
    found = [NodeBytes(n, sums[0][n], sums[1][n], sums[0][n] - sums[1][n]) for n in names]
    return sorted(found, key=lambda entry: (-entry.change, entry.node))
