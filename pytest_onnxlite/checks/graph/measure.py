"""What the graph checks find in a variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_onnxlite.checks.graph.measurement import Graph, GraphChanges
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.variant import Variant


def measure(builder: Builder, variant: Variant, ignore: Sequence[str]) -> Graph:
    """Check a variant's graph, an INT8 one beside the float model it was made from.

    Raises:
        OnnxliteError: a variant cannot be built or read.
    """
    from pytest_onnxlite.lint import check_graph, compare_operators, signature, summarize

    reference = builder.made_from(variant.kind)
    float_path = reference.path if variant.kind == "int8" and reference is not None else None
    findings = check_graph(variant.path, float_path, excluded=builder.excluded(variant.kind), ignore=ignore)
    operators = dict(summarize(variant.path).operators)
    change = compare_operators(summarize(float_path).operators, operators) if float_path is not None else None
    return Graph(
        findings=tuple(finding.as_dict() for finding in findings),
        texts=tuple(str(finding) for finding in findings),
        signature=signature(variant.path).as_dict(),
        operators=operators,
        quantization={"added": dict(change.added), "removed": dict(change.removed)} if change is not None else {},
    )


def changes(saved: Mapping[str, Any], found: Graph) -> GraphChanges:
    """Compare a graph with the one that a baseline saved."""
    from pytest_onnxlite.lint import Signature, compare_operators, compare_signatures

    findings = compare_signatures(Signature.from_dict(saved["signature"]), Signature.from_dict(found.signature))
    operators = compare_operators(saved["operators"], found.operators)
    return GraphChanges(tuple(str(finding) for finding in findings), str(operators) if operators else "")
