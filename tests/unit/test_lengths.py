"""No module of the package is longer than 400 lines, and no function than 60: what is longer has more than one subject."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest_onnxlite

PACKAGE = Path(pytest_onnxlite.__file__).parent
MODULE, FUNCTION = 400, 60


def too_long(folder: Path) -> Iterator[str]:
    """Name what is longer than it may be."""
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        where = path.relative_to(folder).as_posix()
        if text.count("\n") > MODULE:
            yield f"{where}: {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION:
                    yield f"{where}: {node.name}, {lines} lines"


def test_no_module_and_no_function_of_the_package_is_too_long() -> None:
    assert len(list(PACKAGE.rglob("*.py"))) > 300  # it was looked at
    assert list(too_long(PACKAGE)) == []


def test_what_is_too_long_is_named(tmp_path: Path) -> None:
    function = "def much() -> None:\n" + "    print()\n" * FUNCTION
    (tmp_path / "one.py").write_text(function)
    (tmp_path / "other.py").write_text("\n" * (MODULE + 1))
    (tmp_path / "fits.py").write_text("def little() -> None:\n" + "    print()\n" * (FUNCTION - 1) + "\n" * 340)
    assert list(too_long(tmp_path)) == [f"one.py: much, {FUNCTION + 1} lines", f"other.py: {MODULE + 1} lines"]
