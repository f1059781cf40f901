"""What the graph checks find in a variant."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_onnxlite.checks.graph.measurement import Graph, GraphChanges, GraphSection, OperatorChange
from pytest_onnxlite.lint import check_graph, compare_operators, compare_signatures, signature, summarize
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.variant import Variant


def measure(builder: Builder, variant: Variant, ignore: Sequence[str]) -> Graph:
    """Check a variant's graph, a quantized one beside the float model it was made from.

    Raises:
        OnnxliteError: a variant cannot be built or read.
    """
    reference = builder.made_from(variant.kind) if builder.kind(variant.kind).quantized else None
    float_path = reference.path if reference is not None else None
    findings = check_graph(variant.path, float_path, excluded=builder.excluded(variant.kind), ignore=ignore)
    operators = dict(summarize(variant.path).operators)
    change = compare_operators(summarize(float_path).operators, operators) if float_path is not None else None
    return Graph(
        findings=tuple(findings),
        signature=signature(variant.path),
        operators=operators,
        quantization=OperatorChange(dict(change.added), dict(change.removed)) if change else OperatorChange(),
    )


def changes(saved: GraphSection, found: Graph) -> GraphChanges:
    """Compare a graph with the one that a baseline saved."""
    findings = compare_signatures(saved.signature, found.signature)
    operators = compare_operators(saved.operators, found.operators)
    return GraphChanges(tuple(str(finding) for finding in findings), str(operators) if operators else "")
