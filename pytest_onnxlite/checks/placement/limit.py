"""What `onnxlite_placement` asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pytest_onnxlite.checks.limit import Argument, Limit, number


@dataclass(frozen=True)
class PlacementLimit(Limit):
    """`onnxlite_placement`: the share of the graph's nodes that the execution providers run which the runtime asks for.

    More: docs/runtimes.md#how-much-of-the-graph-it-runs.

    Attributes:
        min_share: the least share that is expected.
    """

    arguments: ClassVar[Mapping[str, Argument]] = {
        "min_share": number(0.0, 1.0, "a number from 0 to 1 (1.0 is every node)")
    }

    min_share: float = 1.0
