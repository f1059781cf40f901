"""Peak memory, each file in fresh child processes of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pytest_onnxlite.childprocess import ChildError, ask
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.measure.measurement import Memory, Peak
from pytest_onnxlite.spec import Array

# Two children that agree settle a figure; this many are tried.
_MAX_CHILDREN = 5
_AGREE = 0.01


def measure(
    candidate: Path, reference: Path | None, feeds: Mapping[str, Array], batch_size: int, threads: int
) -> Memory:
    """Measure the peaks of loading and running a model, and of the reference in the same way.

    Args:
        candidate: the ONNX file.
        reference: the previous release's, or None.
        feeds: one batch, by input name.
        batch_size: samples in it.
        threads: intra-op threads.

    Raises:
        OnnxliteError: a child could not load or run a model.
    """
    with tempfile.TemporaryDirectory(prefix="onnxlite-") as folder:
        path = Path(folder) / "feeds.npz"
        np.savez(path, **feeds)  # type: ignore[arg-type]
        peak, method = _settled_peak(candidate, path, threads)
        other, other_method = (None, None) if reference is None else _settled_peak(reference, path, threads)
    return Memory(peak, other, method, other_method, batch_size, threads)


def _settled_peak(model: Path, feeds: Path, threads: int) -> tuple[Peak, str]:
    request = {"task": "memory", "model": str(model), "feeds": str(feeds), "threads": threads}
    answers: list[dict[str, Any]] = []
    for _ in range(_MAX_CHILDREN):
        try:
            answers.append(ask(request))
        except ChildError as error:
            raise OnnxliteError(f"measuring the memory of {model.name} in a child process failed: {error}.") from None
        # The smallest two: what disturbs a peak from outside only adds to it.
        best = sorted(answers, key=lambda a: a["load"] + a["run"])[:2]
        if len(best) == 2 and all(_agree(best[0][phase], best[1][phase]) for phase in ("load", "run")):
            return _peak(best[0], best[0]["settled"]), best[0]["method"]
    return _peak(best[0], False), best[0]["method"]


def _peak(answer: dict[str, Any], settled: bool) -> Peak:
    nodes = tuple((str(name), int(size)) for name, size in answer["nodes"])
    return Peak(answer["load"], answer["run"], settled, answer["node_bytes"], nodes)


def _agree(one: int, other: int) -> bool:
    # A few pages of difference are the allocator's, however small the peak.
    return abs(one - other) <= max(_AGREE * max(one, other), 1 << 18)
