"""Peak memory, each file in fresh child processes of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pytest_onnxlite.checks.memory.measurement import Memory, Peak
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.childprocess import ChildError, ask
from pytest_onnxlite.spec import Array

# Two children that agree settle a figure, of three at least: now and then, in about one of a hundred, an allocator
# lays things out so that the peak is some MiB higher. Before a difference is believed, as many are asked again.
_FEWEST_CHILDREN, _MOST_CHILDREN = 3, 6
_AGREE = 0.01


def measure(
    candidate: Path, reference: Path | None, feeds: Mapping[str, Array], batch_size: int, threads: int
) -> Memory:
    """Measure the peaks of loading and running a model, and of the reference in the same way.

    Args:
        candidate: the ONNX file.
        reference: the last release's, or None.
        feeds: one batch, by input name.
        batch_size: samples in it.
        threads: intra-op threads.

    Raises:
        OnnxliteError: a child could not load or run a model.
    """
    with tempfile.TemporaryDirectory(prefix="onnxlite-") as folder:
        path = Path(folder) / "feeds.npz"
        np.savez(path, **feeds)  # type: ignore[arg-type]
        own = _Children(candidate, path, threads)
        own.settle(_FEWEST_CHILDREN)
        if reference is None:
            return Memory(own.peak, None, own.method, None, batch_size, threads)
        other = _Children(reference, path, threads)
        other.settle(_FEWEST_CHILDREN)
        if not _agree(own.peak.load, other.peak.load) or not _agree(own.peak.run, other.peak.run):
            for children in (own, other):
                children.settle(len(children.answers) + _FEWEST_CHILDREN)
        return Memory(own.peak, other.peak, own.method, other.method, batch_size, threads)


class _Children:
    """What fresh child processes say about one file."""

    def __init__(self, model: Path, feeds: Path, threads: int) -> None:
        self._request = {"task": "memory", "model": str(model), "feeds": str(feeds), "threads": threads}
        self._name = model.name
        self.answers: list[dict[str, Any]] = []

    def settle(self, fewest: int) -> None:
        """Ask children until there are so many and the smallest two peaks agree, or it is no use."""
        most = fewest - _FEWEST_CHILDREN + _MOST_CHILDREN
        while len(self.answers) < fewest or (not self.peak.settled and len(self.answers) < most):
            try:
                self.answers.append(ask(self._request))
            except ChildError as error:
                raise OnnxliteError(
                    f"measuring the memory of {self._name} in a child process failed: {error}."
                ) from None

    @property
    def method(self) -> str:
        """How the peaks were read."""
        return str(self.answers[0]["method"])

    @property
    def peak(self) -> Peak:
        """The smallest peak: what disturbs one from outside only adds to it."""
        best, *rest = sorted(self.answers, key=lambda answer: answer["load"] + answer["run"])
        agreed = bool(rest) and all(_agree(best[phase], rest[0][phase]) for phase in ("load", "run"))
        return _peak(best, agreed and best["settled"])


def _peak(answer: dict[str, Any], settled: bool) -> Peak:
    nodes = tuple((str(name), int(size)) for name, size in answer["nodes"])
    return Peak(answer["load"], answer["run"], settled, answer["node_bytes"], nodes)


def _agree(one: int, other: int) -> bool:
    # A few pages of difference are the allocator's, however small the peak.
    return abs(one - other) <= max(_AGREE * max(one, other), 1 << 18)
