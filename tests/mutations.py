"""Files made hostile, by a seeded generator: JSON, bytes, models and arrays. Pure: content in, content out.

Used by tests/unit/test_hostile_files.py for a few cases of each and by benchmarks/fuzz.py for many.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

# Rows of the arrays that are changed.
SAMPLES = 100
# JSON that Python's own writer does not write stands in strings like "@raw:NaN@" until the end.
_RAW = re.compile(r'"@raw:([^"]*)@"')
_OTHER_KINDS: tuple[Any, ...] = (None, True, "", "text", "1", 0, 1.5, [], [[]], [None], {}, {"": None}, {"x": [1]})
_NO_FIGURES = ("NaN", "Infinity", "-Infinity", "1e400", "-1", "-0.5", "1e308", str(2**63), "9" * SAMPLES)
_NO_NAMES = (
    "\ud800", "a\udfffb", "\0", "x" * 300, "x" * 100_000, "../../outside", "/etc/passwd", "..", ".", "", "int8.json",
    "C:\\x", "\n::error::obey", "\r::add-mask::y", "\x1b[31mred", "<script>alert(1)</script>", "\u202e", "{0}{x}", "%s%n",
)  # fmt: skip
_DEPTHS = (1_100, 100_000)


@dataclass(frozen=True)
class Mutation:
    """Content that was changed.

    Attributes:
        what: how, in a few words.
        content: what came of it.
        path: which part of the JSON, from the top; empty for the whole file.
        impossible: whether the part cannot be a figure, a name or a table of its kind any more.
    """

    what: str
    content: bytes
    path: tuple[str | int, ...] = ()
    impossible: bool = False


# -- bytes -------------------------------------------------------------------------------------------------------


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))] if content else b""


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + rng.randbytes(rng.choice((1, 4, 100))) + content[at:]


def _drop(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + content[at + rng.choice((1, 4, 100)) :]


BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": _cut,
    "bits flipped": _flip,
    "bytes put in": _insert,
    "bytes left out": _drop,
    "empty": lambda content, rng: b"",
    "an LFS pointer": lambda content, rng: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "a web page": lambda content, rng: b"<!DOCTYPE html><html><body>404</body></html>",
    "UTF-16": lambda content, rng: content.decode("utf-8", "replace").encode("utf-16"),
    "gzip": lambda content, rng: gzip.compress(content, mtime=0),
    "zeros": lambda content, rng: bytes(len(content)),
    "noise": lambda content, rng: rng.randbytes(rng.choice((1, 100, 5_000))),
    "twice": lambda content, rng: content + content,
    "merge marks": lambda content, rng: b"<<<<<<< HEAD\n" + content + b"=======\n" + content + b">>>>>>> other\n",
    "a byte order mark": lambda content, rng: b"\xef\xbb\xbf" + content,
}
# Whose result may still be what it was, or mean the same.
_MAYBE_HARMLESS = ("bits flipped", "bytes put in", "bytes left out", "cut", "a byte order mark", "twice")


def mutate_bytes(content: bytes, rng: random.Random) -> Mutation:
    """Return a file's content as an accident leaves it."""
    what = rng.choice(list(BYTES))
    return Mutation(what, BYTES[what](content, rng), impossible=what not in _MAYBE_HARMLESS)


# -- JSON --------------------------------------------------------------------------------------------------------


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every part of JSON data but the whole."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


def at(data: Any, path: tuple[str | int, ...]) -> Any:
    """Return a part of JSON data."""
    for key in path:
        data = data[key]
    return data


def to_json(data: Any) -> bytes:
    """Return JSON, `@raw:…@` put in as it is."""
    return _RAW.sub(r"\1", json.dumps(data)).encode()


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same_kind(one: Any, other: Any) -> bool:
    return (_number(one) and _number(other)) or type(one) is type(other)


def _replacement(old: Any, rng: random.Random) -> tuple[str, Any, bool]:
    """Return what is done to a part, the new part, and whether it cannot be of its kind any more."""
    ways = ["another kind", "another kind", "nested deeply"]
    if _number(old):
        ways += ["no figure"] * 3 + ["another figure"]
    if isinstance(old, str):
        ways += ["no name"] * 3
    if isinstance(old, (dict, list)) and old:
        ways += ["empty", "twice"]
    way = rng.choice(ways)
    if way == "no figure":
        token = rng.choice(_NO_FIGURES)
        return f"{way}: {token[:12]}", f"@raw:{token}@", True
    if way == "another figure":
        return way, rng.choice((old + 1, old * 10, old / 3, 0, round(old))), False
    if way == "no name":
        return way, rng.choice(_NO_NAMES), False
    if way == "nested deeply":
        depth = rng.choice(_DEPTHS)
        return f"{way}: {depth}", f"@raw:{'[' * depth}{']' * depth}@", True
    if way == "empty":
        return way, type(old)(), False
    if way == "twice":
        return way, [*old, *old] if isinstance(old, list) else {**old, **{f"{key} ": old[key] for key in old}}, False
    new = rng.choice([kind for kind in _OTHER_KINDS if not _same_kind(kind, old)])
    return f"{way}: {new!r}", new, old is not None and new is not None


def mutate_json(content: bytes, rng: random.Random) -> Mutation:
    """Return JSON of which one part was changed, left out, added, renamed or doubled."""
    data = json.loads(content)
    path = rng.choice(list(places(data)))
    holder, key = at(data, path[:-1]), path[-1]
    way = rng.choice(("replace", "replace", "replace", "replace", "leave out", "add", "rename", "double a key", "swap"))
    if way == "replace":
        what, new, impossible = _replacement(holder[key], rng)
        holder[key] = new
        return Mutation(what, to_json(data), path, impossible)
    if way == "leave out":
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(0, rng.choice(_OTHER_KINDS))
        way = "add"
    elif way == "add":
        holder[rng.choice(("unknown", "", "\ud800", "x" * 300, "\n::error::", "size", "first"))] = rng.choice(
            _OTHER_KINDS
        )
    elif way == "rename":
        holder[rng.choice((f"{key}_", str(key).upper(), "", "\ud800"))] = holder.pop(key)
    elif way == "double a key":
        both = f"{json.dumps(holder[key])}, {json.dumps(key)}: {json.dumps(rng.choice(_OTHER_KINDS))}"
        holder[key] = "@twice@"
        return Mutation(way, json.dumps(data).replace('"@twice@"', both).encode(), path)
    else:
        other_key = rng.choice(list(holder))
        holder[key], holder[other_key] = holder[other_key], holder[key]
    return Mutation(way, to_json(data), path)


# -- arrays ------------------------------------------------------------------------------------------------------


def _npy(header: str, body: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("latin-1")
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + body


def _archive(entries: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def _saved(array: Any, pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


_HEADERS = (
    "{'descr': '<f8', 'fortran_order': False, 'shape': (8796093022208,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (2.5,), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (4,), }",
    "{'descr': 'nonsense', 'fortran_order': False, 'shape': (4,), }",
    "{'descr': '<f8', 'fortran_order': 7, 'shape': (4,), }",
    "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f8', 'shape': (4,), }",
    "__import__('os').abort()",
    "(" * 500,
    "",
)
_ARRAYS: tuple[Callable[[], Any], ...] = (
    lambda: np.float32(1),
    lambda: np.zeros((0, 1), np.int64),
    lambda: np.full((SAMPLES, 1), np.nan),
    lambda: np.full((SAMPLES, 1), np.inf, np.float32),
    lambda: np.array(["a"] * SAMPLES),
    lambda: np.array([b"a"] * SAMPLES),
    lambda: np.zeros((SAMPLES, 1), np.complex64),
    lambda: np.zeros(SAMPLES, "datetime64[s]"),
    lambda: np.zeros(SAMPLES, [("a", "<f8")]),
    lambda: np.zeros((SAMPLES, 1), ">i8"),
    lambda: np.full((SAMPLES, 1), 2**40),
    lambda: np.full((SAMPLES, 1), -1),
    lambda: np.zeros((SAMPLES, 1), np.bool_),
    lambda: np.zeros((SAMPLES, 2, 3), np.int64),
    lambda: np.zeros((SAMPLES - 1, 1), np.int64),
    lambda: np.zeros((SAMPLES,) + (1,) * 40, np.int64),
)


def mutate_arrays(content: bytes, rng: random.Random) -> Mutation:
    """Return an `.npz` file of the arrays x and y of which one is not what it should be, or whose bytes are changed."""
    way = rng.choice(("bytes", "header", "array", "array", "entries", "one array"))
    if way == "bytes":
        return mutate_bytes(content, rng)
    entries = {f"{name}.npy": _saved(array) for name, array in np.load(io.BytesIO(content)).items()}
    name = rng.choice(list(entries))
    if way == "header":
        header = rng.choice(_HEADERS)
        entries[name] = _npy(header, bytes(32), rng.choice((1, 1, 1, 2, 9)))
        return Mutation(f"header {header[:60]}", _archive(entries), impossible=True)
    if way == "array":
        array = rng.choice(_ARRAYS)()
        entries[name] = _saved(array)
        return Mutation(f"{name}: {array.dtype} {array.shape[:3]}", _archive(entries))
    if way == "one array":
        return Mutation("an .npy file", _saved(np.zeros(SAMPLES)), impossible=True)
    what, made = rng.choice(
        [
            ("one left out", {key: value for key, value in entries.items() if key != name}),
            ("none", {}),
            ("objects", {**entries, name: _saved(np.array([{}, {}], object), pickled=True)}),
            ("names that leave", {f"../../{key}": value for key, value in entries.items()}),
            ("no .npy", dict.fromkeys(entries, b"text")),
            ("other names", {key.upper(): value for key, value in entries.items()}),
        ]
    )
    return Mutation(
        what, _archive(made, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))), impossible=what != "one left out"
    )


# -- models ------------------------------------------------------------------------------------------------------

_Change = Callable[[onnx.ModelProto, random.Random], None]


def _any_node(model: onnx.ModelProto, rng: random.Random) -> onnx.NodeProto:
    return rng.choice(list(model.graph.node))


def _any_tensor(model: onnx.ModelProto, rng: random.Random) -> onnx.TensorProto:
    return rng.choice(list(model.graph.initializer))


def _any_value(model: onnx.ModelProto, rng: random.Random) -> onnx.ValueInfoProto:
    return rng.choice([*model.graph.input, *model.graph.output])


def _external(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = _any_tensor(model, rng)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    entries = {
        "location": rng.choice(("weights.bin", "", "\0", "x" * 5_000, "../x", "/dev/zero", "/etc/passwd", ".", "a\nb")),
        "offset": rng.choice(("0", "-1", "x", "", "9" * 30, "1e3")),
        "length": rng.choice(("4", "-1", "x", "", "9" * 30, "0x10")),
    }
    for key in rng.sample(list(entries), rng.randint(0, 3)):
        tensor.external_data.add(key=key, value=entries[key])


def _element_type(model: onnx.ModelProto, rng: random.Random) -> None:
    _any_value(model, rng).type.tensor_type.elem_type = rng.choice((0, 99, 8, 10, 16, 17, 22, 24, -1, 2**31 - 1))


def _other_type(model: onnx.ModelProto, rng: random.Random) -> None:
    value = _any_value(model, rng)
    way = rng.choice(("none", "sequence", "map", "optional", "no shape"))
    if way == "none":
        value.ClearField("type")
    elif way == "no shape":
        value.type.tensor_type.ClearField("shape")
    else:
        inner = helper.make_tensor_type_proto(1, [1])
        made = {
            "sequence": helper.make_sequence_type_proto(inner),
            "map": helper.make_map_type_proto(TensorProto.INT64, inner),
            "optional": helper.make_optional_type_proto(inner),
        }
        value.type.CopyFrom(made[way])


def _dims(model: onnx.ModelProto, rng: random.Random) -> None:
    if rng.random() < 0.5:
        tensor = _any_tensor(model, rng)
        dims = rng.choice(([-1], [2**62], [2**31, 2**31], [0], [3, 5], [1] * 70, []))
        del tensor.dims[:]
        tensor.dims.extend(dims)
        return
    shape = _any_value(model, rng).type.tensor_type.shape
    if not shape.dim or rng.random() < 0.3:
        shape.dim.add()
    dim = rng.choice(list(shape.dim))
    if rng.random() < 0.5:
        dim.dim_value = rng.choice((-1, 0, 2**62, 7))
    else:
        dim.dim_param = rng.choice(("", "batch", "x" * 5_000, "\n::error::", "batch*2"))


def _opsets(model: onnx.ModelProto, rng: random.Random) -> None:
    way = rng.choice(("none", "twice", "odd", "unknown", "negative"))
    if way == "none":
        del model.opset_import[:]
    elif way == "odd":
        model.opset_import[0].version = rng.choice((0, 1, 5, 999, 2**62))
    elif way == "negative":
        model.opset_import[0].version = -1
    else:
        model.opset_import.add(domain="" if way == "twice" else "a.b\0c", version=rng.choice((1, 13, 21)))


def _names(model: onnx.ModelProto, rng: random.Random) -> None:
    way = rng.choice(("node twice", "output twice", "initializer twice", "input twice", "no input", "unknown", "odd"))
    node, nodes = _any_node(model, rng), model.graph.node
    if way == "node twice":
        nodes.add().CopyFrom(node)
    elif way == "output twice":
        nodes[-1].output[0] = nodes[0].output[0]
    elif way == "initializer twice":
        model.graph.initializer.add().CopyFrom(_any_tensor(model, rng))
    elif way == "input twice":
        model.graph.input.add().CopyFrom(model.graph.input[0])
    elif way == "no input":
        node.input[rng.randrange(len(node.input))] = rng.choice(("", "nowhere"))
    elif way == "unknown":
        node.op_type = rng.choice(
            ("", "Nothing", "If", "Loop", "Scan", "x\n::error::", "DequantizeLinear", "QuantizeLinear")
        )
    else:
        new = rng.choice(("\n::error::obey", "\x1b[31m", "x" * 100_000, "é\u202e", "<b>"))
        old = node.output[0]
        node.name = new
        for other in nodes:
            for names in (other.input, other.output):
                for position, name in enumerate(names):
                    names[position] = new if name == old else name


def _cycle(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = model.graph.node
    rng.choice(list(nodes)).input[0] = nodes[-1].output[0]
    if rng.random() < 0.3:
        reverse = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(nodes)]
        del nodes[:]
        nodes.extend(reverse)


def _attributes(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _any_node(model, rng)
    copy = onnx.NodeProto.FromString(node.SerializeToString())  # a message that is copied into itself is a crash
    there = {item.name: item for item in node.attribute}
    name = rng.choice([*there, "axis", "block_size", "then_branch", "to", "value", "nothing", ""])
    item = there[name] if name in there else node.attribute.add(name=name)
    way = rng.choice(("no type", "other type", "value", "graph", "text", "tensor", "reference"))
    if way == "no type":
        item.type = 0
    elif way == "other type":
        item.type = rng.choice((1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14))
    elif way == "graph":
        item.type, item.g.name = onnx.AttributeProto.GRAPH, "inner"
        item.g.node.add().CopyFrom(copy)
    elif way == "text":
        item.type, item.s = onnx.AttributeProto.STRING, b"\xff\xfe"
    elif way == "tensor":
        item.type = onnx.AttributeProto.TENSOR
        item.t.CopyFrom(_any_tensor(model, rng))
        item.t.data_type = rng.choice((0, 1, 8, 16, 99))
    elif way == "reference":
        item.ref_attr_name = "outer"
    else:
        item.type, item.i = onnx.AttributeProto.INT, rng.choice((-(2**63), 2**63 - 1, 0, 5))


def _tensor(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = _any_tensor(model, rng)
    way = rng.choice(("type", "data", "both", "segment", "values", "name"))
    if way == "type":
        tensor.data_type = rng.choice((0, 99, 1, 2, 3, 8, 10, 14, 15, 16, 17, 21, 22, 23, -5))
    elif way == "data":
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif way == "both":
        tensor.float_data.extend([1.0, float("nan")])
    elif way == "segment":
        tensor.segment.begin, tensor.segment.end = rng.choice(((0, 2**62), (5, 1)))
    elif way == "values" and tensor.data_type == TensorProto.FLOAT:
        tensor.raw_data = np.full(
            len(tensor.raw_data) // 4, rng.choice((np.nan, np.inf, 0, -1, 1e-45)), "<f4"
        ).tobytes()
    elif way == "values":
        tensor.raw_data = rng.randbytes(len(tensor.raw_data))
    else:
        tensor.name = ""


def _left_out(model: onnx.ModelProto, rng: random.Random) -> None:
    way = rng.choice(
        ("nodes", "inputs", "outputs", "graph", "ir", "one node", "initializers", "all but one", "functions")
    )
    graph = model.graph
    if way == "ir":
        model.ir_version = rng.choice((0, 1, 3, 99, 2**60))
    elif way == "graph":
        model.ClearField("graph")
    elif way == "one node":
        del graph.node[rng.randrange(len(graph.node))]
    elif way == "functions":
        function = model.functions.add(
            name=rng.choice(("f", "", graph.node[0].op_type)), domain=rng.choice(("", "a", "a.b"))
        )
        function.input.append("x")
        function.output.append("y")
        function.node.add(op_type=function.name, domain=function.domain, input=["x"], output=["y"])
    elif way == "all but one":
        del graph.node[1:]
    else:
        field = {
            "nodes": graph.node,
            "inputs": graph.input,
            "outputs": graph.output,
            "initializers": graph.initializer,
        }[way]
        del field[:]


MODELS: dict[str, _Change] = {
    "external data": _external,
    "an element type": _element_type,
    "another type": _other_type,
    "dims": _dims,
    "opset imports": _opsets,
    "names": _names,
    "a cycle": _cycle,
    "attributes": _attributes,
    "a tensor": _tensor,
    "left out": _left_out,
}


def _no_text(content: bytes, model: onnx.ModelProto, rng: random.Random) -> bytes:
    """Put bytes that are no UTF-8 in place of a name, of one length."""
    names = [node.output[0] for node in model.graph.node] + [tensor.name for tensor in model.graph.initializer]
    names += [model.graph.input[0].name, model.graph.node[0].op_type]
    name = rng.choice(names).encode()
    return content.replace(name, b"\xff" * len(name))


def mutate_model(content: bytes, rng: random.Random) -> Mutation:
    """Return a model with one thing changed that its format has, or whose bytes are changed."""
    way = rng.choice(["bytes", "no text", *MODELS, *MODELS])
    if way == "bytes":
        return mutate_bytes(content, rng)
    model = onnx.ModelProto.FromString(content)
    if way == "no text":
        return Mutation(way, _no_text(content, model, rng))
    MODELS[way](model, rng)
    return Mutation(way, model.SerializeToString())
