"""The summary in the terminal: one line for each model and variant, and what is worth knowing below."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from pytest_onnxlite.checks.verdict import BASELINE, RUNTIME, Outcome, Verdict
from pytest_onnxlite.labels import label_of
from pytest_onnxlite.records import Checks, Forecast, Record
from pytest_onnxlite.report.acceptances import acceptance_text
from pytest_onnxlite.report.failure import explanation_lines, told
from pytest_onnxlite.report.status import remarks_of
from pytest_onnxlite.text import aligned, counted, listed, percent, shapes_text, shortened, shown

_UNCERTAIN = (Outcome.FAIL, Outcome.MISSING, Outcome.NOT_COMPARABLE, Outcome.INCONCLUSIVE, Outcome.NOT_MEASURED)
# What came of a limit that nothing red hangs on and that was not judged.
_NOT_JUDGED = (Outcome.NOT_COMPARED, Outcome.NOT_MEASURED)
_XFAIL = "xfail"


# Of a longer table, what passes is counted and not listed; a remark on more variants names the first of them;
# sums of small changes since the first release are listed for so many.
_MOST_ROWS, _MOST_ALIKE, _MOST_DRIFTS = 40, 3, 40


def table(records: Sequence[Record], checks: Checks, everything: bool = True) -> list[tuple[str, str]]:
    """Return a header and a line for each model and variant, each with the colour it is written in.

    Args:
        records: what the guarded tests recorded.
        checks: the checks by name.
        everything: list what passes however long the table is; else a long one counts it in its last line.
    """
    rows: dict[tuple[str, str], dict[str, str]] = {}
    states: dict[tuple[str, str], set[str]] = {}
    reds: set[tuple[str, str]] = set()
    for record in records:
        key = record.model, record.variant
        row = rows.setdefault(key, {})
        for check in {verdict.check for verdict in record.verdicts}:
            row[check] = _cell(check, [v for v in record.verdicts if v.check == check], record, checks)
        states.setdefault(key, set()).update(states_of(record.verdicts))
        if record.is_red:
            reds.add(key)
    columns = [
        "model",
        "variant",
        *(name for name, _ in checks.known({name for row in rows.values() for name in row})),
        "verdict",
    ]
    words = {key: overall(states[key], key in reds) for key in rows}
    kept = [key for key in rows if everything or len(rows) <= _MOST_ROWS or words[key] != str(Outcome.PASS)]
    lines = [[*key, *(rows[key].get(c, "-") for c in columns[2:-1]), words[key]] for key in kept]
    colours = ["red" if key in reds else "yellow" if words[key] in _NOT_JUDGED else "green" for key in kept]
    found = list(zip(aligned([columns, *lines]), ["", *colours], strict=True)) if kept else []
    left = len(rows) - len(kept)
    return (
        [*found, (f"{counted(left, 'variant')} {'passes' if left == 1 else 'pass'}; -v lists them", "green")]
        if left
        else found
    )


def state_of(verdict: Verdict) -> str:
    """Return what came of a verdict: its outcome, or `xfail` where its test was expected to fail of it."""
    return str(verdict.outcome) if verdict.xfail is None else _XFAIL


def overall(states: set[str], red: bool) -> str:
    """Return a word for the states of all verdicts of a variant together."""
    if red:
        worst = [state for state in _UNCERTAIN if state in states]
        return "FAIL" if worst[0] is Outcome.FAIL else f"FAIL ({worst[0]})"
    if _XFAIL in states:
        return _XFAIL
    if Outcome.FAIL in states:
        return "accepted"
    if Outcome.IMPROVED in states:
        return "improved"
    left = next((state for state in _NOT_JUDGED if state in states), None)
    if left is None:
        return str(Outcome.PASS)
    return f"{Outcome.PASS}, {left}" if Outcome.PASS in states else left


def _cell(check: str, verdicts: Sequence[Verdict], record: Record, checks: Checks) -> str:
    """Return a figure with what it was compared with."""
    figure = verdicts[-1].figure
    if check not in record.measured:
        return figure
    parts = notes_of(check, verdicts, record.measured[check], checks)
    mark = "!" if any(verdict.red for verdict in verdicts) else ""
    return f"{figure}{mark}" + (f" ({', '.join(parts)})" if parts else "")


def notes_of(check: str, verdicts: Sequence[Verdict], found: object, checks: Checks) -> list[str]:
    """Return what a figure was compared with, in a few words each."""
    known_check = checks.get(check)
    return known_check.notes(found, verdicts) if known_check is not None and found is not None else []


def measured_at(measured: Mapping[str, object], checks: Checks) -> list[str]:
    """Say at which shapes checks measured, a line for checks of the same shapes; none if nothing has a shape."""
    same: dict[str, list[str]] = {}
    for name, check in checks.known(measured):
        shapes = check.shapes(measured[name])
        if shapes:
            same.setdefault(listed(map(shapes_text, shapes)), []).append(name)
    return [f"{listed(names)} measured at {shapes}" for shapes, names in same.items()]


def since_saved(verdicts: Sequence[Verdict]) -> list[str]:
    """Say how the last release itself did since it was saved, for verdicts that are not red."""
    kept = [verdict for verdict in verdicts if verdict.against == RUNTIME and not verdict.red]
    return [f"{verdict.check}: {verdict.message.splitlines()[0].rstrip('.')}" for verdict in kept if verdict.message]


def states_of(verdicts: Sequence[Verdict]) -> set[str]:
    """Return the states by which a variant is told; that a runtime could not be held against a saved figure is none."""
    return {state_of(v) for v in verdicts if v.against != RUNTIME or v.outcome is not Outcome.NOT_COMPARED}


def _shape_lines(records: Sequence[Record], checks: Checks, everywhere: bool) -> list[str]:
    """Return where each variant was measured; of those that were measured at one shape, without a scenario, only if asked."""
    several = [
        record
        for record in records
        if everywhere
        or any(limit.scenario_name for limit in record.limits.values())
        or any(len(c.shapes(record.measured[name])) > 1 for name, c in checks.known(record.measured))
    ]
    lines = [f"{record.name}: {line}" for record in several for line in measured_at(record.measured, checks)]
    return list(dict.fromkeys(lines))


def notes(records: Sequence[Record], checks: Checks, verbosity: int | None = None) -> list[str]:
    """Return what is worth saying below the table: sums of small losses, what improved, what was accepted.

    Args:
        records: what the guarded tests recorded.
        checks: the checks by name.
        verbosity: pytest's; None for a page, which says elsewhere at which shapes was measured.
    """
    recipes: dict[str, list[str]] = {}
    for name, recipe in dict.fromkeys((record.name, record.recipe) for record in records):
        if ": " in recipe:  # chosen here, or something was gone without
            recipes.setdefault(f"{'' if recipe.startswith('built anew') else 'quantized with '}{recipe}", []).append(
                name
            )
    lines = [
        f"{who} {'is' if who in names else 'are'} {text}" for text, names in recipes.items() for who in _named(names)
    ]
    lines += _runtime_lines(records)
    lines += judged_elsewhere(records)
    lines += [] if verbosity is None else _shape_lines(records, checks, verbosity > 0)
    changes = {record.name: record.runtime_change for record in records if record.runtime_change}
    lines += [f"{name}: runtime changed {change} since the last release" for name, change in changes.items()]
    if verbosity is not None:
        told = [record for record in records if verbosity > 0 or record.runtime_change]
        lines += [f"{record.name} {line}" for record in told for line in since_saved(record.verdicts)]
    if verbosity is None or verbosity > 0:
        lines += [line for line in dict.fromkeys(map(_accepted_line, records)) if line]
    lines += _forecast_lines({record.name: record.forecast for record in records if record.forecast})
    refused = {record.name for record in records if record.is_red}
    drifted, most_drifts = 0, len(records) if verbosity is not None and verbosity > 0 else _MOST_DRIFTS
    remarked: dict[str, list[str]] = {}
    for name, verdict in ((record.name, verdict) for record in records for verdict in record.verdicts):
        for remark in remarks_of(verdict, checks):
            remarked.setdefault(remark, []).append(name)
    for record in records:
        drift = [_drift(verdict, checks) for verdict in record.verdicts if verdict.against == BASELINE]
        if any(drift):
            drifted += 1
            if drifted <= most_drifts:
                lines.append(f"{record.name} since the first release: {', '.join(filter(None, drift))}")
        for verdict in record.verdicts:
            said = {remark: _named(dict.fromkeys(remarked[remark])) for remark in remarks_of(verdict, checks)}
            remarks = [
                f"{who}: {text}"
                for text, names in said.items()
                for who in names
                if len(names) == 1 or who == record.name
            ]
            # Of several tests that judge one variant each says the same.
            lines += [line for line in remarks if line not in lines]
            lines += _verdict_notes(record, verdict, record.name in refused)
    if drifted > most_drifts:
        lines.append(f"{counted(drifted - most_drifts, 'more variant')} changed since the first release; -v lists them")
    return list(map(shown, lines))


def _named(names: Iterable[str]) -> list[str]:
    """Return names, each for a line of its own; of many, one text that names the first."""
    found = list(names)
    return [shortened(found)] if len(found) > _MOST_ALIKE else found


def _accepted_line(record: Record) -> str:
    """Say which limits the last release was accepted without; empty where it kept all."""
    found = record.baseline.own_acceptance if record.baseline is not None else None
    return (
        f"{record.name}: on {found.date} the last release was accepted with {acceptance_text(found)}"
        if found is not None
        else ""
    )


def _drift(verdict: Verdict, checks: Checks) -> str:
    """Say what added up since the first release, if it is more than noise; else empty."""
    check, label = checks.get(verdict.check), label_of(verdict.check)
    text = check.drift(verdict) if check is not None else ""
    return f"{text} ({label})" if text and label else text


def _runtime_lines(records: Sequence[Record]) -> list[str]:
    """Say what is not run as ONNX Runtime runs a model if nobody asks for more."""
    told = [(", ".join(r.runtime.told), r.name) for r in records if r.runtime is not None and r.runtime.told]
    return [f"{who} runs with {text}" for text, who in _by_text(told)]


def judged_elsewhere(records: Sequence[Record]) -> list[str]:
    """Say which variants were judged on other machines than the one that the run was started on."""
    told = [(record.judged_on.text, record.name) for record in records if record.judged_on is not None]
    return [f"{who}: judged on {text}" for text, who in _by_text(told)]


def _by_text(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return each text once, with the names of which it is true as a sentence lists them."""
    names: dict[str, dict[str, None]] = {}
    for text, name in pairs:
        names.setdefault(text, {})[name] = None
    return [(text, _several(list(own))) for text, own in names.items()]


def _several(names: Sequence[str]) -> str:
    """Return names as a sentence lists them; of many, the first, and how many more there are."""
    return shortened(names) if len(names) > 10 else listed(names)


def _forecast_lines(forecasts: Mapping[str, Forecast]) -> list[str]:
    """Say what may differ on other processors: once, of the model that it concerns most, and of which others it is true."""
    alike = {name: found for name, found in forecasts.items() if found.share is not None and found.portable is None}
    if len(alike) < 2:
        return [f"{name}: {found.text}" for name, found in forecasts.items()]
    worst, *others = sorted(alike, key=lambda name: -(alike[name].share or 0.0))
    also = _several([f"{name} ({percent(alike[name].share or 0.0)})" for name in others])
    lines = [f"{worst}: {alike[worst].text} The same is true of {also}."]
    return lines + [f"{name}: {found.text}" for name, found in forecasts.items() if name not in alike]


def _verdict_notes(record: Record, verdict: Verdict, refused: bool) -> list[str]:
    first = f"{record.name} {verdict.check}: {_headline(told(verdict, refused))}"
    if verdict.xfail is not None:
        reason = f" ({verdict.xfail})" if verdict.xfail else ""
        return [f"xfail{reason}: {first}"]
    if verdict.red:
        return []
    lines = []
    if verdict.explanation is not None:
        lines.append(f"{record.name} {verdict.check} against {verdict.against}:")
        lines += [f"  {line}" for line in explanation_lines(verdict)]
    if verdict.outcome in (Outcome.IMPROVED, Outcome.FAIL):
        lines.append(f"{'accepted' if verdict.outcome is Outcome.FAIL else 'improved'}: {first}")
    return lines


def _headline(message: str) -> str:
    """Return a message's first line, with what it announces: the lines that stand one step below it."""
    first, *rest = message.splitlines() or [""]
    if not first.endswith(":"):
        return first
    below = itertools.takewhile(lambda line: line.startswith(" "), rest)
    return f"{first} {'; '.join(line.strip() for line in below if not line.startswith('   '))}"
