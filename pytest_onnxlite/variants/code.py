"""A hash of code of the user's that a model depends on: custom layers and functions, their files, and what those import."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_onnxlite.variants.cache import hash_file

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
# Code that was made from a text: Python 3.13 shows that of `python -c` for each of these, whatever its own was.
_MADE = ("<string>", "<stdin>")


class Unhashable(Exception):
    """Python does not show all of the code; the text says of what."""


def hash_code(objects: Mapping[str, object]) -> str:
    """Return the SHA-256 of everything that these objects do, as far as Python shows it.

    Of a function, class, method, partial or callable object that is: the files that it and its bases are written in, the
    files of the project that those import, and what it holds in closures, defaults and attributes. What code reads from
    data files is not seen.

    Raises:
        Unhashable: something has no source, or holds what cannot be compared between runs.
    """
    reader = _Reader()
    for name in sorted(objects):
        reader.said.append(name)
        reader.take(objects[name], name)
    files = sorted((path.name, hash_file(path)) for path in reader.files)
    return hashlib.sha256(repr((reader.said, files)).encode()).hexdigest()


class _Reader:
    """Goes through objects, each once."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.files: set[Path] = set()
        self._seen: dict[int, Any] = {}

    def take(self, found: Any, name: str) -> None:
        """Take in an object that is called `name` in messages."""
        if isinstance(found, _PLAIN):
            self.said.append(repr(found))
        elif id(found) in self._seen:
            self.said.append("again")
        elif isinstance(found, types.ModuleType):
            self._take_module(found, name)
        else:
            self._seen[id(found)] = found
            self._take_object(found, name)

    def _take_object(self, found: Any, name: str) -> None:
        if isinstance(found, (list, tuple)):
            self._take_all({str(i): value for i, value in enumerate(found)}, name)
        elif isinstance(found, dict):
            self._take_all({repr(key): value for key, value in found.items()}, name)
        elif isinstance(found, functools.partial):
            self._take_all({"func": found.func, "args": found.args, "keywords": found.keywords}, name)
        elif isinstance(found, types.MethodType):
            self._take_all({"function": found.__func__, "self": found.__self__}, name)
        elif isinstance(found, types.FunctionType):
            self._take_function(found, name)
        elif isinstance(found, type):
            self._take_class(found, name)
        elif isinstance(found, types.BuiltinFunctionType):
            self.said.append(f"{found.__module__}.{found.__qualname__}")
        elif callable(found) and hasattr(found, "__dict__"):
            self.take(type(found), name)
            self._take_all(vars(found), name)
        else:
            raise Unhashable(f"{name} holds a {type(found).__name__}, which cannot be compared between runs")

    def _take_all(self, values: Mapping[str, object], name: str) -> None:
        for key in sorted(values):
            self.said.append(key)
            self.take(values[key], f"{name}.{key}")

    def _take_function(self, found: types.FunctionType, name: str) -> None:
        self.said.append(f"{found.__module__}.{found.__qualname__}:{found.__code__.co_firstlineno}")
        self._take_source(found, found.__code__.co_filename, found.__module__, name)
        try:
            held = [cell.cell_contents for cell in found.__closure__ or ()]
        except ValueError:
            raise Unhashable(f"{name} refers to something that is not there yet") from None
        # A method that calls super() holds its class.
        held = [value for value in held if id(value) not in self._seen]
        self._take_all(
            {"closure": held, "defaults": found.__defaults__, "keywords": found.__kwdefaults__}
            | ({"wrapped": found.__wrapped__} if hasattr(found, "__wrapped__") else {}),
            name,
        )

    def _take_class(self, found: type, name: str) -> None:
        module = sys.modules.get(found.__module__)
        file = getattr(module, "__file__", None)
        self.said.append(f"{found.__module__}.{found.__qualname__}")
        own = [value for value in vars(found).values() if isinstance(value, types.FunctionType)]
        # The code knows its file; several conftest.py files share one name among the modules.
        written = next((value.__code__.co_filename for value in own if value.__module__ == found.__module__), file)
        if written and _is_installed(written):
            self._take_installed(Path(written))
        elif not _is_installed(written):
            self._take_source(found, written or "", found.__module__, name)
            for function in own:
                self.take(function, f"{name}.{function.__name__}")
            for base in found.__bases__:
                self.take(base, f"{name}'s base {base.__name__}")

    def _take_source(self, found: Any, file: str, module: str, name: str) -> None:
        path = Path(file)
        if _is_installed(file):
            self._take_installed(path)
            return
        if path.is_file():
            self._take_file(path, module)
            return
        try:
            source = "" if file in _MADE else inspect.getsource(found)  # a notebook's cell
        except (OSError, TypeError):
            source = ""
        if not source:
            raise Unhashable(f"{name} has no source file ({found.__module__}.{found.__qualname__})")
        self.said.append(source)
        if module == "__main__":
            raise Unhashable(f"{name} is defined in a notebook or a prompt, and what it uses there is not seen")

    def _take_installed(self, path: Path) -> None:
        """Take in a file of an installed package, and not what it imports in turn."""
        if path.is_file():
            self.files.add(path.resolve())

    def _take_file(self, path: Path, module: str) -> None:
        path = path.resolve()
        if path in self.files:
            return
        self.files.add(path)
        if path.suffix != ".py":
            return
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            raise Unhashable(f"{path} cannot be read as Python") from None
        package = module.rpartition(".")[0] if path.name != "__init__.py" else module
        for name in _imported(tree, package):
            self._take_import(name)

    def _take_import(self, name: str) -> None:
        module = sys.modules.get(name)
        if module is not None:
            self._take_module(module, name)
        elif "." not in name:  # of another, looking would run its package
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin and Path(spec.origin).is_file() and not _is_installed(spec.origin):
                self._take_file(Path(spec.origin), name)

    def _take_module(self, module: types.ModuleType, name: str) -> None:
        file = getattr(module, "__file__", None)
        if file and not _is_installed(file):
            self._take_file(Path(file), module.__name__)


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the names of modules that a file may import, whether at its top or within a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)] if base else []
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _is_installed(file: str | None) -> bool:
    """Tell whether a file is Python's own or an installed package's."""
    if not file or file.startswith("<frozen"):
        return file is not None
    path = Path(file).resolve()
    return bool({"site-packages", "dist-packages"} & {*path.parts}) or any(
        path.is_relative_to(folder) for folder in _INSTALLED
    )
