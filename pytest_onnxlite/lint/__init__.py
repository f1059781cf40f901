"""Whether a quantized ONNX graph is sound, what it is made of, and how it changed.

from pytest_onnxlite.lint import check_graph

for finding in check_graph("model.int8.onnx", "model.onnx"):
    print(finding)

Pure functions over onnx-ir, which know neither pytest nor ONNX Runtime. What is imported loads when it is asked for: the
table of operators and the walk over stored models need no onnx-ir.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_onnxlite.lint.checking import check_graph
    from pytest_onnxlite.lint.digest import canonical_digest
    from pytest_onnxlite.lint.finding import Finding, GraphError
    from pytest_onnxlite.lint.loading import ModelLike
    from pytest_onnxlite.lint.operator_counts import OperatorChange, compare_operators
    from pytest_onnxlite.lint.rules import RULES, Rule
    from pytest_onnxlite.lint.signatures import Signature, TensorSignature, compare_signatures, signature
    from pytest_onnxlite.lint.summary import FloatLeft, GraphSummary, summarize

_HOMES = {
    "RULES": "rules",
    "Finding": "finding",
    "FloatLeft": "summary",
    "GraphError": "finding",
    "GraphSummary": "summary",
    "ModelLike": "loading",
    "OperatorChange": "operator_counts",
    "Rule": "rules",
    "Signature": "signatures",
    "TensorSignature": "signatures",
    "canonical_digest": "digest",
    "check_graph": "checking",
    "compare_operators": "operator_counts",
    "compare_signatures": "signatures",
    "signature": "signatures",
    "summarize": "summary",
}
__all__ = [
    "RULES",
    "Finding",
    "FloatLeft",
    "GraphError",
    "GraphSummary",
    "ModelLike",
    "OperatorChange",
    "Rule",
    "Signature",
    "TensorSignature",
    "canonical_digest",
    "check_graph",
    "compare_operators",
    "compare_signatures",
    "signature",
    "summarize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
