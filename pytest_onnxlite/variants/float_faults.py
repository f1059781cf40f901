"""What is wrong with the float file itself: looked at before the quantizer is blamed for what it made of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from pytest_onnxlite.errors import OnnxliteError, hide_mistakes
from pytest_onnxlite.lint import check_graph
from pytest_onnxlite.lint.finding import Finding
from pytest_onnxlite.lint.operators import WEIGHTED, takes_bias
from pytest_onnxlite.lint.protobuf import graphs
from pytest_onnxlite.text import first_line, shortened
from pytest_onnxlite.variants.deadline import OutOfTime

__tracebackhide__ = hide_mistakes

# Values that no number can be computed from, and a graph that tools read in different ways. What else may be wrong with a float
# file (an unused tensor, metadata) stops no quantizer.
_VALUES = ("OLX326", "OLX327")
_CODES = (*_VALUES, "OLX103", "OLX104", "OLX107", "OLX108", "OLX109", "OLX112", "OLX116", "OLX605", "OLX606", "OLX607")
_CERTAIN = (*_VALUES, "OLX103")
_MOST = 3


@contextmanager
def come_first(source: Path, model: str) -> Iterator[None]:
    """Say what is wrong with a float file, where it is at fault, in the place of what quantizing it ended with.

    Args:
        source: the float file.
        model: for the message.

    Raises:
        OnnxliteError: what was raised inside, or the float file's own faults.
    """
    try:
        yield
    except OutOfTime:
        raise
    except OnnxliteError as error:
        found = faults(source)
        if not found:
            raise
        listed = "\n".join(f"  {fault}" for fault in found[:_MOST])
        more = f"\n  and {len(found) - _MOST} more" if len(found) > _MOST else ""
        # Other faults of a graph may or may not be what the quantizer stumbled over.
        ended = "" if found[0].code in _CERTAIN else f" Quantizing it as it is ended with: {first_line(error)}"
        raise OnnxliteError(
            f"{model}: the float model {source.name} is at fault, and no recipe mends that: {found[0].where} has "
            f"{found[0].found} ({found[0].code}).\n{listed}{more}\nMend the float model first.{ended}"
        ) from None


def faults(source: Path) -> list[Finding]:
    """Return what is wrong with a file in a way that concerns every number: the values first."""
    found = [finding for finding in check_graph(source) if finding.code in _CODES and finding.severity == "error"]
    return sorted(found, key=lambda finding: _CODES.index(finding.code))


def why_not_finite(path: Path | None) -> str:
    """Say where NaN in a model's outputs comes from, or how to find that out."""
    bad = [] if path is None or path.suffix != ".onnx" else [f for f in faults(path) if f.code in _VALUES]
    if not bad:
        return "Run the model on that sample, look for a weight or an activation that overflows, and train or convert it again."
    named = shortened([f"{finding.where} ({finding.found})" for finding in bad], "; ", _MOST)
    return f"It comes from the file itself: {named}. Find where that came from in training or export."


def infinite_biases(proto: onnx.ModelProto, folder: Path) -> list[str]:
    """Return the biases of a float model that hold infinity: right in float, where it rules an answer out.

    Args:
        proto: the model.
        folder: where its external data is.
    """
    found = []
    for graph in graphs(proto.graph):
        tensors = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
        products = {node.output[0] for node in graph.node if node.op_type in WEIGHTED and node.output}
        for node in graph.node:
            added = node.op_type == "Add" and not products.isdisjoint(node.input)
            biases = [name for i, name in enumerate(node.input) if added or takes_bias(node.op_type, i)]
            for tensor in (tensors[name] for name in biases if name in tensors):
                if np.isinf(onnx.numpy_helper.to_array(tensor, str(folder))).any():
                    found.append(f"{tensor.name}, the bias of {node.name or node.op_type}")
    return list(dict.fromkeys(found))
