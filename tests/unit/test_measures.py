"""Agreement and divergence, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_onnxlite.metrics import as_metric

SHARES = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])


@pytest.mark.parametrize(
    ("outputs", "reference", "expected"),
    [
        (SHARES, SHARES[::-1], [False, False]),
        (SHARES + 0.3, SHARES, [True, True]),
        (np.array([0.4, 0.6]), np.array([0.1, 0.4]), [True, False]),
        (np.array([[0.6], [0.6]]), np.array([[0.9], [0.4]]), [True, False]),
        (np.array([3, 5]), np.array([3, 4]), [True, False]),
        (np.array(["a", "b"]), np.array(["a", "c"]), [True, False]),
        (np.stack([SHARES, SHARES]), np.stack([SHARES, SHARES[::-1]]), [1.0, 0.0]),
        (np.stack([SHARES]), np.stack([SHARES[[0, 0]]]), [0.5]),
        (np.array([[7, 8], [7, 9]]), np.array([[7, 8], [7, 8]]), [1.0, 0.5]),
        (np.array([[10, 20]], np.uint8), np.array([[1, 30]], np.uint8), [True]),
    ],
)
def test_agreement(outputs: Any, reference: Any, expected: list[Any]) -> None:
    found = as_metric("agreement")(outputs, reference)
    assert found.tolist() == expected
    assert found.dtype.kind == ("b" if isinstance(expected[0], bool) else "f")


@pytest.mark.parametrize(
    ("name", "outputs", "reference", "message"),
    [
        ("agreement", SHARES, SHARES[:1], "compares them one by one"),
        ("agreement", SHARES, SHARES[:, :2], "compares answer by answer"),
        ("agreement", np.array([21.0, 30.0]), np.array([20.0, 1.0]), "20 is no probability; use metric='mae'"),
        ("kl", np.ones(2), np.ones(2), "holds no distribution"),
        ("kl", np.ones((2, 1)), np.ones((2, 1)), "holds no distribution"),
        ("kl", np.log(SHARES), SHARES, "it lacks a Softmax"),
        ("kl", SHARES, SHARES[:, :2], "kl compares them value by value"),
    ],
)
def test_outputs_of_which_a_metric_makes_no_sense(name: str, outputs: Any, reference: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_metric(name)(outputs, reference)


def test_kl_of_probabilities_of_scores_and_of_their_logarithms_is_one_number() -> None:
    other = np.array([[0.6, 0.3, 0.1], [0.2, 0.1, 0.7]])
    expected = (SHARES * np.log(SHARES / other)).sum(axis=1)
    kl = as_metric("kl")
    assert kl(other, SHARES) == pytest.approx(expected)
    assert kl(np.log(other), np.log(SHARES)) == pytest.approx(expected)
    assert kl(np.log(other) + 5, np.log(SHARES) - 3) == pytest.approx(expected)
    # Rounded to 8 bits, they are no longer of sum one; a token's axis counts as one more sample's.
    assert kl(np.round(other * 256) / 256, SHARES) == pytest.approx(expected, abs=0.02)
    assert kl(np.stack([other, other]), np.stack([SHARES, SHARES])) == pytest.approx([expected.mean()] * 2)
    assert kl(SHARES, SHARES).tolist() == [0, 0]


def test_kl_is_finite_where_the_candidate_rules_out_what_the_reference_knows() -> None:
    assert 10 < as_metric("kl")(np.array([[1.0, 0.0]]), np.array([[0.4, 0.6]]))[0] < 20
