"""What the graph checks find in a variant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_onnxlite.measure.measurement import Graph
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.variant import Variant


def measure(builder: Builder, variant: Variant, ignore: Sequence[str]) -> Graph:
    """Check a variant's graph, an INT8 one beside the float model it was made from.

    Raises:
        OnnxliteError: a variant cannot be built or read.
    """
    from pytest_onnxlite.graph import check_graph, signature, summarize

    reference = builder.size_reference(variant.kind)
    float_path = reference.path if variant.kind == "int8" and reference is not None else None
    findings = check_graph(variant.path, float_path, excluded=builder.excluded(variant.kind), ignore=ignore)
    return Graph(
        findings=tuple(finding.as_dict() for finding in findings),
        texts=tuple(str(finding) for finding in findings),
        signature=signature(variant.path).as_dict(),
        operators=dict(summarize(variant.path).operators),
    )


def changes(saved: dict[str, Any], found: Graph) -> tuple[str, ...]:
    """Return how the inputs and outputs differ from a saved signature, a line each."""
    from pytest_onnxlite.graph import Signature, compare_signatures

    findings = compare_signatures(Signature.from_dict(saved), Signature.from_dict(found.signature))
    return tuple(str(finding) for finding in findings)
