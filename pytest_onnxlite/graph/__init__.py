"""Whether a quantized ONNX graph is sound, what it is made of, and how it changed.

from pytest_onnxlite.graph import check_graph

for finding in check_graph("model.int8.onnx", "model.onnx"):
    print(finding)
"""

from pytest_onnxlite.graph.canonical import canonical_digest
from pytest_onnxlite.graph.checking import check_graph
from pytest_onnxlite.graph.finding import Finding, GraphError
from pytest_onnxlite.graph.opening import ModelLike
from pytest_onnxlite.graph.operators import OperatorChange, compare_operators
from pytest_onnxlite.graph.rules import RULES, Rule
from pytest_onnxlite.graph.signature import Signature, TensorSignature, compare_signatures, signature
from pytest_onnxlite.graph.summary import FloatLeft, GraphSummary, summarize

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
