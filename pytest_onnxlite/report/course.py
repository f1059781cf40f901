"""How figures went: first accepted, last release and today; and over the saved baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from pytest_onnxlite.checks.latency.judge import PREVIOUS
from pytest_onnxlite.report.marks import NONE, Data, Mark, accuracy_of, anchor, measured_of, peak_of, verdicts_of, worst
from pytest_onnxlite.report.plots import Spark, spark
from pytest_onnxlite.text import percent, size_text, time_text


@dataclass(frozen=True)
class ThenNow:
    """A figure when first accepted, in the last release, and today."""

    name: str
    first: str
    last: str
    today: str
    change: str
    allowed: str
    mark: Mark


@dataclass(frozen=True)
class TrendRow:
    """One figure of one variant over the saved baselines."""

    name: str
    figure: str
    first: str
    last: str
    change: str
    spark: Spark


@dataclass(frozen=True)
class TrendPart:
    """The saved baselines of one variant."""

    name: str
    rows: tuple[TrendRow, ...]
    columns: tuple[str, ...]
    releases: tuple[tuple[str, ...], ...]
    remarks: tuple[str, ...]


# -- then and now --------------------------------------------------------------------------------------------


def history(group: Sequence[Data]) -> tuple[ThenNow, ...]:
    """Return for each measured figure what it was first, last and is today."""
    measured, verdicts = measured_of(group), verdicts_of(group)
    limits: dict[str, Any] = {}
    for record in group:
        limits.update(record["limits"])
    baseline: Data = next((r["baseline"] for r in group if r["baseline"]), {})
    first: Data = baseline.get("first", {})
    rows = []
    writers = {"accuracy": _then_accuracy, "size": _then_size, "latency": _then_latency, "memory": _then_memory}
    for check, writer in writers.items():
        if check in measured:
            texts = writer(measured[check], baseline, first, limits.get(check, {}))
            mark = worst(v for v in verdicts if v["check"] == check)
            rows.append(ThenNow(check, *texts, mark))
    return tuple(rows)


_Texts = tuple[str, str, str, str, str]


def _signed(text: str) -> str:
    """Return a change with a real minus sign, and with none where it rounds to nothing."""
    return text[1:] if text[1:] == "0" or text[1:].startswith("0.0 ") else text.replace("-", "−")


def _points(lost: float) -> str:
    return _signed(f"{-lost:+.1f} points")


def _then_accuracy(now: Data, baseline: Data, first: Data, limit: Data) -> _Texts:
    counted = "correct" in now
    # What was saved by another metric is no figure to set beside this one.
    parts = [
        part if part and ("correct" in part) == counted else None
        for part in (first.get("accuracy"), baseline.get("accuracy"))
    ]
    value, text = accuracy_of(now)
    change = NONE if parts[1] is None else _moved(value, accuracy_of(parts[1])[0], counted)
    drop = limit.get("max_drop")
    allowed = NONE
    if drop is not None:
        amount = percent(drop) if counted or limit.get("relative") else f"{drop:.4g}"
        allowed = f"{amount}{' relative' if limit.get('relative') else ''} worse at most"
    start, saved = (NONE if part is None else accuracy_of(part)[1] for part in parts)
    return start, saved, text if counted else f"{text} {now['metric']}", change, allowed


def _moved(now: float, before: float, counted: bool) -> str:
    return _points(100 * (before - now)) if counted else _signed(f"{now - before:+.3g}")


def _growth(now: float, before: float | None) -> str:
    return _signed(percent(now / before - 1, sign=True)) if before else NONE


def _then_size(now: Data, baseline: Data, first: Data, limit: Data) -> _Texts:
    saved, start = (part.get("bytes") if part else None for part in (baseline.get("size"), first.get("size")))
    texts = [NONE if count is None else size_text(count) for count in (start, saved)]
    return texts[0], texts[1], size_text(now["bytes"]), _growth(now["bytes"], saved), _at_most(limit.get("tolerance"))


def _at_most(share: float | None) -> str:
    return NONE if share is None else f"up {percent(share)} at most"


def _then_latency(now: Data, baseline: Data, first: Data, limit: Data) -> _Texts:
    beside = now["comparisons"].get("baseline")
    last = start = change = NONE
    if beside and beside["reference"] == PREVIOUS:
        # By the ratio, not by what was saved: both ran today.
        ratio = median(beside["first"])
        seconds = now["seconds"] / ratio
        last, change = time_text(seconds), f"{ratio:.2f}×"
        if first.get("latency_ratio"):
            start = time_text(seconds / first["latency_ratio"])
    elif baseline.get("latency"):
        last = time_text(baseline["latency"]["seconds"])
        change = f"{now['seconds'] / baseline['latency']['seconds']:.2f}×"
    return start, last, time_text(now["seconds"]), change, _at_most(limit.get("max_slowdown"))


def _then_memory(now: Data, baseline: Data, first: Data, limit: Data) -> _Texts:
    peak = peak_of(now["candidate"])
    last = peak_of(now["reference"]) if now["reference"] else None
    saved = last or (peak_of(baseline["memory"]) if baseline.get("memory") else None)
    start = saved / first["memory_ratio"] if saved and first.get("memory_ratio") else None
    texts = [NONE if count is None else size_text(count) for count in (start, saved)]
    return texts[0], texts[1], size_text(peak), _growth(peak, saved), _at_most(limit.get("max_growth"))


# -- trend ---------------------------------------------------------------------------------------------------

_TREND: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("accuracy", percent),
    "score": ("score", lambda value: f"{value:.4g}"),
    "size": ("size", size_text),
    "latency": ("latency, since the first release", lambda ratio: f"{ratio:.3f}×"),
    "memory": ("memory, since the first release", lambda ratio: f"{ratio:.3f}×"),
}


def trend_part(entry: Data, groups: Mapping[tuple[str, str], Sequence[Data]]) -> TrendPart:
    """Work out the course of a variant's figures over its releases, this run last.

    Args:
        entry: of `trend.history`.
        groups: this run's records, by model and variant.
    """
    releases = list(entry["releases"])
    today = _today(groups.get((entry["model"], entry["variant"]), ()))
    if today:
        data = measured_of(groups[entry["model"], entry["variant"]]).get("accuracy", {}).get("data_sha256")
        releases.append({"commit": "", "date": "this run", "figures": today, "data_sha256": data})
    rows = []
    for key, (label, text) in _TREND.items():
        values = [release["figures"].get(key) for release in releases]
        known = [value for value in values if value is not None]
        if known:
            change = _points(100 * (known[0] - known[-1])) if key == "accuracy" else _growth(known[-1], known[0])
            title = f"{entry['model']} {entry['variant']}: {label}"
            place = anchor("trend", entry["model"], entry["variant"], key)
            described = f"{len(known)} values, from {text(known[0])} to {text(known[-1])}"
            rows.append(
                TrendRow(key, label, text(known[0]), text(known[-1]), change, spark(title, described, place, values))
            )
    columns = tuple(key for key in _TREND if any(key in release["figures"] for release in releases))
    lines = []
    for release in releases:
        figures = release["figures"]
        texts = (_TREND[key][1](figures[key]) if key in figures else NONE for key in columns)
        lines.append((release["date"], release["commit"][:10] or NONE, *texts))
    return TrendPart(
        f"{entry['model']} {entry['variant']}",
        tuple(rows),
        columns,
        tuple(lines),
        (*entry["broken"], *_other_data(releases)),
    )


def _other_data(releases: Sequence[Data]) -> Iterator[str]:
    """Say where the evaluation data changed: figures before and after cannot be compared."""
    known = [release for release in releases if release.get("data_sha256")]
    for one, other in pairwise(known):
        if one["data_sha256"] != other["data_sha256"]:
            place = other["commit"][:10] or other["date"]
            yield f"accuracy is on other evaluation data from {place} on; do not compare it with what was before."


def _today(group: Sequence[Data]) -> dict[str, float]:
    """Return this run's figures in the units of the trend."""
    measured, figures = measured_of(group), {}
    first: Data = next((r["baseline"]["first"] for r in group if r["baseline"]), {})
    if "accuracy" in measured:
        rated = measured["accuracy"]
        figures["accuracy" if "correct" in rated else "score"] = accuracy_of(rated)[0]
    if "size" in measured:
        figures["size"] = measured["size"]["bytes"]
    beside = measured.get("latency", {}).get("comparisons", {}).get("baseline")
    if beside and beside["reference"] == PREVIOUS and first.get("latency_ratio"):
        figures["latency"] = first["latency_ratio"] * median(beside["first"])
    memory = measured.get("memory")
    if memory and memory["reference"] and first.get("memory_ratio"):
        figures["memory"] = first["memory_ratio"] * peak_of(memory["candidate"]) / max(peak_of(memory["reference"]), 1)
    return figures
