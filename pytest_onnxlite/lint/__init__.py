"""Whether a quantized ONNX graph is sound, what it is made of, and how it changed.

from pytest_onnxlite.lint import check_graph

for finding in check_graph("model.int8.onnx", "model.onnx"):
    print(finding)
"""

from pytest_onnxlite.lint.checking import check_graph
from pytest_onnxlite.lint.digest import canonical_digest
from pytest_onnxlite.lint.finding import Finding, GraphError
from pytest_onnxlite.lint.loading import ModelLike
from pytest_onnxlite.lint.operator_counts import OperatorChange, compare_operators
from pytest_onnxlite.lint.rules import RULES, Rule
from pytest_onnxlite.lint.signature import Signature, TensorSignature, compare_signatures, signature
from pytest_onnxlite.lint.summary import FloatLeft, GraphSummary, summarize

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
