"""Runtimes that are declared in pyproject.toml, and that a declared model or a run can name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.settings import UsageMistake
from pytest_onnxlite.spec.given import is_file_name
from pytest_onnxlite.spec.recipes import OtherRuntime
from pytest_onnxlite.text import unknown

if TYPE_CHECKING:
    from pytest_onnxlite.spec.runtimes import Runtime

_RUNTIME_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


def runtime_table(path: Path, name: str) -> Mapping[str, object]:
    """Return the table of a runtime as it is written; `read` says what is wrong with it.

    Args:
        path: the pyproject.toml.
        name: the runtime's.

    Raises:
        UsageMistake: there is none.
    """
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageMistake(f"--onnxlite-runtime={name}: {path} declares no runtimes: {error}") from None
    tables = content.get("tool", {}).get("onnxlite", {}).get("runtimes", {})
    if isinstance(tables, dict) and isinstance(tables.get(name), dict):
        table: Mapping[str, object] = tables[name]
        return table
    known = list(tables) if isinstance(tables, dict) else []
    there = f"{path.name} declares" if known else f"{path} has no table [tool.onnxlite.runtimes.NAME]."
    raise UsageMistake(f"--onnxlite-runtime={name}: {unknown('runtime', name, known, there)}")


def mistakes_of_runtimes(folder: Path, tables: Mapping[str, object], where: str) -> list[str]:
    """Return what is wrong with runtimes, whether or not somebody asks for one."""
    mistakes = []
    for name, table in tables.items():
        if not _RUNTIME_NAME.fullmatch(name):
            mistakes.append(
                f"{where}.{name}]: expected a name of lower-case letters, digits, '.', '_' or '-', at most 40, starting with a "
                "letter or digit; it names a folder of the baselines."
            )
        try:
            _runtime(folder, f"{where}.{name}]", table)
        except UsageMistake as mistake:
            mistakes.append(str(mistake))
    return mistakes


def _runtime(folder: Path, where: str, table: Any) -> Runtime:
    from pytest_onnxlite.spec.runtimes import Runtime

    if not isinstance(table, dict):
        raise UsageMistake(f"{where}: {table!r}; expected a table.")
    try:
        return Runtime().with_fields(table, folder)
    except OnnxliteError as error:
        raise UsageMistake(f"{where}: {error}") from None


def named_runtime(folder: Path, where: str, value: Any, runtimes: Mapping[str, object]) -> Runtime:
    """Return the runtime of a model: a table, or the name of one of those that are declared."""
    if isinstance(value, str) and value not in runtimes:
        there = "There are" if runtimes else "There is no table [tool.onnxlite.runtimes.NAME]."
        raise UsageMistake(f"{where}: {unknown('runtime', value, list(runtimes), there)}")
    return _runtime(folder, f"{where} runtime", runtimes[value] if isinstance(value, str) else value)


def other_runtime(
    folder: Path, where: str, table: Mapping[str, object], runtimes: Mapping[str, object]
) -> OtherRuntime:
    """Return a variant that is another one's file, run otherwise: `{of = "onnx", runtime = "openvino"}`.

    Raises:
        UsageMistake: another key, a value of the wrong type, or a runtime that is none.
    """
    keys = ("of", "runtime")
    for key in table:
        if key not in keys:
            raise UsageMistake(f"{where}: {unknown('key', key, keys)}")
    of = table["of"]
    if not isinstance(of, str) or not of:
        raise UsageMistake(f"{where}: of={of!r}; expected a kind, the name of another variant, or a file.")
    if "runtime" not in table:
        raise UsageMistake(f"{where}: how the file of {of!r} is run here is missing; give runtime.")
    runtime = named_runtime(folder, where, table["runtime"], runtimes)
    return OtherRuntime(folder / of if is_file_name(of) else of, runtime)
