"""The names, files and recipes that a user gives, checked."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pytest_onnxlite.errors import OnnxliteError, hide_mistakes
from pytest_onnxlite.files import problem_with
from pytest_onnxlite.kinds import CHOSEN, KINDS
from pytest_onnxlite.spec.recipes import DynamicInt8, Float16, Made, OtherRuntime, StaticInt8, WeightOnly
from pytest_onnxlite.text import listed, twin

__tracebackhide__ = hide_mistakes

# Kept to what every file system takes as a folder's name, because baselines are stored under it.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_MODEL_FILES = (".onnx", ".tflite")
_WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}


def require_name(name: object) -> None:
    """Check a model's name.

    Raises:
        OnnxliteError: no folder of baselines can be called so.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith("."):
        raise OnnxliteError(
            f"ModelSpec name {name!r}: expected 1 to 64 letters, digits, '.', '_' or '-', "
            "starting with a letter or digit; it names a folder of the baselines."
        )
    if name.split(".")[0].lower() in _WINDOWS_DEVICES:
        raise OnnxliteError(f"ModelSpec name {name!r} is a reserved file name on Windows; choose another.")


def as_path(value: Any, what: str, *, folder: bool = False) -> Path:
    """Return the path of a file that is there, or of a folder if one is allowed.

    Raises:
        OnnxliteError: it is not there, or is no file.
    """
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise OnnxliteError(f"{what}={reprlib.repr(value)}: expected a path, as a str or a pathlib.Path.")
    path = Path(value)
    try:
        problem = "" if folder and path.is_dir() else problem_with(path)
    except FileNotFoundError:
        raise OnnxliteError(
            f"{what}={str(path)!r}: no such file (looked in {Path.cwd()}). "
            "Give a path that exists, best one built from Path(__file__).parent."
        ) from None
    except (OSError, ValueError) as error:
        raise OnnxliteError(f"{what}={str(path)!r} cannot be read: {error}.") from None
    if problem:
        raise OnnxliteError(f"{what}={str(path)!r} {problem}.")
    return path


def problem_of_name(name: object, others: Collection[str]) -> str:
    """Say why a variant cannot be called so; empty if it can.

    Args:
        name: the name.
        others: the names of the model's variants before it.
    """
    if not isinstance(name, str) or not _VARIANT.fullmatch(name) or name.lower() in _WINDOWS_DEVICES:
        return (
            f"a variant is called {name!r}; expected 1 to 40 letters, digits, '_' or '-', and no device of Windows: "
            "its baseline is a file of that name."
        )
    if name.lower() in (*KINDS, CHOSEN, "model"):
        return f"a variant is called {name!r}, which is the name of a fixture of ours; choose another."
    other = twin(name, others)
    if other is not None:
        return f"the variants {other!r} and {name!r} differ by case alone: on Windows and macOS their baselines would be one file."
    return ""


def problem_of_source(name: str, made: OtherRuntime, others: Mapping[str, Made]) -> str:
    """Say why a variant cannot be the file of another one; empty if it can, as far as that is told without the kinds there are.

    Args:
        name: the variant's name.
        made: what it is the file of.
        others: all variants with names.
    """
    if made.of == "trained":
        return f"the variant {name!r} is the trained model, which no runtime of ours runs; name another."
    source = others.get(str(made.of))
    if made.of == name or isinstance(source, OtherRuntime):
        rest = [other for other, how in others.items() if not isinstance(how, OtherRuntime)]
        return f"the variant {name!r} is that of {made.of!r}, which has no file of its own; expected {listed([*KINDS, *rest][1:], 'or')}."
    return ""


def as_variants(variants: Any, where: str) -> dict[str, Made]:
    """Check variants with names: recipes, or files that are there.

    Raises:
        OnnxliteError: a name that cannot be a file's or is taken, something else than a recipe, or a file that is not there.
    """
    if not isinstance(variants, Mapping):
        raise OnnxliteError(
            f'{where}: variants is a {type(variants).__name__}; expected recipes or files by name, such as {{"fp16": Float16()}}.'
        )
    found: dict[str, Made] = {}
    for name, made in variants.items():
        problem = problem_of_name(name, found)
        if problem:
            raise OnnxliteError(f"{where}: {problem}")
        found[name] = _as_made(made, f"{where} variants[{name!r}]")
    for name, made in found.items():
        problem = problem_of_source(name, made, found) if isinstance(made, OtherRuntime) else ""
        if problem:
            raise OnnxliteError(f"{where}: {problem}")
    return found


def is_file_name(value: Any) -> bool:
    """Tell whether a text means a model's file, and not the name of a variant."""
    return isinstance(value, os.PathLike) or (isinstance(value, str) and value.endswith(_MODEL_FILES))


def _as_made(made: Any, where: str) -> Made:
    if isinstance(made, (DynamicInt8, StaticInt8, Float16, WeightOnly)):
        return made
    if isinstance(made, OtherRuntime):
        return OtherRuntime(_as_file(made.of, where), made.runtime) if is_file_name(made.of) else made
    if not isinstance(made, (str, os.PathLike)):
        raise OnnxliteError(
            f"{where} is {made!r}; expected DynamicInt8(...), StaticInt8(...), Float16(...), WeightOnly(...), "
            "Variant(..., runtime=...) or the path of an .onnx or .tflite file."
        )
    return _as_file(made, where)


def _as_file(made: Any, where: str) -> Path:
    path = as_path(made, where)
    if path.suffix not in _MODEL_FILES:
        raise OnnxliteError(f"{where}={str(path)!r}: expected an .onnx or .tflite file.")
    return path
