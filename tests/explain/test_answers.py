"""Which classes a loss is said to lie in: none if that may be chance."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_onnxlite.checks.accuracy.answers import compare_answers


def concentrated(samples: dict[int, int], lost: dict[int, int]) -> list[int]:
    """Return the classes that are named where so many samples of each class are there, and so many are lost."""
    labels = np.concatenate([np.full(count, label) for label, count in samples.items()])
    candidate = labels.copy()
    for label, count in lost.items():
        candidate[np.flatnonzero(labels == label)[:count]] = (label + 1) % len(samples)
    return [entry.label for entry in compare_answers(labels, labels, candidate).concentrated()]


EVEN = dict.fromkeys(range(10), 100)
# Most samples are of one class, as where faults or frauds are looked for.
UNEVEN = {0: 970, 1: 10, 2: 10, 3: 10}


@pytest.mark.parametrize(
    ("samples", "lost", "named"),
    [
        (EVEN, {3: 40, 5: 2}, [3]),
        (EVEN, {3: 20, 7: 22, 5: 3}, [7, 3]),
        (EVEN, dict.fromkeys(range(10), 4), []),
        # Two lost answers always lie in two classes.
        (EVEN, {3: 1, 7: 1}, []),
        (EVEN, {3: 4}, []),
        (EVEN, {3: 3, 7: 2, 1: 1}, []),
        (EVEN, {3: 5}, [3]),
        # Where nearly all samples are, most of what is lost is, whatever the cause.
        (UNEVEN, {0: 40, 1: 1}, []),
        (UNEVEN, {1: 8}, [1]),
        (dict.fromkeys(range(10), 3000), {3: 2500}, [3]),
    ],
)
def test_a_class_is_named_where_it_is_no_chance(
    samples: dict[int, int], lost: dict[int, int], named: list[int]
) -> None:
    assert concentrated(samples, lost) == named
