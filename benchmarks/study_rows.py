"""What studies share whose rounds add up in a file: the rows, and the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


def append(out: Path, *rows: Mapping[str, object]) -> None:
    """Add rows to a file."""
    with out.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def read(out: Path) -> list[dict[str, Any]]:
    """Return the rows of a file."""
    return [json.loads(line) for line in out.read_text().splitlines()]


def main(
    text: str | None,
    measure: Callable[[argparse.Namespace], None],
    table: Callable[[list[dict[str, Any]]], None],
    options: Iterable[tuple[str, dict[str, Any]]] = (),
) -> None:
    """Measure as the command line asks, unless it asks for the table alone, and print the table.

    Args:
        text: what the study is, for `--help`.
        measure: appends rows; is given `out`, `rounds`, `first` and the options.
        table: prints the table of all rows.
        options: more options, with what `add_argument` takes.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first round, where several are at work")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    for name, given in options:
        parser.add_argument(name, **given)
    asked = parser.parse_args()
    if not asked.table:
        measure(asked)
    table(read(asked.out))
