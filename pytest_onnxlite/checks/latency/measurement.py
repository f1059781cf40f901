"""Times per inference with their conditions."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """Time ratios of a candidate to a reference that ran between its rounds.

    Attributes:
        reference: `previous artefact`, or the variant that is the sibling: `onnx`.
        most: the ratio that is allowed.
        first: the candidate / reference ratio of each replicate of the first set: of a pair of fresh sessions, or of
            two such pairs where it matters which session was created first.
        second: the same of the independent second set; empty where the first raised no suspicion.
        self_check: the same of the reference against itself; empty where nothing hung on it.
    """

    reference: str
    most: float
    first: tuple[float, ...]
    second: tuple[float, ...] = ()
    self_check: tuple[float, ...] = ()


@dataclass(frozen=True)
class Latency:
    """Time per inference of a candidate, alone and beside what it is compared with.

    Attributes:
        seconds: median time of one inference, a batch of `batch_size`.
        sessions: the same for each fresh session.
        rounds: blocks that were timed.
        iterations: inferences in a block.
        batch_size: samples per inference.
        threads: ONNX Runtime's intra-op threads.
        comparisons: by what for: `baseline` or `onnx`.
        duration: seconds that measuring took.
    """

    seconds: float
    sessions: tuple[float, ...]
    rounds: int
    iterations: int
    batch_size: int
    threads: int
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    duration: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)
