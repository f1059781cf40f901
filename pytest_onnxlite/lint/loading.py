"""Models as the checks read them: the graph at once, the weights one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir

from pytest_onnxlite.errors import hide_mistakes
from pytest_onnxlite.garbage import no_collections
from pytest_onnxlite.lint.finding import GraphError
from pytest_onnxlite.lint.protobuf import Owner, load_graph, tensors, walk
from pytest_onnxlite.text import first_line

__tracebackhide__ = hide_mistakes

ModelLike: TypeAlias = "str | os.PathLike[str] | onnx.ModelProto | ir.Model | LoadedModel"
"""What every function of this package takes: a file, a proto in memory, an onnx-ir model, or what `load_model` made of one."""

_HINT = "Export it again, or check the download."
# Larger values say nothing about shapes, and the checker would copy them.
_SKELETON_BYTES = 1024


@dataclass(frozen=True)
class LoadedModel:
    """A model that was loaded and is never written to.

    Attributes:
        label: what to call it in a message.
        path: its file, None for a model in memory.
        proto: the model as it was stored, duplicate names and all, which onnx-ir cannot hold.
        given: the same as onnx-ir, where that was given.
    """

    label: str
    path: Path | None
    proto: onnx.ModelProto
    given: ir.Model | None = None

    @property
    def model(self) -> ir.Model | None:
        """The same as onnx-ir; None where names are produced twice, so that no graph comes of it."""
        return self._converted[0]

    @property
    def unreadable(self) -> str:
        """Why `model` is None."""
        return self._converted[1]

    @cached_property
    def _converted(self) -> tuple[ir.Model | None, str]:
        # Not before somebody asks: it takes four times the memory of the proto, and the format's own checker as much again.
        return (self.given, "") if self.given is not None else _convert(self.proto, self.path)

    def require(self) -> ir.Model:
        """Return the model.

        Raises:
            GraphError: no graph comes of it.
        """
        if self.model is None:
            raise GraphError(f"{self.label}: {self.unreadable}. Export the model again.")
        return self.model


@contextmanager
def asking(label: str, what: str) -> Iterator[None]:
    """Let what reads a part of a model that is malformed say so: a branch that is not there, text in the place of numbers.

    onnx-ir holds such parts, and what reads them raises what it may.

    Args:
        label: what to call the model.
        what: what is asked of it.

    Raises:
        GraphError: a part is malformed.
    """
    try:
        yield
    except GraphError:
        raise
    except Exception as error:
        raise GraphError(
            f"{label}: {what} cannot be told ({type(error).__name__}: {first_line(error)}). A part of the model is malformed: "
            "see what onnx.checker.check_model(path, full_check=True) says, and export it again. If that accepts it, the fault "
            "is in the graph checks: report it with the model."
        ) from error


def load_model(source: ModelLike) -> LoadedModel:
    """Open a model without reading its external data.

    Raises:
        GraphError: the file is missing, unreadable or no ONNX model, or the object is of another type.
    """
    if isinstance(source, LoadedModel):
        return source
    if isinstance(source, ir.Model):
        return LoadedModel("model", None, ir.to_proto(source), source)
    if isinstance(source, onnx.ModelProto):
        return _undamaged("model", None, source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return _undamaged(path.name, path, load_graph(path))
    raise GraphError(
        f"expected a path, an onnx.ModelProto or an onnx_ir.Model, found {type(source).__name__}. "
        "Save the model with onnx.save and pass the path."
    )


def _damage(message: Any) -> str:
    """Return what in a message protobuf and onnx-ir take and nothing behind them can use, empty for a sound one.

    A text field that holds no text comes out as bytes; a tensor without a data type has no size. Whatever reads them
    would fail far from here.
    """
    if isinstance(message, onnx.TensorProto):  # whose data is not to be copied
        if isinstance(message.name, bytes):
            return "onnx.TensorProto.name holds bytes that are no text"
        return f"tensor {message.name!r} has no data type" if message.data_type == onnx.TensorProto.UNDEFINED else ""
    for field, value in message.ListFields():
        values = value if hasattr(value, "append") else (value,)
        if field.type == field.TYPE_STRING and any(isinstance(item, bytes) for item in values):
            return f"{field.full_name} holds bytes that are no text"
        if field.type == field.TYPE_MESSAGE:
            found = next((text for item in values if (text := _damage(item))), "")
            if found:
                return found
    return ""


def _undamaged(label: str, path: Path | None, proto: onnx.ModelProto) -> LoadedModel:
    damaged = _damage(proto)
    if damaged:
        raise GraphError(f"{path or label}: is damaged: {damaged}. {_HINT}")
    return LoadedModel(label, path, proto)


def _convert(proto: onnx.ModelProto, path: Path | None) -> tuple[ir.Model | None, str]:
    """Return a model as onnx-ir, or None and why there is none."""
    try:
        # Among the many objects of a large graph a search for garbage takes as long as all else.
        with no_collections():
            model = ir.from_proto(_without_maps(proto))
    except Exception as error:  # onnx-ir wraps whatever it met
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return None, str(cause).partition("\n")[0]
    if path is not None:
        for graph in (model.graph, *(function.graph for function in model.functions.values())):
            ir.external_data.set_base_dir(graph, path.parent)
    return model, ""


def _without_maps(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose values of map types, as ONNX-ML's ZipMap gives them, have no type: onnx-ir knows none."""
    values = [*proto.graph.input, *proto.graph.output, *proto.graph.value_info]
    if not any(map(_is_map, values)):
        return proto
    plain = onnx.ModelProto()
    plain.CopyFrom(proto)
    for value in [*plain.graph.input, *plain.graph.output, *plain.graph.value_info]:
        if _is_map(value):
            value.ClearField("type")
    return plain


def _is_map(value: onnx.ValueInfoProto) -> bool:
    kind = value.type
    while kind.WhichOneof("value") in ("sequence_type", "optional_type"):
        kind = getattr(kind, str(kind.WhichOneof("value"))).elem_type
    return str(kind.WhichOneof("value")) == "map_type"


def skeleton(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which large weights of the main graph are inputs: a checker would copy them; if none is, the model itself."""
    if not any(t.data_location == onnx.TensorProto.EXTERNAL or t.ByteSize() > _SKELETON_BYTES for t in tensors(proto)):
        return proto
    slim = onnx.ModelProto()
    for field, value in proto.ListFields():
        if field.name != "graph":
            _copy(slim, field.name, value)
    for field, value in proto.graph.ListFields():
        if field.name not in ("initializer", "node"):
            _copy(slim.graph, field.name, value)
    given = {value.name for value in proto.graph.input}
    for tensor in proto.graph.initializer:
        _keep_or_declare(tensor, tensor.name, slim.graph, given)
    for node in proto.graph.node:
        value = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
        if node.op_type == "Constant" and value is not None and value.ByteSize() > _SKELETON_BYTES:
            slim.graph.input.append(onnx.helper.make_tensor_value_info(node.output[0], value.data_type, value.dims))
        else:
            slim.graph.node.append(node)
    for owner in (slim.graph, *slim.functions):
        for _, inner in walk(owner):
            _stand_in(inner)
    return slim


def _stand_in(owner: Owner) -> None:
    """Put nodes that give the same type and shape in place of external tensors, which a checker would look for.

    In branches, bodies and functions no tensor can be declared as an input.
    """
    stored = list(owner.initializer) if isinstance(owner, onnx.GraphProto) else []
    external = [(tensor.name, tensor) for tensor in stored if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if external and isinstance(owner, onnx.GraphProto):
        del owner.initializer[:]
        owner.initializer.extend(t for t in stored if t.data_location != onnx.TensorProto.EXTERNAL)
    kept = []
    for node in owner.node:
        value = next((a.t for a in node.attribute if a.HasField("t")), None)
        if node.op_type == "Constant" and value is not None and value.data_location == onnx.TensorProto.EXTERNAL:
            external.append((node.output[0], value))
        else:
            kept.append(node)
    if not external:
        return
    made = [node for name, tensor in external for node in _empty(name, tensor)]
    kept = [*made, *kept]
    del owner.node[:]
    owner.node.extend(kept)


def _empty(name: str, tensor: onnx.TensorProto) -> list[onnx.NodeProto]:
    """Return nodes that give a tensor of the same type and shape, and of no size in the file."""
    dims = onnx.helper.make_tensor("", onnx.TensorProto.INT64, [len(tensor.dims)], list(tensor.dims))
    shape = f"{name} has the shape"
    one = onnx.TensorProto(data_type=tensor.data_type, dims=[1])
    one.raw_data = bytes(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    return [
        onnx.helper.make_node("Constant", [], [shape], value=dims),
        onnx.helper.make_node("ConstantOfShape", [shape], [name], value=one),
    ]


def _keep_or_declare(tensor: onnx.TensorProto, name: str, graph: onnx.GraphProto, given: set[str]) -> None:
    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    if not external and tensor.ByteSize() <= _SKELETON_BYTES:
        graph.initializer.append(tensor)
    elif name not in given:
        graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
        given.add(name)


def _copy(message: onnx.ModelProto | onnx.GraphProto, name: str, value: object) -> None:
    field = getattr(message, name)
    if hasattr(field, "extend"):
        field.extend(value)
    else:
        setattr(message, name, value)
