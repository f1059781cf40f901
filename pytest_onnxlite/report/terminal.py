"""The terminal summary, as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_onnxlite.judge.limits import PREVIOUS
from pytest_onnxlite.report.failure import explanation_lines
from pytest_onnxlite.settings import PROCESSORS
from pytest_onnxlite.text import aligned, percent, size_text

Record = Mapping[str, Any]

# Ratios of measurements that differ by less are not worth a line.
_NOISE = 0.03
_CHECKS = ("accuracy", "size", "latency", "memory", "graph")


def table(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return a header and a line for each model and variant, each with the colour it is written in."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    states: dict[tuple[str, str], set[str]] = {}
    reds: set[tuple[str, str]] = set()
    for record in records:
        key = (record["model"], record["variant"])
        row = rows.setdefault(key, {})
        for check in _CHECKS:
            verdicts = [v for v in record["verdicts"] if v["check"] == check]
            if verdicts:
                row[check] = _cell(check, verdicts, record["measured"].get(check))
        for verdict in record["verdicts"]:
            states.setdefault(key, set()).add(state_of(verdict))
            if verdict["red"]:
                reds.add(key)
    columns = ["model", "variant", *(c for c in _CHECKS if any(c in row for row in rows.values())), "verdict"]
    lines = [columns]
    for key, row in rows.items():
        verdict = overall(states[key], key in reds)
        lines.append([*key, *(row.get(c, "-") for c in columns[2:-1]), verdict])
    colours = ["", *("red" if key in reds else "green" for key in rows)]
    return list(zip(aligned(lines), colours, strict=True))


def state_of(verdict: Mapping[str, Any]) -> str:
    """Return what came of a verdict: its outcome, or `xfail` where its test was expected to fail of it."""
    return str(verdict["outcome"]) if verdict.get("xfail") is None else "xfail"


def overall(states: set[str], red: bool) -> str:
    """Return a word for the states of all verdicts of a variant together."""
    if red:
        worst = [s for s in ("fail", "missing", "not comparable", "inconclusive", "not measured") if s in states]
        return "FAIL" if worst[0] == "fail" else f"FAIL ({worst[0]})"
    if "xfail" in states:
        return "xfail"
    if "fail" in states:
        return "accepted"
    if "improved" in states:
        return "improved"
    return "pass, not compared" if "not compared" in states else "pass"


def _cell(check: str, verdicts: Sequence[Mapping[str, Any]], measured: Mapping[str, Any] | None) -> str:
    """Return a figure with what it was compared with."""
    figure: str = verdicts[-1]["figure"]
    if measured is None:
        return figure
    parts = beside(check, verdicts, measured)
    mark = "!" if any(v["red"] for v in verdicts) else ""
    return f"{figure}{mark}" + (f" ({', '.join(parts)})" if parts else "")


def beside(check: str, verdicts: Sequence[Mapping[str, Any]], measured: Mapping[str, Any] | None) -> list[str]:
    """Return what a figure was compared with, in a few words each."""
    writer = {"accuracy": _accuracy, "size": _size, "latency": _latency, "memory": _memory}.get(check)
    return writer(measured, verdicts) if writer and measured is not None else []


def _baseline_evidence(verdicts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next((v["evidence"] for v in verdicts if v["against"] == "baseline"), {})
    return found


def _accuracy(measured: Mapping[str, Any], verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = []
    if measured["reference"]:
        beside = (
            percent(measured["reference_correct"] / measured["total"])
            if "correct" in measured
            else f"{measured['reference_value']:.4g}"
        )
        parts.append(f"{measured['reference']} {beside}")
    for verdict in verdicts:
        if verdict["against"] in PROCESSORS:
            parts.append(f"{verdict['against']} {verdict['figure']}{'!' if verdict['red'] else ''}")
    saved = _baseline_evidence(verdicts).get("saved")
    if saved:
        last = percent(saved["correct"] / saved["total"]) if "correct" in saved else f"{saved['value']:.4g}"
        parts.append(f"last {last}")
    return parts


def _size(measured: Mapping[str, Any], verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = []
    if measured["reference"]:
        parts.append(f"{measured['bytes'] / measured['reference_bytes']:.3f} of {measured['reference']}")
    saved = _baseline_evidence(verdicts).get("saved")
    if saved:
        parts.append(f"last {size_text(saved)}")
    if measured.get("waste"):
        parts.append(f"beside {size_text(measured['waste'])} of waste")
    return parts


def _latency(measured: Mapping[str, Any], verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = []
    for purpose, comparison in measured["comparisons"].items():
        if purpose != "sibling":
            bounds = next((v["evidence"]["first"] for v in verdicts if is_of(v, purpose, comparison)), None)
            if bounds:
                name = "last" if comparison["reference"] == PREVIOUS else comparison["reference"]
                spread = (bounds["upper"] - bounds["lower"]) / 2 / bounds["median"]
                parts.append(f"{bounds['median']:.2f}x {name} ±{percent(spread)}")
    return parts


def is_of(verdict: Mapping[str, Any], purpose: str, comparison: Mapping[str, Any]) -> bool:
    """Tell whether a verdict is about a comparison: one with the float model is against that variant."""
    against = comparison["reference"] if purpose == "float" else purpose
    return bool(verdict["against"] == against and "first" in verdict["evidence"])


def _memory(measured: Mapping[str, Any], verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    reference = measured["reference"]
    if not reference:
        return []
    peaks = [max(p["load"], p["run"]) for p in (measured["candidate"], reference)]
    return [f"{peaks[0] / max(peaks[1], 1):.2f}x last"]


def notes(records: Sequence[Record]) -> list[str]:
    """Return what is worth saying beside the table: sums of small losses, what improved, what was accepted."""
    lines = [
        f"{model} {variant} is quantized with {recipe}"
        for model, variant, recipe in dict.fromkeys((r["model"], r["variant"], r["recipe"]) for r in records)
        if ": " in recipe  # chosen here, or something was gone without
    ]
    forecasts = {f"{r['model']} {r['variant']}": r["forecast"]["text"] for r in records if r.get("forecast")}
    lines += [f"{name}: {text}" for name, text in forecasts.items()]
    for record in records:
        drift = _drift([v for v in record["verdicts"] if v["against"] == "baseline"])
        if drift:
            lines.append(f"{record['model']} {record['variant']} since the first accepted release: {', '.join(drift)}")
        for verdict in record["verdicts"]:
            changed = verdict["evidence"].get("operator_changes")
            if changed and not verdict["red"]:
                name = f"{record['model']} {record['variant']}"
                lines.append(f"{name}: operators changed since the last accepted release: {changed}")
            if verdict.get("xfail") is not None:
                name = f"{record['model']} {record['variant']} {verdict['check']}"
                reason = f" ({verdict['xfail']})" if verdict["xfail"] else ""
                lines.append(f"xfail{reason}: {name}: {verdict['message'].splitlines()[0]}")
                continue
            if verdict.get("explanation") and not verdict["red"]:
                lines.append(f"{record['model']} {record['variant']} {verdict['check']} against {verdict['against']}:")
                lines += [f"  {line}" for line in explanation_lines(verdict)]
            if not verdict["red"] and verdict["outcome"] in ("improved", "fail"):
                word = "accepted" if verdict["outcome"] == "fail" else "improved"
                name = f"{record['model']} {record['variant']} {verdict['check']}"
                lines.append(f"{word}: {name}: {verdict['message'].splitlines()[0]}")
    return lines


def _drift(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what added up since the first accepted release, where it is more than a measurement's noise."""
    parts = []
    for verdict in verdicts:
        evidence = verdict["evidence"]
        lost = evidence.get("lost_since_first")
        if lost:
            parts.append(f"accuracy {-100 * lost / evidence['total']:+.1f} points")
        worse = evidence.get("loss_since_first")
        if worse and abs(worse) > _NOISE * abs(evidence["saved"]["value"]):
            parts.append(f"{evidence['saved']['metric']} {worse:+.3g} worse")
        if verdict["check"] == "size" and evidence.get("first") not in (None, evidence.get("bytes")):
            parts.append(f"size {percent(evidence['bytes'] / evidence['first'] - 1, sign=True)}")
        ratio = evidence.get("ratio_since_first", 1.0)
        if abs(ratio - 1) > _NOISE:
            parts.append(f"{verdict['check']} {ratio:.2f}x")
    return parts
