"""What `onnxlite_throughput` asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pytest_onnxlite.checks.limit import SCENARIO, Argument, Limit, number, whole


@dataclass(frozen=True)
class ThroughputLimit(Limit):
    """`onnxlite_throughput`: inferences per second with several callers of one session, against the last release's file.

    More: docs/latency.md#throughput.

    Attributes:
        clients: threads that call the session at the same time; on a machine of fewer cores, as many as it has.
        max_slowdown: how much more time an inference may take of them all together, relatively: at 0.1 the last release's
            throughput may fall to 1/1.1 of it.
        scenario: what the model is fed with, of `ModelSpec(scenarios=...)`; its evaluation data where empty.
        batch_size: samples per inference; the spec's where None.
        threads: intra-op threads of the session, beyond those of the callers; the spec's where None.
        max_time: seconds after which a set of measurements gets no more; a red verdict takes three sets.
    """

    arguments: ClassVar[Mapping[str, Argument]] = {
        "clients": whole(2),
        "max_slowdown": number(0.005, 1.0, "a number from 0.005 to 1 (0.1 is 10 %)"),
        "scenario": SCENARIO,
        "batch_size": whole(1),
        "threads": whole(1),
        "max_time": number(0.5, 3600.0, "seconds, from 0.5 to 3600"),
    }

    clients: int = 2
    max_slowdown: float = 0.1
    scenario: str = ""
    batch_size: int | None = None
    threads: int | None = None
    max_time: float = 120.0
