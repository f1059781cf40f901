"""Answers of a variant as another processor gives them: `run` is called in a child process, emulated or not."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from pytest_onnxlite.processors import this_processor
from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.variant import OnnxVariant


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is run, and for how long.

    Args:
        name: the model's.
        kind: the variant's.
        model: its file.
        runtime: how it is run.
        batched: whether the first dim of its inputs counts samples.
        batch_size: samples per inference.
        seconds: after these no further batch is begun.
        feeds: the file with the samples.
        outputs: the file that takes the outputs.
    """

    name: str
    kind: str
    model: str
    runtime: Runtime
    batched: bool
    batch_size: int
    seconds: float
    feeds: str
    outputs: str


class RunAnswer(msgspec.Struct, frozen=True):
    """How many samples were run, the first ones; the seconds that took; the processor that it ran on."""

    samples: int
    seconds: float
    processor: str


def run(request: RunRequest) -> RunAnswer:
    """Run the samples batch by batch while there is time, and write the outputs of those that were run."""
    start = time.monotonic()
    samples = arrays.load(Path(request.feeds))
    total = len(next(iter(samples.values())))
    variant = OnnxVariant(request.name, request.kind, Path(request.model), request.runtime, batched=request.batched)
    parts = []
    longest, began = 0.0, time.monotonic()
    for part in variant.parts(samples, request.batch_size):
        parts.append(part)
        now = time.monotonic()
        longest, began = max(longest, now - began), now
        # One more of the longest must fit: what is not written when the time is up is lost.
        if now + longest - start > request.seconds:
            break
    done = min(len(parts) * request.batch_size, total)
    arrays.save(Path(request.outputs), variant.join(parts, request.batch_size, done))
    return RunAnswer(done, time.monotonic() - start, this_processor())
