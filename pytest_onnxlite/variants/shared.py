"""Outputs for the evaluation data that several limits of one test ask for: a variant is run once for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from pytest_onnxlite.runtime.values import Columns
from pytest_onnxlite.spec.dataset import Dataset
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.external import hash_model
from pytest_onnxlite.variants.variant import OnnxVariant, Outputs, RuntimeVariant, Variant

# Larger outputs are not kept: to run a model again costs time, and to keep and copy them memory that may not be there.
_MOST_BYTES = 256 * 2**20

# What outputs depend on: the variant's type and kind, its file's hash, how it is run, the inputs' hash, and the batch size.
_Key = tuple[type[Variant], str, str, Runtime, bool, str, int]


@dataclass(frozen=True)
class _Answer:
    """A variant's outputs, and what the columns of those that are maps stand for."""

    outputs: Outputs
    columns: Columns


class SharedOutputs:
    """Runs variants on evaluation data, and keeps what came out while limits of one test are judged.

    What is kept is kept by content, so that a file that was written anew, other data or another runtime is run again. Whoever
    asks gets arrays of their own: a metric may write into them.
    """

    def __init__(self) -> None:
        # Few, and a runtime cannot be hashed.
        self._kept: list[tuple[_Key, _Answer]] | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep outputs within the block, and let them go at its end."""
        self._kept = []
        try:
            yield
        finally:
            self._kept = None

    def answer(self, variant: Variant, data: Dataset, batch_size: int) -> Outputs:
        """Return a variant's outputs for all samples, whatever numbers they hold if a runtime runs it.

        Args:
            variant: what is run.
            data: the evaluation data.
            batch_size: samples per run.

        Raises:
            OnnxliteError: see `Variant.run`.
        """
        if not isinstance(variant, RuntimeVariant):
            return variant.run(data.x, batch_size)
        if self._kept is None:
            return variant.answer(data.x, batch_size)
        key = _key(variant, data, batch_size)
        found = next((answer for known, answer in self._kept if known == key), None)
        if found is None:
            outputs = variant.answer(data.x, batch_size)
            if _bytes(outputs) > _MOST_BYTES:
                return outputs
            found = _Answer(outputs, dict(variant.columns) if isinstance(variant, OnnxVariant) else {})
            self._kept.append((key, found))
        if isinstance(variant, OnnxVariant):
            variant.columns.update(found.columns)
        return deepcopy(found.outputs)

    def run(self, variant: Variant, data: Dataset, batch_size: int) -> Outputs:
        """Return a variant's outputs for all samples.

        Raises:
            OnnxliteError: see `answer`; or an output holds NaN or infinity.
        """
        return variant.finite(self.answer(variant, data, batch_size))


def _bytes(outputs: Outputs) -> int:
    """Return how many bytes outputs take; those of samples of several lengths lie behind an array of objects."""
    return sum(
        sum(int(np.asarray(one).nbytes) for one in array) if array.dtype == object else array.nbytes
        for array in outputs.values()
    )


def _key(variant: RuntimeVariant, data: Dataset, batch_size: int) -> _Key:
    return (
        type(variant),
        variant.kind,
        hash_model(variant.path),
        variant.runtime,
        variant.batched,
        data.inputs_sha256,
        batch_size,
    )
