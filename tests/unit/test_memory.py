"""What several children say about one peak, put together."""

from __future__ import annotations

import pytest

from pytest_onnxlite.checks.memory.measure import agreed_peak
from pytest_onnxlite.runtime.peak import PeakAnswer

KIB = 1024


def answer(kib: int, settled: bool = True) -> PeakAnswer:
    return PeakAnswer("VmHWM", kib * KIB, (kib + 200) * KIB, settled, None, [])


@pytest.mark.parametrize(
    ("peaks", "agreed"),
    [
        ([12_388, 12_388, 12_392], 12_388),
        # The kernel counted one child's pages too late: it is alone, and not believed.
        ([12_392, 12_132, 12_392], 12_392),
        ([12_132, 12_392, 12_136], 12_132),
        # An allocator laid things out in another way.
        ([15_000, 12_388, 15_000, 12_390], 12_388),
    ],
)
def test_the_lowest_peak_that_two_agree_upon_counts(peaks: list[int], agreed: int) -> None:
    peak = agreed_peak([answer(kib) for kib in peaks])
    assert (peak.load, peak.settled) == (agreed * KIB, True)


@pytest.mark.parametrize(
    "answers",
    [
        [answer(12_000), answer(13_000), answer(14_000)],
        [answer(12_000)],
        # It was still growing when the runs ended.
        [answer(12_000, settled=False), answer(12_000, settled=False), answer(13_000)],
    ],
)
def test_a_peak_that_no_two_agree_upon_is_not_settled(answers: list[PeakAnswer]) -> None:
    peak = agreed_peak(answers)
    assert (peak.load, peak.settled) == (12_000 * KIB, False)
