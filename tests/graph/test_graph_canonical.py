"""Two conversions of one model agree in canonical form; another model does not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graph_models import convnet, dense, initializer
from graph_mutations import array, put
from hypothesis import given
from onnx import helper

from pytest_onnxlite.lint import GraphError, canonical_digest
from pytest_onnxlite.strategies import models


def edited(change) -> onnx.ModelProto:
    twin = onnx.ModelProto()
    twin.CopyFrom(convnet())
    change(twin)
    return twin


def rename(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.name = f"unk__{node.name}"
        for field in (node.input, node.output):
            field[:] = [name if name in ("x", "y") else f"unk__{name}" for name in field]
    for tensor in model.graph.initializer:
        tensor.name = f"unk__{tensor.name}"
    tensors = list(model.graph.initializer)[::-1]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)


def to_constant(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer.pop()
    model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))


SAME = {
    "renamed and reordered": rename,
    "a weight in a Constant node": to_constant,
    "an unused weight": lambda m: m.graph.initializer.append(initializer("unused", np.ones(3, np.float32))),
    "other metadata": lambda m: helper.set_model_props(m, {"labels": "other"}),
}
OTHER = {
    "a weight changed": lambda m: put(m, "conv_b", array(m, "conv_b") + np.float32(1e-6)),
    "an attribute changed": lambda m: m.graph.node[0].attribute.append(helper.make_attribute("group", 1)),
    "an operator changed": lambda m: setattr(m.graph.node[1], "op_type", "Tanh"),
    "an opset changed": lambda m: setattr(m.opset_import[0], "version", 18),
    "an input renamed": lambda m: (
        m.graph.input[0].MergeFrom(onnx.ValueInfoProto(name="z")),
        m.graph.node[0].input.__setitem__(0, "z"),
    ),
    "a batch frozen": lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 1),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_what_computes_the_same_has_the_same_digest(change):
    assert canonical_digest(edited(change)) == canonical_digest(convnet())


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER.keys())
def test_what_computes_something_else_has_another(change):
    assert canonical_digest(edited(change)) != canonical_digest(convnet())
    assert canonical_digest(dense()) != canonical_digest(convnet())


def test_an_unsorted_graph_is_refused():
    def turn(model):
        nodes = list(model.graph.node)[::-1]
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    with pytest.raises(GraphError, match="Sort the nodes"):
        canonical_digest(edited(turn))


@given(models())
def test_any_model_has_a_digest_that_names_do_not_change(model):
    twin = onnx.ModelProto()
    twin.CopyFrom(model.proto)
    for node in twin.graph.node:
        node.name = f"again__{node.name}"
    assert canonical_digest(twin) == canonical_digest(model.proto)
