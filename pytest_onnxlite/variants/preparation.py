"""A float model on its way into ONNX Runtime's quantizer: shapes inferred, nodes named, what the quantizer stumbles over mended.

The quantizer takes and gives protobufs, and so does this.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pytest_onnxlite import commands
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import no_room
from pytest_onnxlite.lint.protobuf import graphs
from pytest_onnxlite.runtime.sessions import session_options
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.external import external_files
from pytest_onnxlite.variants.tying import untie_shared

# Scales for each channel are written with an axis, which QuantizeLinear has from here on.
_STATIC_OPSET = 13
# From here on an initializer that is listed as an input is one that callers may give.
_OPTIONAL_INPUTS = 4
# The element types of tensors that a layer reads or gives, as ONNX Runtime calls them.
_ELEMENTS = {
    "float": onnx.TensorProto.FLOAT,
    "double": onnx.TensorProto.DOUBLE,
    "float16": onnx.TensorProto.FLOAT16,
    "int32": onnx.TensorProto.INT32,
    "int64": onnx.TensorProto.INT64,
    "bool": onnx.TensorProto.BOOL,
    "uint8": onnx.TensorProto.UINT8,
    "int8": onnx.TensorProto.INT8,
}
# A protobuf message ends at 2 GiB, and what preparing adds has to have room in it.
IN_ONE_FILE = 3 << 29


def settle(proto: onnx.ModelProto, model: str) -> bool:
    """Mend what the quantizer stumbles over in a model that is right; return whether anything was.

    Before IR version 4 each initializer is listed as an input, which the scales that the quantizer adds are not. A domain
    that is imported twice in one version is no fault, and more than it reads.

    Raises:
        OnnxliteError: a domain is imported in several versions.
    """
    versions: dict[str, set[int]] = {}
    for entry in proto.opset_import:
        versions.setdefault("" if entry.domain == "ai.onnx" else entry.domain, set()).add(entry.version)
    torn = {domain: sorted(found) for domain, found in versions.items() if len(found) > 1}
    if torn:
        domain, found = next(iter(torn.items()))
        raise OnnxliteError(
            f"{model}: the float model imports {domain or 'ai.onnx'!r} in the versions {found}, and it depends on the tool which "
            "is used. Keep one of them in opset_import."
        )
    twice = len(proto.opset_import) > len(versions)
    if twice:
        del proto.opset_import[:]
        proto.opset_import.extend(onnx.helper.make_opsetid(domain, min(found)) for domain, found in versions.items())
    old = proto.ir_version < _OPTIONAL_INPUTS
    if old:
        proto.ir_version = _OPTIONAL_INPUTS
        stored = {tensor.name for tensor in proto.graph.initializer}
        inputs = [value for value in proto.graph.input if value.name not in stored]
        del proto.graph.input[:]
        proto.graph.input.extend(inputs)
    return twice or old


def prepare(source: Path, prepared: Path, model: str, large: bool) -> list[str]:
    """Fold constants and infer shapes; go on without symbolic shapes if they fail (onnxruntime#10484)."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    options: dict[str, object] = {}
    notes = []
    if large:
        notes.append(f"prepared without folding constants, being larger than {IN_ONE_FILE / 2**30:g} GiB")
        # Above 2 GB neither the optimizer nor onnx's shape inference can pass a model on.
        options = {
            "save_as_external_data": True,
            "external_data_location": "prepared.onnx.data",
            "skip_optimization": True,
        }
    try:
        quant_pre_process(source, prepared, **options)
    except Exception as error:
        reason = first_line(error)
    else:
        return notes
    try:
        quant_pre_process(source, prepared, skip_symbolic_shape=True, **options)
    except Exception as error:
        raise OnnxliteError(_cannot_prepare(error, source.name, prepared, model)) from None
    return [*notes, f"prepared without symbolic shape inference: {reason}"]


def _cannot_prepare(error: Exception, name: str, prepared: Path, model: str) -> str:
    full = no_room(error, prepared.parent)
    if full:
        return f"{model}: {name} was not prepared for quantization: {full}. Let TMPDIR name a folder with more room."
    return (
        f"{model}: {name} cannot be prepared for quantization, which infers its shapes and folds its constants. See what "
        f"{commands.lint(name)} says of it, or give an INT8 file of your own as ModelSpec(int8=...). ONNX Runtime "
        f"said: {first_line(error)}"
    )


def name_nodes(prepared: Path) -> None:
    """Name the nodes that have no name: the quantizer can exclude no others."""
    proto = onnx.load(prepared, load_external_data=False)
    nodes = [node for graph in graphs(proto.graph) for node in graph.node]
    taken = {node.name for node in nodes}
    unnamed = [node for node in nodes if not node.name]
    for number, node in enumerate(unnamed):
        name = f"{node.op_type}_{number}"
        node.name = name if name not in taken else f"{name}_{node.output[0]}"
    if unnamed:
        onnx.save(proto, prepared)


def raise_opset(prepared: Path, model: str) -> list[str]:
    """Bring an old model to the opset that static quantization writes."""
    proto = onnx.load(prepared, load_external_data=False)
    version = max(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    if version >= _STATIC_OPSET:
        return []
    try:
        # What lies in files next to the model stays there: above 2 GB no model can be passed on whole.
        converted = onnx.version_converter.convert_version(proto, _STATIC_OPSET)
    except Exception as error:
        raise OnnxliteError(
            f"{model}: static quantization needs opset {_STATIC_OPSET}, the model has {version}, and onnx cannot convert "
            f"it: {first_line(error)}. Export it at a newer opset, or use DynamicInt8()."
        ) from None
    # An older onnx (1.17) forgets on the way where they are.
    outside = {t.name: t for graph in graphs(proto.graph) for t in graph.initializer if t.external_data}
    for graph in graphs(converted.graph):
        for tensor in graph.initializer:
            if tensor.name in outside:
                tensor.CopyFrom(outside[tensor.name])
    onnx.save(converted, prepared)
    return [f"converted from opset {version} to {_STATIC_OPSET}"]


def weighted_inside(proto: onnx.ModelProto) -> int:
    """Count the layers with weights in branches and loop bodies, which static quantization leaves in float."""
    inner = [graph for graph in graphs(proto.graph) if graph is not proto.graph]
    return sum(node.op_type in ("Conv", "Gemm", "MatMul") for graph in inner for node in graph.node)


def clipped_for_branches(proto: onnx.ModelProto) -> list[str]:
    """Return the Relu and Clip nodes that branches or loop bodies read.

    The quantizer drops them for the range of the integers behind them, and forgets who reads the floats.
    """
    inner = [graph for graph in graphs(proto.graph) if graph is not proto.graph]
    read = {name for graph in inner for node in graph.node for name in node.input}
    read |= {value.name for graph in inner for value in graph.output}
    return [node.name for node in proto.graph.node if node.op_type in ("Relu", "Clip") and node.output[0] in read]


def subgraph_notes(proto: onnx.ModelProto) -> list[str]:
    """Say how many layers static quantization will leave in float."""
    weighted = weighted_inside(proto)
    return (
        [f"{weighted} nodes in branches or loop bodies stay float: static quantization leaves them"] if weighted else []
    )


def spread_biases(proto: onnx.ModelProto) -> bool:
    """Give each Gemm a bias of one number for each channel, and return whether any had another shape.

    A Gemm takes biases of `[1, C]`, `[1]` and `[]` too. Asked for one scale for each channel, the quantizer takes no other than
    `[C]` (seen with ONNX Runtime 1.32). One that differs from row to row is no bias of channels, and becomes an Add.
    """
    changed = False
    for graph in graphs(proto.graph):
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            nodes.append(node)
            weight, bias = (tensors.get(node.input[i]) if len(node.input) > i else None for i in (1, 2))
            if node.op_type != "Gemm" or weight is None or bias is None or bias.data_location:
                continue
            channels = weight.dims[0 if _attribute(node, "transB", 0) else 1]
            if list(bias.dims) != [channels]:
                nodes += _spread_bias(graph, node, bias, channels)
                changed = True
        del graph.node[:]
        graph.node.extend(nodes)
        read = {name for inner in graphs(graph) for node in inner.node for name in node.input}
        for place in reversed(range(len(graph.initializer))):
            name = graph.initializer[place].name
            if name not in read and name in tensors and changed:
                del graph.initializer[place]
    return changed


def _spread_bias(
    graph: onnx.GraphProto, gemm: onnx.NodeProto, bias: onnx.TensorProto, channels: int
) -> list[onnx.NodeProto]:
    """Give a Gemm a bias of `[channels]`, or take it out of it; return the node that adds it then."""
    values = onnx.numpy_helper.to_array(bias)
    if values.size in (1, channels) and values.shape[:-1] in ((), (1,)):
        spread = np.ascontiguousarray(np.broadcast_to(values.reshape(-1), (channels,)))
        gemm.input[2] = f"{bias.name}_of_{gemm.name}"
        graph.initializer.append(onnx.numpy_helper.from_array(spread, gemm.input[2]))
        return []
    if _attribute(gemm, "beta", 1.0) != 1.0:
        return []
    product, total = f"{gemm.output[0]}_product", gemm.output[0]
    del gemm.input[2]
    gemm.output[0] = product
    return [onnx.helper.make_node("Add", [product, bias.name], [total], f"{gemm.name}_bias")]


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    found = [onnx.helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name]
    return found[0] if found else default


def complete_types(prepared: Path, proto: onnx.ModelProto, libraries: Sequence[str] = ()) -> None:
    """Write the types that shape inference left out, where ONNX Runtime knows them: behind operators of other domains.

    Without a tensor's type the quantizer fails, or leaves its reader in float in silence.
    """
    import onnxruntime

    graph = proto.graph
    known = {value.name for value in (*graph.value_info, *graph.output) if _has_type(value)}
    missing = [name for node in graph.node for name in node.output if name and name not in known]
    if not missing:
        return
    # It declares each output of the graph, whatever the graph says of it.
    declared = [value for value in graph.output if _has_type(value)]
    asked = prepared.with_name("asked.onnx")
    del graph.output[:]
    graph.output.extend([*declared, *(onnx.ValueInfoProto(name=name) for name in missing)])
    onnx.save(proto, asked)
    del graph.output[:]
    graph.output.extend(declared)
    options = session_options(Runtime(optimization="none", custom_ops=libraries))
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(asked), options, providers=["CPUExecutionProvider"])
    except Exception:  # the quantizer will say which type it lacks
        return
    kinds = {f"tensor({name})": kind for name, kind in _ELEMENTS.items()}
    for found in session.get_outputs():
        if found.name in missing and found.type in kinds:
            dims = [dim if isinstance(dim, int) else str(dim or "") or None for dim in found.shape]
            # It has no dims for what it knows no rank of either, such as what a custom operator gives.
            graph.value_info.append(onnx.helper.make_tensor_value_info(found.name, kinds[found.type], dims or None))
    onnx.save(proto, prepared)


def _has_type(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.WhichOneof("value")
    return kind is not None and (kind != "tensor_type" or value.type.tensor_type.elem_type != 0)


def split_gemms(prepared: Path, large: bool) -> onnx.ModelProto:
    """Turn each Gemm into MatMul and Add, as the quantizer would do itself, but under another name.

    Done before exclusions are matched: it forgets that a Gemm was excluded (seen with ONNX Runtime 1.32).
    """
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = ONNXModel(onnx.load(prepared))
    _sink_weights(model.model.graph)
    untie_shared(model.model)
    model.replace_gemm_with_matmul()
    model.save_model_to_file(str(prepared), use_external_data_format=large)
    proto: onnx.ModelProto = model.model
    return proto


def _sink_weights(top: onnx.GraphProto) -> None:
    """Move each weight of the outer graph that one branch or loop body alone reads into it.

    The quantizer looks for a convolution's weights nowhere else (seen with ONNX Runtime 1.32).
    """
    readers: dict[str, set[int]] = {}
    found = list(graphs(top))
    for number, graph in enumerate(found):
        for name in (*(n for node in graph.node for n in node.input), *(value.name for value in graph.output)):
            readers.setdefault(name, set()).add(number)
    kept = []
    for tensor in top.initializer:
        reading = readers.get(tensor.name, set())
        if len(reading) == 1 and 0 not in reading:
            found[next(iter(reading))].initializer.append(tensor)
        else:
            kept.append(tensor)
    del top.initializer[:]
    top.initializer.extend(kept)


def prepare_all(
    source: Path, before: onnx.ModelProto, folder: Path, model: str, libraries: Sequence[str] = ()
) -> tuple[Path, bool, list[str]]:
    """Return the prepared model, whether it is too large for one file, and what preparation had to go without."""
    prepared = folder / "prepared.onnx"
    beside = external_files(source, before)
    large = source.stat().st_size + sum(file.used for file in beside) > IN_ONE_FILE
    settled = onnx.ModelProto()
    settled.CopyFrom(before)
    mended = settle(settled, model)
    if (beside or mended) and not large:
        # Where symbolic shape inference fails, what it does next forgets the files next to the model.
        whole = folder / "whole" / source.name
        whole.parent.mkdir()
        loaded = onnx.load(source) if beside else settled
        settle(loaded, model)
        onnx.save(loaded, whole)
        source = whole
    # Where symbolic shape inference fails, it leaves a work file in the current folder.
    with _inside(folder):
        notes = prepare(source, prepared, model, large)
    name_nodes(prepared)
    complete_types(prepared, onnx.load(prepared, load_external_data=False), libraries)
    return prepared, large, [*notes, *_false_claims(before, onnx.load(prepared, load_external_data=False))]


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in a folder.

    Raises:
        OnnxliteError: the folder to come back to is gone.
    """
    try:
        before = Path.cwd()
    except FileNotFoundError:
        raise OnnxliteError(
            "the folder that pytest runs in was removed meanwhile. Look for a test that deletes it, or that changes into a folder "
            "of its own and does not come back (monkeypatch.chdir does)."
        ) from None
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _false_claims(before: onnx.ModelProto, prepared: onnx.ModelProto) -> list[str]:
    """Say which outputs the float file declares in another shape than its own nodes give."""
    found = {value.name: _dims(value) for value in prepared.graph.output}
    notes = []
    for value in before.graph.output:
        declared, inferred = _dims(value), found.get(value.name)
        if declared is None or inferred is None:
            continue
        pairs = zip(declared, inferred, strict=False)
        if len(declared) != len(inferred) or any(a != b for a, b in pairs if isinstance(a, int) and isinstance(b, int)):
            notes.append(
                f"the float file declares its output {value.name!r} as {_spell(declared)}, and its nodes give {_spell(inferred)}: "
                "correct the declaration where the file is made"
            )
    return notes


def _dims(value: onnx.ValueInfoProto) -> list[int | str] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim]


def _spell(dims: list[int | str]) -> str:
    # What shape inference calls a computed dim is a formula, and may be long.
    return f"[{', '.join(str(dim) if isinstance(dim, int) or dim.isidentifier() else '?' for dim in dims)}]"
