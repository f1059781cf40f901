"""What was found in a graph; what a baseline keeps of it, and a verdict's evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from pytest_onnxlite.baseline.record import Count
from pytest_onnxlite.lint import Finding, Signature
from pytest_onnxlite.lint.operator_counts import Unread


@dataclass(frozen=True)
class OperatorChange:
    """Operators that appeared, and that went, with how many of each."""

    added: Mapping[str, Count] = field(default_factory=dict)
    removed: Mapping[str, Count] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """What the graph checks found, the signature, and the operators.

    Attributes:
        findings: the faults.
        signature: inputs and outputs.
        operators: how often each occurs.
        quantization: which operators appeared and which went on the way from the float model; empty without one.
        unread: operators that no check looks into.
    """

    findings: tuple[Finding, ...]
    signature: Signature
    operators: Mapping[str, int]
    quantization: OperatorChange = OperatorChange()
    unread: Unread = field(default_factory=Unread)


@dataclass(frozen=True)
class GraphChanges:
    """How a graph differs from the last release's.

    Attributes:
        signature: what changed of inputs and outputs, a text each.
        operators: `+1 Conv, -2 Relu`; empty for none.
    """

    signature: tuple[str, ...]
    operators: str


class GraphSection(msgspec.Struct, frozen=True):
    """What a baseline keeps: inputs and outputs, operators, and what quantization did to them."""

    signature: Signature
    operators: Mapping[str, Count]
    quantization: OperatorChange = OperatorChange()


class GraphEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is behind a verdict.

    Attributes:
        findings: the faults, errors first, then warnings.
        signature_changes: what changed of inputs and outputs since the last release.
        operator_changes: what changed of the operators since then.
    """

    findings: tuple[Finding, ...] = ()
    signature_changes: tuple[str, ...] = ()
    operator_changes: str = ""
