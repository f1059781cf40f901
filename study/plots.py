"""The plots of the tables, published beside measured, with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from study.figures import Figures
from study.page import image_name
from study.published import (
    COMPILED,
    GUARD,
    H5,
    INT8,
    ONNX,
    PREDICT,
    RATE,
    RATIO,
    REPEATS,
    RUNNING,
    STATIC,
    STATIC_RATIO,
    TABLES,
    TFLITE_INT8,
    TRACED,
    WIDE,
    Table,
)

_PUBLISHED, _MEASURED, _OTHER = "#9aa5b1", "#1f6feb", "#d97706"
_COLOURS = {
    H5: "#4b5563",
    ONNX: "#1f6feb",
    INT8: "#d97706",
    STATIC: "#059669",
    TFLITE_INT8: "#9333ea",
    PREDICT: "#9ca3af",
    COMPILED: "#4b5563",
}
_STYLE: Any = {
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(figures: Figures, folder: Path) -> list[int]:
    """Draw each table that has figures into a folder; returns their numbers."""
    drawn = []
    for number, table in TABLES.items():
        path = folder / image_name(number)
        path.unlink(missing_ok=True)  # one of an earlier run
        if len(figures.missing(number)) == len(table.places):
            continue
        with plt.rc_context(_STYLE):
            figure = _DRAWERS[number](table, figures)
            figure.suptitle(f"Table {number}: {table.title}")
            figure.savefig(path, dpi=110, metadata={"Software": None})
            plt.close(figure)
        drawn.append(number)
    return drawn


def _measured(figures: Figures, table: Table, rows: Sequence[str], column: str) -> list[float]:
    """Return a column's figures; what was not measured is no point."""
    return [figures.cells.get((table.number, row, column), nan) for row in rows]


def _published(table: Table, rows: Sequence[str], column: str) -> list[float]:
    return [table.published.get((row, column), nan) for row in rows]


def _bars(
    axes: Any, names: Sequence[str], series: Mapping[str, tuple[Sequence[float], str]], unit: str, *, scale: str = "log"
) -> None:
    """Draw groups of bars, each with its figure."""
    width = 0.8 / len(series)
    for number, (label, (values, colour)) in enumerate(series.items()):
        places = [place + (number - (len(series) - 1) / 2) * width for place in range(len(names))]
        bars = axes.bar(places, values, width, label=label, color=colour)
        axes.bar_label(bars, ["" if isnan(value) else _short(value) for value in values], fontsize=8, padding=2)
    axes.set_xticks(range(len(names)), [name.replace(", ", ",\n") for name in names])
    axes.set_yscale(scale)
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.set_ylabel(unit)
    axes.margins(y=0.15)
    axes.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(series))


def _short(value: float) -> str:
    """Return a figure to three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _new(columns: int = 1, width: float = 8.5, *, share: bool = False) -> tuple[Any, Any]:
    return plt.subplots(1, columns, figsize=(width, 4.2), layout="constrained", sharey=share)


def _sizes(table: Table, figures: Figures) -> Any:
    figure, axes = _new()
    (row,) = table.rows
    names = [column.name for column in table.columns]
    series = {
        "published": ([_published(table, [row], name)[0] for name in names], _PUBLISHED),
        "measured": ([_measured(figures, table, [row], name)[0] for name in names], _MEASURED),
    }
    _bars(axes, names, series, table.unit, scale="linear")
    return figure


def _accuracy(table: Table, figures: Figures) -> Any:
    figure, (left, right) = _new(2, 9.5, share=True)
    repeats = range(1, len(REPEATS) + 1)
    for marker, column in zip("os^", table.columns, strict=True):
        style = {"marker": marker, "linestyle": "", "color": _COLOURS[column.name], "alpha": 0.8, "label": column.name}
        left.plot(repeats, _published(table, REPEATS, column.name), **style)
        right.plot(repeats, _measured(figures, table, REPEATS, column.name), **style)
    for axes, title in ((left, "published"), (right, "measured")):
        axes.set(title=title, xlabel="repeat", xticks=repeats)
    left.set_ylabel(table.unit)
    right.legend(frameon=False)
    return figure


def _times(table: Table, figures: Figures) -> Any:
    figure, axes = _new()
    names = [column.name for column in table.columns]

    def middle(values: Sequence[float]) -> float:
        known = [value for value in values if not isnan(value)]
        return median(known) if known else nan

    series = {
        "published, median": ([middle(_published(table, REPEATS, name)) for name in names], _PUBLISHED),
        "measured, median": ([middle(_measured(figures, table, REPEATS, name)) for name in names], _MEASURED),
        GUARD: ([_measured(figures, table, [GUARD], name)[0] for name in names], _OTHER),
    }
    _bars(axes, names, series, table.unit)
    return figure


def _rates(table: Table, figures: Figures) -> Any:
    figure, (left, right) = _new(2, 11)
    rows = [row for row in table.rows if row != WIDE]
    rates = _published(table, rows, RATE)
    for name in (PREDICT, COMPILED, ONNX, INT8, STATIC):
        left.plot(rates, _measured(figures, table, rows, name), "o-", color=_COLOURS[name], label=name)
        left.plot(rates, _published(table, rows, name), "x:", color=_COLOURS[name], alpha=0.6)
    left.set_yscale("log")
    left.yaxis.set_major_formatter(lambda value, _: _short(value))
    left.set(ylabel=table.unit, xlabel="dense rate, %", title="time (dotted: published)")
    # Between model.predict and everything else there is room.
    left.legend(frameon=False, fontsize=8, ncols=2, loc="center", bbox_to_anchor=(0.5, 0.7))
    for name, colour in ((RATIO, _COLOURS[INT8]), (STATIC_RATIO, _COLOURS[STATIC])):
        right.plot(rates, _measured(figures, table, rows, name), "o-", color=colour, label=name)
        right.plot(rates, _published(table, rows, name), "x:", color=colour, alpha=0.6)
    wide_at = _measured(figures, table, [WIDE], RATE)
    for name, colour in ((RATIO, _COLOURS[INT8]), (STATIC_RATIO, _COLOURS[STATIC])):
        right.plot(wide_at, _measured(figures, table, [WIDE], name), "D", color=colour, label=f"{name}, {WIDE}")
    right.axhline(1, color="black", linewidth=1)
    right.set_yscale("log")
    right.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    right.minorticks_off()
    right.set(xlabel="dense rate, %", title="INT8's share of float ONNX's time; above 1 it is slower")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.set_xticks(rates)
        axes.invert_xaxis()
    return figure


def _memory(table: Table, figures: Figures) -> Any:
    figure, axes = _new()
    names = [column.name for column in table.columns]
    series = {
        "tracemalloc, published": ([_published(table, [TRACED], name)[0] for name in names], _PUBLISHED),
        "tracemalloc, measured": ([_measured(figures, table, [TRACED], name)[0] for name in names], _OTHER),
        RUNNING: ([_measured(figures, table, [RUNNING], name)[0] for name in names], _MEASURED),
    }
    _bars(axes, names, series, table.unit)
    return figure


_DRAWERS = {2: _sizes, 3: _sizes, 4: _accuracy, 5: _times, 6: _rates, 7: _memory, 8: _memory}
