"""What was found in a graph."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Graph:
    """What the graph checks found, the signature, and the operators.

    Attributes:
        findings: as data.
        texts: as a person reads them.
        signature: inputs and outputs.
        operators: how often each occurs.
        quantization: which operators appeared and which went on the way from the float model; empty without one.
    """

    findings: tuple[dict[str, Any], ...]
    texts: tuple[str, ...]
    signature: dict[str, Any]
    operators: dict[str, int]
    quantization: dict[str, dict[str, int]]

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class GraphChanges:
    """How a graph differs from the last accepted release's.

    Attributes:
        signature: what changed of inputs and outputs, a text each.
        operators: `+1 Conv, -2 Relu`; empty for none.
    """

    signature: tuple[str, ...]
    operators: str
