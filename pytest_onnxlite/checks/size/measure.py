"""Bytes, and what they are made of."""

from __future__ import annotations

from pytest_onnxlite.checks.size.measurement import Contents, LeftInFloat, Size
from pytest_onnxlite.kinds import FORMS
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.external import size_of
from pytest_onnxlite.variants.variant import Variant


def measure(builder: Builder, variant: Variant) -> Size:
    """Count a variant's bytes, and those of the variant it was made from.

    Raises:
        OnnxliteError: one of the two cannot be built or read.
    """
    used, waste = size_of(variant.path)
    reference = builder.made_from(variant.kind)
    return Size(
        bytes=used,
        reference=reference.kind if reference else None,
        reference_bytes=reference.size if reference else None,
        contents=_contents(builder, variant),
        waste=waste,
        reach=_reach(builder, variant, reference),
    )


def _reach(builder: Builder, variant: Variant, reference: Variant | None) -> int | None:
    from pytest_onnxlite.checks.size.contents import QUARTER, reachable

    if reference is None or not builder.kind(variant.kind).quantized:
        return None
    if variant.path.suffix != ".onnx" or not reference.has_file or reference.path.suffix != ".onnx":
        return None
    kind = builder.kind(variant.kind)
    form = kind.form if kind.form in FORMS else "int8"
    return reachable(variant.path, reference.path, form, kind.size_ratio or QUARTER)


def _contents(builder: Builder, variant: Variant) -> Contents:
    from pytest_onnxlite.lint import summarize

    if variant.path.suffix != ".onnx":
        return Contents()
    found = summarize(variant.path, excluded=builder.excluded(variant.kind))
    left = tuple(LeftInFloat(entry.tensor, entry.node, entry.bytes, entry.reason) for entry in found.float_left)
    return Contents(dict(found.weight_bytes), left)
