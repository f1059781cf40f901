"""The check of the placement: how much of the graph the execution providers run that the runtime asks for."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.placement.judge import NAME, judge_placement
from pytest_onnxlite.checks.placement.limit import PlacementLimit
from pytest_onnxlite.checks.placement.measurement import Placed, PlacementEvidence, PlacementSection
from pytest_onnxlite.checks.task import Judged, Task
from pytest_onnxlite.checks.verdict import Verdict
from pytest_onnxlite.kinds import ONNX_RUNTIME, Kind


class PlacementCheck(Check[PlacementLimit, Placed]):
    """Where the graph's nodes run."""

    name = NAME
    limit = PlacementLimit
    found = Placed
    section = PlacementSection
    evidence = PlacementEvidence
    order = 35

    def supports(self, kind: Kind) -> bool:
        """Execution providers are ONNX Runtime's."""
        return kind.runtime == ONNX_RUNTIME

    def judge(self, task: Task[PlacementLimit]) -> Judged[Placed]:
        """Let ONNX Runtime record which provider runs which node."""
        from pytest_onnxlite.checks.placement.measure import measure
        from pytest_onnxlite.variants.variant import RuntimeVariant

        assert isinstance(task.variant, RuntimeVariant)
        found = measure(task.variant)
        return Judged(found, judge_placement(task.limit, found, task.reference))

    def save(self, found: Placed) -> PlacementSection:
        """Keep how many nodes run where they are asked to, and the operators of the others."""
        return PlacementSection(found.total, found.placed, found.operators)

    def remark(self, verdict: Verdict) -> str:
        """Say what falls back that did not in the last release, which no limit forbids."""
        new = verdict.evidence.new if isinstance(verdict.evidence, PlacementEvidence) else ()
        return f"operators that fall back and did not in the last release: {', '.join(new)}" if new else ""

    def saved_text(self, sections: Sequence[PlacementSection]) -> str:
        """Return how many nodes run where they are asked to."""
        return f"{sections[0].placed} of {sections[0].nodes} nodes" if sections else "-"


CHECK = PlacementCheck()
