"""What is mended after ONNX Runtime's quantizer."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from pytest_onnxlite.variants.quantization import _sorted

from onnx_models import branching


def test_a_graph_with_branches_is_sorted_again(tmp_path: Path) -> None:
    # What the quantizer writes: quantizer-leaves-if-unsorted in docs/known-faults.md.
    proto = onnx.load(branching(tmp_path / "a.onnx"))
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    with pytest.raises(onnx.checker.ValidationError, match="topologically sorted"):
        onnx.checker.check_model(proto)
    onnx.checker.check_model(_sorted(proto))
