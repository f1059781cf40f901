"""The page: every cell of the study's tables, published and measured, what became of its claims, and its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from study.claims import CLAIMS
from study.figures import Figures, NotMeasured
from study.published import (
    AUTHORS,
    DOI,
    FIGURES,
    H5,
    INT8,
    ONNX,
    STATIC,
    TABLES,
    TFLITE,
    TFLITE_INT8,
    TITLE,
    WHERE,
    Column,
    Table,
)

NAME, IMAGES = "study.md", "images"

# What each of the study's figures shows, as model and variant.
_DRAWN: dict[int, tuple[tuple[str, str], ...]] = {
    1: (("cnn-1", H5), ("cnn-1", ONNX)),
    2: (("cnn-1", TFLITE), ("cnn-1", TFLITE_INT8)),
    3: (("cnn-1", ONNX), ("cnn-1", INT8), ("cnn-1", STATIC)),
    4: (("dnn", ONNX), ("dnn", INT8), ("dnn", STATIC)),
}


@dataclass(frozen=True)
class Conditions:
    """Under which a run measured.

    Attributes:
        machine: the report's description of it.
        versions: of Python and the packages.
        notes: what was trained, on what, with how many threads: a line each.
        seconds: how long the run took.
        trained: how many nets were trained in it; the others came from the cache.
    """

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    notes: Sequence[str]
    seconds: float
    trained: int


def image_name(table: int) -> str:
    """Return the file name of a table's plot."""
    return f"study-table-{table}.png"


def render(figures: Figures, conditions: Conditions, plots: Iterable[int]) -> str:
    """Return the page as Markdown.

    Args:
        figures: what was measured.
        conditions: under which.
        plots: the tables that have a plot.
    """
    drawn = set(plots)
    parts = [
        "# The study, rebuilt",
        f'{AUTHORS}, "{TITLE}", {WHERE}, [doi {DOI}](https://doi.org/{DOI}): each of its tables with the published figures and '
        "those of this run, its figures as lists of operators, and what became of its claims. docs/about-study.md says how to run it; "
        "nothing here is typed in but what was published.",
        *_claims(figures),
        "## How it was measured",
        *_conditions(conditions),
    ]
    for table in TABLES.values():
        parts += _table(table, figures, table.number in drawn)
    for number, title in FIGURES.items():
        parts += [f"## Figure {number}: {title}", *(_graph(figures, *graph) for graph in _DRAWN[number])]
    return "\n\n".join(parts) + "\n"


def _claims(figures: Figures) -> list[str]:
    lines = ["| claim | rests on | today | figures |", "|---|---|---|---|"]
    for claim in CLAIMS:
        judgement, text = claim.judged(figures)
        lines.append(f"| {claim.text} | {claim.source} | **{judgement.value}** | {text} |")
    return ["## What became of its claims", "\n".join(lines)]


def _conditions(conditions: Conditions) -> list[str]:
    machine = conditions.machine
    isa = ", ".join(machine.get("isa", ()))
    versions = ", ".join(f"{name} {version}" for name, version in conditions.versions.items())
    cached = (
        "trained nets came from the cache" if conditions.trained == 0 else f"nets trained in it: {conditions.trained}"
    )
    lines = [
        f"Machine: {machine.get('cpu')}, {machine.get('cpus'):g} CPUs ({isa}), {machine.get('os')}.",
        f"Versions: {versions}.",
        *conditions.notes,
        f"This run took {conditions.seconds / 60:.1f} minutes; {cached}.",
    ]
    return ["\n".join(f"- {line}" for line in lines)]


def _table(table: Table, figures: Figures, has_plot: bool) -> list[str]:
    names = [column.name for column in table.columns]
    lines = [f"| {table.unit} | | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    reasons: dict[str, str] = {}
    for row in table.rows:
        published = [_shown(table.published.get((row, column.name)), column) for column in table.columns]
        if any(published):
            lines.append(f"| {row} | published | {' | '.join(cell or '–' for cell in published)} |")
        measured = [_measured(table, row, column, figures, reasons) for column in table.columns]
        lines.append(f"| {row} | measured | {' | '.join(measured)} |")
    parts = [f"## Table {table.number}: {table.title}", "\n".join(lines)]
    if any((row, column) not in table.published for row, column in table.places):
        parts.append("–: the study gives no figure.")
    if reasons:
        parts.append("\n".join(f"- {letter}: not measured: {reason}." for reason, letter in reasons.items()))
    parts.append(table.method)
    if has_plot:
        parts.append(
            f"![Table {table.number}: {table.title}, published and measured]({IMAGES}/{image_name(table.number)})"
        )
    return parts


def _shown(figure: float | None, column: Column) -> str:
    return "" if figure is None else f"{figure:,.{column.digits}f}"


def _measured(table: Table, row: str, column: Column, figures: Figures, reasons: dict[str, str]) -> str:
    try:
        return _shown(figures[table.number, row, column.name], column)
    except NotMeasured:
        reason = figures.reason(table.number, column.name)
        return reasons.setdefault(reason, f"({chr(ord('a') + len(reasons))})")


def _graph(figures: Figures, model: str, variant: str) -> str:
    try:
        operators = figures.operators_of(model, variant)
    except NotMeasured as missing:
        return f"**{model}, {variant}**: not measured: {missing}."
    runs = [(name, len(list(group))) for name, group in groupby(operators)]
    text = " → ".join(name if count == 1 else f"{name} ×{count}" for name, count in runs)
    return f"**{model}, {variant}** ({len(operators)}):\n\n```text\n{_wrapped(text)}\n```"


def _wrapped(text: str, width: int = 120) -> str:
    lines = [""]
    for part in text.split(" → "):
        arrow = " → " if lines[-1] else ""
        if len(lines[-1]) + len(arrow) + len(part) > width:
            lines[-1] += " →"
            lines.append(part)
        else:
            lines[-1] += arrow + part
    return "\n".join(lines)


def summary(figures: Figures) -> list[str]:
    """Return what the terminal says: what was not rebuilt and why, and what became of each claim."""
    lines = []
    for table in TABLES.values():
        missing = figures.missing(table.number)
        if not missing:
            continue
        reasons = "; ".join(dict.fromkeys(figures.reason(table.number, column) for _, column in missing))
        if len(missing) == len(table.places):
            lines.append(f"Table {table.number} was not rebuilt: {reasons}")
        else:
            lines.append(
                f"Table {table.number}: {len(missing)} of {len(table.places)} cells were not measured: {reasons}"
            )
    for claim in CLAIMS:
        judgement, _ = claim.judged(figures)
        lines.append(f"{judgement.value}: {claim.text}")
    return lines
