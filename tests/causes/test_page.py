"""The page of first causes is what the tests hold."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from projects import REPOSITORY


def script() -> Any:
    spec = importlib.util.spec_from_file_location("first_causes", REPOSITORY / "benchmarks" / "first_causes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_of_first_causes_is_in_step() -> None:
    found = script()
    written = found.PAGE.read_text(encoding="utf-8")
    assert written == found.page(), "docs/first-causes.md is out of date: python benchmarks/first_causes.py"
    assert int(written.split(" failures.")[0].split("\n")[-1]) >= 22
