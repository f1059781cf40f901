"""What the graph checks find in a variant."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_onnxlite.checks.graph.measurement import Graph, GraphChanges, GraphSection, OperatorChange
from pytest_onnxlite.lint import check_graph, compare_operators, compare_signatures, signature, summarize
from pytest_onnxlite.lint.loading import load_model
from pytest_onnxlite.lint.model_index import ModelIndex
from pytest_onnxlite.lint.operator_counts import unread_operators
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.variant import Variant


def measure(builder: Builder, variant: Variant, ignore: Sequence[str]) -> Graph:
    """Check a variant's graph, a quantized one against the float model it was made from.

    Raises:
        OnnxliteError: a variant cannot be built or read.
    """
    reference = builder.made_from(variant.kind) if builder.kind(variant.kind).quantized else None
    # A graph of many nodes takes longer to load than to look at.
    model, float_model = load_model(variant.path), load_model(reference.path) if reference is not None else None
    findings = check_graph(model, float_model, excluded=builder.excluded(variant.kind), ignore=ignore)
    operators = dict(summarize(model).operators)
    change = compare_operators(summarize(float_model).operators, operators) if float_model is not None else None
    return Graph(
        findings=tuple(findings),
        signature=signature(model),
        operators=operators,
        unread=unread_operators(ModelIndex(model)),
        quantization=OperatorChange(dict(change.added), dict(change.removed)) if change else OperatorChange(),
    )


def changes(saved: GraphSection, found: Graph) -> GraphChanges:
    """Compare a graph with the one that a baseline saved."""
    findings = compare_signatures(saved.signature, found.signature)
    operators = compare_operators(saved.operators, found.operators)
    return GraphChanges(tuple(str(finding) for finding in findings), str(operators) if operators else "")
