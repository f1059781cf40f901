"""Where the nodes of a graph run; what a baseline keeps of it, and a verdict's evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from pytest_onnxlite.baseline.record import Count

# So many nodes that fell back are kept by name.
_MOST_NODES = 100


@dataclass(frozen=True)
class FallenBack:
    """A node that another provider runs than one that is asked for."""

    name: str
    operator: str
    provider: str


@dataclass(frozen=True)
class Placed:
    """Which providers run the nodes of a graph.

    Attributes:
        wanted: the providers that are asked for.
        nodes: by provider, how many nodes it runs.
        fallen_back: nodes that no provider runs which is asked for; the first hundred.
        operators: by operator, how many of those there are.
    """

    wanted: tuple[str, ...]
    nodes: Mapping[str, int]
    fallen_back: tuple[FallenBack, ...] = ()
    operators: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All nodes."""
        return sum(self.nodes.values())

    @property
    def placed(self) -> int:
        """Those that run where they are asked to."""
        return sum(count for provider, count in self.nodes.items() if provider in self.wanted)

    @property
    def share(self) -> float:
        """The share of those; 1 for a graph of which no node is left to run."""
        return self.placed / self.total if self.total else 1.0

    @property
    def figure(self) -> str:
        """The figure in a few words: `11 of 12 nodes on OpenVINO`."""
        names = " and ".join(name.removesuffix("ExecutionProvider") for name in self.wanted)
        return f"{self.placed} of {self.total} node{'s' if self.total != 1 else ''} on {names}"


def placed_from(wanted: tuple[str, ...], found: Mapping[str, Sequence[tuple[str, str]]]) -> Placed:
    """Return where nodes run, from their names and operators by provider."""
    fallen_back = [
        FallenBack(name, operator, provider)
        for provider, nodes in found.items()
        if provider not in wanted
        for name, operator in nodes
    ]
    operators: dict[str, int] = {}
    for node in fallen_back:
        operators[node.operator] = operators.get(node.operator, 0) + 1
    counts = {provider: len(nodes) for provider, nodes in sorted(found.items())}
    return Placed(wanted, counts, tuple(fallen_back[:_MOST_NODES]), dict(sorted(operators.items())))


class PlacementSection(msgspec.Struct, frozen=True):
    """What a baseline keeps: all nodes, those that run where they are asked to, and the operators of the others."""

    nodes: Count
    placed: Count
    operators: Mapping[str, Count] = {}


class PlacementEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is behind a verdict.

    Attributes:
        share: of the nodes that run where they are asked to.
        min_share: the least share that was asked for; None against the last release.
        fallen_back: by operator, how many nodes fell back.
        new: operators that fell back since the last release, in which they did not.
    """

    share: float
    min_share: float | None = None
    fallen_back: Mapping[str, int] = {}
    new: tuple[str, ...] = ()
