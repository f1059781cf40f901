"""What a check is: what its marker asks, how a variant is measured and judged, what is saved, explained and shown.

A project's `conftest.py` can add one of its own with the hook `pytest_onnxlite_checks`; see docs/checks.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic

import msgspec

from pytest_onnxlite.baseline.record import Artefact, KeptFile
from pytest_onnxlite.checks.blocks import Block
from pytest_onnxlite.checks.figures import Figure, History, Trend
from pytest_onnxlite.checks.limit import Limit, RuledOut
from pytest_onnxlite.checks.task import Case, Judged, L, M, Task
from pytest_onnxlite.checks.verdict import BASELINE, FIRST, LIMIT, RUNTIME, Explanation, Verdict
from pytest_onnxlite.lint.finding import Finding
from pytest_onnxlite.settings import Settings
from pytest_onnxlite.text import Shapes, listed

if TYPE_CHECKING:
    from pytest_onnxlite.kinds import Kind
    from pytest_onnxlite.spec.recipes import Recipe
    from pytest_onnxlite.variants.builder import Builder


class Check(ABC, Generic[L, M]):
    """One thing that a release is judged by.

    Attributes:
        name: what it is called; its marker is `onnxlite_<name>`, and what it saves stands under the name.
        limit: the dataclass of its marker's arguments.
        found: the type of its measurement, which msgspec can read back from JSON.
        section: the type of what a baseline keeps of it, which msgspec reads and checks.
        first: the type of what a baseline keeps of the first release; None for nothing.
        first_key: where that stands.
        multiplies: whether that is a ratio that each release multiplies; a file that comes back then has the one it had.
        evidence: the type of its verdicts' evidence.
        reasons: the type of the figures behind its explanations.
        per_machine: whether what it saves depends on the machine.
        conditions: of what it saves, the fields in which two tests of one run must agree; all of them if that is no matter of
            the machine.
        by_machine: where what it saves is of the file and not of a machine, the fields that another machine may answer a little
            otherwise: they stay as they were first saved, as long as the file and all other fields are the same.
        timed: whether it is timed by pytest-benchmark.
        needs_quiet: whether other processes at work disturb it.
        order: checks with a lower number are judged sooner where a search stops at the first that is broken.
        concerns_answers: whether what a processor answers matters to it.
    """

    name: ClassVar[str]
    limit: ClassVar[type[Limit]]
    found: ClassVar[Any]
    section: ClassVar[Any]
    first: ClassVar[Any] = None
    first_key: ClassVar[str] = ""
    multiplies: ClassVar[bool] = False
    evidence: ClassVar[Any] = dict
    reasons: ClassVar[Any] = dict
    per_machine: ClassVar[bool] = False
    conditions: ClassVar[tuple[str, ...]] = ()
    by_machine: ClassVar[tuple[str, ...]] = ()
    timed: ClassVar[bool] = False
    needs_quiet: ClassVar[bool] = False
    order: ClassVar[int] = 25
    concerns_answers: ClassVar[bool] = False

    # -- judging -----------------------------------------------------------------------------------------

    @abstractmethod
    def judge(self, task: Task[L]) -> Judged[M]:
        """Measure a variant and judge it.

        Raises:
            OnnxliteError: it cannot be measured; the text says why, and what to do.
        """

    def supports(self, kind: Kind) -> bool:
        """Tell whether variants of a kind can be judged."""
        return True

    def widen(self, limit: L, kind: Kind, settings: Settings) -> L:
        """Return a limit with what the run asks of every limit of the check."""
        return limit

    def reason_key(self, verdict: Verdict) -> str:
        """Return a key; of a limit's verdicts with the same key the first explanation serves for all."""
        return verdict.against

    def explain(self, case: Case[M]) -> Explanation | None:
        """Say why a verdict is what it is; None where its message says all there is."""
        return None

    def shorten(self, limit: L, seconds: float) -> L:
        """Return a limit that is judged within so many seconds, for a search."""
        return limit

    def rank(self, found: M) -> float | None:
        """Return how good a measurement is, larger for better, to tell which of several trials is nearest; None if it cannot."""
        return None

    def futile(self, limit: L, found: M) -> str:
        """Say why no recipe can help with what was measured; empty if one may."""
        return ""

    def rules_out(self, limit: L, builder: Builder, recipe: Recipe) -> RuledOut | None:
        """Say why an INT8 variant by a recipe cannot keep a limit, as far as that is told without building it; else None."""
        return None

    # -- saving ------------------------------------------------------------------------------------------

    @abstractmethod
    def save(self, found: M) -> object:
        """Return the baseline's section of a measurement, of the type `section`."""

    def is_outdated(self, section: Any, found: M) -> bool:
        """Whether a section of the same file is to be replaced: what it holds is not measured in that way any more."""
        return False

    def is_same_elsewhere(self, kept: object, now: object) -> bool:
        """Whether two sections of one file differ in nothing but what another machine may answer otherwise."""
        one, other = msgspec.to_builtins(kept), msgspec.to_builtins(now)
        if not self.by_machine or not isinstance(one, dict) or not isinstance(other, dict):
            return False
        return all(one.get(name) == other.get(name) for name in {*one, *other} if name not in self.by_machine)

    def save_first(self, kept: Any, found: M, same: bool) -> object:
        """Return what is kept of the first release, of the type `first`.

        Args:
            kept: what was kept so far; None at the first release.
            found: the measurement that is saved.
            same: whether the file that was measured is the last release's own.
        """
        return kept

    def unlike(self, one: M, other: M) -> str:
        """Say in what two measurements of one file and one run differ, of which a baseline keeps one; empty if in nothing."""
        sections: list[Any] = [msgspec.to_builtins(self.save(found)) for found in (one, other)]
        if not all(isinstance(section, dict) for section in sections):
            return "" if self.per_machine or sections[0] == sections[1] else self.name
        names = self.conditions if self.per_machine else dict.fromkeys(name for section in sections for name in section)
        values = [(name, *(section.get(name) for section in sections)) for name in names]
        found = [f"{name} ({was} and {now})" for name, was, now in values if was != now]
        return listed(found) if found else ""

    def contradiction(self, section: Any, artefact: Artefact) -> str:
        """Say how a section contradicts the file that the baseline is of; empty if it does not."""
        return ""

    def kept(self, section: Any) -> KeptFile | None:
        """Return the data file that a section names, to be kept next to the last release's file; None for none."""
        return None

    def keeps(self, found: M) -> Sequence[Path]:
        """Return where the data file is, written by `Task.keep`, that the section of a measurement names."""
        return ()

    # -- reading back ------------------------------------------------------------------------------------

    @property
    def forms(self) -> tuple[Any, ...]:
        """The types that a measurement has in a report."""
        return (self.found,)

    def read_found(self, content: object) -> Any:
        """Return a measurement from JSON data.

        Raises:
            msgspec.ValidationError: it is none.
        """
        return msgspec.convert(content, self.found, strict=False)

    def read_evidence(self, content: object) -> Any:
        """Return a verdict's evidence from JSON data; None for none.

        Raises:
            msgspec.ValidationError: it is none.
        """
        return msgspec.convert(content, self.evidence, strict=False) if content else None

    def read_reasons(self, content: object) -> Any:
        """Return the figures behind an explanation from JSON data; as data where an earlier version wrote others."""
        try:
            return msgspec.convert(content, self.reasons, strict=False)
        except msgspec.ValidationError:
            return content

    # -- showing -----------------------------------------------------------------------------------------

    def notes(self, found: M, verdicts: Sequence[Verdict]) -> list[str]:
        """Return what the figure was compared with, in a few words each, for the table's brackets."""
        return []

    def shapes(self, found: M) -> Sequence[Shapes]:
        """Return the shapes that it was measured at, by input, the longest first; none if that means nothing."""
        return []

    def against(self, verdict: Verdict) -> str:
        """Say what a verdict is against."""
        return against_text(verdict.against)

    def drift(self, verdict: Verdict) -> str:
        """Say what added up since the first release, if it is more than noise; else empty."""
        return ""

    def remark(self, verdict: Verdict) -> str:
        """Say what is worth knowing about a verdict that is not red; else empty."""
        return ""

    def warnings(self, verdict: Verdict) -> list[str]:
        """Return what is wrong and does not break the limit, a line each; every report shows it, in CI at the test's line."""
        return []

    def findings(self, verdict: Verdict) -> Sequence[Finding]:
        """Return the broken rules of the graph checks behind a verdict, where it has such."""
        return ()

    def history(self, found: M, section: Any, first: Any, limit: L | None) -> History | None:
        """Return the figure in the first release, in the last release and today; None if that means nothing.

        Args:
            found: today's measurement.
            section: what the last release's baseline keeps, on a machine like this; None for nothing.
            first: what it keeps of the first release; None for nothing.
            limit: the marker's arguments.
        """
        return None

    def details(self, found: M, verdicts: Sequence[Verdict], kind: str) -> list[Block]:
        """Return what a page shows of it beyond the figure."""
        return []

    def drawn(self, explanation: Explanation, kind: str) -> list[Block]:
        """Return what a page draws of an explanation's figures, in the place of its `details`; none shows these."""
        return []

    def figures(self, found: M, kind: str) -> list[Figure]:
        """Return figures for the table of a model's variants: this kind's, and of what it was compared with."""
        return []

    def trend(self, section: Any, first: Any) -> Trend | None:
        """Return a saved baseline's figure for the trend over releases; None if it has none."""
        return None

    def trend_today(self, found: M, first: Any) -> Trend | None:
        """Return today's figure for the trend over releases; None if it has none."""
        return None

    def saved_text(self, sections: Sequence[Any]) -> str:
        """Return what is saved in a few words, one section for each machine that saved one."""
        return "saved" if sections else "-"

    def data_id(self, found_or_section: Any) -> str:
        """Return the hash of the data that a figure is of; empty if it depends on none."""
        return ""


def against_text(against: str) -> str:
    """Say what a verdict is against: its own limit, another variant, or the last release."""
    known = {LIMIT: "its own limit", BASELINE: "the last release", RUNTIME: "the last release as it was saved"}
    known[FIRST] = "the first release"
    return known.get(against, f"the {against} variant")
