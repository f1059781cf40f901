"""Which input of another release is which of today's."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_onnxlite.runtime.sessions import TensorInfo, pair_inputs


def info(name: str, *shape: int | str, dtype: str = "float32") -> TensorInfo:
    return TensorInfo(name, dtype, shape)


IDS, IMAGE = np.zeros((1, 7), np.int64), np.zeros((1, 3, 4), np.float32)
CASES = {
    "as they were": ([info("x", "N", 7, dtype="int64"), info("y", "N", 3, 4)], {"x": "x", "y": "y"}),
    "in another order": ([info("y", "N", 3, 4), info("x", "N", 7, dtype="int64")], {"x": "x", "y": "y"}),
    "one by another name": ([info("x", "N", "T", dtype="int64"), info("image", "N", 3, 4)], {"x": "x", "image": "y"}),
    "by other names": ([info("a", "N", "T", dtype="int64"), info("b", "N", 3, "W")], {"a": "x", "b": "y"}),
    "named anew and turned round": ([info("b", "N", 3, 4), info("a", "N", 7, dtype="int64")], {"a": "x", "b": "y"}),
}


@pytest.mark.parametrize("case", CASES)
def test_inputs_are_paired_by_name_then_by_place_then_by_what_they_fit(case: str) -> None:
    infos, expected = CASES[case]
    assert pair_inputs({"x": IDS, "y": IMAGE}, tuple(infos)) == expected


def test_inputs_that_all_fit_go_by_their_places() -> None:
    feeds = {"ids": IDS, "mask": IDS}
    assert pair_inputs(feeds, (info("a", "N", "T", dtype="int64"), info("b", "N", "T", dtype="int64"))) == {
        "a": "ids",
        "b": "mask",
    }


@pytest.mark.parametrize(
    "infos",
    [
        [info("a", "N", "T", dtype="int64")],
        [info("a", "N", 8, dtype="int64"), info("b", "N", 3, 4)],
        [info("a", "N", "T", dtype="int32"), info("b", "N", 3, 4)],
        [info("a", "N", "T"), info("b", "N", 3, 4), info("c", "N")],
        [info("x", "N", 7, dtype="int64")],
    ],
)
def test_inputs_that_do_not_fit_are_told(infos: list[TensorInfo]) -> None:
    with pytest.raises(ValueError, match=r"its inputs are others: expected .*, found "):
        pair_inputs({"x": IDS, "y": IMAGE}, tuple(infos))


def test_the_length_of_a_batch_may_be_any() -> None:
    fixed = (info("a", 4, 3, 4),)
    assert pair_inputs({"y": IMAGE}, fixed, sized=False) == {"a": "y"}
    with pytest.raises(ValueError, match="its inputs are others"):
        pair_inputs({"y": IMAGE}, fixed)
