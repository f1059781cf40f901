"""What a run measured, by the cells of the tables; and why a cell has no figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from study.models import STATIC as STATIC_SUFFIX
from study.published import (
    GUARD,
    H5,
    INT8,
    LOADING,
    MEMORY_TABLE,
    ONNX,
    RATIO,
    REPEATS,
    RUNNING,
    SIZE,
    SIZE_TABLE,
    STATIC,
    STATIC_RATIO,
    TABLES,
    TFLITE,
    TFLITE_INT8,
    TIME_ROW,
    Place,
)

Cell = tuple[int, str, str]


class NotMeasured(Exception):
    """A cell has no figure; the text says which, and why."""


@dataclass(frozen=True)
class Unmeasured:
    """A test that measured nothing: the table, or the model whose graph, the columns, and what became of it."""

    about: int | str
    columns: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Figures:
    """The figures of a run.

    Attributes:
        cells: by table, row and column.
        operators: by model and variant, in the order of the graph.
        unmeasured: the tests that did not come to their figures.
    """

    cells: Mapping[Cell, float] = field(default_factory=dict)
    operators: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    unmeasured: Sequence[Unmeasured] = ()

    def __getitem__(self, cell: Cell) -> float:
        """Return a cell's figure.

        Raises:
            NotMeasured: it has none.
        """
        if cell not in self.cells:
            table, row, column = cell
            raise NotMeasured(f"Table {table}, {row}, {column}: {self.reason(table, column)}")
        return self.cells[cell]

    def operators_of(self, model: str, variant: str) -> Sequence[str]:
        """Return a graph's operators.

        Raises:
            NotMeasured: the graph was not looked at.
        """
        if (model, variant) not in self.operators:
            raise NotMeasured(self.reason(model, variant))
        return self.operators[model, variant]

    def reason(self, about: int | str, column: str) -> str:
        """Say why a cell of a table, or a model's graph, was not measured."""
        reasons = [u.reason for u in self.unmeasured if u.about == about and column in u.columns]
        return "; ".join(dict.fromkeys(reasons)) or "the test that measures it was not run"

    def missing(self, table: int) -> list[Place]:
        """Return the cells of a table that have no figure."""
        return [place for place in TABLES[table].places if (table, *place) not in self.cells]


def read_records(records: Iterable[Mapping[str, Any]]) -> dict[Cell, float]:
    """Return the cells that the guard's report has figures for.

    Args:
        records: those of the file that `--onnxlite-report` wrote.
    """
    found: dict[Cell, float] = {}
    for record in records:
        net = record["model"].removesuffix(STATIC_SUFFIX)
        is_static = net != record["model"]
        columns = {"trained": H5, "onnx": ONNX, "int8": STATIC if is_static else INT8}
        column = {**columns, "tflite": TFLITE, "tflite_int8": TFLITE_INT8}[record["variant"]]
        for check, measured in record["measured"].items():
            for table, row, name, figure in _READERS[check](net, column, measured):
                found[table, row, name] = figure
    return found


Read = Iterable[tuple[int, str, str, float]]


def _size(net: str, column: str, measured: Mapping[str, Any]) -> Read:
    table = SIZE_TABLE.get(net)
    if table:
        yield table, SIZE, column, measured["bytes"] / 1e6


def _accuracy(net: str, column: str, measured: Mapping[str, Any]) -> Read:
    repeat = REPEATS[int(net.removeprefix("cnn-")) - 1]
    yield 4, repeat, column, 100 * measured["correct"] / measured["total"]
    yield 4, repeat, H5, 100 * measured["reference_correct"] / measured["total"]


def _latency(net: str, column: str, measured: Mapping[str, Any]) -> Read:
    seconds = 1000 * measured["seconds"]
    if net == "cnn-1":
        yield 5, GUARD, column, seconds
        return
    row = TIME_ROW[net]
    yield 6, row, column, seconds
    paired = measured["comparisons"].get("float") or measured["comparisons"].get("sibling")
    if paired:
        yield 6, row, {INT8: RATIO, STATIC: STATIC_RATIO}[column], median(paired["first"])


def _memory(net: str, column: str, measured: Mapping[str, Any]) -> Read:
    table = MEMORY_TABLE[net]
    yield table, LOADING, column, measured["candidate"]["load"] / 1e3
    yield table, RUNNING, column, measured["candidate"]["run"] / 1e3


def _nothing(net: str, column: str, measured: Mapping[str, Any]) -> Read:
    return ()


_READERS = {"size": _size, "accuracy": _accuracy, "latency": _latency, "memory": _memory, "graph": _nothing}
