"""The outcome of one limit, with its evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from pytest_onnxlite.settings import Mode

BASELINE = "baseline"


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
class Verdict:
    """The outcome of one limit of one variant.

    Attributes:
        check: `accuracy`, `size`, `latency`, `memory` or `graph`.
        against: what it was compared with: `trained`, `onnx`, `baseline`, or the limit alone (`limit`).
        outcome: what came of it.
        figure: what was measured, in a few words, for the table.
        message: what got worse, by how much, where, and what to do; for a person who reads it once.
        evidence: all numbers behind it, as JSON.
    """

    check: str
    against: str
    outcome: Outcome
    figure: str
    message: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)

    def is_red(self, mode: Mode, accept: bool = False) -> bool:
        """Tell whether the test fails of it.

        A limit that is broken is red in every mode. An uncertain state is red where the run was asked to
        compare, and where it was asked to save, but for a baseline that is not there yet. `accept` lets a
        candidate that is worse than its baseline replace it; it never lets a limit of its own go.
        """
        if self.outcome in _GOOD or self.outcome is Outcome.NOT_COMPARED:
            return False
        if self.outcome is Outcome.FAIL:
            return not (accept and mode == "save" and self.against == BASELINE)
        if mode == "save":
            if self.outcome is Outcome.MISSING:
                return False
            return not (accept and self.outcome in (Outcome.NOT_COMPARABLE, Outcome.INCONCLUSIVE))
        if self.outcome is Outcome.NOT_MEASURED:
            return mode == "compare"
        return mode == "compare" or self.against != BASELINE

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON data."""
        return {**asdict(self), "outcome": self.outcome.value}
