"""The states of verdicts: a sign, a word, a key for colours; and what a group of records holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_onnxlite.checks.verdict import Outcome, Verdict
from pytest_onnxlite.records import Checks, Record


@dataclass(frozen=True)
class Mark:
    """A state: a key for colours, a sign and a word that say the same without them."""

    key: str
    sign: str
    word: str


PASS = Mark("pass", "✓", "pass")
_IMPROVED = Mark("improved", "▲", "improved")
_NOT_COMPARED = Mark("none", "○", "not compared")


def mark_of(verdict: Verdict) -> Mark:
    """Return the state of one verdict."""
    outcome = verdict.outcome
    if verdict.red:
        return Mark("fail", "✗", "fail") if outcome is Outcome.FAIL else Mark("unsure", "?", str(outcome))
    if verdict.xfail is not None:
        return Mark("accepted", "!", "xfail")
    known = {Outcome.PASS: PASS, Outcome.IMPROVED: _IMPROVED, Outcome.NOT_COMPARED: _NOT_COMPARED}
    if outcome in known:
        return known[outcome]
    return Mark("accepted", "!", "accepted") if outcome is Outcome.FAIL else Mark("none", "○", str(outcome))


_ORDER = ("fail", "unsure", "accepted", "improved", "pass", "none")


def worst(verdicts: Iterable[Verdict]) -> Mark:
    """Return the state that matters most; a limit that passed outweighs one that was not compared."""
    marks = sorted((mark_of(v) for v in verdicts), key=lambda m: _ORDER.index(m.key))
    return marks[0] if marks else _NOT_COMPARED


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


def measured_of(group: Sequence[Record]) -> dict[str, Any]:
    """Return what was measured of a variant, by check; of several tests the last counts."""
    return {name: found for record in group for name, found in record.measured.items()}


def anchor(*parts: str) -> str:
    """Return a name for a place in the page."""
    return "-".join(parts)
