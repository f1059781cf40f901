"""Which execution provider runs which node of a model, as ONNX Runtime records it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.sessions import open_session
from pytest_onnxlite.text import first_line, shortened
from pytest_onnxlite.workspace import working_folder

if TYPE_CHECKING:
    from pytest_onnxlite.spec.runtimes import Runtime


class Placement(msgspec.Struct, frozen=True):
    """The nodes that a provider runs, as ONNX Runtime recorded it: their names and operators, in pairs."""

    provider: str
    nodes: tuple[tuple[str, str], ...]


def placements(path: Path, runtime: Runtime) -> list[Placement]:
    """Return which provider runs which nodes of a model, after ONNX Runtime removed those that it computes ahead or not at all.

    Of a graph that it computed ahead as a whole there is none.

    Raises:
        NoRecord: ONNX Runtime recorded no node, and it was not seen that there is none to run.
        OnnxliteError, Exception: see `open_session`.
    """
    session = open_session(path, runtime, {"session.record_ep_graph_assignment_info": "1"})
    nodes: dict[str, list[tuple[str, str]]] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes.setdefault(part.ep_name, []).extend((node.name, _operator(node)) for node in part.get_nodes())
    if not any(nodes.values()):
        _require_folded(path, runtime)
    return [Placement(name, tuple(found)) for name, found in nodes.items()]


class NoRecord(OnnxliteError):
    """ONNX Runtime did not say which provider runs what."""


def _require_folded(path: Path, runtime: Runtime) -> None:
    """Check that no node is left to run of a model.

    Raises:
        NoRecord: some are, or ONNX Runtime does not say which are.
    """
    with working_folder() as folder:
        try:
            open_session(path, runtime, optimized=folder / "optimized.onnx")
            left = _nodes(folder / "optimized.onnx")
        except Exception as error:
            why = f"and does not say which nodes are left to run: {first_line(error)}"
        else:
            if not left:
                return
            why = f"although {len(left)} node{'s are' if len(left) != 1 else ' is'} left to run: {shortened(left)}"
    raise NoRecord(
        f"ONNX Runtime recorded no node of the model, {why}. So nobody knows which execution provider runs it. Give the model "
        "as an .onnx file that holds operators"
    )


def _nodes(path: Path) -> list[str]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return [f"{node.name or 'a node without a name'} ({node.op_type})" for node in graph.node]


def _operator(node: Any) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)
