"""What was accepted when: from the baselines in a folder, and from every commit that had them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_onnxlite.baseline.accepted import Acceptance, Overridden
from pytest_onnxlite.baseline.record import BrokenBaseline, decode, parse
from pytest_onnxlite.checks.check import against_text
from pytest_onnxlite.checks.verdict import BASELINE
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.records import Checks
from pytest_onnxlite.report.commits import versions
from pytest_onnxlite.text import shown

_NOT_COMMITTED = "not committed"


@dataclass(frozen=True)
class _Entry:
    """What one save accepted, and of what."""

    model: str
    variant: str
    accepted: Acceptance


def limit_text(limit: Overridden) -> str:
    """Return a limit's figures and what they are against in a line: `latency 1.02 ms (against the onnx variant)`."""
    against = f" (against {against_text(limit.against)})" if limit.against != BASELINE else ""
    return f"{_figures_text(limit)}{against}"


def _figures_text(limit: Overridden) -> str:
    """Return a limit's figures in a line: `latency 1.02 ms → 1.31 ms (up 5.0 % at most allowed)`.

    What is allowed is so against the last release. A limit of another kind can be broken by what did not change since then.
    """
    figures = f"{limit.before} → {limit.after}" if limit.before not in ("", limit.after) else limit.after
    allowed = f" ({limit.allowed} allowed)" if limit.allowed and limit.against == BASELINE else ""
    return shown(f"{limit.check} {figures}{allowed}")


def acceptance_text(accepted: Acceptance) -> str:
    """Return what was accepted and why, in a line."""
    return f"{'; '.join(map(limit_text, accepted.limits))}: {shown(accepted.reason) or 'no reason given'}"


def log(folder: Path, checks: Checks) -> list[str]:
    """Return what was accepted, oldest first, as lines.

    What git has and no file any more is there too, such as of a baseline that was deleted and saved anew.

    Args:
        folder: holds the baselines.
        checks: the checks by name.

    Raises:
        OnnxliteError: there is no such folder.
    """
    if not folder.is_dir():
        raise OnnxliteError(f"there is no folder {folder}. Name the folder of the baselines, or save some first.")
    found: dict[_Entry, str] = {}
    remarks: list[str] = []
    try:
        for one in versions(folder):
            where = f"{one.name} at {one.commit[:10]}"
            _take(found, remarks, one.model, one.variant, one.text, where, checks, one.commit[:10])
    except OnnxliteError as error:
        remarks.append(f"{error} What was accepted is read from the files alone.")
    for path in sorted(folder.glob("*/*.json")):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            remarks.append(f"{path} cannot be read: {error.strerror or error}.")
            continue
        _take(found, remarks, path.parent.name, path.stem, text, str(path), checks, _NOT_COMMITTED)
    ordered = sorted(found, key=lambda entry: (entry.accepted.date, entry.model, entry.variant))
    lines = [line for entry in ordered for line in _lines(entry, found)]
    return [*(lines or [f"no baseline in {folder} says that a limit was overridden."]), *remarks]


def _take(
    found: dict[_Entry, str],
    remarks: list[str],
    model: str,
    variant: str,
    text: str | None,
    where: str,
    checks: Checks,
    place: str,
) -> None:
    """Note what a baseline file says that was accepted, where it is met first."""
    if text is None:
        return
    try:
        baseline = parse(decode(text.encode(errors="replace"), where), model, variant, where, checks)
    except BrokenBaseline as error:
        remarks.append(str(error))
        return
    for one in baseline.accepted:
        found.setdefault(_Entry(model, variant, one), place)


def _lines(entry: _Entry, places: Mapping[_Entry, str]) -> list[str]:
    accepted, place = entry.accepted, places[entry]
    head = f"{accepted.date}  {entry.model} {entry.variant}  file {accepted.file}  "
    head += place if place == _NOT_COMMITTED else f"commit {place}"
    lines = [head, f"  reason: {accepted.reason or 'none given'}"]
    for limit in accepted.limits:
        lines.append(f"  {_figures_text(limit)}, {limit.outcome} against {against_text(limit.against)}")
        lines += [f"    {limit.message}"] if limit.message else []
    return lines
