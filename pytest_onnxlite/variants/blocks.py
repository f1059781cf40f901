"""From float ONNX to weights of few bits in blocks, by ONNX Runtime's MatMulNBits quantizer."""

from __future__ import annotations

from pathlib import Path

import onnx

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint.protobuf import graphs, load_graph, nodes
from pytest_onnxlite.spec.recipes import WeightOnly, recipe_text
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants import preparation
from pytest_onnxlite.variants.half import save
from pytest_onnxlite.variants.notes import RecipeNotes
from pytest_onnxlite.variants.quantization import restore
from pytest_onnxlite.variants.refusals import match_exclusions
from pytest_onnxlite.variants.silence import silence
from pytest_onnxlite.workspace import libraries_folder


def quantize(source: Path, recipe: WeightOnly, model: str, target: Path) -> RecipeNotes:
    """Write the model with its weights in blocks.

    Args:
        source: the float ONNX file.
        recipe: how.
        model: the model's name, for messages.
        target: the file to write.

    Returns:
        What was decided: recipe, weights in words, the excluded nodes, and what preparation had to go without.

    Raises:
        OnnxliteError: an exclusion matches nothing, or the quantizer fails or quantizes nothing.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    before = load_graph(source)
    with libraries_folder() as folder, silence():
        prepared, large, notes = preparation.prepare_all(source, before, folder, model)
        proto = preparation.split_gemms(prepared, large)
        excluded = match_exclusions(proto, recipe.exclude, "exclude", model, before)
        whole = onnx.load(prepared)
        try:
            quantizer = MatMulNBitsQuantizer(
                whole,
                bits=recipe.bits,
                block_size=recipe.block_size,
                is_symmetric=recipe.symmetric,
                nodes_to_exclude=excluded,
            )
            quantizer.process()
        except Exception as error:
            raise OnnxliteError(
                f"{model}: ONNX Runtime's MatMulNBits quantizer fails on {source.name}: {first_line(error)}. Leave nodes in float "
                "with WeightOnly(exclude=[...]), or give a file of your own in variants=."
            ) from None
    quantized = quantizer.model.model
    if not any(node.op_type == "MatMulNBits" for node in nodes(quantized)):
        raise OnnxliteError(
            f"{model}: {recipe_text(recipe)} changed nothing: {source.name} has no MatMul or Gemm with a constant weight of two "
            "dims that was not excluded. Use Float16() or an INT8 recipe, which reach other weights."
        )
    _once(quantized)
    restore(before, quantized)
    save(quantized, target)
    return RecipeNotes(
        recipe=recipe_text(recipe),
        weight_type=f"int{recipe.bits}",
        weights=f"weights of {recipe.bits} bits in blocks of {recipe.block_size}",
        excluded=tuple(excluded),
        notes=tuple(notes),
    )


def _once(proto: onnx.ModelProto) -> None:
    """Keep each tensor once: the quantizer writes one anew for each node that reads it (seen with ONNX Runtime 1.32)."""
    for graph in graphs(proto.graph):
        kept = {tensor.name: tensor for tensor in graph.initializer}
        if len(kept) < len(graph.initializer):
            found = list(kept.values())
            del graph.initializer[:]
            graph.initializer.extend(found)
