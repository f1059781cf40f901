"""What `onnxlite_latency` asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_onnxlite.checks.limit import FLAG, Limit, number, whole
from pytest_onnxlite.settings import RUNTIME_KINDS

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class LatencyLimit(Limit):
    """`onnxlite_latency`: time per inference, against the previous release's artefact, run between the rounds.

    Attributes:
        max_slowdown: how much slower it may be, relatively.
        max_ratio: where given, its time may be at most this share of the float ONNX model's, in this run; this
            needs no baseline.
        absolute: where the previous artefact was not kept, and no sibling can stand in, compare with the
            saved seconds, on a machine of the same fingerprint.
        batch_size: samples per inference; the spec's where None.
        threads: intra-op threads; the spec's where None.
        max_time: seconds after which measuring longer is given up.
    """

    check = "latency"
    kinds: ClassVar[tuple[str, ...]] = RUNTIME_KINDS
    rules: ClassVar[dict[str, Any]] = {
        "max_slowdown": number(0.005, 1.0, "a number from 0.005 to 1 (0.05 is 5 %)"),
        "max_ratio": number(0.001, 1000.0, "a number from 0.001 (1.0: no slower than the float model)"),
        "absolute": FLAG,
        "batch_size": whole(1),
        "threads": whole(1),
        "max_time": number(0.5, 3600.0, "seconds, from 0.5 to 3600"),
    }

    max_slowdown: float = 0.05
    max_ratio: float | None = None
    absolute: bool = False
    batch_size: int | None = None
    threads: int | None = None
    max_time: float = 120.0
