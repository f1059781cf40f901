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

from pytest_onnxlite.errors import hide_mistakes

if TYPE_CHECKING:
    from pytest_onnxlite.lint.checking import check_graph
    from pytest_onnxlite.lint.digest import canonical_digest
    from pytest_onnxlite.lint.finding import Finding, GraphError
    from pytest_onnxlite.lint.float_left import FloatLeft
    from pytest_onnxlite.lint.interface import Signature, TensorSignature
    from pytest_onnxlite.lint.loading import ModelLike
    from pytest_onnxlite.lint.operator_counts import OperatorChange, compare_operators
    from pytest_onnxlite.lint.rules import RULES, Rule
    from pytest_onnxlite.lint.signatures import compare_signatures, signature
    from pytest_onnxlite.lint.summary import GraphSummary, summarize

__tracebackhide__ = hide_mistakes

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

# From the one that needs least to the one that needs most.
_MODULES = (
    "rules",
    "finding",
    "interface",
    "float_left",
    "loading",
    "operator_counts",
    "signatures",
    "digest",
    "summary",
    "checking",
)


def __getattr__(name: str) -> Any:
    for module in _MODULES if name in __all__ else ():
        found = getattr(importlib.import_module(f"{__name__}.{module}"), name, None)
        if found is not None:
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
