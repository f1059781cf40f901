"""What callers of a model rely on: its inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_ir as ir

from pytest_onnxlite.errors import hide_mistakes
from pytest_onnxlite.lint.finding import Finding, report
from pytest_onnxlite.lint.interface import Dim, Signature, TensorSignature
from pytest_onnxlite.lint.loading import ModelLike, asking, load_model

__tracebackhide__ = hide_mistakes


def signature(model: ModelLike) -> Signature:
    """Return a model's inputs and outputs; initializers that are also listed as inputs are left out.

    Raises:
        GraphError: the model cannot be read.
    """
    loaded = load_model(model)
    with asking(loaded.label, "its inputs and outputs"):
        return signature_of(loaded.require())


def signature_of(model: ir.Model) -> Signature:
    """Return the signature of a model that is already loaded."""
    graph = model.graph
    return Signature(
        tuple(_describe(value) for value in graph.inputs if value.name not in graph.initializers),
        tuple(_describe(value) for value in graph.outputs),
    )


def _describe(value: ir.Value) -> TensorSignature:
    shape = None
    if value.shape is not None:
        shape = tuple(_dim(dim) for dim in value.shape)
    return TensorSignature(value.name or "", value.dtype.name if value.dtype is not None else "", shape)


def _dim(dim: int | ir.SymbolicDim) -> Dim:
    # Some exporters write -1 for a dynamic dim.
    return (dim if dim >= 0 else None) if isinstance(dim, int) else dim.value


def compare_signatures(expected: Signature, found: Signature) -> list[Finding]:
    """Return how one signature differs from another.

    Dynamic dims may be renamed, as long as those that were equal stay equal and others stay apart. A symbol
    that no input has says nothing to a caller: exporters make such up for outputs, and a quantizer that
    infers shapes may know better.
    """
    symbols: dict[str, str] = {}
    fed = {dim for tensor in expected.inputs for dim in tensor.shape or () if isinstance(dim, str)}
    findings: list[Finding] = []
    for side, before, after in (
        ("input", expected.inputs, found.inputs),
        ("output", expected.outputs, found.outputs),
    ):
        findings += _compare_side(side, before, after, symbols, fed)
    return findings


def _compare_side(
    side: str,
    expected: Sequence[TensorSignature],
    found: Sequence[TensorSignature],
    symbols: dict[str, str],
    fed: set[str],
) -> Iterator[Finding]:
    before, after = [t.name for t in expected], [t.name for t in found]
    if sorted(before) != sorted(after):
        missing = [name for name in before if name not in after] or before
        yield report("OLX201", f"{side} {', '.join(missing)}", f"{side}s {before}", str(after))
    elif before != after:
        yield report("OLX202", f"{side}s", f"the order {before}", str(after))
    by_name = {tensor.name: tensor for tensor in found}
    for old in expected:
        new = by_name.get(old.name)
        if new is None and len(expected) == len(found):
            new = found[before.index(old.name)]  # renamed, which is reported above: go on with the rest
        if new is not None:
            yield from _compare_tensor(f"{side} {old.name}", old, new, symbols, fed)


def _compare_tensor(
    where: str, old: TensorSignature, new: TensorSignature, symbols: dict[str, str], fed: set[str]
) -> Iterator[Finding]:
    if old.dtype and new.dtype and old.dtype != new.dtype:
        yield report("OLX203", where, old.dtype, new.dtype)
    if old.shape is None or new.shape is None:
        if old.shape is not None:
            yield report("OLX204", where, str(old), "no shape at all")
        return
    if len(old.shape) != len(new.shape):
        yield report("OLX204", where, f"{len(old.shape)} dims, {old}", f"{len(new.shape)}, {new}")
        return
    for axis, (was, now) in enumerate(zip(old.shape, new.shape, strict=True)):
        at = f"{where} dim {axis}"
        if isinstance(was, str) and was not in fed:
            continue
        if isinstance(was, int) and isinstance(now, int):
            if was != now:
                yield report("OLX205", at, str(was), f"{now} in {new}")
        elif isinstance(now, int):
            yield report("OLX206", at, f"a dynamic dim ({was or '?'})", f"{now} in {new}")
        elif isinstance(was, int):
            yield report("OLX207", at, str(was), f"a dynamic dim ({now or '?'}) in {new}")
        elif was is not None and now is not None:
            if symbols.setdefault(f"expected {was}", now) != now:
                known = symbols[f"expected {was}"]
                yield report("OLX208", at, f"{known!r}, as elsewhere for {was!r}", f"{now!r} in {new}")
            elif symbols.setdefault(f"found {now}", was) != was:
                known = symbols[f"found {now}"]
                yield report("OLX208", at, f"a different dim than {known!r}", f"{now!r} in {new}")
