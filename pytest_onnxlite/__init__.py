"""A pytest plugin that guards model releases.

The public names load on first use: importing this package costs no more than the standard library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_onnxlite.errors import OnnxliteError
    from pytest_onnxlite.lint import Finding, check_graph, summarize
    from pytest_onnxlite.metrics import Metric
    from pytest_onnxlite.recipes import DynamicInt8, StaticInt8
    from pytest_onnxlite.spec import Dataset, ModelSpec
    from pytest_onnxlite.variants.variant import Variant

__all__ = [
    "Dataset",
    "DynamicInt8",
    "Finding",
    "Metric",
    "ModelSpec",
    "OnnxliteError",
    "StaticInt8",
    "Variant",
    "check_graph",
    "summarize",
]

_HOMES = {
    "Dataset": "pytest_onnxlite.spec",
    "DynamicInt8": "pytest_onnxlite.recipes",
    "Metric": "pytest_onnxlite.metrics",
    "Finding": "pytest_onnxlite.lint",
    "ModelSpec": "pytest_onnxlite.spec",
    "OnnxliteError": "pytest_onnxlite.errors",
    "StaticInt8": "pytest_onnxlite.recipes",
    "Variant": "pytest_onnxlite.variants.variant",
    "check_graph": "pytest_onnxlite.lint",
    "summarize": "pytest_onnxlite.lint",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
