"""Changes to what stays in float, each with the code of the check that must see it.

One model holds every operator that is changed. It stands in the main graph, in a branch, in a loop's body or in a local
function; a MatMul in front of it is quantized. ONNX Runtime loads and runs nearly all of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from graph_models import dynamic, value
from graph_running import sorted_model
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

SCOPES = ("main", "If", "Loop", "function")
STORAGES = ("inline", "external")
OPSET = 17
OPTION = value("gain", [])


@dataclass(frozen=True)
class FloatMutation:
    """A fault in what stays in float.

    Attributes:
        name: what was done.
        code: of the check that must see it.
        apply: breaks a model in place.
        top: whether it is one of the graph's own inputs or outputs, which no branch or function has.
    """

    name: str
    code: str
    apply: Callable[[onnx.ModelProto], None]
    top: bool = False


FLOAT_MUTATIONS: list[FloatMutation] = []


def _change(name: str, code: str, *, top: bool = False) -> Callable[[Callable[[onnx.ModelProto], None]], None]:
    def add(apply: Callable[[onnx.ModelProto], None]) -> None:
        FLOAT_MUTATIONS.append(FloatMutation(name, code, apply, top))

    return add


def _stored(name: str, values: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(values, name)


def _body() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Return nodes from `h` and `m` to `first` and `second`, and the constants that they read."""
    make = helper.make_node
    r = np.random.default_rng(5)

    def vector() -> np.ndarray:
        return r.uniform(0.5, 1.5, 8).astype(np.float32)

    nodes = [
        make("LeakyRelu", ["h"], ["leaky"], "leaky", alpha=0.2),
        make("LayerNormalization", ["leaky", "ln_scale", "ln_bias"], ["ln"], "ln", epsilon=1e-3),
        make("ReduceMean", ["ln"], ["mean"], "mean", axes=[-1]),
        make("Sub", ["ln", "mean"], ["centred"], "centre"),
        make("Mul", ["centred", "centred"], ["squares"], "square"),
        make("ReduceMean", ["squares"], ["variance"], "variance", axes=[-1]),
        make("Add", ["variance", "eps"], ["safe"], "safe"),
        make("Sqrt", ["safe"], ["deviation"], "root"),
        make("Div", ["centred", "deviation"], ["normal"], "normalize"),
        make("BatchNormalization", ["normal", "gamma", "beta", "bn_mean", "bn_var"], ["bn"], "bn", epsilon=1e-3),
        make("Mul", ["bn", "m"], ["masked"], "mask"),
        make("Clip", ["masked", "low", "high"], ["clipped"], "clip"),
        make("Concat", ["clipped", "ln"], ["joined"], "join", axis=-1),
        make("Reshape", ["joined", "dims"], ["split"], "split"),
        make("Transpose", ["split"], ["turned"], "turn", perm=[0, 2, 1]),
        make("Softmax", ["turned"], ["soft"], "soft", axis=-1),
        make("Tanh", ["soft"], ["first"], "last"),
        make("Identity", ["leaky"], ["second"], "pass"),
    ]
    constants = {name: vector() for name in ("ln_scale", "ln_bias", "gamma", "beta", "bn_mean", "bn_var")}
    constants |= {"eps": np.array([1e-3], np.float32), "dims": np.array([-1, 2, 8], np.int64)}
    constants |= {"low": np.array(-1, np.float32), "high": np.array(1, np.float32)}
    return nodes, constants


def source(scope: str) -> onnx.ModelProto:
    """Return the float model."""
    nodes, constants = _body()
    weights = [_stored("w", np.random.default_rng(6).normal(size=(16, 8)).astype(np.float32))]
    weights.append(_stored("gain", np.array(1, np.float32)))
    outer = [
        helper.make_node("Mul", ["x", "gain"], ["scaled"], "scale"),
        helper.make_node("MatMul", ["scaled", "w"], ["h"], "fc"),
    ]
    stored = [_stored(name, values) for name, values in constants.items()]
    inputs = [value("x", ["N", 16]), value("m", ["N", 8]), OPTION]
    more = ["T"] if scope == "Loop" else []
    outputs = [value("first", [*more, "N", 8, 2]), value("second", [*more, "N", 8])]
    functions = []
    if scope == "main":
        outer, weights = outer + nodes, weights + stored
    elif scope == "If":
        inputs.append(value("c", [], TensorProto.BOOL))
        outer.append(_branches(nodes, stored))
    elif scope == "Loop":
        weights.append(_stored("once", np.array(1, np.int64)))
        outer.append(_loop(nodes, stored))
    else:
        made = [
            helper.make_node("Constant", [], [name], f"constant_{name}", value=numpy_helper.from_array(values))
            for name, values in constants.items()
        ]
        imports = [helper.make_opsetid("", OPSET)]
        functions.append(helper.make_function("local", "Head", ["h", "m"], ["first", "second"], made + nodes, imports))
        outer.append(helper.make_node("Head", ["h", "m"], ["first", "second"], "head", domain="local"))
    graph = helper.make_graph(outer, "main", inputs, outputs, weights)
    imports = [helper.make_opsetid("", OPSET)] + [helper.make_opsetid("local", 1) for _ in functions]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)


def _branches(nodes: list[onnx.NodeProto], stored: list[onnx.TensorProto]) -> onnx.NodeProto:
    ends = [value("first", ["N", 8, 2]), value("second", ["N", 8])]
    other = [
        helper.make_node("Concat", ["h", "h"], ["both"], "both", axis=-1),
        helper.make_node("Reshape", ["both", "other_dims"], ["first_e"], "reshape_e"),
        helper.make_node("Identity", ["h"], ["second_e"], "pass_e"),
    ]
    then = helper.make_graph(nodes, "then", [], ends, stored)
    others = [_stored("other_dims", np.array([-1, 8, 2], np.int64))]
    ends = [value("first_e", ["N", 8, 2]), value("second_e", ["N", 8])]
    otherwise = helper.make_graph(other, "else", [], ends, others)
    for node in then.node:
        for names in (node.input, node.output):
            names[:] = [f"{name}_t" if name in ("first", "second") else name for name in names]
    for end in then.output:
        end.name += "_t"
    return helper.make_node("If", ["c"], ["first", "second"], "choose", then_branch=then, else_branch=otherwise)


def _loop(nodes: list[onnx.NodeProto], stored: list[onnx.TensorProto]) -> onnx.NodeProto:
    for node in nodes:
        node.input[:] = ["h_in" if name == "h" else name for name in node.input]
        node.output[:] = [f"{name}_l" if name in ("first", "second") else name for name in node.output]
    keep = [
        helper.make_node("Identity", ["go"], ["go_on"], "go_on"),
        helper.make_node("Identity", ["h_in"], ["h_out"], "hand_on"),
    ]
    inputs = [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("h_in", ["N", 8])]
    ends = [value("h_out", ["N", 8]), value("first_l", ["N", 8, 2]), value("second_l", ["N", 8])]
    outputs = [value("go_on", [], TensorProto.BOOL), *ends]
    body = helper.make_graph(nodes + keep, "body", inputs, outputs, stored)
    return helper.make_node("Loop", ["once", "", "h"], ["h_last", "first", "second"], "repeat", body=body)


@functools.cache
def _candidate(scope: str) -> bytes:
    return sorted_model(dynamic(source(scope))).SerializeToString()


def candidate(scope: str) -> onnx.ModelProto:
    """Return what is made of the float model, sound."""
    return onnx.load_from_string(_candidate(scope))


def stored_as(model: onnx.ModelProto, storage: str, folder: Path) -> onnx.ModelProto | Path:
    """Return a model in memory, or its file with the tensors next to it."""
    if storage == "inline":
        return model
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    path = folder / "model.onnx"
    (folder / "weights.bin").unlink(missing_ok=True)
    onnx.save(model, path)
    return path


def _containers(model: onnx.ModelProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    waiting: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    while waiting:
        own = waiting.pop()
        yield own
        waiting += [item.g for node in own.node for item in node.attribute if item.HasField("g")]


def _find(model: onnx.ModelProto, name: str) -> tuple[onnx.GraphProto | onnx.FunctionProto, onnx.NodeProto]:
    return next((own, node) for own in _containers(model) for node in own.node if node.name == name)


def _set(model: onnx.ModelProto, name: str, attribute: str, number: object) -> None:
    node = _find(model, name)[1]
    kept = [item for item in node.attribute if item.name != attribute]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(attribute, number)])


def _put(model: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change a constant, wherever it lies."""
    for own in _containers(model):
        stored = [tensor for tensor in getattr(own, "initializer", ()) if tensor.name == name]
        stored += [node.attribute[0].t for node in own.node if node.name == f"constant_{name}"]
        for tensor in stored:
            values = numpy_helper.to_array(tensor).copy()
            # Of the same type: NumPy 1 makes a float64 of a single float32 and a number.
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(change(values), values.dtype), tensor.name))


def _remove(model: onnx.ModelProto, name: str, keep: int = 0) -> None:
    """Take out a node: who reads it reads its input instead."""
    own, node = _find(model, name)
    place = list(own.node).index(node)
    del own.node[place]
    read = any(node.output[0] in other.input for other in own.node)
    if read:
        for other in own.node:
            other.input[:] = [node.input[keep] if item == node.output[0] else item for item in other.input]
    else:  # the last one: its input takes its name
        for other in own.node:
            other.output[:] = [node.output[0] if item == node.input[keep] else item for item in other.output]
            other.input[:] = [node.output[0] if item == node.input[keep] else item for item in other.input]


def _insert(model: onnx.ModelProto, name: str, op: str) -> None:
    """Put an operator behind a node."""
    own, node = _find(model, name)
    end = node.output[0]
    node.output[0] = f"{end}_before"
    place = list(own.node).index(node)
    own.node.insert(place + 1, helper.make_node(op, [f"{end}_before"], [end], f"{op}_added"))


_change("last Tanh removed", "OLX801")(lambda m: _remove(m, "last"))
_change("Softmax removed", "OLX801")(lambda m: _remove(m, "soft"))
_change("LeakyRelu removed", "OLX801")(lambda m: _remove(m, "leaky"))
_change("Mul by an attention mask removed", "OLX801")(lambda m: _remove(m, "mask"))
_change("Clip removed", "OLX801")(lambda m: _remove(m, "clip"))
_change("Transpose removed", "OLX801")(lambda m: _remove(m, "turn"))
_change("BatchNormalization removed", "OLX801")(lambda m: _remove(m, "bn"))
_change("Tanh replaced by Softsign", "OLX801")(lambda m: setattr(_find(m, "last")[1], "op_type", "Softsign"))
_change("Abs added in front of Softmax", "OLX802")(lambda m: _insert(m, "turn", "Abs"))
_change("Sigmoid added in front of an output", "OLX802")(lambda m: _insert(m, "last", "Sigmoid"))
_change("LeakyRelu alpha 0.2 → 0.01", "OLX803")(lambda m: _set(m, "leaky", "alpha", 0.01))
_change("LayerNormalization epsilon 1e-3 → 0.1", "OLX803")(lambda m: _set(m, "ln", "epsilon", 0.1))
_change("Softmax over another axis", "OLX803")(lambda m: _set(m, "soft", "axis", 1))
_change("Transpose with another perm", "OLX803")(lambda m: _set(m, "turn", "perm", [1, 0, 2]))
_change("ReduceMean over another axis", "OLX805")(lambda m: _set(m, "variance", "axes", [0]))


@_change("operands of Concat swapped", "OLX804")
def _(model):
    node = _find(model, "join")[1]
    node.input[:] = list(node.input)[::-1]


@_change("operands of Sub swapped", "OLX804")
def _(model):
    node = _find(model, "centre")[1]
    node.input[:] = list(node.input)[::-1]


@_change("scale and bias of LayerNormalization swapped", "OLX805")
def _(model):
    node = _find(model, "ln")[1]
    node.input[1], node.input[2] = node.input[2], node.input[1]


_change("epsilon of a normalization in single operators 1e-3 → 0.1", "OLX702")(
    lambda m: _put(m, "eps", lambda values: values * 100)
)
_change("BatchNormalization epsilon 1e-3 → 0.1", "OLX805")(lambda m: _set(m, "bn", "epsilon", 0.1))
_change("BatchNormalization's mean shifted", "OLX805")(lambda m: _put(m, "bn_mean", lambda values: values + 1))
_change("Clip's upper bound 1 → 6", "OLX702")(lambda m: _put(m, "high", lambda values: values * 6))
_change("Reshape to other dims", "OLX805")(lambda m: _put(m, "dims", lambda values: values[[0, 2, 1]]))


@_change("a node reads another tensor", "OLX804")
def _(model):
    _find(model, "join")[1].input[1] = "m"


@_change("Identity of the second output rewired", "OLX807")
def _(model):
    _find(model, "pass")[1].input[0] = "clipped"


@_change("an input that may be left out is a constant", "OLX806", top=True)
def _(model):
    kept = [item for item in model.graph.input if item.name != "gain"]
    del model.graph.input[:]
    model.graph.input.extend(kept)


_change("an input that may be left out is removed", "OLX806", top=True)(lambda m: _without_gain(m))


def _without_gain(model: onnx.ModelProto) -> None:
    _remove(model, "scale")
    for field in (model.graph.input, model.graph.initializer):
        kept = [item for item in field if item.name != "gain"]
        del field[:]
        field.extend(kept)
