"""The check of the graph: sound, with the inputs and outputs that callers rely on."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.blocks import Block, Counts
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.graph.judge import NAME, judge_graph
from pytest_onnxlite.checks.graph.limit import GraphLimit
from pytest_onnxlite.checks.graph.measurement import Graph, GraphEvidence, GraphSection
from pytest_onnxlite.checks.task import Judged, Task
from pytest_onnxlite.checks.verdict import Verdict
from pytest_onnxlite.kinds import ONNX_RUNTIME, Kind
from pytest_onnxlite.lint.finding import Finding


class GraphCheck(Check[GraphLimit, Graph]):
    """The ONNX graph."""

    name = NAME
    limit = GraphLimit
    found = Graph
    section = GraphSection
    evidence = GraphEvidence
    order = 30
    concerns_answers = True

    def supports(self, kind: Kind) -> bool:
        """There is an ONNX graph in ONNX files alone."""
        return kind.runtime == ONNX_RUNTIME

    def judge(self, task: Task[GraphLimit]) -> Judged[Graph]:
        """Look for faults, and for what changed since the last release."""
        from pytest_onnxlite.checks.graph.measure import changes, measure

        task.progress(f"checking the graph of {task.name}")
        found = measure(task.builder, task.variant, task.limit.ignore)
        saved = task.reference.section(GraphSection) if isinstance(task.reference, Baseline) else None
        changed = changes(saved, found) if saved is not None else None
        return Judged(found, judge_graph(task.limit, found, changed, task.reference))

    def save(self, found: Graph) -> GraphSection:
        """Keep what callers and readers rely on."""
        return GraphSection(found.signature, found.operators, found.quantization)

    def remark(self, verdict: Verdict) -> str:
        """Say that the operators changed, which no limit forbids."""
        changed = verdict.evidence.operator_changes if isinstance(verdict.evidence, GraphEvidence) else ""
        return f"operators changed since the last release: {changed}" if changed else ""

    def findings(self, verdict: Verdict) -> Sequence[Finding]:
        """Return the faults, errors first, then warnings."""
        return verdict.evidence.findings if isinstance(verdict.evidence, GraphEvidence) else ()

    def warnings(self, verdict: Verdict) -> list[str]:
        """Return what is wrong with the graph and no error, each with what to do."""
        return [
            f"{finding.code} {finding.where}: expected {finding.expected}, found {finding.found}; to do: {finding.hint}"
            for finding in self.findings(verdict)
            if finding.severity == "warning"
        ]

    def details(self, found: Graph, verdicts: Sequence[Verdict], kind: str) -> list[Block]:
        """Return the operators whose number quantization changed; the note names those it left alone."""
        added, removed, now = found.quantization.added, found.quantization.removed, found.operators
        rows = [
            (name, now.get(name, 0) - added.get(name, 0) + removed.get(name, 0), now.get(name, 0))
            for name in {*added, *removed}
        ]
        if not rows:
            return []
        rows.sort(key=lambda row: (row[2] - row[1], row[0]))
        same = [f"{count} {name}" for name, count in sorted(now.items()) if name not in added and name not in removed]
        note = f"As before: {', '.join(same)}." if same else ""
        return [Counts(f"Operators, from float to {kind}", "float", kind, tuple(rows), note)]

    def saved_text(self, sections: Sequence[GraphSection]) -> str:
        """Return how many nodes the graph has."""
        return f"{sum(sections[0].operators.values())} nodes" if sections else "-"


CHECK = GraphCheck()
