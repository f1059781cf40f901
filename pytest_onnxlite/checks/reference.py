"""What a check compares a measurement with, or why there is nothing."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict

SAVE = "pytest --onnxlite-save-baseline"


@dataclass(frozen=True)
class Absent:
    """Why there is no baseline to compare with."""

    outcome: Outcome
    reason: str


Reference = Baseline | Absent


def absent(check: str, figure: str, why: Absent) -> Verdict:
    """Return the verdict where there is no baseline to compare with."""
    return Verdict(check, BASELINE, why.outcome, figure, why.reason)


def missing(check: str, figure: str, baseline: Baseline) -> Verdict:
    """Return the verdict where the baseline lacks a check."""
    reason = (
        f"the baseline of {baseline.model} {baseline.variant} has no {check}: it was saved by a run that did not "
        f"measure it. Save it with: {SAVE}"
    )
    return Verdict(check, BASELINE, Outcome.MISSING, figure, reason)
