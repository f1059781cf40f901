"""What a check compares a measurement with, or why there is nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT, SAVE
from pytest_onnxlite.labels import labelled

ACCEPT_IT = f"Accept it with: {ACCEPT}"


@dataclass(frozen=True)
class Absent:
    """Why there is no baseline to compare with."""

    outcome: Outcome
    reason: str


Reference = Baseline | Absent
S = TypeVar("S")


def absent(check: str, figure: str, why: Absent) -> Verdict:
    """Return the verdict if there is no baseline to compare with."""
    return Verdict(check, BASELINE, why.outcome, figure, why.reason)


def missing(check: str, figure: str, baseline: Baseline) -> Verdict:
    """Return the verdict where the baseline lacks a check."""
    reason = (
        f"the baseline of {baseline.model} {baseline.variant} has no {labelled(check, baseline.label)}: it was saved by a run that did not "
        f"measure it. Save it with: {SAVE}"
    )
    return Verdict(check, BASELINE, Outcome.MISSING, figure, reason)


def silent(check: str) -> Verdict:
    """Return the verdict of a check that did not look at the last release."""
    reason = (
        f"the check {check} said nothing about the last release. Let its judge() return a verdict against 'baseline'; "
        "pytest_onnxlite.saved_section() helps."
    )
    return Verdict(check, BASELINE, Outcome.NOT_MEASURED, "not compared", reason)


def saved_section(reference: Reference, kind: type[S], check: str, figure: str) -> tuple[S | None, list[Verdict]]:
    """Return what the last release's baseline keeps of a check; else the verdict that says why there is nothing.

    Args:
        reference: the baseline, or why there is none.
        kind: the type of the check's section.
        check: the check's name.
        figure: what was measured, in a few words.
    """
    if isinstance(reference, Absent):
        return None, [absent(check, figure, reference)]
    found = reference.section(kind)
    return found, [] if found is not None else [missing(check, figure, reference)]


def together(runtime: str) -> str:
    """Say that model and runtime were judged together; empty if they were not."""
    if not runtime:
        return ""
    return (
        f"Model and runtime are judged together: the candidate ran in today's runtime, the last release in {runtime}. Without "
        'runtime="last" the model is judged alone.\n'
    )
