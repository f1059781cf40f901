"""Slices: what is one, when its loss is more than chance, and what several at once may say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from judging import SAVED

from pytest_onnxlite import Dataset
from pytest_onnxlite.checks.accuracy.judge import judge_accuracy
from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import LAST_RELEASE, Accuracy, Recount, Slice
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.verdict import Outcome, Verdict
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.statistics import holm, mean_exceeds, paired_drop_exceeds

X = np.zeros((6, 1), np.float32)
NOTHING = Absent(Outcome.NOT_COMPARED, "")


def test_a_mask_is_one_slice_and_labels_are_one_each() -> None:
    data = Dataset(
        X,
        slices={"night": [True, False] * 3, "region": ["eu", "us", "eu", "us", "eu", "ap"], "year": [1, 1, 1, 2, 2, 2]},
    )
    assert {name: mask.sum() for name, mask in data.masks.items()} == {
        "night": 3,
        "region=ap": 1,
        "region=eu": 3,
        "region=us": 2,
        "year=1": 3,
        "year=2": 3,
    }
    # What was judged is the samples; how they are parted is no other data.
    assert data.sha256 == Dataset(X).sha256


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        ([True] * 6, "is a list; expected arrays by name"),
        (
            {"night": [True] * 5},
            "has shape (5,) and dtype bool; expected one boolean, integer or string for each of the 6",
        ),
        ({"night": [0.5] * 6}, "dtype float64; expected one boolean"),
        ({"night": [None] * 6}, "dtype object; expected one boolean"),
        ({"night": [False] * 6}, "holds no sample: nothing would be judged by it"),
    ],
)
def test_what_is_no_slice_is_refused(slices: Any, said: str) -> None:
    with pytest.raises(OnnxliteError) as caught:
        Dataset(X, slices=slices)
    assert said in str(caught.value)


def test_the_chance_of_a_loss_is_tangos_and_mcnemars() -> None:
    # McNemar's: z = (b - c) / sqrt(b + c).
    assert paired_drop_exceeds(15, 5, 200, 0.0) == pytest.approx(0.012674, abs=1e-6)
    # Nothing lost, and all lost.
    assert paired_drop_exceeds(0, 0, 100, 0.0) == 1.0
    assert paired_drop_exceeds(0, 0, 100, 0.01) > 0.5
    assert paired_drop_exceeds(100, 0, 100, 0.01) < 1e-9


def test_it_keeps_its_word_by_chance_alone() -> None:
    """Of slices that lost just what is allowed, no more are red than the error says."""
    rng = np.random.default_rng(0)
    draws = rng.multinomial(200, [0.06, 0.05, 0.89], size=4000)
    red = np.mean([paired_drop_exceeds(int(b), int(c), 200, 0.01) <= 0.05 for b, c, _ in draws])
    assert 0.02 < red < 0.065


def test_several_at_once_err_no_more_than_one() -> None:
    assert holm([0.01, 0.04, 0.03], 0.05) == [True, False, False]
    assert holm([0.01, 0.02, 0.02], 0.05) == [True, True, True]
    assert holm([], 0.05) == []
    assert mean_exceeds(0.3, 0.1, 0.1) == pytest.approx(0.02275, abs=1e-5)
    assert mean_exceeds(0.3, None, 0.1) == 1.0


def judged(parts: list[Slice], limit: AccuracyLimit, last: bool = False) -> Verdict:
    found = Accuracy("top1", 950, 1000, 1, "d" * 64, "trained", 950, 40, 40, slices=tuple(parts))
    if last:
        found = replace(found, last=Recount(950, 40, 40))
        return judge_accuracy(limit, found, SAVED)[-1]
    return judge_accuracy(limit, found, NOTHING)[0]


def part(name: str, lost: int, won: int = 0, samples: int = 100, against: str = "trained") -> Slice:
    return Slice(name, against, samples, (90 - lost + won) / samples, 90 / samples, lost, won)


SLICES = AccuracyLimit(slices=True)


@pytest.mark.parametrize(
    ("parts", "limit", "red"),
    [
        ([part("night", 20), part("day", 0, 20)], SLICES, ["night"]),
        ([part("night", 20), part("day", 0, 20)], AccuracyLimit(), []),
        # Two of 100 more are within chance, and one of 30 is.
        ([part("night", 3), part("day", 0, 3)], SLICES, []),
        ([part("night", 30, samples=30)], SLICES, ["night"]),
        ([part("night", 29, samples=29)], SLICES, []),
        ([part("night", 29, samples=29)], replace(SLICES, min_samples=10), ["night"]),
        # What one slice alone would show, twenty do not.
        ([part("0", 6), *(part(str(n), 1, 1) for n in range(1, 20))], SLICES, []),
        ([part("0", 6)], SLICES, ["0"]),
        ([part("0", 12), *(part(str(n), 1, 1) for n in range(1, 20))], SLICES, ["0"]),
        # A limit of its own.
        ([part("night", 12)], replace(SLICES, max_slice_drop=0.1), []),
        ([part("night", 12)], replace(SLICES, max_slice_drop=0.02), ["night"]),
        # How far a score may fall, by its own spread.
        ([Slice("night", "trained", 100, 0.5, 0.9, loss=0.4, loss_error=0.05)], SLICES, ["night"]),
        ([Slice("night", "trained", 100, 0.5, 0.9, loss=0.4, loss_error=0.5)], SLICES, []),
    ],
)
def test_a_slice_that_lost_beyond_chance_is_red_whatever_was_won(
    parts: list[Slice], limit: AccuracyLimit, red: list[str]
) -> None:
    verdict = judged(parts, limit)
    evidence: Any = verdict.evidence
    assert list(evidence.lost_slices) == red
    assert verdict.outcome is (Outcome.FAIL if red else Outcome.PASS)
    for name in red:
        assert f"\n  {name}: " in verdict.message
    small = [one for one in parts if one.samples < limit.min_samples and limit.slices]
    assert any("too small to judge" in remark for remark in verdict.remarks) == bool(small)


def test_the_last_release_is_compared_slice_by_slice_too() -> None:
    parts = [part("night", 0), part("night", 20, against=LAST_RELEASE)]
    assert judged(parts, SLICES).outcome is Outcome.PASS
    verdict = judged(parts, SLICES, last=True)
    assert verdict.outcome is Outcome.FAIL
    assert "night: 70 of 100 right, the last release has 90: 20 lost, 0 won" in verdict.message
    assert "--onnxlite-accept" in verdict.message
    found = Accuracy("top1", 950, 1000, 1, "d" * 64, "trained", 950, 0, 0)
    assert judge_accuracy(SLICES, found, SAVED)[-1].outcome is Outcome.NOT_COMPARABLE
