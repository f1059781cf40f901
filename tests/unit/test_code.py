"""Code that a model depends on is part of its identity: whatever changes it changes its hash, and nothing else does."""

from __future__ import annotations

import importlib
import inspect
import itertools
import linecache
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_onnxlite.variants.code import Unhashable, hash_code

_NUMBERS = itertools.count()

LAYER = """
from {helper} import FACTOR
import {helper} as aid
import functools, numpy as np

class Base:
    def call(self, x):
        return x * 2

class Layer(Base):
    def call(self, x):
        return super().call(x) + aid.more(x) * FACTOR

def keep(function):
    @functools.wraps(function)
    def kept(*args):
        return function(*args)
    return kept

@keep
def decorated(x):
    return x + 1

def closed(number):
    return lambda x: x + number

def by(x, factor=3):
    return x * factor

class Callable:
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, x):
        return x * self.factor

OBJECTS = {{
    "Layer": Layer, "decorated": decorated, "closed": closed({held}), "partial": functools.partial(by, factor={held}),
    "callable": Callable({held}), "method": Callable({held}).__call__,
}}
"""
HELPER = "FACTOR = 3\ndef more(x):\n    from {deeper} import least\n    return least + x\n"


def objects(folder: Path, monkeypatch: pytest.MonkeyPatch, held: int = 1, **changes: str) -> dict[str, Any]:
    """Import the objects from files of which some are changed."""
    names = {what: f"{what}_of_test_code" for what in ("layer", "helper", "deeper")}
    monkeypatch.syspath_prepend(folder)
    texts = {
        "layer": LAYER.format(helper=names["helper"], held=held),
        "helper": HELPER.format(**names),
        "deeper": "least = 1\n",
    }
    for what, text in texts.items():
        before, _, after = changes.get(what, "").partition(" to ")
        (folder / f"{names[what]}.py").write_text(text.replace(before, after) if before else text)
        sys.modules.pop(names[what], None)
    importlib.invalidate_caches()
    sys.dont_write_bytecode, before_writing = True, sys.dont_write_bytecode
    try:
        found: dict[str, Any] = importlib.import_module(names["layer"]).OBJECTS
    finally:
        sys.dont_write_bytecode = before_writing
    return found


@pytest.mark.parametrize("name", ["Layer", "decorated", "closed", "partial", "callable", "method"])
def test_whatever_changes_the_code_changes_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def hashed(**changes: Any) -> str:
        return hash_code({name: objects(tmp_path, monkeypatch, **changes)[name]})

    first = hashed()
    assert hashed() == first
    assert hashed(layer="x * 2 to x * 4") != first
    assert hashed(helper="FACTOR = 3 to FACTOR = 4") != first
    assert hashed(deeper="least = 1 to least = 2") != first
    assert hashed() == first
    if name not in ("Layer", "decorated"):
        text = hash_code({name: _with(objects(tmp_path, monkeypatch)[name])})
        assert text != first


def _with(found: Any) -> Any:
    """Let an object hold another number, its source unchanged."""
    if hasattr(found, "func"):
        found.keywords["factor"] = 9
    elif getattr(found, "__closure__", None):
        found.__closure__[0].cell_contents = 9
    else:
        getattr(found, "__self__", found).factor = 9
    return found


def test_a_name_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = objects(tmp_path, monkeypatch)
    assert hash_code({"a": found["Layer"]}) != hash_code({"b": found["Layer"]})


def test_what_python_does_not_show_is_said() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def made(x): return x", space)
    with pytest.raises(Unhashable, match=r"layer has no source file \(__main__.made\)"):
        hash_code({"layer": space["made"]})
    stream = iter([1])
    with pytest.raises(Unhashable, match="holds a list_iterator, which cannot be compared between runs"):
        hash_code({"layer": lambda: stream})


@pytest.mark.parametrize("module", ["__main__", "made_elsewhere"])
def test_code_that_was_made_from_a_text_has_no_source_though_python_shows_one(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    shown = "import sys; sys.exit()\n"  # as Python 3.13 does with what `python -c` was given
    monkeypatch.setitem(linecache.cache, "<string>", (len(shown), None, [shown], "<string>"))
    space: dict[str, Any] = {"__name__": module}
    exec("def made(x): return x", space)
    assert inspect.getsource(space["made"]) == shown
    with pytest.raises(Unhashable, match=rf"layer has no source file \({module}.made\)"):
        hash_code({"layer": space["made"]})


def test_what_tools_provide_needs_no_source() -> None:
    assert hash_code({"loss": len, "path": Path, "parser": importlib.import_module}) == hash_code(
        {"loss": len, "path": Path, "parser": importlib.import_module}
    )
