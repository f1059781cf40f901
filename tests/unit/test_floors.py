"""The limits that need nothing to compare with, at their edges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judging import SAVED, only

from pytest_onnxlite.checks.accuracy.judge import judge_accuracy
from pytest_onnxlite.checks.accuracy.judge_processors import judge_processor
from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, Elsewhere, Recount, Score
from pytest_onnxlite.checks.latency import budget
from pytest_onnxlite.checks.latency.judge_budget import AgainstBudget, elsewhere, judge_budget
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.limit import parse_limit
from pytest_onnxlite.checks.memory.judge import judge_memory
from pytest_onnxlite.checks.memory.limit import MemoryLimit
from pytest_onnxlite.checks.memory.measurement import Memory, Peak
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.size.judge import judge_size
from pytest_onnxlite.checks.size.limit import SizeLimit
from pytest_onnxlite.checks.size.measurement import Size
from pytest_onnxlite.checks.verdict import LIMIT, Outcome, Verdict
from pytest_onnxlite.kinds import KINDS
from pytest_onnxlite.settings import UsageMistake
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.statistics import share_interval

MIB = 1 << 20
NOTHING = Absent(Outcome.MISSING, "there is no baseline")


def accuracy(lost: int) -> Accuracy:
    return Accuracy("top1", 950 - lost, 1000, 1, "d" * 64, "trained", 950, lost, 0)


@pytest.mark.parametrize(
    ("limit", "text", "amount"),
    [
        (SizeLimit, "2 MB", 2e6),
        (SizeLimit, "64MiB", 64 * MIB),
        (SizeLimit, ".5 kB", 500),
        (MemoryLimit, "1.5 GiB", 1.5 * 2**30),
        (LatencyLimit, "10 ms", 0.01),
        (LatencyLimit, "250 µs", 250e-6),
        (LatencyLimit, "2s", 2),
    ],
)
def test_quantities_have_units(limit: Any, text: str, amount: float) -> None:
    parsed: Any = parse_limit(limit, {"max": text}, "here", ("int8",))
    assert parsed.max == pytest.approx(amount)


@pytest.mark.parametrize(
    "text", ["2", 2, 2.0, "2 mb", "2 m", "-2 MB", "0 MB", "MB", "", "1e3 MB", "2 ms", True, "9" * 400 + " GB"]
)
def test_what_is_no_number_of_bytes_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(UsageMistake, match=r'^here: max=.*; expected a number above 0 with a unit .* such as "2 MB"'):
        parse_limit(SizeLimit, {"max": text}, "here", ("int8",))


@pytest.mark.parametrize(("count", "outcome"), [(2_000_000, Outcome.PASS), (2_000_001, Outcome.FAIL)])
def test_bytes_are_counted_to_the_last(count: int, outcome: Outcome) -> None:
    size = Size(count, "onnx", 4 * count)
    verdict = only(judge_size(SizeLimit(max=2e6), KINDS["int8"], size, NOTHING), LIMIT)
    assert verdict.outcome is outcome
    assert ("1 bytes too many" in verdict.message) == (outcome is Outcome.FAIL)


def peaks(run: int, settled: bool = True, others: tuple[Memory, ...] = ()) -> Memory:
    return Memory(Peak(MIB, run, settled, 10, (("conv", 10),)), None, "VmHWM", None, 1, 1, {"x": (1, run)}, others)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (peaks(64 * MIB), Outcome.PASS),
        (peaks(64 * MIB + 1), Outcome.FAIL),
        (peaks(3 * MIB, others=(peaks(65 * MIB),)), Outcome.FAIL),
        (peaks(3 * MIB, settled=False), Outcome.INCONCLUSIVE),
        (peaks(3 * MIB, others=(peaks(2 * MIB, settled=False),)), Outcome.INCONCLUSIVE),
    ],
)
def test_the_highest_peak_at_any_shape_counts(found: Memory, outcome: Outcome) -> None:
    verdict = only(judge_memory(MemoryLimit(max=64 * MIB), found, NOTHING), LIMIT)
    assert verdict.outcome is outcome
    assert ("most by conv" in verdict.message) == (outcome is Outcome.FAIL)


def times(seconds: float, spread: float = 0.0) -> Latency:
    sessions = tuple(seconds * (1 + spread * step) for step in (-4, -3, -2, -1, 1, 2, 3, 4))
    return Latency(seconds, sessions, 80, 10, 1, 1, shapes={"x": (1, 4)})


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ([AgainstBudget(times(0.0099))], Outcome.PASS),
        # Its median is within, and its upper bound is not; once more it is.
        ([AgainstBudget(times(0.0099, 0.01), (0.0098,) * 8, 0.0098)], Outcome.PASS),
        ([AgainstBudget(times(0.011), (0.011,) * 8, 0.0105)], Outcome.FAIL),
        # A machine that was busy throughout: alone, a block was fast enough.
        ([AgainstBudget(times(0.011), (0.011,) * 8, 0.0098)], Outcome.INCONCLUSIVE),
        ([AgainstBudget(times(0.0099, 0.01), times(0.0099, 0.01).sessions, 0.0101)], Outcome.INCONCLUSIVE),
        # The slower of two shapes decides.
        ([AgainstBudget(times(0.001)), AgainstBudget(times(0.02), (0.02,) * 8, 0.02)], Outcome.FAIL),
    ],
)
def test_a_time_is_within_where_its_upper_bound_is(found: list[AgainstBudget], outcome: Outcome) -> None:
    verdict = judge_budget(0.01, found)
    assert (verdict.against, verdict.outcome) == (LIMIT, outcome)
    assert bool(verdict.message) == (outcome is not Outcome.PASS)


def test_one_disturbed_session_in_each_set_is_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    # The upper bound of eight sessions is their slowest: so what one of them met decided, until more were added.
    steps = iter([(0.005,) * 7 + (0.02,), (0.005,) * 8])
    monkeypatch.setattr(budget, "_sessions", lambda *_: next(steps))
    first = replace(times(0.005), sessions=(0.005,) * 7 + (0.02,))
    found = budget.against_budget(LatencyLimit(max=0.01), first, Path("model.onnx"), {}, Runtime())
    assert len(found.again) == 16
    assert judge_budget(0.01, [found]).outcome is Outcome.PASS


def test_what_no_session_decides_ends_with_the_time_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def half_of_each(*_: object) -> tuple[float, ...]:
        asked.append(1)
        return (0.005,) * 4 + (0.02,) * 4

    monkeypatch.setattr(budget, "_sessions", half_of_each)
    monkeypatch.setattr(budget, "look_longer", lambda *_: 0.005)
    first = replace(times(0.005), sessions=half_of_each())
    found = budget.against_budget(LatencyLimit(max=0.01), first, Path("model.onnx"), {}, Runtime())
    assert (len(asked), len(found.again)) == (1 + 16, 128)
    assert judge_budget(0.01, [found]).outcome is Outcome.INCONCLUSIVE
    asked.clear()
    budget.against_budget(LatencyLimit(max=0.01, max_time=1e-9), first, Path("model.onnx"), {}, Runtime())
    assert len(asked) == 1


def test_a_time_is_judged_on_the_machine_that_it_was_written_for_alone() -> None:
    limit = LatencyLimit(max=0.01, budget_machine="ci-large")
    assert elsewhere(limit, "1 ms", {"linux-2cpu", "ci-large"}) is None
    assert elsewhere(replace(limit, budget_machine=None), "1 ms", {"linux-2cpu"}) is None
    verdict = elsewhere(limit, "1 ms", {"linux-2cpu"})
    assert verdict is not None
    assert verdict.outcome is Outcome.NOT_COMPARED
    assert "'ci-large' (budget_machine=), and this one is linux-2cpu" in verdict.message
    assert "give max= too" in replace(limit, max=None).misfit(KINDS["int8"])


@pytest.mark.parametrize(
    ("lost", "limit", "said"),
    [
        (0, AccuracyLimit(min=0.95), ""),
        (1, AccuracyLimit(min=0.95), "1 right answers too few. The trained variant has 95.0 % and would pass"),
        (
            0,
            AccuracyLimit(min=0.951),
            "1 right answers too few. The trained variant has 95.0 % and would not pass either",
        ),
        (0, AccuracyLimit(min=0.94, confidence=0.95), "less than that cannot be ruled out: 93.5 % at least"),
        (0, AccuracyLimit(min=0.93, confidence=0.95), ""),
        (0, AccuracyLimit(min=95), "min is a share of 1"),
        (0, AccuracyLimit(max=0.9), "is better when it is higher. Use min="),
    ],
)
def test_right_answers_have_a_floor(lost: int, limit: AccuracyLimit, said: str) -> None:
    verdict = only(judge_accuracy(limit, accuracy(lost), NOTHING), LIMIT)
    assert verdict.outcome is (Outcome.FAIL if said else Outcome.PASS)
    assert said in verdict.message
    # Nothing lets a number of the marker's own go.
    assert verdict.is_red("save", accept=True) == bool(said)


def score(value: float, higher_is_better: bool) -> Score:
    return Score(
        "cosine" if higher_is_better else "mae", higher_is_better, value, 100, 1, "d" * 64, "onnx", value, 1.0, None
    )


@pytest.mark.parametrize(
    ("found", "limit", "said"),
    [
        (score(0.99, True), AccuracyLimit(min=0.99), ""),
        (
            score(0.98, True),
            AccuracyLimit(min=0.99),
            "at least 0.99 asked (min=): 0.01 beyond it. The onnx variant has 0.98.",
        ),
        (score(0.2, False), AccuracyLimit(max=0.2), ""),
        (score(0.3, False), AccuracyLimit(max=0.2), "at most 0.2 allowed (max=): 0.1 beyond it"),
        (score(0.3, False), AccuracyLimit(min=0.2), "is better when it is lower. Use max="),
    ],
)
def test_scores_have_a_floor_and_errors_a_ceiling(found: Score, limit: AccuracyLimit, said: str) -> None:
    verdict = only(judge_accuracy(limit, found, NOTHING), LIMIT)
    assert verdict.outcome is (Outcome.FAIL if said else Outcome.PASS)
    assert said in verdict.message


def traded(flips: int) -> Accuracy:
    """As many right answers as the reference, of other samples."""
    return Accuracy("top1", 950, 1000, 1, "d" * 64, "trained", 950, flips, flips)


@pytest.mark.parametrize(("flips", "outcome"), [(5, Outcome.PASS), (6, Outcome.FAIL)])
def test_flips_are_counted_whatever_was_won(flips: int, outcome: Outcome) -> None:
    limit = AccuracyLimit(max_flips=5)
    verdict: Verdict = only(judge_accuracy(limit, traded(flips), NOTHING), "trained")
    assert verdict.outcome is outcome
    assert only(judge_accuracy(AccuracyLimit(), traded(flips), NOTHING), "trained").outcome is Outcome.PASS
    last = replace(traded(0), last=Recount(950, flips, flips))
    against_last = only(judge_accuracy(limit, last, SAVED), "baseline")
    assert against_last.outcome is outcome
    if outcome is Outcome.FAIL:
        for one, other in ((verdict, "the trained variant"), (against_last, "the last release")):
            assert (
                f"6 samples that {other} has right are wrong now, at most 5 allowed (max_flips=5); 6 others"
                in one.message
            )


def test_flips_that_cannot_be_counted_are_no_pass() -> None:
    limit = AccuracyLimit(max_flips=5)
    verdict = only(judge_accuracy(limit, traded(0), SAVED), "baseline")
    assert verdict.outcome is Outcome.NOT_COMPARABLE
    assert verdict.is_red("compare")
    verdict = only(judge_accuracy(limit, score(0.9, True), NOTHING), "onnx")
    assert verdict.outcome is Outcome.FAIL
    assert "Leave max_flips= out" in verdict.message


def test_other_processors_are_judged_by_the_same_numbers() -> None:
    def there(limit: AccuracyLimit, found: Accuracy) -> Verdict:
        return judge_processor(limit, Elsewhere("avx2", "emulated", "avx2", True, 1000, 950, found))

    assert there(AccuracyLimit(min=0.95, max_flips=5), traded(5)).outcome is Outcome.PASS
    verdict = there(AccuracyLimit(max_flips=5), traded(6))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.message.startswith("On avx2, emulated: ")
    assert "max_flips=5" in verdict.message
    verdict = there(AccuracyLimit(min=0.951), traded(0))
    assert verdict.outcome is Outcome.FAIL
    assert "min=0.951" in verdict.message


def test_the_interval_of_a_share_is_wilsons() -> None:
    """Newcombe, Statistics in Medicine 17:857 (1998), table I: 81 of 263 and 0 of 20."""
    assert share_interval(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert share_interval(0, 20, 0.95) == pytest.approx((0.0, 0.1611), abs=5e-5)
