"""A pytest plugin that guards model releases.

The public names load on first use: importing this package costs no more than the standard library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_onnxlite.baseline.record import KeptFile
    from pytest_onnxlite.checks.check import Check
    from pytest_onnxlite.checks.limit import Argument, Limit, number
    from pytest_onnxlite.checks.reference import saved_section
    from pytest_onnxlite.checks.task import Judged, Task
    from pytest_onnxlite.checks.verdict import Outcome, Verdict
    from pytest_onnxlite.errors import OnnxliteError
    from pytest_onnxlite.kinds import Kind
    from pytest_onnxlite.lint import Finding, check_graph, summarize
    from pytest_onnxlite.metrics import Metric
    from pytest_onnxlite.spec.dataset import Dataset
    from pytest_onnxlite.spec.model import ModelSpec
    from pytest_onnxlite.spec.recipes import DynamicInt8, Float16, StaticInt8, WeightOnly
    from pytest_onnxlite.spec.runtimes import Runtime
    from pytest_onnxlite.spec.scenarios import Scenario
    from pytest_onnxlite.spec.stateful import Stateful
    from pytest_onnxlite.variants.variant import Variant

__all__ = [
    "Argument",
    "Check",
    "Dataset",
    "DynamicInt8",
    "Finding",
    "Float16",
    "Judged",
    "KeptFile",
    "Kind",
    "Limit",
    "Metric",
    "ModelSpec",
    "OnnxliteError",
    "Outcome",
    "Runtime",
    "Scenario",
    "Stateful",
    "StaticInt8",
    "Task",
    "Variant",
    "Verdict",
    "WeightOnly",
    "check_graph",
    "number",
    "saved_section",
    "summarize",
]

_HOMES = {
    "Argument": "pytest_onnxlite.checks.limit",
    "Check": "pytest_onnxlite.checks.check",
    "Dataset": "pytest_onnxlite.spec.dataset",
    "DynamicInt8": "pytest_onnxlite.spec.recipes",
    "Finding": "pytest_onnxlite.lint",
    "Float16": "pytest_onnxlite.spec.recipes",
    "Judged": "pytest_onnxlite.checks.task",
    "KeptFile": "pytest_onnxlite.baseline.record",
    "Kind": "pytest_onnxlite.kinds",
    "Limit": "pytest_onnxlite.checks.limit",
    "Metric": "pytest_onnxlite.metrics",
    "ModelSpec": "pytest_onnxlite.spec.model",
    "OnnxliteError": "pytest_onnxlite.errors",
    "Outcome": "pytest_onnxlite.checks.verdict",
    "Scenario": "pytest_onnxlite.spec.scenarios",
    "Runtime": "pytest_onnxlite.spec.runtimes",
    "Stateful": "pytest_onnxlite.spec.stateful",
    "StaticInt8": "pytest_onnxlite.spec.recipes",
    "Task": "pytest_onnxlite.checks.task",
    "Variant": "pytest_onnxlite.variants.variant",
    "Verdict": "pytest_onnxlite.checks.verdict",
    "WeightOnly": "pytest_onnxlite.spec.recipes",
    "check_graph": "pytest_onnxlite.lint",
    "number": "pytest_onnxlite.checks.limit",
    "saved_section": "pytest_onnxlite.checks.reference",
    "summarize": "pytest_onnxlite.lint",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
