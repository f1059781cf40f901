"""What `onnxlite_graph` asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_onnxlite.checks.limit import Limit

if TYPE_CHECKING:
    pass


_STRUCTURE = {"type": str, "choices": ("frozen",), "says": "'frozen', or nothing"}


_NAMES = {"type": tuple, "says": "a list of finding codes, such as ['OLX114']"}


@dataclass(frozen=True)
class GraphLimit(Limit):
    """`onnxlite_graph`: a sound graph, whose inputs and outputs are the float model's and the baseline's.

    Attributes:
        ignore: codes of findings that are known and accepted; one that matches nothing is a finding.
        structure: `frozen` asks that the operators be those of the last accepted release; else a change is shown.
    """

    check = "graph"
    kinds: ClassVar[tuple[str, ...]] = ("onnx", "int8")
    rules: ClassVar[dict[str, Any]] = {"ignore": _NAMES, "structure": _STRUCTURE}

    ignore: tuple[str, ...] = ()
    structure: str | None = None
