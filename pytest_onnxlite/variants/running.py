"""One batch of a variant's evaluation data, with no session left open next to what is measured."""

from __future__ import annotations

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.spec import Array, count_samples, take
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.variant import RuntimeVariant, Variant


def one_batch(builder: Builder, variant: Variant, batch_size: int) -> tuple[RuntimeVariant, dict[str, Array]]:
    """Return a variant with the feeds of one batch, and close every session of the model.

    Raises:
        OnnxliteError: no runtime runs the variant, or there are fewer samples than the batch needs.
    """
    if not isinstance(variant, RuntimeVariant):
        raise OnnxliteError(f"{variant.model} {variant.kind}: no runtime loads it, so that it cannot be measured.")
    data = builder.evaluation.x
    if count_samples(data) < batch_size:
        raise OnnxliteError(
            f"{variant.model} {variant.kind}: a batch of {batch_size} needs as many evaluation samples; there are "
            f"{count_samples(data)}."
        )
    feeds = variant.feeds(take(data, slice(batch_size)))
    builder.release()
    variant.release()
    return variant, feeds
