"""What `onnxlite_graph` asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pytest_onnxlite.checks.limit import Argument, Limit


@dataclass(frozen=True)
class GraphLimit(Limit):
    """`onnxlite_graph`: a sound graph, whose inputs and outputs are the float model's and the baseline's.

    More: docs/graph-checks.md.

    Attributes:
        ignore: codes of findings that are known and accepted; one that matches nothing is a finding.
        structure: `frozen` asks that the operators be those of the last release; else a change is shown.
    """

    arguments: ClassVar[Mapping[str, Argument]] = {
        "ignore": Argument(tuple, "a list of finding codes, such as ['OLX114']"),
        "structure": Argument(str, "'frozen', or nothing", choices=("frozen",)),
    }

    ignore: tuple[str, ...] = ()
    structure: str | None = None
