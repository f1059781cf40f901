"""When a graph is sound, and what its callers rely on unchanged."""

from __future__ import annotations

from pytest_onnxlite.checks.graph.limit import GraphLimit
from pytest_onnxlite.checks.graph.measurement import Graph, GraphChanges, GraphEvidence, GraphSection
from pytest_onnxlite.checks.reference import Absent, Reference, absent, missing
from pytest_onnxlite.checks.verdict import BASELINE, LIMIT, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT
from pytest_onnxlite.lint.operator_counts import Unread

NAME = "graph"
_MOST_NAMES = 3
# What the comparison with the float model had to leave out.
NOT_COMPARED = frozenset({"OLX808", "OLX809"})


def figure_text(errors: int, warnings: int) -> str:
    """Return what was found in a few words: `sound`, `sound, 2 warnings`, `1 finding, 1 warning`."""
    parts = [f"{errors} finding{'s' if errors > 1 else ''}" if errors else "sound"]
    if warnings:
        parts.append(f"{warnings} warning{'s' if warnings > 1 else ''}")
    return ", ".join(parts)


def unread_text(unread: Unread) -> str:
    """Say what no check looked into: `nothing to compare: TreeEnsembleClassifier, ZipMap`; empty for nothing."""
    if not unread.operators:
        return ""
    shown = ", ".join(unread.operators[:_MOST_NAMES])
    more = f" and {len(unread.operators) - _MOST_NAMES} more" if len(unread.operators) > _MOST_NAMES else ""
    return f"{'nothing to compare' if unread.all else 'not looked into'}: {shown}{more}"


def judge_graph(limit: GraphLimit, found: Graph, changes: GraphChanges | None, reference: Reference) -> list[Verdict]:
    """Judge the findings, and what callers and readers of the graph rely on against the baseline's.

    Args:
        limit: the marker.
        found: what the graph checks found.
        changes: how the graph differs from the baseline's; None if there is none to compare with.
        reference: the baseline, or why there is none.
    """
    errors, warnings = (tuple(f for f in found.findings if f.severity == severity) for severity in ("error", "warning"))
    findings = (*errors, *warnings)
    left_out = [finding.found for finding in found.findings if finding.code in NOT_COMPARED]
    left_out += filter(None, [unread_text(found.unread)])
    figure = ", ".join([figure_text(len(errors), len(warnings)), *left_out])
    outcome = Outcome.FAIL if errors else Outcome.PASS
    # What passes has its warnings shown by `GraphCheck.warnings`.
    message = "\n".join(map(str, findings)) if errors else ""
    own = Verdict(NAME, LIMIT, outcome, figure, message, GraphEvidence(findings=findings))
    if isinstance(reference, Absent):
        return [own, absent(NAME, figure, reference)]
    if reference.section(GraphSection) is None or changes is None:
        return [own, missing(NAME, figure, reference)]
    evidence = GraphEvidence(signature_changes=changes.signature, operator_changes=changes.operators)
    lines = []
    if changes.signature:
        lines.append("inputs or outputs changed since the last release, which breaks who calls the model:")
        lines += [f"  {change.replace(chr(10), chr(10) + '  ')}" for change in changes.signature]
        lines.append(f"Give them back their form, or accept the new one with: {ACCEPT}")
    if changes.operators and limit.structure == "frozen":
        lines.append(
            f"the operators changed since the last release (structure='frozen'): {changes.operators}.\n"
            f"Look for a new converter or quantizer version, or a changed layer; if it is meant, accept it with: "
            f"{ACCEPT}"
        )
    outcome = Outcome.FAIL if lines else Outcome.PASS
    if lines and not errors:  # else it would read `sound`, and be red
        what = [*(["inputs or outputs changed"] if changes.signature else ["operators changed"]), *left_out]
        figure = ", ".join(what)
    return [own, Verdict(NAME, BASELINE, outcome, figure, "\n".join(lines), evidence)]
