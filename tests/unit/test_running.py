"""Which batches of the evaluation data are timed and measured."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_onnxlite.spec.dataset import Array, Inputs, as_inputs
from pytest_onnxlite.text import shapes_text
from pytest_onnxlite.variants.running import rows_to_run


def ragged(*shapes: tuple[int, ...]) -> Array:
    found = as_inputs([np.zeros(shape, np.float32) for shape in shapes], "x")
    assert isinstance(found, np.ndarray)
    return found


def lengths(*counts: int) -> Array:
    return ragged(*((count, 8) for count in counts))


@pytest.mark.parametrize(
    ("inputs", "batch_size", "rows"),
    [
        # One shape: the first batch, as it stands.
        (np.zeros((4, 8)), 1, [[0]]),
        (np.zeros((4, 8)), 3, [[0, 1, 2]]),
        ({"a": np.zeros((4, 8)), "b": np.zeros(4)}, 2, [[0, 1]]),
        # The longest first, then the median; where they are the same, once.
        (lengths(4, 800, 800), 1, [[1]]),
        (lengths(4, 16, 16, 16, 800), 1, [[4], [1]]),
        (lengths(800, 4), 1, [[0]]),
        # A batch of one shape, its samples repeated if it has too few.
        (lengths(16, 4, 16, 800, 16), 2, [[3, 3], [0, 2]]),
        # No shape has as many as a batch: nothing can be run, and running the first samples says so.
        (lengths(4, 8, 16), 2, [[0, 1]]),
        # As many numbers, and one input or one axis that is much longer elsewhere.
        ({"a": lengths(10, 100, 10), "b": lengths(90, 10, 10)}, 1, [[1], [0]]),
        (ragged((80, 8), (8, 79), (8, 8)), 1, [[0], [1]]),
        # Not much longer: no reason for one more.
        (ragged((80, 80), (79, 81), (80, 80)), 1, [[0]]),
        # An input of one shape does not make the others so.
        ({"a": np.zeros((3, 4)), "b": lengths(4, 40, 40)}, 1, [[1]]),
    ],
)
def test_which_samples_are_timed(inputs: Inputs, batch_size: int, rows: list[list[int]]) -> None:
    assert [list(chosen) for chosen in rows_to_run(inputs, batch_size)] == rows


def test_shapes_as_text() -> None:
    assert shapes_text({"ids": (1, 8), "mask": (1, 8), "image": (1, 3, 4, 4)}) == "ids, mask (1, 8), image (1, 3, 4, 4)"
    # A name out of a file is data, and no line of a CI's log.
    assert "\n" not in shapes_text({"x\n::error::gone": (1, 8)})
