"""What `onnxlite_memory` asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pytest_onnxlite.checks.limit import GROWTH, RUNTIME, SCENARIO, TOTAL, Argument, Limit, whole
from pytest_onnxlite.checks.quantity import BYTES

# Fewer do not tell memory that grows from memory that is planned in the first runs.
FEWEST_RUNS = 100


@dataclass(frozen=True)
class MemoryLimit(Limit):
    """`onnxlite_memory`: peak memory of loading and of running, against the last release's file.

    Growth below 1 MiB is the allocator's. More: docs/latency.md#memory, docs/latency.md#memory-that-grows.

    Attributes:
        max_growth: how much more it may need, relatively.
        max_growth_total: how much more than the first release it may need, relatively, each release's growth multiplied.
        scenario: what the model is fed with, of `ModelSpec(scenarios=...)`; its evaluation data where empty.
        batch_size: samples per inference; the spec's where None.
        threads: intra-op threads; the spec's where None.
        max: the most that it may need, such as `"64 MiB"`; needs nothing to compare with.
        runs: run it so often in one session, and find memory that grows with each run or each new shape.
        runtime: `last`: judge model and runtime together, the last release in its own runtime.
    """

    arguments: ClassVar[Mapping[str, Argument]] = {
        "max_growth": GROWTH,
        "max_growth_total": TOTAL,
        "scenario": SCENARIO,
        "batch_size": whole(1),
        "threads": whole(1),
        "max": BYTES,
        "runs": whole(FEWEST_RUNS),
        "runtime": RUNTIME,
    }

    max_growth: float = 0.05
    max_growth_total: float | None = None
    scenario: str = ""
    batch_size: int | None = None
    threads: int | None = None
    max: float | None = None
    runs: int | None = None
    runtime: str = ""
