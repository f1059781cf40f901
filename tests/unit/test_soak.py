"""When memory over many runs is called growing."""

from __future__ import annotations

import pytest

from pytest_onnxlite.checks.memory.judge import judge_memory
from pytest_onnxlite.checks.memory.limit import MemoryLimit
from pytest_onnxlite.checks.memory.measurement import Memory, Peak, Soak
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.verdict import Outcome

MIB = 1 << 20
KIB = 1 << 10
FLAT = (MIB,) * 5


@pytest.mark.parametrize(
    ("runs", "shapes", "told"),
    [
        (tuple(MIB + n * 200 * KIB for n in range(5)), (), "with each run of 800"),
        (FLAT, tuple(MIB + n * 200 * KIB for n in range(5)), "with each new shape, the longest first, of 100"),
        # Planned once, in whatever quarter that was.
        ((MIB, 3 * MIB, 3 * MIB, 3 * MIB, 3 * MIB), (), ""),
        ((MIB, MIB, MIB, MIB, 9 * MIB), (), ""),
        # What a sound model did over as many shapes.
        (FLAT, (40_292 * KIB, 40_344 * KIB, 40_364 * KIB, 40_412 * KIB, 40_456 * KIB), ""),
        # One that gives back what it takes, and one of which only a first part is large.
        ((MIB, 3 * MIB, 2 * MIB, 3 * MIB, 4 * MIB), (), ""),
        ((MIB, 4 * MIB, 4 * MIB + KIB, 4 * MIB + 2 * KIB, 4 * MIB + 3 * KIB), (), ""),
        (FLAT, (), ""),
    ],
)
def test_memory_that_every_part_of_the_runs_adds_to_grows(
    runs: tuple[int, ...], shapes: tuple[int, ...], told: str
) -> None:
    found = Memory(Peak(MIB, MIB, True), None, "VmHWM", None, 1, 1, soak=Soak(runs, shapes, 800, 100))
    verdict = judge_memory(MemoryLimit(runs=1000), found, Absent(Outcome.MISSING, "there is no baseline"))[0]
    assert (verdict.outcome, told in verdict.message) == (Outcome.FAIL if told else Outcome.PASS, True)
