"""Where the memory goes: loading and running apart, and the nodes that allocate most."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pytest_onnxlite.checks.check import Case
from pytest_onnxlite.checks.memory.measurement import Memory, MemoryEvidence, Peak
from pytest_onnxlite.checks.size.contents import count_bytes
from pytest_onnxlite.checks.verdict import Explanation, Outcome
from pytest_onnxlite.explain.provenance import Provenance
from pytest_onnxlite.text import percent, size_text

_MOST_NODES = 5


@dataclass(frozen=True)
class NodeBytes:
    """What a node allocates in one run, in both models, and how much more that is."""

    node: str
    bytes: int
    reference: int
    change: int


def explain_memory(case: Case[Memory]) -> Explanation:
    """Explain a peak that is higher than the last release's."""
    evidence = case.verdict.evidence
    found = case.found.at(evidence.shapes) if isinstance(evidence, MemoryEvidence) else case.found
    ours, theirs = found.candidate, found.reference
    if theirs is None:
        return Explanation("there is no release to compare with.")
    phases = {"load": (ours.load, theirs.load), "run": (ours.run, theirs.run)}
    nodes = compare_nodes(ours, theirs, case.task.variant.path, case.task.last_file)
    data: dict[str, object] = {phase: {"bytes": now, "reference": was} for phase, (now, was) in phases.items()}
    data["nodes"] = [asdict(node) for node in nodes]
    lines = _lines(phases, nodes, case.verdict.outcome is Outcome.FAIL)
    grown = next((node for node in nodes if node.change > 0), None)
    # Buffers are reused and rounded up, so that the peak is not the sum of what nodes allocate.
    activations = sum(node.change for node in nodes)
    run, load = (now - was for now, was in (phases["run"], phases["load"]))
    weights = _weight_growth(case)
    if weights is not None:
        data["weights"] = weights
    if grown is not None and activations >= max(run, load, 1) / 4:
        was = f", was {size_text(grown.reference)}" if grown.reference else ", and was not there or among the largest"
        why = f"{grown.node} allocates {size_text(grown.bytes)} in a run{was}: its activations grew."
    elif weights is not None and weights["bytes"] - weights["reference"] >= max(load, 1) / 4:
        why = (
            f"the file grew from {size_text(weights['reference'])} to {size_text(weights['bytes'])}, and loading holds it: "
            "the weights grew, not the activations."
        )
    else:
        why = (
            "no node allocates more than in the last release: look for what ONNX Runtime packs or copies while loading."
        )
    return Explanation(why, tuple(lines), data)


def _lines(phases: Mapping[str, tuple[int, int]], nodes: Sequence[NodeBytes], is_red: bool) -> list[str]:
    """Return the figures; of a peak that is too high only those that grew, since the others do not explain it."""
    peaks = [
        f"{'loading' if phase == 'load' else 'running'} {size_text(now)}, was {size_text(was)} "
        f"({percent(now / max(was, 1) - 1, sign=True)})"
        for phase, (now, was) in phases.items()
        if now > was or not is_red
    ]
    lines = [f"Peaks: {'; '.join(peaks)}."] if peaks else []
    held = [node for node in sorted(nodes, key=lambda node: -node.bytes) if node.change > 0 or not is_red][:_MOST_NODES]
    if held:
        lines.append(f"Nodes that {'allocate more' if is_red else 'hold the peak'} (allocated in one run, was):")
        lines += [f"  {n.node}: {size_text(n.bytes)}, {size_text(n.reference)}" for n in held]
    return lines


def _weight_growth(case: Case[Memory]) -> dict[str, int] | None:
    if case.task.last_file is None or case.task.last_file.suffix != ".onnx" or case.task.variant.path.suffix != ".onnx":
        return None
    return {
        "bytes": count_bytes(case.task.variant.path)[0].total,
        "reference": count_bytes(case.task.last_file)[0].total,
    }


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
