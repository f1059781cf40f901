"""The bounds: exact against the binomial distribution, and honest in simulation."""

from __future__ import annotations

import random
from fractions import Fraction
from math import comb

import pytest

from pytest_onnxlite.statistics import binomial_tail, median_interval, paired_drop_interval, smallest_sample


@pytest.mark.parametrize(("confidence", "count"), [(0.995, 8), (0.99, 7), (0.95, 5), (0.5, 1)])
def test_smallest_sample_is_where_half_to_the_n_fits(confidence: float, count: int) -> None:
    assert smallest_sample(confidence) == count


@pytest.mark.parametrize(
    ("count", "rank"),
    # The largest k with P(Binomial(n, 1/2) < k) <= 0.005, from tables of the binomial distribution.
    [(8, 1), (11, 1), (12, 2), (16, 3), (24, 6), (32, 9)],
)
def test_bounds_are_these_order_statistics(count: int, rank: int) -> None:
    interval = median_interval([float(i) for i in range(1, count + 1)], 0.995)
    assert (interval.lower, interval.upper) == (rank, count + 1 - rank)


def test_too_few_values_are_refused() -> None:
    with pytest.raises(ValueError, match="7 values cannot bound a median"):
        median_interval([1.0] * 7, 0.995)


def test_lower_bound_is_wrong_no_more_often_than_promised() -> None:
    rng = random.Random(1)
    trials = 20_000
    # Skewed on purpose: nothing may hang on a normal distribution. The median of exp(N(0, 1)) is 1.
    wrong = sum(median_interval([rng.lognormvariate(0, 1) for _ in range(16)], 0.995).lower > 1 for _ in range(trials))
    # The exact probability is P(Binomial(16, 1/2) < 3) = 0.0021.
    assert 0.0010 < wrong / trials < 0.0035


def test_noise_is_half_the_distance_of_the_bounds() -> None:
    assert median_interval([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.2], 0.995).noise == pytest.approx(0.1)


def test_paired_interval_covers_the_difference_and_narrows_with_samples() -> None:
    low, high = paired_drop_interval(11, 0, 1000, 0.95)
    assert low < 0.011 < high
    wide = paired_drop_interval(1, 0, 100, 0.95)
    assert wide[1] - wide[0] > high - low


def test_paired_interval_is_agresti_and_min() -> None:
    # b=11, c=4, n=100: ((11.5 - 4.5) ± 1.95996 * sqrt(16 - 49/102)) / 102.
    low, high = paired_drop_interval(11, 4, 100, 0.95)
    assert (low, high) == pytest.approx((-0.0070697, 0.1443246), abs=2e-6)


def test_paired_interval_of_models_that_agree_contains_no_drop() -> None:
    low, high = paired_drop_interval(0, 0, 1000, 0.95)
    assert low < 0 < high < 0.01


@pytest.mark.parametrize(
    ("successes", "trials", "share"),
    [(0, 3, 0.2), (3, 3, 0.2), (8, 10, 0.2), (1, 5, 0.9), (2, 2, 1.0), (700, 1000, 0.5)],
)
def test_the_tail_of_a_binomial_is_the_exact_sum(successes: int, trials: int, share: float) -> None:
    exact = Fraction(share)
    tail = sum(comb(trials, k) * exact**k * (1 - exact) ** (trials - k) for k in range(successes, trials + 1))
    assert binomial_tail(successes, trials, share) == pytest.approx(float(tail), rel=1e-9)
