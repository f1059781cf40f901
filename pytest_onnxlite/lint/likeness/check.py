"""The checks: dequantized, the candidate is its source, and what cannot be compared is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import onnx_ir as ir

from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.finding import Finding, report
from pytest_onnxlite.lint.likeness.comparing import Comparison, compare, walk
from pytest_onnxlite.lint.likeness.numbers import comparable, differ
from pytest_onnxlite.lint.likeness.reading import Terms, read
from pytest_onnxlite.lint.likeness.tensors import Tensor
from pytest_onnxlite.lint.model_index import Constant, ModelIndex
from pytest_onnxlite.lint.operators import float_operator
from pytest_onnxlite.lint.precision import has_half
from pytest_onnxlite.lint.weights import float_twin

# So many differences are listed: a model of another kind has no end of them.
_MOST = 20
_NAMED = 3


def check_source(context: Context) -> Iterator[Finding]:
    """Compare the whole graph with that of the float model."""
    if context.reference is None or context.reference.quantized:
        return
    halves = has_half(context.index) or has_half(context.reference)
    theirs = read(context.reference, halves=halves)
    ours = read(context.index, theirs.optional, halves=halves)
    unread = ours.unread or theirs.unread
    if unread:
        yield report(
            "OLX808",
            context.index.loaded.label,
            "each node compared with the float model's",
            f"no node compared: {unread}",
        )
        return
    found = compare(ours, theirs, opsets=(context.index.opset, context.reference.opset))
    faults = [report(d.code, d.where, d.expected, d.found) for d in found.differences]
    faults += _lost_inputs(ours, theirs, {fault.where for fault in faults if fault.code == "OLX806"})
    compared: set[int] = set()
    faults += _constants(context, found, compared)
    yield from islice(dict.fromkeys(faults), _MOST)
    # Behind a difference nothing is compared, which the difference says.
    if not faults:
        yield from _left_out(context, ours, found, compared)


def _lost_inputs(ours: Terms, theirs: Terms, known: set[str]) -> Iterator[Finding]:
    """Yield the inputs that no longer have a part in an output."""
    for name, bit in theirs.inputs.items():
        mine = ours.inputs.get(name, 0)
        lost = [
            output
            for output, term in theirs.outputs.items()
            if term.reached & bit and output in ours.outputs and not ours.outputs[output].reached & mine
        ]
        if lost and name not in known:
            found = "no way" + ("" if mine else f", and no input {name!r}")
            yield report("OLX806", name, f"a way from this input to {_list(lost)}", found)


def _constants(context: Context, found: Comparison, compared: set[int]) -> Iterator[Finding]:
    assert context.reference is not None
    seen: set[tuple[int, int]] = set()
    twins = _twins(context)
    for pair in found.constants:
        ours, theirs = pair.ours.tensor, pair.theirs.tensor
        if ours is None or theirs is None or (id(ours), id(theirs)) in seen:
            continue
        seen.add((id(ours), id(theirs)))
        if not comparable(ours, theirs):
            continue
        compared.update(id(root.value) for root in ours.roots)
        if _by_name(context.index, context.reference, twins, ours, theirs):
            continue
        try:
            difference = differ(ours, theirs, halves=context.halved)
        except (OSError, ValueError):
            compared.difference_update(id(root.value) for root in ours.roots)
            continue
        if difference is not None:
            where = ours.roots[0].where if ours.roots else pair.reader
            if difference.code == "OLX703":
                where = f"{pair.reader} ({ours.roots[0].name})"
            yield report(difference.code, where, difference.expected, difference.found)


def _twins(context: Context) -> dict[ir.Value, Constant]:
    """Return the weights that are compared by their name, as they are stored."""
    assert context.reference is not None
    found = {}
    for weight in context.weights:
        in_matmul = {float_operator(reader.node) for reader in weight.quantized.readers} == {"MatMul"}
        turned = weight.quantized.layout == "directions"
        twin = float_twin(context.reference, weight.constant, turned=turned, in_matmul=in_matmul)
        if twin is not None and not twin[1]:
            found[weight.constant.value] = twin[0]
    return found


def _by_name(
    index: ModelIndex, reference: ModelIndex, twins: dict[ir.Value, Constant], ours: Tensor, theirs: Tensor
) -> bool:
    """Tell whether two tensors have one name, type and shape, and so are compared elsewhere."""
    if not (ours.still and theirs.still):
        return False
    mine, other = ours.roots[0], theirs.roots[0]
    if ours.quantized:
        return twins.get(mine.value) is other
    if reference.by_name.get((mine.path, mine.name)) is not other or index.by_value.get(mine.value) is not mine:
        return False
    same = mine.tensor.dtype == other.tensor.dtype and tuple(mine.tensor.shape.numpy()) == tuple(
        other.tensor.shape.numpy()
    )
    return same and mine.tensor.dtype.is_floating_point()


def _left_out(context: Context, ours: Terms, found: Comparison, compared: set[int]) -> Iterator[Finding]:
    """Say which nodes and weights have no like in the source, as far as that can be told."""
    missing = [where for where in found.live if where not in found.matched]
    if missing:
        text = f"{len(missing)} of {len(found.live)} nodes not compared ({_list(missing)})"
        yield report("OLX808", context.index.loaded.label, "each node compared with the float model's", text)
    weights = _weights(context)
    # A factor of one, or an offset of zero, goes without saying.
    used = {
        id(root.value) for term in walk(ours.outputs.values()) if term.tensor is not None for root in term.tensor.roots
    } - compared
    lost = [constant.where for constant in weights if id(constant.value) in used]
    if lost:
        text = f"{len(lost)} of {len(weights)} weights not compared ({_list(lost)})"
        yield report("OLX809", context.index.loaded.label, "each weight compared with the float model's", text)


def _weights(context: Context) -> list[Constant]:
    found: dict[int, Constant] = {}
    for quantized in context.quantized_tensors.of_role("weight", "constant", "bias"):
        constant = context.index.constant(quantized.data)
        if constant is not None:
            found[id(constant.value)] = constant
    return list(found.values())


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
