"""The statistics behind verdicts, each with its formula and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, exp, fsum, lgamma, log, log1p, sqrt
from statistics import NormalDist, median


@dataclass(frozen=True)
class MedianInterval:
    """The median of a sample, with bounds on the median of what it was drawn from.

    Each bound alone holds with probability `confidence`.
    """

    median: float
    lower: float
    upper: float
    confidence: float
    count: int

    @property
    def noise(self) -> float:
        """Half the distance between the bounds."""
        return (self.upper - self.lower) / 2


def smallest_sample(confidence: float) -> int:
    """Return the fewest values from which a bound of this confidence on a median can be had."""
    count = 1
    while 0.5**count > 1 - confidence:
        count += 1
    return count


def median_interval(values: Sequence[float], confidence: float) -> MedianInterval:
    """Bound a median by order statistics, without assuming any distribution.

    The k-th smallest of n independent values lies above the true median with probability
    P(Binomial(n, 1/2) < k); k is the largest for which that is at most 1 - confidence
    (David & Nagaraja, Order Statistics, 3rd ed., section 7.1). Exact for every n.

    Raises:
        ValueError: there are too few values for the confidence.
    """
    ordered = sorted(values)
    count = len(ordered)
    rank, tail = 0, 0.0
    while tail + comb(count, rank) / 2**count <= 1 - confidence:
        tail += comb(count, rank) / 2**count
        rank += 1
    if rank == 0:
        raise ValueError(f"{count} values cannot bound a median with confidence {confidence}")
    return MedianInterval(median(ordered), ordered[rank - 1], ordered[count - rank], confidence, count)


# With this probability the bound holds that LoadGen gives of a percentile.
LOADGEN_CONFIDENCE = 0.99


def fewest_queries(share: float) -> int:
    """Return from how many queries on MLPerf's LoadGen estimates a percentile.

    As many as make it unlikely (at most 1 %) that two or more of them fail to lie above it: P(Binomial(n, 1 - share) <= 1), see
    `loadgen/early_stopping.cc` of MLPerf Inference, and Reddi et al., MLPerf Inference Benchmark (ISCA 2020), for how it is used.

    Args:
        share: the percentile as a share of 1: 0.99 needs 662 queries.
    """
    count = 2
    while share**count + count * (1 - share) * share ** (count - 1) > 1 - LOADGEN_CONFIDENCE:
        count += 1
    return count


@dataclass(frozen=True)
class QuantileInterval:
    """A quantile of a sample, with bounds on that of what it was drawn from, each of which holds with 99 %."""

    quantile: float
    lower: float
    upper: float
    count: int


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of a sample lies, between the two nearest in proportion."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * share
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def quantile_interval(values: Sequence[float], share: float) -> QuantileInterval:
    """Bound a high quantile by order statistics, without assuming any distribution.

    The upper bound is LoadGen's estimate: the t-th largest value, t the largest for which P(Binomial(n, 1 - share) <= t) is at
    most 1 %, which is more careful than needed by one value. The lower bound is the s-th largest, s the smallest for which
    P(Binomial(n, 1 - share) >= s) is at most 1 %.

    Raises:
        ValueError: there are fewer values than `fewest_queries`.
    """
    ordered, count = sorted(values), len(values)
    over, reached, below, lower = 0, 0.0, 0, count
    while over < count:
        chance = exp(
            lgamma(count + 1)
            - lgamma(over + 1)
            - lgamma(count - over + 1)
            + over * log1p(-share)
            + (count - over) * log(share)
        )
        reached += chance
        if reached <= 1 - LOADGEN_CONFIDENCE:
            below = over
        over += 1
        if 1 - reached <= 1 - LOADGEN_CONFIDENCE:
            lower = over
            break
    if below == 0:
        raise ValueError(f"{count} values cannot bound the quantile {share:g}")
    return QuantileInterval(quantile(ordered, share), ordered[count - lower], ordered[count - below], count)


def binomial_tail(successes: int, trials: int, share: float) -> float:
    """Return P(Binomial(trials, share) >= successes), for 0 < share <= 1; in logarithms, so that no term overflows."""
    if share >= 1:
        return 1.0

    def log_of(k: int) -> float:
        ways = lgamma(trials + 1) - lgamma(k + 1) - lgamma(trials - k + 1)
        return ways + k * log(share) + (trials - k) * log1p(-share)

    return fsum(exp(log_of(k)) for k in range(successes, trials + 1))


def share_interval(successes: int, total: int, confidence: float) -> tuple[float, float]:
    """Bound a share by Wilson's score interval (Journal of the American Statistical Association 22:209, 1927), two-sided.

    Returns:
        The lower and the upper end, as shares of 1.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = successes / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    reach = z * sqrt(share * (1 - share) / total + weight / total / 4) / (1 + weight)
    return middle - reach, middle + reach


def paired_drop_exceeds(only_reference: int, only_candidate: int, total: int, drop: float) -> float:
    """Return how likely a loss of answers is by chance if the true drop is as given: one-sided.

    The score test for a difference of paired proportions (Tango, Statistics in Medicine 17:891, 1998); for a drop of 0
    it is McNemar's.

    Args:
        only_reference: samples that only the reference has right.
        only_candidate: samples that only the candidate has right.
        total: samples.
        drop: from 0 to 1.
    """
    b, c, n = only_reference, only_candidate, total
    # The likeliest share of samples that only the candidate has right, if the drop is as given.
    first, second, third = 2 * n, (2 * n - b + c) * drop - b - c, -c * drop * (1 - drop)
    share = (sqrt(max(second * second - 4 * first * third, 0.0)) - second) / (2 * first)
    variance = n * (2 * share + drop * (1 - drop))
    if variance <= 0:
        return 1.0
    return 1 - NormalDist().cdf((b - c - n * drop) / sqrt(variance))


def mean_exceeds(mean: float, error: float | None, most: float) -> float:
    """Return how likely a mean is by chance if the true one is `most`: one-sided, by the normal distribution.

    Args:
        mean: of the samples' differences.
        error: its standard error; None if it is unknown, and then nothing is beyond chance.
        most: what it is held against.
    """
    if error is None or mean <= most:
        return 1.0
    return 0.0 if error == 0 else 1 - NormalDist().cdf((mean - most) / error)


def holm(chances: Sequence[float], error: float) -> list[bool]:
    """Tell which of several findings are beyond chance, so that all of them together err with that probability.

    Holm, Scandinavian Journal of Statistics 6:65 (1979).
    """
    order = sorted(range(len(chances)), key=lambda index: chances[index])
    found = [False] * len(chances)
    for rank, index in enumerate(order):
        if chances[index] > error / (len(chances) - rank):
            break
        found[index] = True
    return found


def paired_drop_interval(
    only_reference: int, only_candidate: int, total: int, confidence: float
) -> tuple[float, float]:
    """Bound the drop in accuracy between two models that answered the same samples.

    The drop is (b - c) / n, b samples that only the reference got right and c that only the candidate did;
    the interval is Agresti and Min's Wald interval with half a sample added to each of the four cells
    (Statistics in Medicine 24:729, 2005), two-sided.

    Returns:
        The lower and the upper end, as shares of 1.
    """
    b, c, n = only_reference + 0.5, only_candidate + 0.5, total + 2
    drop = (b - c) / n
    spread = NormalDist().inv_cdf(0.5 + confidence / 2) * sqrt(max((b + c) - (b - c) ** 2 / n, 0.0)) / n
    return drop - spread, drop + spread
