"""The check of outputs: every one, element by element, as what a variant was made from and the last release give it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_onnxlite.baseline.record import KeptFile
from pytest_onnxlite.checks.blocks import Block, Table
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.figures import NONE, Figure, History, Trend
from pytest_onnxlite.checks.outputs.judge import NAME, judge_outputs
from pytest_onnxlite.checks.outputs.limit import OutputsLimit
from pytest_onnxlite.checks.outputs.measurement import Found, OutputsEvidence, OutputsSection, decibel_text
from pytest_onnxlite.checks.task import Case, Judged, Task
from pytest_onnxlite.checks.verdict import Explanation, Verdict
from pytest_onnxlite.text import percent


class OutputsCheck(Check[OutputsLimit, Found]):
    """All outputs."""

    name = NAME
    limit = OutputsLimit
    found = Found
    section = OutputsSection
    evidence = OutputsEvidence
    order = 22
    concerns_answers = True
    by_machine = ("recorded", "samples", "machine", "sqnr")

    def judge(self, task: Task[OutputsLimit]) -> Judged[Found]:
        """Compare the outputs."""
        from pytest_onnxlite.checks.outputs.measure import measure

        task.progress(f"comparing the outputs of {task.name}")
        found = measure(task)
        return Judged(found, judge_outputs(task.limit, found, task.reference))

    def explain(self, case: Case[Found]) -> Explanation | None:
        """Say which outputs and columns differ most."""
        from pytest_onnxlite.checks.outputs.explain import explain_outputs

        return explain_outputs(case)

    def rank(self, found: Found) -> float | None:
        """Return the lowest signal-to-noise ratio."""
        return found.reference.lowest if found.reference is not None else None

    def save(self, found: Found) -> OutputsSection:
        """Keep a sample of the outputs, with where they were answered."""
        return OutputsSection(
            recorded=found.recording.file,
            samples=found.recording.samples,
            total=found.total,
            batch_size=found.batch_size,
            data_sha256=found.data_sha256,
            outputs=found.outputs,
            machine=found.recording.machine,
            sqnr=found.recording.sqnr,
        )

    def kept(self, section: OutputsSection) -> KeptFile:
        """Return the file of recorded outputs."""
        return section.recorded

    def keeps(self, found: Found) -> Sequence[Path]:
        """Return where the recorded outputs are."""
        return (Path(found.recording.path),)

    def notes(self, found: Found, verdicts: Sequence[Verdict]) -> list[str]:
        """Return what the figure was compared with, and how like the last release it is."""
        paired = f", paired {found.reference.paired}" if found.reference is not None and found.reference.paired else ""
        parts = [f"of {found.made_from}{paired}"] if found.made_from else []
        last = found.last or found.runtime
        return [*parts, f"last {last.figure}"] if last is not None else parts

    def remark(self, verdict: Verdict) -> str:
        """Say that the last release's own file answers otherwise here."""
        return verdict.evidence.runtime if isinstance(verdict.evidence, OutputsEvidence) else ""

    def history(self, found: Found, section: OutputsSection | None, first: Any, limit: OutputsLimit | None) -> History:
        """Return the lowest ratio of the last release and today's."""
        saved = NONE if section is None or section.sqnr is None else decibel_text(section.sqnr)
        allowed = NONE if limit is None else f"{limit.min_sqnr:g} dB at least"
        return History(NONE, saved, found.figure, NONE, allowed)

    def details(self, found: Found, verdicts: Sequence[Verdict], kind: str) -> list[Block]:
        """Return the figures of each output."""
        blocks: list[Block] = []
        columns = ("output", "SQNR", "lowest column", "largest difference", "99.9 % below", "beyond the tolerance")
        for compared, of in ((found.reference, found.made_from), (found.last, "the last release")):
            rows = tuple(
                (
                    one.output,
                    NONE if one.labels else decibel_text(one.sqnr),
                    NONE if one.labels else decibel_text(one.lowest),
                    NONE if one.labels else f"{one.largest:.3g}",
                    NONE if one.labels else f"{one.p999:.3g}",
                    percent(one.beyond),
                )
                for one in (compared.differences if compared is not None else ())
            )
            if rows:
                blocks.append(Table(f"Outputs, next to those of {of}", columns, rows, (1, 2, 3, 4, 5)))
        return blocks

    def figures(self, found: Found, kind: str) -> list[Figure]:
        """Return the lowest ratio."""
        lowest = found.reference.lowest if found.reference is not None else None
        return [] if lowest is None else [Figure(kind, lowest, decibel_text(lowest), metric="sqnr")]

    def trend(self, section: OutputsSection, first: Any) -> Trend | None:
        """Return the saved ratio."""
        return None if section.sqnr is None else Trend(NAME, "outputs, SQNR", section.sqnr, decibel_text)

    def trend_today(self, found: Found, first: Any) -> Trend | None:
        """Return today's."""
        lowest = found.reference.lowest if found.reference is not None else None
        return None if lowest is None else Trend(NAME, "outputs, SQNR", lowest, decibel_text)

    def saved_text(self, sections: Sequence[OutputsSection]) -> str:
        """Return how many samples were recorded."""
        return f"{sections[0].samples} samples" if sections else "-"

    def data_id(self, found_or_section: Found | OutputsSection) -> str:
        """Return the hash of the evaluation data."""
        return found_or_section.data_sha256


CHECK = OutputsCheck()
