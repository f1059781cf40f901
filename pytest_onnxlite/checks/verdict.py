"""The outcome of one limit, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pytest_onnxlite.settings import Mode
from pytest_onnxlite.text import shown, shown_lines

BASELINE = "baseline"
# Against the last release as it was saved: what the runtime did to it since.
RUNTIME = "runtime"
# Against the first release: what was lost since then, release by release.
FIRST = "first"
# Against nothing but the marker's own arguments.
LIMIT = "limit"


class Outcome(StrEnum):
    """What came of a limit."""

    PASS = "pass"
    FAIL = "fail"
    IMPROVED = "improved"
    MISSING = "missing"
    NOT_COMPARABLE = "not comparable"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not measured"
    NOT_COMPARED = "not compared"


_GOOD = (Outcome.PASS, Outcome.IMPROVED)


@dataclass(frozen=True)
class Explanation:
    """Why a verdict is what it is.

    Attributes:
        why: the first cause, in a sentence.
        lines: other causes and remarks, a line each.
        figures: all figures behind it, of the type that the check names (`Check.reasons`).
        details: what the figures say, in lines, where nothing is drawn.
        short: the first cause without what follows from it; empty where that is all of `why`.
        kind: what the first cause is about, such as `calibration`; empty where the check tells no kinds apart.
        suspects: nodes that may be left in float, the most likely cure first.
        suspect_operators: operators of the float model that the named nodes were, of those a model has several of.
    """

    why: str
    lines: tuple[str, ...] = ()
    figures: object = field(default_factory=dict)
    details: tuple[str, ...] = ()
    kind: str = ""
    short: str = ""
    suspects: tuple[str, ...] = ()
    suspect_operators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Let each text be one line that only shows, whatever names are in it."""
        object.__setattr__(self, "why", shown(self.why))
        object.__setattr__(self, "short", shown(self.short or self.why))
        object.__setattr__(self, "lines", tuple(map(shown, self.lines)))
        object.__setattr__(self, "details", tuple(map(shown, self.details)))


@dataclass(frozen=True)
class Verdict:
    """The outcome of one limit of one variant.

    Attributes:
        check: the check's name.
        against: what it was compared with: a kind of variant, `baseline`, or the limit alone (`limit`).
        outcome: what came of it.
        figure: what was measured, in a few words, for the table.
        message: what got worse, by how much, where, and what to do; for a person who reads it once.
        evidence: all numbers behind it, of the type that the check names; None if nothing was compared.
        red: whether its test fails of it; known once it is recorded.
        xfail: the reason where it is as pytest was told to expect, else None.
        explanation: why it is what it is; None where nobody asked.
        remarks: what a limit that holds hides and a person should know, in a sentence each.
        keep: the command that makes an improvement the one that is held from now on; empty if there is nothing to keep.
    """

    check: str
    against: str
    outcome: Outcome
    figure: str
    message: str = ""
    evidence: object = None
    red: bool = False
    xfail: str | None = None
    explanation: Explanation | None = None
    remarks: tuple[str, ...] = ()
    keep: str = ""

    def __post_init__(self) -> None:
        """Let texts only show, whatever names are in them: here, so that no report can forget it."""
        object.__setattr__(self, "figure", shown(self.figure))
        object.__setattr__(self, "message", shown_lines(self.message))
        object.__setattr__(self, "remarks", tuple(map(shown, self.remarks)))

    @property
    def in_short(self) -> str:
        """The outcome, the figure and the remarks, in a line."""
        return "; ".join([f"{self.outcome}: {self.figure}", *self.remarks])

    def is_red(self, mode: Mode, accept: bool = False) -> bool:
        """Tell whether the test fails of it.

        A limit that is broken is red in every mode. An uncertain state is red where the run was asked to
        compare, and where it was asked to save, but for a baseline that is not there yet. `accept` lets a
        candidate that is worse than its baseline replace it; it never lets a limit of its own go.
        """
        if self.outcome in _GOOD or self.outcome is Outcome.NOT_COMPARED:
            return False
        if self.outcome is Outcome.FAIL:
            return not (accept and mode == "save" and self.against in (BASELINE, RUNTIME))
        if mode == "save":
            if self.outcome is Outcome.MISSING:
                return False
            return not (accept and self.outcome in (Outcome.NOT_COMPARABLE, Outcome.INCONCLUSIVE))
        if self.outcome is Outcome.NOT_MEASURED:
            return mode == "compare"
        return mode == "compare" or self.against != BASELINE
