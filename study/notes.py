"""How tests say what they measure, and note it: in their reports, as pytest's `record_property` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

_CELL, _OPERATORS = "study_cell", "study_operators"


def case(model: str, about: int | str, *columns: str) -> Any:
    """Return a parameter for `onnxlite_model`, marked with what is measured of it.

    Args:
        model: the model's name.
        about: a table's number, or a model's name where its graph is looked at.
        columns: those that are measured.
    """
    return pytest.param(model, marks=pytest.mark.study(about, *columns))


class Notes:
    """Notes what a test measured.

    Args:
        record: pytest's `record_property`.
    """

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._record = record

    def cell(self, table: int, row: str, column: str, figure: float) -> None:
        """Note a cell's figure, in the table's unit."""
        self._record(_CELL, [table, row, column, float(figure)])

    def operators(self, model: str, variant: str, operators: Sequence[str]) -> None:
        """Note a graph's operators, in its order."""
        self._record(_OPERATORS, [model, variant, list(operators)])


def read_notes(
    properties: Iterable[tuple[str, Any]],
) -> tuple[dict[tuple[int, str, str], float], dict[tuple[str, str], list[str]]]:
    """Return the cells and the operators that a report's properties hold."""
    cells, operators = {}, {}
    for name, value in properties:
        if name == _CELL:
            table, row, column, figure = value
            cells[table, row, column] = figure
        elif name == _OPERATORS:
            model, variant, found = value
            operators[model, variant] = found
    return cells, operators
