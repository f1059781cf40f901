"""Where the memory goes: loading and running apart, and the nodes that allocate most."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_onnxlite.checks.size.explain import count_bytes
from pytest_onnxlite.explain.case import Case, Explanation
from pytest_onnxlite.explain.provenance import Origins
from pytest_onnxlite.text import percent, size_text

_MOST_NODES = 5


def explain_memory(case: Case) -> Explanation:
    """Explain a peak that is higher than the previous release's."""
    found = case.measured
    ours, theirs = found["candidate"], found["reference"]
    if theirs is None:
        return Explanation("there is no release beside it to compare with.")
    phases = {phase: (ours[phase], theirs[phase]) for phase in ("load", "run")}
    nodes = compare_nodes(ours, theirs, case.variant.path, case.previous)
    data = {
        "load": {"bytes": ours["load"], "reference": theirs["load"]},
        "run": {"bytes": ours["run"], "reference": theirs["run"]},
        "nodes": nodes,
    }
    peaks = [
        f"{'loading' if phase == 'load' else 'running'} {size_text(now)}, was {size_text(was)} "
        f"({percent(now / max(was, 1) - 1, sign=True)})"
        for phase, (now, was) in phases.items()
    ]
    lines = [f"Peaks: {'; '.join(peaks)}."]
    held = sorted(nodes, key=lambda node: -node["bytes"])[:_MOST_NODES]
    if held:
        lines.append("Nodes that hold the peak (allocated in one run, was):")
        lines += [f"  {n['node']}: {size_text(n['bytes'])}, {size_text(n['reference'])}" for n in held]
    grown = next((node for node in nodes if node["change"] > 0), None)
    # Buffers are reused and rounded up, so that the peak is not the sum of what nodes allocate.
    activations = sum(node["change"] for node in nodes)
    run, load = (now - was for now, was in (phases["run"], phases["load"]))
    weights = _weight_growth(case)
    if weights is not None:
        data["weights"] = weights
    if grown is not None and activations >= max(run, load, 1) / 4:
        was = (
            f", was {size_text(grown['reference'])}"
            if grown["reference"]
            else ", and was not there or among the largest"
        )
        why = f"{grown['node']} allocates {size_text(grown['bytes'])} in a run{was}: its activations grew."
    elif weights is not None and weights["bytes"] - weights["reference"] >= max(load, 1) / 4:
        why = (
            f"the file grew from {size_text(weights['reference'])} to {size_text(weights['bytes'])}, and loading holds it: "
            "the weights grew, not the activations."
        )
    else:
        why = "no node allocates more than in the previous release: look for what ONNX Runtime packs or copies while loading."
    return Explanation(why, lines, data)


def _weight_growth(case: Case) -> dict[str, int] | None:
    if case.previous is None or case.previous.suffix != ".onnx" or case.variant.path.suffix != ".onnx":
        return None
    return {"bytes": count_bytes(case.variant.path)[0].total, "reference": count_bytes(case.previous)[0].total}


def compare_nodes(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], path: Path, previous: Path | None
) -> list[dict[str, Any]]:
    """Return the bytes that nodes allocate in one run in both models, what grew most first.

    Args:
        ours: the candidate's peak, as data.
        theirs: the reference's.
        path: the candidate's file.
        previous: the reference's.
    """
    if path.suffix != ".onnx":
        return []
    sums = []
    for peak, file in ((ours, path), (theirs, previous or path)):
        origins = Origins(file)
        total: dict[str, int] = defaultdict(int)
        for name, size in peak["nodes"]:
            total[origins.of(name)] += size
        sums.append(total)
    names = sorted(set(sums[0]) | set(sums[1]))
    found = [
        {"node": n, "bytes": sums[0][n], "reference": sums[1][n], "change": sums[0][n] - sums[1][n]} for n in names
    ]
    return sorted(found, key=lambda entry: (-entry["change"], entry["node"]))
