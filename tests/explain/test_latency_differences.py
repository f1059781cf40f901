"""Which operator a slower inference is laid to."""

from __future__ import annotations

import pytest

from pytest_onnxlite.checks.latency.explain import why_slower
from pytest_onnxlite.checks.latency.reasons import OperatorDifference


def difference(operator: str, seconds: float, reference: float) -> OperatorDifference:
    return OperatorDifference(operator, 1, 1, seconds, reference)


@pytest.mark.parametrize(
    ("operators", "total", "said"),
    [
        ([("Conv", 60e-6, 40e-6)], (120e-6, 100e-6), "Conv +20 µs"),
        # Profiles of one file differ by as much.
        (
            [("Conv", 42e-6, 40e-6)],
            (104e-6, 100e-6),
            "no operator takes noticeably longer than in the last one; most so Conv",
        ),
        # Each little, together not.
        ([("Conv", 41e-6, 40e-6)], (120e-6, 100e-6), "Conv +1 µs"),
        # One much slower, another as much faster.
        ([("Conv", 60e-6, 40e-6), ("Relu", 40e-6, 60e-6)], (100e-6, 100e-6), "Conv +20 µs"),
        ([("Conv", 40e-6, 40e-6)], (100e-6, 100e-6), "no operator takes longer than in the last one."),
    ],
)
def test_what_is_within_a_profiles_noise_is_called_so(
    operators: list[tuple[str, float, float]], total: tuple[float, float], said: str
) -> None:
    assert why_slower([difference(*entry) for entry in operators], total, "the last one").startswith(said)
