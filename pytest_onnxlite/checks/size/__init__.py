"""The check of size: bytes, compared with those of what it was made from and the last release's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_onnxlite.baseline.record import Artefact
from pytest_onnxlite.checks.blocks import Block, Table, bars
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.figures import NONE, Figure, History, Trend
from pytest_onnxlite.checks.limit import RuledOut
from pytest_onnxlite.checks.size.judge import NAME, judge_size
from pytest_onnxlite.checks.size.limit import SizeLimit
from pytest_onnxlite.checks.size.measurement import Size, SizeEvidence, SizeSection
from pytest_onnxlite.checks.size.reasons import SizeReasons, blocks
from pytest_onnxlite.checks.task import Case, Judged, Task
from pytest_onnxlite.checks.verdict import Explanation, Verdict
from pytest_onnxlite.text import at_most, growth, percent, size_text

if TYPE_CHECKING:
    from pytest_onnxlite.spec.recipes import Recipe
    from pytest_onnxlite.variants.builder import Builder


class SizeCheck(Check[SizeLimit, Size]):
    """Bytes of a file."""

    name = NAME
    limit = SizeLimit
    found = Size
    section = SizeSection
    first = SizeSection
    first_key = NAME
    evidence = SizeEvidence
    reasons = SizeReasons
    order = 10

    def judge(self, task: Task[SizeLimit]) -> Judged[Size]:
        """Count the bytes."""
        from pytest_onnxlite.checks.size.measure import measure

        found = measure(task.builder, task.variant)
        return Judged(found, judge_size(task.limit, task.builder.kind(task.variant.kind), found, task.reference))

    def explain(self, case: Case[Size]) -> Explanation | None:
        """Say what the bytes are, and what would bring them under the limit."""
        from pytest_onnxlite.checks.size.explain import explain_size

        return explain_size(case)

    def rules_out(self, limit: SizeLimit, builder: Builder, recipe: Recipe) -> RuledOut | None:
        """The weights alone tell how small a file can be."""
        from pytest_onnxlite.checks.size.predict import too_large

        return too_large(limit, builder, recipe)

    def save(self, found: Size) -> SizeSection:
        """Keep the bytes."""
        return SizeSection(found.bytes)

    def save_first(self, kept: SizeSection | None, found: Size, same: bool) -> SizeSection:
        """Keep the first release's bytes."""
        return kept or self.save(found)

    def contradiction(self, section: SizeSection, artefact: Artefact) -> str:
        """Bytes are those of the file."""
        if section.bytes == artefact.bytes:
            return ""
        return f"size.bytes is {section.bytes}, and artefact.bytes {artefact.bytes}; both are of one file."

    def notes(self, found: Size, verdicts: Sequence[Verdict]) -> list[str]:
        """Return the share of what it was made from, and the last release's bytes."""
        parts = []
        if found.reference and found.reference_bytes:
            parts.append(f"{found.bytes / found.reference_bytes:.3f} of {found.reference}")
        saved = next(
            (v.evidence.saved for v in verdicts if isinstance(v.evidence, SizeEvidence) and v.evidence.saved), None
        )
        if saved:
            parts.append(f"last {size_text(saved)}")
        if found.waste:
            parts.append(f"{size_text(found.waste)} unused next to it")
        return parts

    def drift(self, verdict: Verdict) -> str:
        """Say how it grew since the first release."""
        evidence = verdict.evidence
        if not isinstance(evidence, SizeEvidence) or not evidence.first or evidence.first == evidence.bytes:
            return ""
        return f"size {percent(evidence.bytes / evidence.first - 1, sign=True)}"

    def history(
        self, found: Size, section: SizeSection | None, first: SizeSection | None, limit: SizeLimit | None
    ) -> History:
        """Return the bytes first, last and today."""
        start, saved = (NONE if part is None else size_text(part.bytes) for part in (first, section))
        change = growth(found.bytes, section.bytes if section else None)
        return History(start, saved, size_text(found.bytes), change, at_most(limit.tolerance if limit else None))

    def details(self, found: Size, verdicts: Sequence[Verdict], kind: str) -> list[Block]:
        """Return the bytes of weights by type, and what is left in float."""
        found_blocks: list[Block] = []
        by_type = found.contents.weight_bytes
        if by_type:
            texts = {name: size_text(count) for name, count in by_type.items()}
            found_blocks.append(bars("Bytes of weights, by type", by_type, sum(by_type.values()), texts))
        left = found.contents.float_left
        if left:
            rows = tuple((t.tensor, size_text(t.bytes), f"{t.node}: {t.reason}") for t in left)
            found_blocks.append(Table("Weights left in float", ("tensor", "bytes", "read by, and why"), rows, (1,)))
        return found_blocks

    def drawn(self, explanation: Explanation, kind: str) -> list[Block]:
        """Return the kinds of bytes."""
        return blocks(explanation.figures) if isinstance(explanation.figures, SizeReasons) else []

    def figures(self, found: Size, kind: str) -> list[Figure]:
        """Return the bytes of both."""
        own = [Figure(kind, found.bytes, size_text(found.bytes))]
        if not found.reference or not found.reference_bytes:
            return own
        return [*own, Figure(found.reference, found.reference_bytes, size_text(found.reference_bytes))]

    def trend(self, section: SizeSection, first: Any) -> Trend:
        """Return the saved bytes."""
        return Trend(NAME, NAME, section.bytes, size_text)

    def trend_today(self, found: Size, first: Any) -> Trend:
        """Return today's bytes."""
        return Trend(NAME, NAME, found.bytes, size_text)

    def saved_text(self, sections: Sequence[SizeSection]) -> str:
        """Return the saved bytes."""
        return size_text(sections[0].bytes) if sections else "-"


CHECK = SizeCheck()
