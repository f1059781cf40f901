"""The states of verdicts: a sign, a word, a key for colours; and what a group of records holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_onnxlite.checks.verdict import Outcome, Verdict
from pytest_onnxlite.records import Checks, Record


@dataclass(frozen=True)
class Status:
    """A state: a key for colours, a sign and a word that say the same without them."""

    key: str
    sign: str
    word: str


FAIL = Status("fail", "✗", "fail")
PASS = Status("pass", "✓", "pass")
_IMPROVED = Status("improved", "▲", "improved")
_NOT_COMPARED = Status("none", "○", "not compared")


def status_of(verdict: Verdict) -> Status:
    """Return the state of one verdict."""
    outcome = verdict.outcome
    if verdict.red:
        return FAIL if outcome is Outcome.FAIL else Status("unsure", "?", str(outcome))
    if verdict.xfail is not None:
        return Status("accepted", "!", "xfail")
    known = {Outcome.PASS: PASS, Outcome.IMPROVED: _IMPROVED, Outcome.NOT_COMPARED: _NOT_COMPARED}
    if outcome in known:
        return known[outcome]
    return Status("accepted", "!", "accepted") if outcome is Outcome.FAIL else Status("none", "○", str(outcome))


_ORDER = ("fail", "unsure", "accepted", "improved", "pass", "none")


def worst(verdicts: Iterable[Verdict]) -> Status:
    """Return the state that matters most; a limit that passed outweighs one that was not compared."""
    statuses = sorted((status_of(v) for v in verdicts), key=lambda m: _ORDER.index(m.key))
    return statuses[0] if statuses else _NOT_COMPARED


def remarks_of(verdict: Verdict, checks: Checks) -> list[str]:
    """Return what is worth knowing about a limit that holds."""
    if verdict.red:
        return []
    check = checks.get(verdict.check)
    if check is None:
        return [*verdict.remarks]
    warnings = [f"warning: {text}" for text in check.warnings(verdict)]
    return [*verdict.remarks, *filter(None, [check.remark(verdict)]), *warnings]


def verdicts_of(group: Sequence[Record]) -> list[Verdict]:
    """Return the verdicts of a variant's records."""
    return [verdict for record in group for verdict in record.verdicts]


def measured_of(group: Sequence[Record]) -> dict[str, object]:
    """Return what was measured of a variant, by check; of several tests the last counts."""
    return {name: found for record in group for name, found in record.measured.items()}


def anchor(*parts: str) -> str:
    """Return a name for a place in the page."""
    return "-".join(parts)
