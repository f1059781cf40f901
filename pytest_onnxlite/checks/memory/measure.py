"""Peak memory, each file in fresh child processes of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from pytest_onnxlite.checks.last_runtime import LastRuntime
from pytest_onnxlite.checks.memory.measurement import Memory, Peak
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime import arrays, peak
from pytest_onnxlite.runtime.childprocess import Child, ChildError
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.running import shapes_of
from pytest_onnxlite.workspace import working_folder

# Two children that agree settle a figure, of three at least: now and then, in about one of a hundred, an allocator
# lays things out so that the peak is some MiB higher. Before a difference is believed, as many are asked again.
_FEWEST_CHILDREN, _MOST_CHILDREN = 3, 6
# Children that are at work at the same time.
_AT_ONCE = 2
_AGREE = 0.01


def measure(
    candidate: Path,
    reference: Path | None,
    feeds: Mapping[str, Array],
    batch_size: int,
    runtime: Runtime,
    last: LastRuntime | None = None,
    *,
    same: bool = False,
) -> Memory:
    """Measure the peaks of loading and running a model, and of the reference in the same way.

    Args:
        candidate: the ONNX file.
        reference: the last release's, or None.
        feeds: one batch, by input name.
        batch_size: samples in it.
        runtime: how the models are run.
        last: what the reference runs in; None for what the candidate runs in.
        same: whether the reference has the candidate's bytes and runs in the same runtime: its peaks are the candidate's then,
            and are not measured a second time.

    Raises:
        OnnxliteError: a child could not load or run a model.
    """
    found = _measure(candidate, None if same else reference, feeds, batch_size, runtime, last)
    if same:
        found = replace(found, reference=found.candidate, reference_method=found.method)
    return replace(found, shapes=shapes_of(feeds), runtime=last.name if last else "")


def _measure(
    candidate: Path,
    reference: Path | None,
    feeds: Mapping[str, Array],
    batch_size: int,
    runtime: Runtime,
    last: LastRuntime | None,
) -> Memory:
    with working_folder() as folder:
        path = folder / "feeds.npz"
        arrays.save(path, dict(feeds))
        own = _Children(candidate, path, runtime)
        if reference is None:
            _settle([own], _FEWEST_CHILDREN)
            return Memory(own.peak, None, own.method, None, batch_size, runtime.threads)
        other = _Children(reference, path, last.runtime, last.packages) if last else _Children(reference, path, runtime)
        _settle([own, other], _FEWEST_CHILDREN)
        if not _agree(own.peak.load, other.peak.load) or not _agree(own.peak.run, other.peak.run):
            _settle([own, other], max(len(own.answers), len(other.answers)) + _FEWEST_CHILDREN)
        return Memory(own.peak, other.peak, own.method, other.method, batch_size, runtime.threads)


class _Children:
    """What fresh child processes say about one file."""

    def __init__(self, model: Path, feeds: Path, runtime: Runtime, packages: Path | None = None) -> None:
        self._model, self._feeds, self._runtime = str(model), str(feeds), runtime
        self._name, self._packages = model.name, packages
        self.answers: list[peak.PeakAnswer] = []
        self._asked = 0

    def missing(self, fewest: int) -> int:
        """Return how many there are too few; one where no two of them agree and one more may help."""
        most = fewest - _FEWEST_CHILDREN + _MOST_CHILDREN
        if len(self.answers) < fewest:
            return fewest - len(self.answers)
        return int(not self.peak.settled and len(self.answers) < most)

    @contextmanager
    def asked(self) -> Iterator[Callable[[], None]]:
        """Ask one more, and give what takes its answer; within, it is at work.

        Raises:
            OnnxliteError: the child could not load or run the model.
        """
        # What nodes allocate is counted, and the same each time. How a process ends is seen once too: it takes as long as
        # what is measured.
        is_first = self._asked == 0
        self._asked += 1
        request = peak.PeakRequest(self._model, self._feeds, self._runtime, count_nodes=is_first)
        try:
            with Child(packages=self._packages, fork=True, stays=self._runtime.has_one_thread) as child:
                child.request(peak.measure, request)

                def take() -> None:
                    self.answers.append(child.answer(peak.measure))
                    if is_first:
                        child.end()

                yield take
        except ChildError as error:
            raise OnnxliteError(f"measuring the memory of {self._name} in a child process failed: {error}.") from None

    @property
    def method(self) -> str:
        """How the peaks were read."""
        return self.answers[0].method

    @property
    def peak(self) -> Peak:
        """The peak that they agree upon."""
        return agreed_peak(self.answers)


def _settle(sides: Sequence[_Children], fewest: int) -> None:
    """Ask children of each file until there are so many and two of them agree, or it is no use.

    Two are at work at the same time: a peak is of a process alone.
    """
    each = _AT_ONCE // len(sides)
    while due := [side for side in sides for _ in range(min(side.missing(fewest), each))]:
        with ExitStack() as stack:
            for take in [stack.enter_context(side.asked()) for side in due]:
                take()


def agreed_peak(answers: Sequence[peak.PeakAnswer]) -> Peak:
    """Return the lowest peak that two children agree upon, or else the lowest, which is not settled.

    What disturbs a child from outside adds to its peak. But a lone child can also be too low: the kernel counts
    resident pages in batches, a batch for each processor that the child was on.
    """
    ordered = sorted(answers, key=lambda answer: answer.load + answer.run)
    for one, other in itertools.pairwise(ordered):
        if one.settled and other.settled and _agree(one.load, other.load) and _agree(one.run, other.run):
            return Peak(one.load, one.run, True, answers[0].node_bytes, tuple(answers[0].nodes))
    return Peak(ordered[0].load, ordered[0].run, False, answers[0].node_bytes, tuple(answers[0].nodes))


def _agree(one: int, other: int) -> bool:
    # A few pages of difference are the allocator's, however small the peak.
    return abs(one - other) <= max(_AGREE * max(one, other), 1 << 18)
