"""Weights of few bits in blocks, several of them packed into a byte: are they, scales and zero points as large as is said?"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.finding import Finding, report
from pytest_onnxlite.lint.model_index import Place, attribute, input_of

_BITS = (2, 4, 8)
_LEAST_BLOCK = 16


def check_block_shapes(context: Context) -> Iterator[Finding]:
    """Each MatMulNBits has a block size that runtimes support, and tensors of the size that follows from it."""
    for place in context.index.places:
        row = place.quantized
        if row is None or row.name != "MatMulNBits":
            continue
        bits, block = int(attribute(place.node, "bits", 4)), int(attribute(place.node, "block_size", 0))
        if bits not in _BITS or block < _LEAST_BLOCK or block & (block - 1):
            expected = "2, 4 or 8 bits in blocks of 16, 32, 64, 128 or 256"
            yield report("OLX342", place.where, expected, f"{bits} bits in blocks of {block}")
        else:
            yield from _sizes(context, place, bits, block)


def _sizes(context: Context, place: Place, bits: int, block: int) -> Iterator[Finding]:
    rows, columns = int(attribute(place.node, "N", 0)), int(attribute(place.node, "K", 0))
    blocks = -(-columns // block)
    said = f"{bits} bits, blocks of {block}, K={columns} and N={rows}"
    for slot, what in ((1, "weights"), (2, "scales"), (3, "zero points")):
        constant = context.index.constant(input_of(place.node, slot))
        if constant is None:
            continue
        per_row = {1: blocks * block * bits // 8, 2: blocks, 3: -(-blocks * bits // 8)}[slot]
        if slot == 3 and constant.tensor.dtype != ir.DataType.UINT8:
            per_row = blocks
        found = constant.tensor.size
        if found != rows * per_row:
            where = f"{place.where} ({constant.name})"
            yield report(
                "OLX341", where, f"{rows * per_row:,} {'bytes of ' if slot == 1 else ''}{what} for {said}", f"{found:,}"
            )
