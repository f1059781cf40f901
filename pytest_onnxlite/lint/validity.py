"""Whether the graph is one at all: names, order, opsets, nothing left over, metadata."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_ir as ir

from pytest_onnxlite.lint import protobuf
from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.finding import Finding, Severity, report
from pytest_onnxlite.lint.loading import LoadedModel, skeleton
from pytest_onnxlite.lint.model_index import ModelIndex, Place, attribute
from pytest_onnxlite.lint.operators import DEQUANTIZE, DYNAMIC_QUANTIZE, ONNX_DOMAINS, PROCESSOR_DOMAINS, QUANTIZE
from pytest_onnxlite.lint.storage import inline_problem

# Bytes at which a float tensor counts as a weight that matters, rather than a constant.
LARGE = 1024
_FOUR_BITS = frozenset({ir.DataType.INT4, ir.DataType.UINT4})
# Operators whose default or meaning changed while their attributes and inputs kept their form:
# a node is read by other rules once the opset number crosses the version.
_SILENT_CHANGES = {"Softmax": 13, "LogSoftmax": 13, "Hardmax": 13}


def check_checker(loaded: LoadedModel) -> Iterator[Finding]:
    """The checker of the format itself must accept the model; weights are left out, which it would copy."""
    slim = skeleton(loaded.proto)
    # Before version 1.21, onnx infers shapes from what lies beyond such a tensor's end, and may crash.
    cut = next(filter(_is_cut, protobuf.tensors(slim)), None)
    try:
        onnx.checker.check_model(slim, full_check=cut is None)
    except onnx.shape_inference.InferenceError as error:
        yield report("OLX102", loaded.label, "types and shapes that fit together", _line(error))
        return
    except Exception as error:  # it raises errors of its own and of protobuf
        yield report("OLX101", loaded.label, "a model that onnx.checker accepts", _line(error))
        return
    if cut is not None:
        yield report("OLX102", loaded.label, "tensors that can be read", f"{cut.name!r} is cut off")


def _is_cut(tensor: onnx.TensorProto) -> bool:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return False
    try:
        return inline_problem(ir.serde.TensorProtoTensor(tensor)) is not None
    except (ValueError, TypeError):  # no such type
        return True


def check_names(loaded: LoadedModel) -> Iterator[Finding]:
    """Each name is produced once and before use; onnx-ir cannot hold duplicates, so the file is asked."""
    yield from _check_graph_names(loaded.proto.graph, "", ())
    for function in loaded.proto.functions:
        yield from _check_function_names(function)


@dataclass(frozen=True)
class _Names:
    """What a graph has named so far, and what its nodes will have named at its end."""

    known: set[str]
    all: frozenset[str]


def _check_graph_names(graph: onnx.GraphProto, path: str, outer: tuple[_Names, ...]) -> Iterator[Finding]:
    inputs = [value.name for value in graph.input]
    initializers = [tensor.name for tensor in graph.initializer]
    initializers += [tensor.values.name for tensor in graph.sparse_initializer]
    for name, count in Counter(inputs).items():
        if count > 1:
            yield report("OLX103", path + name, "one input of this name", f"{count} inputs")
    for name, count in Counter(initializers).items():
        if count > 1:
            yield report("OLX103", path + name, "one initializer of this name", f"{count} initializers")
    # An initializer may give an input its default: only other pairs clash.
    known = set(inputs) | set(initializers)
    yield from _check_nodes(graph.node, path, known, outer)
    for value in graph.output:
        if value.name not in known and not any(value.name in names.known for names in outer):
            yield report("OLX104", path + value.name, "a node that produces this output", "none does")


def _check_nodes(
    nodes: Iterable[onnx.NodeProto], path: str, known: set[str], outer: tuple[_Names, ...]
) -> Iterator[Finding]:
    nodes = list(nodes)
    # The names of each graph around it are kept apart: a set of them all for each branch would grow with the model.
    scopes = (*outer, _Names(known, frozenset(name for node in nodes for name in node.output)))
    for node in nodes:
        where = f"{path}{node.name or node.op_type}"
        for name in node.input:
            if name and name not in known and not any(name in names.known for names in outer):
                later = any(name in names.all for names in scopes)
                found = "it is produced by a later node" if later else "nothing produces it"
                yield report("OLX104", where, f"its input {name!r} to be produced before it", found)
        for name, graph in protobuf.subgraphs(node):
            yield from _check_graph_names(graph, f"{where}/{name}/", scopes)
        for name in node.output:
            if name and name in known:
                yield report("OLX103", where, f"{name!r} to be produced once", "this node produces it again")
            known.add(name)


def _check_function_names(function: onnx.FunctionProto) -> Iterator[Finding]:
    path = f"function {function.domain}::{function.name}/"
    known = set(function.input)
    yield from _check_nodes(function.node, path, known, ())
    for name in function.output:
        if name not in known:
            yield report("OLX104", path + name, "a node that produces this output", "none does")


def check_node_names(loaded: LoadedModel) -> Iterator[Finding]:
    """A node's name, if it has one, is its own: exclusions go by it."""
    for path, graph in protobuf.walk(loaded.proto.graph):
        named: dict[str, list[str]] = defaultdict(list)
        for node in graph.node:
            named[node.name].append(node.op_type)
        for name, found_here in named.items():
            if name and len(found_here) > 1:
                operators = sorted(set(found_here))
                # Runtimes turn Constant nodes into tensors, and do not mind their names.
                severity: Severity = "warning" if operators == ["Constant"] else "error"
                found = f"{len(found_here)}: {', '.join(operators)}"
                yield report("OLX107", path + name, "one node of this name", found, severity=severity)


def check_opset_imports(loaded: LoadedModel) -> Iterator[Finding]:
    """The domains used are imported, each in one version, and no others."""
    proto = loaded.proto
    used = {_domain(node.domain) for node in protobuf.nodes(proto)}
    imported: dict[str, list[int]] = defaultdict(list)
    for entry in proto.opset_import:
        imported[_domain(entry.domain)].append(entry.version)
    for domain in sorted(used - set(imported)):
        yield report("OLX108", loaded.label, f"an opset import of {_spell(domain)!r}", "none")
    for domain, versions in sorted(imported.items()):
        if len(set(versions)) > 1:  # the same one twice says nothing new, and tools leave such
            yield report("OLX109", loaded.label, f"one opset import of {_spell(domain)!r}", f"versions {versions}")
    # ONNX's own domain is imported by convention, even where only contrib operators are used.
    unused = sorted(set(imported) - used - {""})
    if unused:
        found = f"an import of {', '.join(unused)}"
        yield report("OLX110", loaded.label, "imports of used domains only", found)


def check_leftovers(context: Context) -> Iterator[Finding]:
    """What is stored is used, and what is computed reaches an output."""
    large = set()
    for constant in context.index.constants:
        if constant.used:
            continue
        size = constant.tensor.nbytes
        if size >= LARGE:
            large.add(constant.value)
        elif constant.stored == "Constant":
            continue  # a node like others
        severity: Severity = "error" if size >= LARGE else "warning"
        found = f"{size:,} bytes of {constant.tensor.dtype.name} that are unused"
        yield report("OLX105", constant.where, "a node that reads it", found, severity=severity)
    for place in context.index.places:
        if not any(value in large or value.uses() or value.is_graph_output() for value in place.node.outputs):
            names = ", ".join(repr(value.name) for value in place.node.outputs)
            yield report("OLX106", place.where, "its result to be used", f"nothing reads {names} of {place.op}")


def check_portability(context: Context) -> Iterator[Finding]:
    """No operator is one that ONNX Runtime makes for the processor that it runs on."""
    places = [place for place in context.index.places if place.node.domain in PROCESSOR_DOMAINS]
    if places:
        others = f" and {len(places) - 1} more such nodes" if len(places) > 1 else ""
        yield report("OLX117", places[0].where, "an operator that runs on every processor", f"{places[0].op}{others}")


def check_opset_versions(context: Context) -> Iterator[Finding]:
    """The opset imported knows each node in the form it has; what many nodes share is said once."""
    opset = context.index.opset
    shared: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for place in context.index.places:
        needed, what = _opset_needed(context.index, place)
        if place.node.domain in ONNX_DOMAINS and needed > opset:
            shared["OLX111", f"opset {needed} or later for {what}", f"opset {opset}"].append(place.where)
        misfit = _misfit(place, opset)
        if misfit:
            shared["OLX112", f"the form of opset {opset}", misfit].append(place.where)
    for (code, expected, found), places in shared.items():
        others = f", and at {len(places) - 1} other nodes" if len(places) > 1 else ""
        yield report(code, places[0], expected, found + others)
    if context.reference is not None and 0 < context.reference.opset < opset:
        yield from _check_silent_changes(context, context.reference.opset, opset)


def _opset_needed(index: ModelIndex, place: Place) -> tuple[int, str]:
    node = place.node
    if node.op_type == DYNAMIC_QUANTIZE:
        return 11, node.op_type
    if place.quantized is None:
        return 0, ""
    if node.op_type in (QUANTIZE, DEQUANTIZE):
        if attribute(node, "block_size", 0):
            return 21, f"{node.op_type} in blocks"
        values = [*node.inputs, *node.outputs]
        if any(index.dtype_of(value) in _FOUR_BITS for value in values):
            return 21, f"{node.op_type} of 4 bits"
        if "axis" in node.attributes:
            return 13, f"{node.op_type} with an axis"
    return 10, node.op_type


def _misfit(place: Place, opset: int) -> str:
    """Say how a node differs from its operator's schema, empty if it fits or has none."""
    node = place.node
    if node.domain not in ONNX_DOMAINS:
        return ""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except Exception:  # the operator is not in this opset: the checker says so
        return ""
    unknown = sorted(set(node.attributes) - set(schema.attributes))
    if unknown:
        return f"attribute {unknown[0]!r}, which {node.op_type} of this opset does not have"
    count = len(node.inputs)
    if not schema.min_input <= count <= schema.max_input:
        return f"{count} inputs, where {node.op_type} takes {schema.min_input} to {schema.max_input}"
    return ""


def _check_silent_changes(context: Context, before: int, after: int) -> Iterator[Finding]:
    assert context.reference is not None
    old = {place.where: place.node for place in context.reference.places}
    for place in context.index.places:
        node = place.node
        was = old.get(place.where)
        version = _SILENT_CHANGES.get(node.op_type)
        if was is None or version is None or not before < version <= after or was.op_type != node.op_type:
            continue
        rank = None if node.inputs[0] is None or node.inputs[0].shape is None else len(node.inputs[0].shape)
        axis = attribute(node, "axis", None)
        # Along the last axis both versions agree; a converter writes that axis out.
        if axis == -1 or (rank is not None and axis == rank - 1) or (rank == 2 and axis is None):
            continue
        yield report(
            "OLX112", place.where, f"{node.op_type} converted from opset {before} to {after}",
            f"the old form: axis {'unset' if axis is None else axis} meant all dims from there on before "
            f"opset {version}, and means one dim since",
        )  # fmt: skip


def check_metadata(context: Context) -> Iterator[Finding]:
    """What the float model says about itself is still said."""
    if context.reference is None:
        return
    before, after = context.reference.model, context.index.model
    for key, value in sorted(before.metadata_props.items()):
        if key.startswith("onnx."):  # notes that tools leave for each other
            continue
        if key not in after.metadata_props:
            yield report("OLX113", f"metadata {key!r}", f"{_short(value)}", "no such entry")
        elif after.metadata_props[key] != value:
            yield report("OLX113", f"metadata {key!r}", _short(value), _short(after.metadata_props[key]))
    for where, was, now in (
        ("doc string", before.doc_string, after.doc_string),
        ("doc string of the graph", before.graph.doc_string, after.graph.doc_string),
    ):
        if was and was != now:
            yield report("OLX114", where, _short(was), _short(now) if now else "none")


def check_reference(context: Context) -> Iterator[Finding]:
    """What is called the float model is one."""
    if context.reference is not None and context.reference.quantized:
        first = next(p for p in context.reference.places if p.quantized is not None)
        yield report("OLX115", first.where, "a float model to compare with", f"{first.op} in it")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _domain(name: str) -> str:
    return "" if name in ONNX_DOMAINS else name


def _spell(domain: str) -> str:
    return domain or "ai.onnx"
