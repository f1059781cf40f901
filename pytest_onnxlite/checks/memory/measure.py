"""Peak memory, each file in fresh child processes of its own."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_onnxlite.checks.last_runtime import LastRuntime
from pytest_onnxlite.checks.memory.measurement import Memory, Peak
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime import arrays, peak
from pytest_onnxlite.runtime.childprocess import ChildError, ask
from pytest_onnxlite.spec import Array, Runtime
from pytest_onnxlite.variants.running import shapes_of

# Two children that agree settle a figure, of three at least: now and then, in about one of a hundred, an allocator
# lays things out so that the peak is some MiB higher. Before a difference is believed, as many are asked again.
_FEWEST_CHILDREN, _MOST_CHILDREN = 3, 6
_AGREE = 0.01


def measure(
    candidate: Path,
    reference: Path | None,
    feeds: Mapping[str, Array],
    batch_size: int,
    runtime: Runtime,
    last: LastRuntime | None = None,
) -> Memory:
    """Measure the peaks of loading and running a model, and of the reference in the same way.

    Args:
        candidate: the ONNX file.
        reference: the last release's, or None.
        feeds: one batch, by input name.
        batch_size: samples in it.
        runtime: how the models are run.
        last: what the reference runs in; None for what the candidate runs in.

    Raises:
        OnnxliteError: a child could not load or run a model.
    """
    found = _measure(candidate, reference, feeds, batch_size, runtime, last)
    return replace(found, shapes=shapes_of(feeds), runtime=last.name if last else "")


def _measure(
    candidate: Path,
    reference: Path | None,
    feeds: Mapping[str, Array],
    batch_size: int,
    runtime: Runtime,
    last: LastRuntime | None,
) -> Memory:
    with tempfile.TemporaryDirectory(prefix="onnxlite-") as folder:
        path = Path(folder) / "feeds.npz"
        arrays.save(path, dict(feeds))
        own = _Children(candidate, path, runtime)
        own.settle(_FEWEST_CHILDREN)
        if reference is None:
            return Memory(own.peak, None, own.method, None, batch_size, runtime.threads)
        other = _Children(reference, path, last.runtime, last.packages) if last else _Children(reference, path, runtime)
        other.settle(_FEWEST_CHILDREN)
        if not _agree(own.peak.load, other.peak.load) or not _agree(own.peak.run, other.peak.run):
            for children in (own, other):
                children.settle(len(children.answers) + _FEWEST_CHILDREN)
        return Memory(own.peak, other.peak, own.method, other.method, batch_size, runtime.threads)


class _Children:
    """What fresh child processes say about one file."""

    def __init__(self, model: Path, feeds: Path, runtime: Runtime, packages: Path | None = None) -> None:
        self._request = peak.PeakRequest(str(model), str(feeds), runtime)
        self._name, self._packages = model.name, packages
        self.answers: list[peak.PeakAnswer] = []

    def settle(self, fewest: int) -> None:
        """Ask children until there are so many and two of them agree, or it is no use."""
        most = fewest - _FEWEST_CHILDREN + _MOST_CHILDREN
        while len(self.answers) < fewest or (not self.peak.settled and len(self.answers) < most):
            try:
                self.answers.append(ask(peak.measure, self._request, packages=self._packages))
            except ChildError as error:
                raise OnnxliteError(
                    f"measuring the memory of {self._name} in a child process failed: {error}."
                ) from None

    @property
    def method(self) -> str:
        """How the peaks were read."""
        return self.answers[0].method

    @property
    def peak(self) -> Peak:
        """The peak that they agree upon."""
        return agreed_peak(self.answers)


def agreed_peak(answers: Sequence[peak.PeakAnswer]) -> Peak:
    """Return the lowest peak that two children agree upon, or else the lowest, which is not settled.

    What disturbs a child from outside adds to its peak. But a lone child can also be too low: the kernel counts
    resident pages in batches, and about one child of thirty is 256 KiB below all others.
    """
    ordered = sorted(answers, key=lambda answer: answer.load + answer.run)
    for one, other in itertools.pairwise(ordered):
        if one.settled and other.settled and _agree(one.load, other.load) and _agree(one.run, other.run):
            return _peak(one, settled=True)
    return _peak(ordered[0], settled=False)


def _peak(answer: peak.PeakAnswer, *, settled: bool) -> Peak:
    return Peak(answer.load, answer.run, settled, answer.node_bytes, tuple(answer.nodes))


def _agree(one: int, other: int) -> bool:
    # A few pages of difference are the allocator's, however small the peak.
    return abs(one - other) <= max(_AGREE * max(one, other), 1 << 18)
