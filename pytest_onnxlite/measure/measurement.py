"""Numbers with their conditions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Accuracy:
    """Right answers, counted, of a candidate and of the variant it is compared with, on the same samples."""

    correct: int
    total: int
    batch_size: int
    data_sha256: str
    reference: str
    reference_correct: int
    only_reference: int
    only_candidate: int

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Size:
    """Bytes of a candidate, and of the variant it was made from, where there is one."""

    bytes: int
    reference: str | None
    reference_bytes: int | None
    contents: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Latency:
    """Time per inference of a candidate, and its ratios to a reference that ran between its rounds.

    Attributes:
        seconds: median time of one inference, a batch of `batch_size`.
        rounds: blocks that were timed.
        iterations: inferences in a block.
        batch_size: samples per inference.
        threads: ONNX Runtime's intra-op threads.
        reference: `previous artefact`, or None where there was nothing to run beside it.
        first: for each session pair of the first set the median of its rounds' candidate / reference ratios.
        second: the same of the independent second set; empty where the first raised no suspicion.
        self_check: the same of the reference against itself; empty where nothing hung on it.
        duration: seconds that measuring took.
    """

    seconds: float
    rounds: int
    iterations: int
    batch_size: int
    threads: int
    reference: str | None = None
    first: tuple[float, ...] = ()
    second: tuple[float, ...] = ()
    self_check: tuple[float, ...] = ()
    duration: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Peak:
    """Peak resident bytes of a child process, above what it held before the model was loaded."""

    load: int
    run: int
    settled: bool


@dataclass(frozen=True)
class Memory:
    """Peaks of a candidate and of a reference that was measured in the same way.

    Attributes:
        method: how the child read its peak; figures of different methods are never compared.
    """

    candidate: Peak
    reference: Peak | None
    method: str
    reference_method: str | None
    batch_size: int
    threads: int

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Graph:
    """What the graph checks found, the signature, and the operators."""

    findings: tuple[dict[str, Any], ...]
    texts: tuple[str, ...]
    signature: dict[str, Any]
    operators: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)
