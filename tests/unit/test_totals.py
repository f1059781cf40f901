"""Sums since the first release: what a marker allows of them, and what a file has that comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from judging import only

from pytest_onnxlite.baseline.fingerprint import Machine
from pytest_onnxlite.baseline.record import Artefact, Baseline, EarlierRelease
from pytest_onnxlite.checks.accuracy.judge import judge_accuracy
from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, AccuracySection, FirstAccuracy, Score
from pytest_onnxlite.checks.latency.judge_total import allowed_today, judge_total
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.memory.judge import judge_memory
from pytest_onnxlite.checks.memory.limit import MemoryLimit
from pytest_onnxlite.checks.memory.measurement import Memory, Peak
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.size.judge import judge_size
from pytest_onnxlite.checks.size.limit import SizeLimit
from pytest_onnxlite.checks.size.measurement import Size, SizeSection
from pytest_onnxlite.checks.turns.comparison import Comparison
from pytest_onnxlite.checks.verdict import BASELINE, FIRST, Outcome
from pytest_onnxlite.kinds import KINDS
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.saving import merge

MIB = 1 << 20
LAST, EARLIER, NEW = "a" * 64, "b" * 64, "c" * 64
CHECKS = Registry.load().checks
SAVED = Baseline(
    "digits",
    "onnx",
    Artefact("a.onnx", LAST, 1000, True),
    sections={
        "accuracy": AccuracySection(correct=950, total=1000, batch_size=1, metric="top1", data_sha256="d"),
        "size": SizeSection(1000),
    },
    first={
        "accuracy": FirstAccuracy(correct=960, total=1000, data_sha256="d"),
        "size": SizeSection(900),
        "latency_ratio": 1.06,
        "memory_ratio": 1.06,
    },
    earlier=(EarlierRelease(EARLIER[:16], {"latency_ratio": 1.02, "memory_ratio": 1.5}),),
)


def outcomes(verdicts: list[object]) -> dict[str, Outcome]:
    return {verdict.against: verdict.outcome for verdict in verdicts}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("correct", "limit", "outcome"),
    [
        (950, AccuracyLimit(max_drop_total=0.01), Outcome.PASS),
        (949, AccuracyLimit(max_drop_total=0.01), Outcome.FAIL),
        (951, AccuracyLimit(max_drop_total=0.01, relative=True), Outcome.PASS),
        (950, AccuracyLimit(max_drop_total=0.01, relative=True), Outcome.FAIL),  # a point of 96 is less
        (980, AccuracyLimit(max_drop_total=0.0), Outcome.PASS),
    ],
)
def test_answers_lost_since_the_first_release(correct: int, limit: AccuracyLimit, outcome: Outcome) -> None:
    found = Accuracy("top1", correct, 1000, 1, "d", "", 0, 0, 0)
    verdicts = judge_accuracy(limit, found, SAVED)
    assert only(verdicts, FIRST).outcome is outcome
    assert only(verdicts, BASELINE).outcome in (Outcome.PASS, Outcome.IMPROVED)
    assert verdicts[-1].against == BASELINE  # its figure stands for the check
    if outcome is Outcome.FAIL and not limit.relative:
        assert "the first release had 96.0 % (960): 11 fewer right since then, at most 10" in verdicts[0].message
        for accept in (False, True):
            assert verdicts[0].is_red("save", accept)


@pytest.mark.parametrize(("value", "outcome"), [(0.30, Outcome.PASS), (0.31, Outcome.FAIL)])
def test_an_error_that_grew_since_the_first_release(value: float, outcome: Outcome) -> None:
    found = Score("mae", False, value, 100, 1, "d", "", None, 1.0, None)
    section = AccuracySection(value=0.3, higher_is_better=False, total=100, batch_size=1, metric="mae", data_sha256="d")
    first = FirstAccuracy(value=0.2, total=100, data_sha256="d")
    baseline = replace(SAVED, sections={"accuracy": section}, first={"accuracy": first})
    limit = AccuracyLimit(max_drop=0.02, max_drop_total=0.1)
    assert outcomes([*judge_accuracy(limit, found, baseline)]) == {FIRST: outcome, BASELINE: Outcome.PASS}
    counted = replace(baseline, first={"accuracy": FirstAccuracy(correct=9, total=100, data_sha256="d")})
    assert only(judge_accuracy(limit, found, counted), FIRST).outcome is Outcome.MISSING


def test_what_cannot_be_compared_has_no_sum() -> None:
    limit = AccuracyLimit(max_drop_total=0.01)
    other = Accuracy("top1", 950, 1000, 1, "e", "", 0, 0, 0)
    found = outcomes([*judge_accuracy(limit, other, SAVED)])
    assert found == {FIRST: Outcome.NOT_COMPARABLE, BASELINE: Outcome.NOT_COMPARABLE}
    why = Absent(Outcome.MISSING, "none")
    assert outcomes([*judge_accuracy(limit, other, why)]) == {BASELINE: Outcome.MISSING}
    assert FIRST not in outcomes([*judge_accuracy(AccuracyLimit(), other, SAVED)])


@pytest.mark.parametrize(("size", "outcome"), [(1008, Outcome.PASS), (1009, Outcome.FAIL)])
def test_bytes_since_the_first_release(size: int, outcome: Outcome) -> None:
    verdicts = judge_size(SizeLimit(max_growth_total=0.12), KINDS["onnx"], Size(size, None, None), SAVED)
    assert outcomes([*verdicts]) == {FIRST: outcome, BASELINE: Outcome.PASS}
    if outcome is Outcome.FAIL:
        assert "1,009 bytes, the first release had 900: 12.1 % more, at most 12.0 % allowed" in verdicts[0].message


@pytest.mark.parametrize(
    ("file", "grown", "outcome"),
    [
        (NEW, 1.03, Outcome.PASS),
        (NEW, 1.04, Outcome.FAIL),  # times 1.06
        (LAST, 1.04, Outcome.PASS),  # the same file has the sum that it had
        (EARLIER, 1.0, Outcome.FAIL),
    ],
)
def test_memory_since_the_first_release(file: str, grown: float, outcome: Outcome) -> None:
    found = Memory(Peak(int(grown * 100 * MIB), 0, True), Peak(100 * MIB, 0, True), "VmHWM", "VmHWM", 1, 1)
    verdicts = judge_memory(MemoryLimit(max_growth_total=0.1), found, SAVED, file)
    assert outcomes([*verdicts]) == {FIRST: outcome, BASELINE: Outcome.PASS}
    restless = replace(found, candidate=Peak(100 * MIB, 0, False))
    assert set(outcomes([*judge_memory(MemoryLimit(max_growth_total=0.1), restless, SAVED)]).values()) == {
        Outcome.INCONCLUSIVE
    }


def test_growth_that_an_allocator_does_is_no_sum() -> None:
    found = Memory(Peak(2 * MIB, 0, True), Peak(2 * MIB, 0, True), "VmHWM", "VmHWM", 1, 1)
    baseline = replace(SAVED, first={"memory_ratio": 1.4})
    assert only(judge_memory(MemoryLimit(max_growth_total=0.1), found, baseline, NEW), FIRST).outcome is Outcome.PASS


def latency(ratio: float, reference: str = "last release") -> Latency:
    ratios = (ratio,) * 8
    return Latency(1e-3, (1e-3,) * 8, 40, 5, 1, 1, {BASELINE: Comparison(reference, 1.05, ratios, ratios, (1.0,) * 8)})


@pytest.mark.parametrize(
    ("file", "ratio", "outcome"),
    [
        (NEW, 1.03, Outcome.PASS),
        (NEW, 1.045, Outcome.FAIL),  # within max_slowdown=0.05, and times 1.06
        (LAST, 1.045, Outcome.PASS),  # noise: it is the same file
        (EARLIER, 1.2, Outcome.PASS),
    ],
)
def test_time_since_the_first_release(file: str, ratio: float, outcome: Outcome) -> None:
    limit = LatencyLimit(max_slowdown_total=0.1)
    (verdict,) = judge_total(limit, latency(ratio), SAVED, file)
    assert (verdict.against, verdict.outcome) == (FIRST, outcome)
    left = allowed_today(limit, SAVED, file)
    assert left == (pytest.approx(1.1 / 1.06) if file == NEW else None)
    if outcome is Outcome.FAIL:
        assert verdict.message.startswith("1.11x the time of the first release: 1.06x up to the last one, and 1.04x (")
        assert "at most 1.1x allowed (max_slowdown_total=0.1). An independent second set agrees: " in verdict.message


def test_a_time_that_nothing_ties_to_the_first_release_is_red() -> None:
    limit = LatencyLimit(max_slowdown_total=0.1)
    (verdict,) = judge_total(limit, latency(1.0, "onnx"), SAVED, NEW)
    assert verdict.outcome is Outcome.NOT_COMPARABLE
    assert verdict.is_red("compare")
    (verdict,) = judge_total(limit, latency(1.0), replace(SAVED, first={}), NEW)
    assert verdict.outcome is Outcome.MISSING
    assert judge_total(LatencyLimit(), latency(1.2), SAVED, NEW) == []
    noisy = Comparison("last release", 1.05, (0.8, 1.3) * 4, (), (0.7, 1.4) * 4)
    (verdict,) = judge_total(limit, replace(latency(1.0), comparisons={BASELINE: noisy}), SAVED, NEW)
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_a_file_that_comes_back_has_the_sum_that_it_had() -> None:
    def save(before: Baseline | None, sha256: str, ratio: float) -> Baseline:
        peaks = Peak(int(ratio * 1000), 0, True), Peak(1000, 0, True)
        found = {"latency": latency(ratio), "memory": Memory(*peaks, "VmHWM", "VmHWM", 1, 1)}
        fresh = Baseline("digits", "onnx", Artefact("a", sha256, 1, True))
        return merge(before, fresh, found, Machine(), CHECKS)

    first = save(None, LAST, 1.0)
    assert first.earlier == ()
    second = save(first, NEW, 1.01)
    assert dict(second.first) == {"latency_ratio": 1.01, "memory_ratio": 1.01}
    # Measured in pairs, one of the two is the slower one by chance, whichever way: 1.01 × 1.01 was 1.020.
    back = save(second, LAST, 1.01)
    assert dict(back.first) == {"latency_ratio": 1.0, "memory_ratio": 1.0}
    assert [one.file for one in back.earlier] == [NEW[:16]]
    assert dict(save(back, NEW, 0.9).first) == dict(second.first)
    assert dict(save(back, EARLIER, 1.02).first) == {"latency_ratio": 1.02, "memory_ratio": 1.02}
    many = back
    for number in range(60):
        many = save(many, f"{number:02}" * 32, 1.0)
    assert len(many.earlier) == 50
    # An older baseline knows of no earlier release.
    assert save(replace(second, earlier=()), LAST, 1.01).first["latency_ratio"] == 1.0201


def test_a_label_has_sums_of_its_own() -> None:
    baseline = replace(
        SAVED,
        first={"latency_ratio": 1.0, "latency_ratio[long]": 1.5},
        earlier=(EarlierRelease(EARLIER[:16], {"latency_ratio": 1.1, "latency_ratio[long]": 1.2}),),
    )
    plain, long = (baseline.of_label("latency", "latency_ratio", label) for label in ("", "long"))
    assert [one.sum_of("latency_ratio", EARLIER) for one in (plain, long)] == [1.1, 1.2]
    assert [one.sum_of("latency_ratio", LAST) for one in (plain, long)] == [1.0, 1.5]
    found = {"latency[long]": latency(1.1)}
    saved = merge(baseline, Baseline("digits", "onnx", Artefact("a", NEW, 1, True)), found, Machine(), CHECKS)
    assert saved.first["latency_ratio[long]"] == pytest.approx(1.65)
    assert dict(saved.earlier[-1].ratios) == {"latency_ratio": 1.0, "latency_ratio[long]": 1.5}
