"""How good a variant's answers are on other processors, which are emulated where this is none of that kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.accuracy.classes import Read
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, Elsewhere, Score
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.processors import TEXTS, Way, way_to
from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.runtime.childprocess import ask
from pytest_onnxlite.spec.dataset import Array, count_samples
from pytest_onnxlite.variants import elsewhere
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.deadline import OutOfTime, time_left
from pytest_onnxlite.variants.variant import OnnxVariant, Outputs
from pytest_onnxlite.workspace import working_folder

# Seconds that starting the child and writing the answers may take beyond the limit.
_GRACE = 60.0
# Samples are handed over in a file, which is to fit into a temporary folder: more than these bytes would not be run
# within any limit that somebody waits for.
_MOST_BYTES = 1 << 30
# The golden ratio: the first samples in the order of i * ratio mod 1 are spread evenly, however many of them are run, and
# meet no period that the data may have.
_RATIO = (5**0.5 - 1) / 2


def measure(
    builder: Builder, variant: OnnxVariant, processor: str, batch_size: int, seconds: float, read: Read
) -> Elsewhere:
    """Run a variant on another processor, on as many samples as there is time for, and rate its answers there.

    Args:
        builder: the model's variants.
        variant: the candidate.
        processor: one of `settings.PROCESSORS`.
        batch_size: samples per inference.
        seconds: how long it may run.
        read: what has read the outputs here (`accuracy.reader`).

    Raises:
        OutOfTime: a time limit around it ran out.
    """
    empty = Elsewhere(processor, TEXTS[processor], of=len(builder.evaluation), limit=time_left(seconds))
    try:
        if not variant.runtime.is_on_cpu:
            raise OnnxliteError(
                f"only ONNX Runtime's own kernels are run on other processors, and {' and '.join(variant.runtime.wanted)} runs "
                "this model."
            )
        way = way_to(processor)
        empty = replace(empty, place=way.text, runs_on=way.runs_on, emulated=way.emulated)
        if not way.emulated:
            rated = accuracy.measure(builder, variant, batch_size, read)
            return replace(empty, rated=rated, here=_value(rated))
        return _emulate(builder, variant, way, batch_size, read, empty)
    except OutOfTime:
        raise
    except OnnxliteError as error:
        return replace(empty, problem=str(error))


def _emulate(
    builder: Builder, variant: OnnxVariant, way: Way, batch_size: int, read: Read, empty: Elsewhere
) -> Elsewhere:
    if builder.spec.stateful is not None:
        raise OnnxliteError("a model with a state is run on this processor alone.")
    rows, outputs, answer, cut = _run(builder, variant, way, batch_size, empty.limit)
    for name, array in outputs.items():
        try:
            variant.require_finite(name, array)
        except OnnxliteError:
            raise OnnxliteError(
                f"output {name!r} holds NaN or infinity there, for {_count_broken(array)} of {len(rows)} samples, and "
                "none here: something overflows or saturates on the way."
            ) from None
    rated = accuracy.measure(builder, variant, batch_size, read, accuracy.Some(rows, outputs))
    here = accuracy.measure(builder, variant, batch_size, read, accuracy.Some(rows))
    return replace(empty, rated=rated, here=_value(here), seconds=answer.seconds, cut=cut)


def _count_broken(array: Array) -> int:
    return sum(not np.isfinite(sample).all() for sample in array)


def _value(rated: Accuracy | Score) -> float:
    return float(rated.correct) if isinstance(rated, Accuracy) else rated.value


def _run(
    builder: Builder, variant: OnnxVariant, way: Way, batch_size: int, seconds: float
) -> tuple[Array, Outputs, elsewhere.RunAnswer, str]:
    """Return the rows that were run there, rising; the outputs for them; what the child said; why some were left out."""
    feeds = variant.as_feeds(builder.evaluation.x)
    total = count_samples(feeds)
    order = spread(total, batch_size)
    handed = order[: _most(feeds, total, batch_size)]
    with working_folder() as folder:
        request = elsewhere.RunRequest(
            name=variant.model,
            kind=variant.kind,
            model=str(variant.path),
            runtime=variant.runtime,
            batched=variant.batched,
            batch_size=batch_size,
            seconds=seconds,
            feeds=f"{folder}/feeds.npz",
            outputs=f"{folder}/outputs.npz",
        )
        arrays.save(Path(request.feeds), {name: array[handed] for name, array in feeds.items()})
        answer = ask(elsewhere.run, request, timeout=seconds + _GRACE, processor=way.runs_on)
        if answer.processor != way.runs_on:
            raise OnnxliteError(
                f"qemu-x86_64 was asked for {TEXTS[way.runs_on]} and gave {TEXTS.get(answer.processor, 'another')}. "
                "Install version 7.2 or newer, the first that knows AVX2."
            )
        outputs = arrays.load(Path(request.outputs))
    done = handed[: answer.samples]
    cut = "" if len(done) == total else "time" if len(done) < len(handed) else "bytes"
    rising = np.argsort(done)
    return done[rising], {name: array[rising] for name, array in outputs.items()}, answer, cut


def _most(feeds: dict[str, Array], total: int, batch_size: int) -> int:
    """Return how many samples are handed over, in whole batches."""
    size = sum(sum(s.nbytes for s in a) if a.dtype == object else a.nbytes for a in feeds.values())
    if size <= _MOST_BYTES:
        return total
    return max(int(total * _MOST_BYTES / size) // batch_size, 1) * batch_size


def spread(total: int, batch_size: int) -> Array:
    """Return an order of samples of which any beginning is spread evenly over all of them.

    Batches stay together as they are run here: what dynamic quantization makes of a sample depends on the others in its
    batch. The last, smaller one stays at the end.

    Returns:
        `(total,) int64`, the same in every run.
    """
    whole = total // batch_size
    batches = np.argsort(np.arange(whole) * _RATIO % 1, kind="stable")
    rows = (batches[:, None] * batch_size + np.arange(batch_size)).ravel()
    return np.concatenate([rows, np.arange(whole * batch_size, total)]).astype(np.int64)
