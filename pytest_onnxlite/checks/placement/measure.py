"""Which execution provider runs which node of a variant, as ONNX Runtime recorded it."""

from __future__ import annotations

from pytest_onnxlite.checks.placement.measurement import Placed, placed_from
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.placements import placements
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.variant import RuntimeVariant


def measure(variant: RuntimeVariant) -> Placed:
    """Open a session in which ONNX Runtime records what it assigns to which provider.

    Raises:
        OnnxliteError: a provider is not there or does not start, nothing was recorded, or the file cannot be loaded.
    """
    try:
        found = placements(variant.path, variant.runtime)
    except OnnxliteError as error:
        raise OnnxliteError(f"{variant.model} {variant.kind}: {error}.") from None
    except Exception as error:
        raise OnnxliteError(
            f"{variant.model} {variant.kind}: ONNX Runtime cannot load {variant.path}: {first_line(error)}"
        ) from None
    return placed_from(variant.runtime.wanted, {part.provider: part.nodes for part in found})
