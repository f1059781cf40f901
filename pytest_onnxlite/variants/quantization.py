"""From float ONNX to INT8, by ONNX Runtime's quantizer."""

from __future__ import annotations

import fnmatch
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.spec import DynamicInt8
from pytest_onnxlite.variants.canonical import drop_unused_opsets
from pytest_onnxlite.variants.quiet import quiet
from pytest_onnxlite.variants.variant import first_line


def quantize_dynamic(source: Path, recipe: DynamicInt8, model: str, target: Path) -> dict[str, Any]:
    """Write the dynamically quantized model.

    Returns:
        What was decided: the weight type, the excluded nodes, and what pre-processing had to go without.

    Raises:
        OnnxliteError: an exclusion matches nothing, or the quantizer fails or quantizes nothing.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_dynamic as ort_quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="onnxlite-") as folder, quiet():
        prepared = Path(folder) / "prepared.onnx"
        notes = _prepare(source, prepared, model)
        proto = _split_gemms(prepared)
        excluded = match_exclusions(proto, recipe, model)
        weight_type = recipe.weight_type
        if weight_type == "auto":
            weight_type = "uint8" if any(n.op_type == "Conv" for n in proto.graph.node) else "int8"
        try:
            ort_quantize_dynamic(
                prepared,
                target,
                weight_type=QuantType.QUInt8 if weight_type == "uint8" else QuantType.QInt8,
                per_channel=recipe.per_channel,
                nodes_to_exclude=excluded,
                extra_options={"EnableSubgraph": True},
            )
        except Exception as error:
            raise OnnxliteError(
                f"{model}: ONNX Runtime cannot quantize {source.name}: {first_line(error)}. Leave the node it names in "
                "float with ModelSpec(recipe=DynamicInt8(exclude=[...])), or give an INT8 file of your own as int8=."
            ) from None
    _finish(source, target, excluded, model)
    return {"recipe": "dynamic", "weight_type": weight_type, "excluded": excluded, "notes": notes}


def _prepare(source: Path, prepared: Path, model: str) -> list[str]:
    """Fold constants and infer shapes; go on without symbolic shapes where they fail (onnxruntime#10484)."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    try:
        quant_pre_process(source, prepared)
    except Exception as error:
        reason = first_line(error)
    else:
        return []
    try:
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
    except Exception as error:
        raise OnnxliteError(
            f"{model}: ONNX Runtime cannot prepare {source.name} for quantization: {first_line(error)}. "
            "Check the file with onnx.checker, or give an INT8 file of your own as ModelSpec(int8=...)."
        ) from None
    return [f"prepared without symbolic shape inference: {reason}"]


def _split_gemms(prepared: Path) -> onnx.ModelProto:
    """Turn each Gemm into MatMul and Add, as the quantizer would do itself, but under another name.

    Done before exclusions are matched: it forgets that a Gemm was excluded (seen with ONNX Runtime 1.32).
    """
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = ONNXModel(onnx.load(prepared))
    model.replace_gemm_with_matmul()
    model.save_model_to_file(str(prepared), use_external_data_format=False)
    proto: onnx.ModelProto = model.model
    return proto


def match_exclusions(proto: onnx.ModelProto, recipe: DynamicInt8, model: str) -> list[str]:
    """Return the names of the nodes that the recipe's globs mean, by node name or operator type.

    Raises:
        OnnxliteError: a glob matches nothing, which the quantizer would ignore in silence.
    """
    excluded: list[str] = []
    for glob in recipe.exclude:
        names = [n.name for n in proto.graph.node if n.name and any(map(_matcher(glob), (n.name, n.op_type)))]
        if not names:
            operators = Counter(n.op_type for n in proto.graph.node)
            known = ", ".join(sorted(n.name for n in proto.graph.node if n.op_type in ("MatMul", "Gemm", "Conv"))[:8])
            raise OnnxliteError(
                f"{model}: exclude={glob!r} matches no node of the prepared graph. Operators there: "
                f"{', '.join(sorted(operators))}; quantizable nodes: {known or 'none'}."
            )
        excluded += names
    return sorted(set(excluded))


def _matcher(glob: str) -> Any:
    return lambda text: fnmatch.fnmatchcase(text, glob)


def _finish(source: Path, target: Path, excluded: list[str], model: str) -> None:
    """Keep the source's metadata, drop opset imports that were added, refuse what was not done as asked."""
    before = onnx.load(source, load_external_data=False)
    proto = onnx.load(target, load_external_data=False)
    quantized = {
        "MatMulInteger",
        "ConvInteger",
        "DynamicQuantizeLinear",
        "QLinearMatMul",
        "DynamicQuantizeLSTM",
    }
    if not quantized & {n.op_type for n in proto.graph.node}:
        raise OnnxliteError(
            f"{model}: quantization changed nothing: {source.name} has no MatMul, Gemm or Conv with weights that was "
            "not excluded. A model like this has no INT8 variant to guard; judge onnxlite_onnx instead."
        )
    lost = set(excluded) - {n.name for n in proto.graph.node}
    if lost:
        raise OnnxliteError(
            f"{model}: ONNX Runtime quantized what was excluded: {', '.join(sorted(lost))}. Exclude it by another "
            "name, or give an INT8 file of your own as ModelSpec(int8=...)."
        )
    drop_unused_opsets(proto)
    if not proto.metadata_props:
        proto.metadata_props.extend(before.metadata_props)
    proto.doc_string = before.doc_string
    proto.graph.doc_string = before.graph.doc_string
    onnx.save(_sorted(proto), target)


def _sorted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Put nodes behind what they read; the quantizer forgets what branches and loop bodies read from outside."""
    if not any(attribute.HasField("g") for node in proto.graph.node for attribute in node.attribute):
        return proto
    model = ir.from_proto(proto)
    model.graph.sort()
    return ir.to_proto(model)
