"""How figures went: in the first release, in the last one and today; and over the saved baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pytest_onnxlite.checks.figures import NONE, History, Trend
from pytest_onnxlite.checks.limit import Limit
from pytest_onnxlite.labels import label_of, labelled
from pytest_onnxlite.records import Checks, Record
from pytest_onnxlite.report.plots import Spark, SparkPoint, spark
from pytest_onnxlite.report.status import Status, anchor, measured_of, verdicts_of, worst
from pytest_onnxlite.report.trend import Release, Series
from pytest_onnxlite.text import counted, growth, percent, points


@dataclass(frozen=True)
class HistoryRow:
    """A figure in the first release, in the last one, and today."""

    name: str
    history: History
    status: Status


@dataclass(frozen=True)
class TrendRow:
    """One figure of one variant over the saved baselines; `accepted` has the losses that were accepted, and why."""

    name: str
    figure: str
    first: str
    last: str
    change: str
    spark: Spark
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrendPart:
    """The saved baselines of one variant."""

    name: str
    rows: tuple[TrendRow, ...]
    columns: tuple[str, ...]
    releases: tuple[tuple[str, ...], ...]
    remarks: tuple[str, ...]


def history_rows(group: Sequence[Record], checks: Checks) -> tuple[HistoryRow, ...]:
    """Return for each measured figure what it was first, last and is today."""
    measured, verdicts = measured_of(group), verdicts_of(group)
    limits: dict[str, Limit] = {name: limit for record in group for name, limit in record.limits.items()}
    baseline = next((record.baseline for record in group if record.baseline), None)
    rows = []
    for name, check in checks.known(measured):
        section = baseline.sections.get(name) if baseline else None
        first = baseline.first.get(labelled(check.first_key, label_of(name))) if baseline else None
        history = check.history(measured[name], section, first, limits.get(name))
        if history is not None:
            rows.append(HistoryRow(name, history, worst(v for v in verdicts if v.check == name)))
    return tuple(rows)


def trend_part(series: Series, groups: Mapping[tuple[str, str], Sequence[Record]], checks: Checks) -> TrendPart:
    """Work out how a variant's figures went over its releases, this run last.

    Args:
        series: the releases.
        groups: this run's records, by model and variant.
        checks: the checks by name.
    """
    releases = list(series.releases)
    today = _today(groups.get((series.model, series.variant), ()), checks)
    if today.figures:
        releases.append(today)
    name = f"{series.model} {series.variant}"
    trends: dict[str, list[Trend | None]] = {}
    for key in dict.fromkeys(key for release in releases for key in release.figures):
        trends[key] = [release.figures.get(key) for release in releases]
    rows = tuple(_row(series, key, values, releases) for key, values in trends.items())
    lines = []
    for release in releases:
        texts = (figure.text(figure.value) if (figure := release.figures.get(key)) else NONE for key in trends)
        commit = release.commit[:10] or NONE
        lines.append((release.date, f"{release.tag} ({commit})" if release.tag else commit, *texts))
    return TrendPart(name, rows, tuple(trends), tuple(lines), (*series.broken, *_other_data(releases)))


def _row(series: Series, key: str, figures: Sequence[Trend | None], releases: Sequence[Release]) -> TrendRow:
    known = [figure for figure in figures if figure is not None]
    first, last = known[0], known[-1]
    text = last.text
    is_share = text is percent
    # A share of right answers changes by points.
    change = points(100 * (first.value - last.value)) if is_share else growth(last.value, first.value)
    title = f"{series.model} {series.variant}: {last.label}"
    accepted = tuple(f"{release.name}: {release.accepted[key]}" for release in releases if key in release.accepted)
    described = f"{len(known)} values, from {text(first.value)} to {text(last.value)}"
    described += f"; a loss was accepted {counted(len(accepted), 'time')}" if accepted else ""
    place = anchor("trend", series.model, series.variant, key)
    values = [
        SparkPoint(None if figure is None else figure.value, release.name, key in release.accepted)
        for figure, release in zip(figures, releases, strict=True)
    ]
    drawn = spark(title, described, place, values, text, 1.0 if is_share else None)
    return TrendRow(key, last.label, text(first.value), text(last.value), change, drawn, accepted)


def _other_data(releases: Sequence[Release]) -> Iterator[str]:
    """Say where the evaluation data changed: figures before and after cannot be compared."""
    known = [release for release in releases if release.data_id]
    for one, other in pairwise(known):
        if one.data_id != other.data_id:
            place = other.name
            yield f"accuracy is on other evaluation data from {place} on; do not compare it with what was before."


def _today(group: Sequence[Record], checks: Checks) -> Release:
    """Return this run's figures in the units of the trend."""
    measured = measured_of(group)
    baseline = next((record.baseline for record in group if record.baseline), None)
    figures: dict[str, Trend] = {}
    data_id = ""
    for name, check in checks.known(measured):
        label = label_of(name)
        first = baseline.first.get(labelled(check.first_key, label)) if baseline else None
        found = check.trend_today(measured[name], first)
        if found is not None:
            found = found.with_label(label)
            figures[found.key] = found
        data_id = data_id or check.data_id(measured[name])
    return Release("", "this run", figures, data_id)
