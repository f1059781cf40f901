"""The rules at their edges: what is just within a limit, and what is just beyond it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from judging import only

from pytest_onnxlite.baseline.fingerprint import Machine
from pytest_onnxlite.baseline.record import Artefact, Baseline, OnMachine
from pytest_onnxlite.baseline.shipped import ShippedRuntime
from pytest_onnxlite.checks.accuracy.judge import judge_accuracy
from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, AccuracySection, FirstAccuracy, Recount
from pytest_onnxlite.checks.latency import LatencyCheck
from pytest_onnxlite.checks.latency.judge import RATIO_SINCE_SAVED, judge_latency, ratio_since_saved
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import AtShapes, Latency
from pytest_onnxlite.checks.memory import MemoryCheck
from pytest_onnxlite.checks.memory.judge import judge_memory
from pytest_onnxlite.checks.memory.limit import MemoryLimit
from pytest_onnxlite.checks.memory.measurement import Memory, Peak
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.since_saved import SinceSaved
from pytest_onnxlite.checks.size.judge import judge_size
from pytest_onnxlite.checks.size.limit import SizeLimit
from pytest_onnxlite.checks.size.measurement import Size, SizeSection
from pytest_onnxlite.checks.turns.comparison import LAST_RELEASE, Comparison
from pytest_onnxlite.checks.turns.judge import ratio_text, why_it_passes
from pytest_onnxlite.checks.turns.ratios import is_suspicious
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.kinds import KINDS
from pytest_onnxlite.settings import Mode
from pytest_onnxlite.text import size_text, time_text

MIB = 1 << 20
PLAIN = Absent(Outcome.NOT_COMPARED, "only under --onnxlite-baseline")
SAVED = Baseline(
    "digits",
    "int8",
    Artefact("int8.onnx", "0" * 64, 1000, True),
    sections={
        "accuracy": AccuracySection(
            correct=950, total=1000, batch_size=1, metric="top1", data_sha256="d" * 64, output="y"
        ),
        "size": SizeSection(1000),
    },
    first={
        "accuracy": FirstAccuracy(correct=960, total=1000, data_sha256="d" * 64),
        "size": SizeSection(900),
    },
)


def accuracy(lost: int, total: int = 1000, reference: int = 950) -> Accuracy:
    counts = reference, max(lost, 0), max(-lost, 0)
    return Accuracy("top1", reference - lost, total, 1, "d" * 64, "trained", *counts, output="y")


@pytest.mark.parametrize(
    ("lost", "limit", "outcome"),
    [
        (10, AccuracyLimit(max_drop=0.01), Outcome.PASS),
        (11, AccuracyLimit(max_drop=0.01), Outcome.FAIL),
        (0, AccuracyLimit(max_drop=0.0), Outcome.PASS),
        (1, AccuracyLimit(max_drop=0.0), Outcome.FAIL),
        # 0.07 is no binary fraction: 0.07 * 100 must be 7 and not 7.000000000000001 or 6.99.
        (70, AccuracyLimit(max_drop=0.07), Outcome.PASS),
        (71, AccuracyLimit(max_drop=0.07), Outcome.FAIL),
        (-30, AccuracyLimit(max_drop=0.01), Outcome.PASS),
        # Relative to 950 right answers: 9.5, so 9.
        (9, AccuracyLimit(max_drop=0.01, relative=True), Outcome.PASS),
        (10, AccuracyLimit(max_drop=0.01, relative=True), Outcome.FAIL),
        # 5 lost is within a point, but its interval's upper end is not.
        (5, AccuracyLimit(max_drop=0.01), Outcome.PASS),
        (5, AccuracyLimit(max_drop=0.01, confidence=0.99), Outcome.FAIL),
        (0, AccuracyLimit(max_drop=0.01, confidence=0.99), Outcome.PASS),
        # So it is relative to the reference's right answers.
        (5, AccuracyLimit(max_drop=0.01, confidence=0.99, relative=True), Outcome.FAIL),
        (0, AccuracyLimit(max_drop=0.01, confidence=0.99, relative=True), Outcome.PASS),
        # One point, written as 1, would let every answer be wrong.
        (0, AccuracyLimit(max_drop=1), Outcome.FAIL),
        (0, AccuracyLimit(max_drop=1.0, relative=True), Outcome.FAIL),
        (0, AccuracyLimit(max_drop=0.99), Outcome.PASS),
    ],
)
def test_accuracy_drop_is_counted_and_inclusive(lost: int, limit: AccuracyLimit, outcome: Outcome) -> None:
    assert only(judge_accuracy(limit, accuracy(lost), PLAIN), "trained").outcome is outcome


@pytest.mark.parametrize(("max_drop", "text"), [(1, "every answer be wrong"), (0.0001, "Give at least 10000 samples")])
def test_a_limit_that_fits_no_data_is_an_error_without_another_variant_too(max_drop: float, text: str) -> None:
    alone = replace(accuracy(0), reference="", reference_correct=0)
    for reference in (PLAIN, SAVED):
        verdict = only(judge_accuracy(AccuracyLimit(max_drop=max_drop), alone, reference), "limit")
        assert verdict.outcome is Outcome.FAIL
        assert text in verdict.message


@pytest.mark.parametrize(("total", "outcome"), [(99, Outcome.FAIL), (100, Outcome.PASS)])
def test_too_few_samples_are_an_error(total: int, outcome: Outcome) -> None:
    verdict = only(judge_accuracy(AccuracyLimit(), accuracy(0, total, total), PLAIN), "trained")
    assert verdict.outcome is outcome
    assert outcome is Outcome.PASS or "Give at least 100 samples" in verdict.message


@pytest.mark.parametrize(
    ("correct", "outcome"),
    [(940, Outcome.PASS), (939, Outcome.FAIL), (960, Outcome.PASS), (961, Outcome.IMPROVED)],
)
def test_accuracy_against_the_baseline(correct: int, outcome: Outcome) -> None:
    found = replace(accuracy(0), correct=correct)
    verdict = only(judge_accuracy(AccuracyLimit(), found, SAVED), BASELINE)
    assert verdict.outcome is outcome
    assert verdict.evidence.lost_since_first == 960 - correct


@pytest.mark.parametrize(
    ("correct", "last", "outcome", "text"),
    [
        # 9 of 1,000 are within a point; that no more were lost by chance is not sure.
        (941, Recount(950, 10, 1), Outcome.FAIL, "a drop of up to 1.8 % cannot be ruled out"),
        (941, Recount(950, 9, 0), Outcome.FAIL, "cannot be ruled out"),
        # The same answers but for those that the last release itself lost since it was counted: machine or runtime.
        (945, Recount(945, 0, 0), Outcome.PASS, ""),
        (950, Recount(950, 0, 0), Outcome.PASS, ""),
        (941, None, Outcome.FAIL, "the last release's file is not there to be counted on the same samples"),
    ],
)
def test_confidence_counts_against_the_last_release_too(
    correct: int, last: Recount | None, outcome: Outcome, text: str
) -> None:
    found = replace(accuracy(0), correct=correct, last=last)
    verdict = only(judge_accuracy(AccuracyLimit(max_drop=0.01, confidence=0.99), found, SAVED), BASELINE)
    assert verdict.outcome is outcome
    assert text in verdict.message
    assert only(judge_accuracy(AccuracyLimit(max_drop=0.01), found, SAVED), BASELINE).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (Recount(950, 20, 5), "it is the model that changed"),
        (
            Recount(935, 0, 0),
            "has 935 here, and 950 where it was saved (aarch64, onnxruntime 1.24.4): the loss is the machine's or its "
            "runtime's, not the model's.",
        ),
        (Recount(940, 5, 0), "10 of the loss is the machine's or its runtime's, 5 the model's."),
        (Recount(960, 25, 0), "the loss is the model's, and the machine or its runtime hides 10 of it."),
        (None, "is not there to be counted again today"),
    ],
)
def test_a_loss_is_told_apart_from_the_machines(last: Recount | None, text: str) -> None:
    found = replace(accuracy(0), correct=935, last=last)
    there = replace(
        SAVED,
        machines={"m": OnMachine(Machine(architecture="aarch64"))},
        runtime=ShippedRuntime(library="onnxruntime", version="1.24.4"),
    )
    verdict = only(judge_accuracy(AccuracyLimit(max_drop=0.01), found, there), BASELINE)
    assert verdict.outcome is Outcome.FAIL
    assert text in verdict.message


@pytest.mark.parametrize(
    "found",
    [
        replace(accuracy(0), output="another head"),
        replace(accuracy(0), data_sha256="e" * 64),
        replace(accuracy(0), batch_size=8),
    ],
)
def test_accuracy_under_other_conditions_is_not_compared(found: Accuracy) -> None:
    verdict = only(judge_accuracy(AccuracyLimit(), found, SAVED), BASELINE)
    assert verdict.outcome is Outcome.NOT_COMPARABLE
    assert "--onnxlite-accept" in verdict.message


@pytest.mark.parametrize(
    ("found", "limit", "outcome"),
    [
        (262, SizeLimit(), Outcome.PASS),
        (263, SizeLimit(), Outcome.FAIL),
        (300, SizeLimit(ratio=0.3, tolerance=0.0), Outcome.PASS),
        (301, SizeLimit(ratio=0.3, tolerance=0.0), Outcome.FAIL),
    ],
)
def test_size_ratio(found: int, limit: SizeLimit, outcome: Outcome) -> None:
    verdict = only(judge_size(limit, KINDS["int8"], Size(found, "onnx", 1000), PLAIN), "onnx")
    assert verdict.outcome is outcome


def test_a_ratio_without_a_float_model_is_an_error() -> None:
    verdict = only(judge_size(SizeLimit(ratio=0.25), KINDS["int8"], Size(10, None, None), PLAIN), "limit")
    assert verdict.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("found", "outcome"),
    [(1050, Outcome.PASS), (1051, Outcome.FAIL), (950, Outcome.PASS), (949, Outcome.IMPROVED)],
)
def test_size_against_the_baseline(found: int, outcome: Outcome) -> None:
    verdict = only(judge_size(SizeLimit(), KINDS["int8"], Size(found, "onnx", 10_000), SAVED), BASELINE)
    assert verdict.outcome is outcome
    assert verdict.evidence.first == 900


def latency(
    first: float | tuple[float, ...],
    second: float | tuple[float, ...] = (),
    self_check: tuple[float, ...] = (),
    purpose: str = BASELINE,
    most: float = 1.05,
) -> Latency:
    def ratios(value: float | tuple[float, ...]) -> tuple[float, ...]:
        return (value,) * 8 if isinstance(value, float) else value

    name = LAST_RELEASE if purpose == BASELINE else "onnx"
    comparison = Comparison(name, most, ratios(first), ratios(second), self_check)
    return Latency(1e-3, (1e-3,) * 8, 40, 5, 1, 1, {purpose: comparison})


QUIET = (1.0,) * 8
WILD = (0.8, 0.9, 1.0, 1.0, 1.0, 1.0, 1.1, 1.2)
WIDE = (0.9, 1.0, 1.0, 1.06, 1.06, 1.06, 1.06, 1.1)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (latency(1.05), Outcome.PASS),
        (latency(1.06, 1.06, QUIET), Outcome.FAIL),
        # A suspicion that an independent set does not share is none.
        (latency(1.06, 1.04), Outcome.PASS),
        # The machine itself is what varies.
        (latency(1.06, 1.06, WILD), Outcome.INCONCLUSIVE),
        # Two equal files of which one is always slower.
        (latency(1.06, 1.06, (1.06,) * 8), Outcome.INCONCLUSIVE),
        # Nothing shown, because the ratios lie too far apart to show anything.
        (latency(WIDE, (), WILD), Outcome.INCONCLUSIVE),
        (latency(WIDE, (), QUIET), Outcome.INCONCLUSIVE),
        (latency(1.06, WIDE, QUIET), Outcome.INCONCLUSIVE),
        # Spread, but all of it within the limit.
        (latency((0.8, 0.85, 0.9, 0.9, 0.9, 0.9, 1.0, 1.04)), Outcome.PASS),
        (latency(0.94), Outcome.IMPROVED),
        (latency(0.96), Outcome.PASS),
    ],
)
def test_latency_fails_only_when_two_sets_agree_on_a_quiet_machine(found: Latency, outcome: Outcome) -> None:
    assert only(judge_latency(LatencyLimit(max_slowdown=0.05), found, SAVED), BASELINE).outcome is outcome


@pytest.mark.parametrize(
    ("ratio", "outcome"),
    [(0.92, Outcome.PASS), (0.93, Outcome.FAIL), (0.15, Outcome.PASS), (0.14, Outcome.IMPROVED)],
)
def test_a_saved_ratio_to_another_model_is_a_coarse_bound(ratio: float, outcome: Outcome) -> None:
    limit, most = LatencyLimit(max_slowdown=0.25), 0.37 * RATIO_SINCE_SAVED
    comparison = Comparison("onnx", most, (ratio,) * 8, (ratio,) * 8, QUIET)
    found = Latency(1e-3, (1e-3,) * 8, 40, 5, 1, 1, {BASELINE: comparison})
    verdict = only(judge_latency(limit, found, SAVED), BASELINE)
    assert verdict.outcome is outcome
    assert (outcome is Outcome.FAIL) == ("when it was saved, it had 0.37x, and up to" in verdict.message)


@pytest.mark.parametrize(("ratio", "outcome"), [(0.99, Outcome.PASS), (1.0, Outcome.PASS), (1.01, Outcome.FAIL)])
def test_the_ratio_to_the_float_model_needs_no_baseline(ratio: float, outcome: Outcome) -> None:
    found = latency(ratio, ratio, QUIET, purpose="float", most=1.0)
    verdicts = judge_latency(LatencyLimit(max_ratio=1.0), found, PLAIN)
    assert only(verdicts, "onnx").outcome is outcome
    assert only(verdicts, BASELINE).outcome is Outcome.NOT_COMPARED


@pytest.mark.parametrize(
    ("saved", "outcome"), [(1e-3, Outcome.PASS), (0.953e-3, Outcome.PASS), (0.952e-3, Outcome.FAIL)]
)
def test_saved_seconds_where_asked_for(saved: float, outcome: Outcome) -> None:
    found = Latency(1e-3, (1e-3,) * 8, 40, 5, 1, 1)
    at = AtShapes(shapes={}, seconds=saved)
    verdict = only(judge_latency(LatencyLimit(absolute=True), found, SAVED, [at]), BASELINE)
    assert verdict.outcome is outcome


@pytest.mark.parametrize(
    ("slower", "outcome", "told"),
    [
        (1.0, Outcome.FAIL, "were saved on a machine like this; at most"),
        (1.4, Outcome.FAIL, "a machine like this, which is 1.40 times slower today at a fixed piece of work; at most"),
        (1.5, Outcome.PASS, ""),
    ],
)
def test_a_machine_that_is_slower_at_everything_is_no_slower_model(slower: float, outcome: Outcome, told: str) -> None:
    found, at = Latency(1.55e-3, (1.55e-3,) * 8, 40, 5, 1, 1), AtShapes(shapes={}, seconds=1e-3)
    limit = LatencyLimit(absolute=True, max_slowdown=0.1)
    verdict = only(judge_latency(limit, found, SAVED, [at], slower=slower), BASELINE)
    assert verdict.outcome is outcome
    assert told in verdict.message


SLOW = "slower than the"


@pytest.mark.parametrize(
    ("purpose", "ratios", "remark"),
    [
        ("float", (1.44,) * 8, True),
        ("sibling", (1.44,) * 8, True),
        # Twins: a median above 1 that their own spread explains, or that two places in memory do.
        ("sibling", (0.95, 0.98, 1.0, 1.02, 1.04, 1.07, 1.1, 1.2), False),
        ("sibling", (1.04,) * 8, False),
        ("sibling", (0.5,) * 8, False),
    ],
)
def test_int8_that_is_slower_than_its_float_model_is_a_remark(
    purpose: str, ratios: tuple[float, ...], remark: bool
) -> None:
    found = latency(ratios, ratios, QUIET, purpose=purpose, most=2.0)
    verdicts = judge_latency(LatencyLimit(max_ratio=2.0 if purpose == "float" else None), found, PLAIN)
    assert [SLOW in text for text in verdicts[-1].remarks] == ([True] if remark else [])
    assert not any(verdict.red for verdict in verdicts)


@pytest.mark.parametrize(
    ("ratio", "sibling", "remark"),
    [(1.0, 1.44, True), (0.7, 1.44, False), (1.5, 0.9, True), (1.0, 1.1, False), (1.0, None, False)],
)
def test_the_ratio_that_was_saved_tells_it_too(ratio: float, sibling: float | None, remark: bool) -> None:
    at = AtShapes(shapes={}, seconds=1e-3, sibling_ratio=sibling)
    found = latency(ratio, ratio, QUIET, purpose=BASELINE, most=2.0)
    (verdict,) = judge_latency(LatencyLimit(max_slowdown=1.0), found, SAVED, [at])
    assert bool(verdict.remarks) == remark
    assert not remark or f"{sibling:.2f}x when it was saved" in verdict.remarks[0]


def test_latency_needs_its_lower_bound_beyond_the_limit() -> None:
    assert not is_suspicious((1.04, *(1.12,) * 7), 1.05)
    assert is_suspicious((1.06, *(1.12,) * 7), 1.05)


def test_latency_says_how_sure_it_is() -> None:
    comparison = latency((1.09, *(1.12,) * 6, 1.15)).comparisons[BASELINE]
    assert ratio_text(comparison) == ("1.12x (99.5 % ≥ 1.09x, 8 replicates, against the last release, noise ±2.7 %)")


def test_a_ratio_above_the_limit_that_passes_says_why() -> None:
    wide = latency((1.0496, *(1.06,) * 6, 1.07))
    verdict = only(judge_latency(LatencyLimit(), wide, SAVED), BASELINE)
    assert verdict.outcome is Outcome.PASS
    assert verdict.message.endswith("passes: what counts is the lower bound, 1.0496x; at most 1.05x allowed.")
    assert LatencyCheck().notes(wide, [verdict]) == [
        "1.06x last ±1.0 %, passes: what counts is the lower bound, 1.0496x"
    ]
    second = latency(1.06, 1.04)
    assert why_it_passes(second.comparisons[BASELINE]) == "passes: an independent second set says 1.04x"
    unsure = latency(1.06, (1.03, *(1.06,) * 7))
    bound = "passes: what counts is the lower bound, 1.03x of an independent second set"
    assert why_it_passes(unsure.comparisons[BASELINE]) == bound
    for found in (latency(1.05), latency(1.06, 1.06, QUIET)):
        assert why_it_passes(found.comparisons[BASELINE]) == ""


@pytest.mark.parametrize("swapped", [False, True])
def test_the_worst_of_several_shapes_decides(swapped: bool) -> None:
    short = replace(latency(1.0), shapes={"x": (1, 4)})
    long = replace(latency(1.6, 1.6, QUIET), seconds=2e-3, shapes={"x": (1, 800)})
    main, other = (short, long) if swapped else (long, short)
    found = replace(main, others=(other,))
    verdict = only(judge_latency(LatencyLimit(), found, SAVED), BASELINE)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.figure == "2 ms"
    assert verdict.message.splitlines()[-1] == "At other shapes: 1.00x at x (1, 4)."
    assert LatencyCheck().notes(found, [verdict]) == ["1.60x last ±0.0 % at x (1, 800)"]
    # A shape that got faster does not let another go, and is no improvement of the model.
    faster = replace(latency(0.8), shapes={"x": (1, 4)})
    mixed = replace(replace(latency(1.0), shapes={"x": (1, 800)}), others=(faster,))
    assert only(judge_latency(LatencyLimit(), mixed, SAVED), BASELINE).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("now", "pace", "saved_pace", "ratio"),
    [
        (5.0, None, None, 5.0),
        (5.0, 1.0, None, 5.0),
        (5.0, 1.0, 1.0, 5.0),
        # A machine that is slower at everything, such as a laptop on its battery.
        (3.0, 3.0, 1.0, 1.0),
        (6.0, 3.0, 1.0, 2.0),
        # One that is faster is not expected to be so for a model.
        (1.0, 0.5, 1.0, 1.0),
    ],
)
def test_a_machine_that_is_slower_at_everything_is_no_runtime(
    now: float, pace: float | None, saved_pace: float | None, ratio: float
) -> None:
    assert ratio_since_saved(now, 1.0, pace, saved_pace) == ratio


@pytest.mark.parametrize(("now", "outcome"), [(200, Outcome.PASS), (201, Outcome.FAIL), (50, Outcome.PASS)])
def test_a_runtime_is_red_beyond_its_bound(now: float, outcome: Outcome) -> None:
    rule = SinceSaved("latency", "1 ms", "time", str, "{:.2f} times slower".format, 2.0)
    assert rule.judge(100, now, now / 100, "", "Runtime changed.", None).outcome is outcome
    # A difference that is none, whatever its ratio.
    small = replace(rule, trifle=150.0)
    assert small.judge(100, 240, 2.4, "", "", None).outcome is Outcome.PASS
    assert small.judge(100, 260, 2.6, "", "", None).outcome is Outcome.FAIL


def memory(load: int, run: int, settled: bool = True, method: str = "VmHWM") -> Memory:
    return Memory(Peak(load, run, settled), Peak(100 * MIB, 200 * MIB, True), method, "VmHWM", 1, 1)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (memory(105 * MIB, 210 * MIB), Outcome.PASS),
        (memory(105 * MIB + 1, 200 * MIB), Outcome.FAIL),
        (memory(100 * MIB, 210 * MIB + 1), Outcome.FAIL),
        (memory(100 * MIB, 200 * MIB, settled=False), Outcome.INCONCLUSIVE),
        (memory(100 * MIB, 200 * MIB, method="VmRSS"), Outcome.NOT_COMPARABLE),
        (memory(50 * MIB, 100 * MIB), Outcome.IMPROVED),
    ],
)
def test_memory_growth(found: Memory, outcome: Outcome) -> None:
    assert only(judge_memory(MemoryLimit(max_growth=0.05), found, SAVED), BASELINE).outcome is outcome


def test_the_worst_shape_decides_about_memory() -> None:
    found = replace(
        replace(memory(50 * MIB, 100 * MIB), shapes={"x": (1, 4)}),
        others=(replace(memory(105 * MIB, 250 * MIB), shapes={"x": (1, 800)}),),
    )
    verdict = only(judge_memory(MemoryLimit(), found, SAVED), BASELINE)
    assert verdict.outcome is Outcome.FAIL
    assert "(max_growth=0.05, x (1, 800), batch size 1, read by VmHWM)" in verdict.message
    assert MemoryCheck().notes(found, [verdict]) == ["1.25x last at x (1, 800)"]


def test_memory_below_a_mebibyte_is_the_allocators() -> None:
    small = Memory(Peak(2 * MIB, MIB, True), Peak(MIB, MIB, True), "VmHWM", "VmHWM", 1, 1)
    assert only(judge_memory(MemoryLimit(), small, SAVED), BASELINE).outcome is Outcome.PASS


RED: dict[Mode, dict[Outcome, bool]] = {
    "plain": {Outcome.FAIL: True, Outcome.NOT_COMPARED: False, Outcome.PASS: False},
    "compare": {o: o not in (Outcome.PASS, Outcome.IMPROVED, Outcome.NOT_COMPARED) for o in Outcome},
    "save": {
        Outcome.PASS: False,
        Outcome.FAIL: True,
        Outcome.MISSING: False,
        Outcome.NOT_COMPARABLE: True,
        Outcome.INCONCLUSIVE: True,
        Outcome.NOT_MEASURED: True,
    },
}


@pytest.mark.parametrize(
    ("mode", "outcome", "red"), [(mode, outcome, red) for mode, table in RED.items() for outcome, red in table.items()]
)
def test_which_outcomes_are_red(mode: Mode, outcome: Outcome, red: bool) -> None:
    assert Verdict("size", BASELINE, outcome, "").is_red(mode) is red


@pytest.mark.parametrize(
    ("against", "outcome", "red"),
    [
        (BASELINE, Outcome.FAIL, False),
        (BASELINE, Outcome.NOT_COMPARABLE, False),
        (BASELINE, Outcome.NOT_MEASURED, True),
        # A limit of the candidate's own would be red again tomorrow.
        ("trained", Outcome.FAIL, True),
    ],
)
def test_what_accepting_lets_go(against: str, outcome: Outcome, red: bool) -> None:
    assert Verdict("accuracy", against, outcome, "").is_red("save", accept=True) is red
    assert Verdict("accuracy", against, outcome, "").is_red("compare", accept=True) is True


@pytest.mark.parametrize(
    ("value", "text"),
    [(5, "5 B"), (2048, "2.00 KiB"), (MIB - 1, "1.00 MiB"), (5 * MIB, "5.00 MiB"), (3 << 30, "3.00 GiB")],
)
def test_bytes_are_written_for_people(value: int, text: str) -> None:
    assert size_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.0, "2 s"),
        (1234.0, "1230 s"),
        (1.5e-3, "1.5 ms"),
        (5.81e-5, "58.1 µs"),
        (3e-8, "30 ns"),
        # At the edge of a unit, and a hair below it.
        (9.996e-4, "1 ms"),
        (41e-6 - 40e-6, "1 µs"),
        (0.99999, "1 s"),
        (0.0, "0 ns"),
    ],
)
def test_times_are_written_for_people(value: Any, text: str) -> None:
    assert time_text(value) == text
