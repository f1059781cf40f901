"""The states of verdicts: a sign, a word, a key for colours; and what a group of records holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_onnxlite.text import percent

Data = Mapping[str, Any]

NONE = "–"


@dataclass(frozen=True)
class Mark:
    """A state: a key for colours, a sign and a word that say the same without them."""

    key: str
    sign: str
    word: str


PASS = Mark("pass", "✓", "pass")
_IMPROVED = Mark("improved", "▲", "improved")
_NOT_COMPARED = Mark("none", "○", "not compared")


def mark_of(verdict: Data) -> Mark:
    """Return the state of one verdict."""
    outcome = verdict["outcome"]
    if verdict["red"]:
        return Mark("fail", "✗", "fail") if outcome == "fail" else Mark("unsure", "?", outcome)
    if verdict.get("xfail") is not None:
        return Mark("accepted", "!", "xfail")
    known = {"pass": PASS, "improved": _IMPROVED, "not compared": _NOT_COMPARED}
    if outcome in known:
        return known[outcome]
    return Mark("accepted", "!", "accepted") if outcome == "fail" else Mark("none", "○", outcome)


_ORDER = ("fail", "unsure", "accepted", "improved", "pass", "none")


def worst(verdicts: Iterable[Data]) -> Mark:
    """Return the state that matters most; a limit that passed outweighs one that was not compared."""
    marks = sorted((mark_of(v) for v in verdicts), key=lambda m: _ORDER.index(m.key))
    return marks[0] if marks else _NOT_COMPARED


def verdicts_of(group: Sequence[Data]) -> list[Data]:
    """Return the verdicts of a variant's records."""
    return [verdict for record in group for verdict in record["verdicts"]]


def measured_of(group: Sequence[Data]) -> dict[str, Any]:
    """Return what was measured of a variant, by check; of several tests the last counts."""
    measured: dict[str, Any] = {}
    for record in group:
        measured.update(record["measured"])
    return measured


def accuracy_of(rated: Data) -> tuple[float, str]:
    """Return how good outputs are, a measured or saved figure, and its text: a share of right answers, or a value."""
    if "correct" in rated:
        share = rated["correct"] / rated["total"]
        return share, percent(share)
    return rated["value"], f"{rated['value']:.4g}"


def peak_of(peaks: Data) -> float:
    """Return the higher of the peaks of loading and of running, in bytes."""
    return float(max(peaks["load"], peaks["run"]))


def anchor(*parts: str) -> str:
    """Return a name for a place in the page."""
    return "-".join(parts)
