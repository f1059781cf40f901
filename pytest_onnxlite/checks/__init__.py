"""The checks: what a release is judged by, one folder each. This list is the only place that names them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_onnxlite.checks.check import Check

# In the order in which they are judged and shown. A check's marker is `onnxlite_` and its name.
NAMES = ("accuracy", "outputs", "size", "latency", "throughput", "memory", "graph", "placement")


def load(name: str) -> Check[Any, Any]:
    """Return one of these checks; its module loads with the first that asks for it."""
    check: Check[Any, Any] = importlib.import_module(f"{__name__}.{name}").CHECK
    return check
