"""Which execution provider runs which node of a model, as ONNX Runtime records it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_onnxlite.runtime.sessions import open_session

if TYPE_CHECKING:
    from pytest_onnxlite.spec import Runtime


class Placement(msgspec.Struct, frozen=True):
    """The nodes that a provider runs, as ONNX Runtime recorded it: their names and operators, in pairs."""

    provider: str
    nodes: tuple[tuple[str, str], ...]


def placements(path: Path, runtime: Runtime) -> list[Placement]:
    """Return which provider runs which nodes of a model, after ONNX Runtime removed those that it computes ahead or not at all.

    Raises:
        See `open_session`.
    """
    session = open_session(path, runtime, {"session.record_ep_graph_assignment_info": "1"})
    nodes: dict[str, list[tuple[str, str]]] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes.setdefault(part.ep_name, []).extend((node.name, _operator(node)) for node in part.get_nodes())
    return [Placement(name, tuple(found)) for name, found in nodes.items()]


def _operator(node: Any) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)
