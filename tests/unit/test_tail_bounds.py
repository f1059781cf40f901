"""Percentiles of single inferences: their bounds, how many inferences they need, and the order in which these are timed."""

from __future__ import annotations

import platform
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite.checks.latency.judge_budget import judge_tail_budget
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.latency.tail import Asked
from pytest_onnxlite.checks.limit import parse_limits
from pytest_onnxlite.checks.turns.schedule import Plan, compare_in_turns
from pytest_onnxlite.checks.verdict import LIMIT, Outcome
from pytest_onnxlite.kinds import KINDS
from pytest_onnxlite.runtime.waiting import Waiting, without
from pytest_onnxlite.settings import UsageMistake
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.statistics import binomial_tail, fewest_queries, quantile, quantile_interval
from pytest_onnxlite.variants.running import rows_of_many

# The wheel is for these; the development extra installs it there.
HAS_LOADGEN = sys.platform == "linux" and platform.machine() == "x86_64"


@pytest.mark.parametrize(("share", "count"), [(0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636)])
def test_a_percentile_needs_as_many_queries_as_mlperf_says(share: float, count: int) -> None:
    assert fewest_queries(share) == count
    assert binomial_tail(count - 1, count, share) <= 0.01 < binomial_tail(count - 2, count - 1, share)
    with pytest.raises(ValueError, match="values cannot bound the quantile"):
        quantile_interval([1.0] * (count - 1), share)


def loadgen_says(percentile: float, queries: int, folder: Path) -> str:
    """Run MLPerf's LoadGen with a system that answers at once; returns its summary."""
    import mlperf_loadgen as loadgen

    def answer(samples: Any) -> None:
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, 0, 0) for sample in samples])

    system = loadgen.ConstructSUT(answer, lambda: None)
    library = loadgen.ConstructQSL(1, 1, lambda _: None, lambda _: None)
    asked, log, output = loadgen.TestSettings(), loadgen.LogSettings(), loadgen.LogOutputSettings()
    asked.scenario, asked.mode = loadgen.TestScenario.SingleStream, loadgen.TestMode.PerformanceOnly
    asked.min_duration_ms, asked.single_stream_target_latency_percentile = 0, percentile
    asked.min_query_count = asked.max_query_count = queries
    output.outdir, log.enable_trace = str(folder), False
    log.log_output = output
    try:
        loadgen.StartTestWithLogSettings(system, library, asked, log, "")
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
    return (folder / "mlperf_log_summary.txt").read_text()


@pytest.mark.skipif(not HAS_LOADGEN, reason="mlcommons-loadgen has wheels for Linux on x86-64 alone")
def test_mlperf_loadgen_asks_for_as_many_and_takes_the_same_value(tmp_path: Path) -> None:
    for percentile in (0.9, 0.95, 0.99, 0.999):
        least = fewest_queries(percentile)
        if least < 1000:
            text = loadgen_says(percentile, least - 1, tmp_path)
            assert f"Need to process at least {least} queries for early stopping." in text
        for queries in (least, 2 * least + 7):
            text = loadgen_says(percentile, queries, tmp_path)
            assert "Early stopping satisfied: Yes" in text
            upper = quantile_interval([float(number) for number in range(queries)], percentile).upper
            assert f"Would discard {queries - 1 - round(upper)} highest latency queries." in text


@pytest.mark.parametrize("share", [0.9, 0.99])
def test_bounds_of_a_percentile_are_wrong_no_more_often_than_promised(share: float) -> None:
    rng = np.random.default_rng(1)
    trials, count = 500, 2 * fewest_queries(share)
    found = [quantile_interval(rng.random(count).tolist(), share) for _ in range(trials)]
    assert sum(one.upper < share for one in found) / trials < 0.02
    assert sum(one.lower > share for one in found) / trials < 0.02
    assert all(one.lower <= one.quantile <= one.upper for one in found)


def test_eight_sessions_are_more_queries_than_are_needed() -> None:
    for percentile in (50.0, 90.0, 99.0, 99.9):
        asked = Asked(percentile, 1, Runtime(), 0.25, 10.0)
        for seconds in (1e-5, 1e-3, 1.0):
            queries = asked.queries(seconds)
            assert 8 * queries >= fewest_queries(percentile / 100)
            assert queries * (1 - percentile / 100) >= 2 - 1e-6


class Stalls:
    """Sessions of which a share of the candidate's runs takes ten times as long; the machine adds to both at random."""

    def __init__(self, share: float) -> None:
        self.share, self.rng, self.clock = share, random.Random(3), 0.0

    def open_alone(self) -> None: ...

    def open_pair(self, candidate_first: bool) -> None: ...

    def open_self_pair(self) -> None: ...

    def rest(self, seconds: float) -> None: ...

    def now(self) -> float:
        return self.clock

    def time_reference(self) -> float:
        self.clock += 1e-4
        return self.rng.lognormvariate(0, 0.1)

    time_reference_twin = time_reference

    def time_candidate(self) -> float:
        return self.time_reference() * (10 if self.rng.random() < self.share else 1)


@pytest.mark.parametrize("share", [0.0, 0.001])
def test_fewer_stalls_than_the_percentile_leaves_are_none(share: float) -> None:
    found = compare_in_turns(Stalls(share), Plan("last release", 1.25, 0.25, 300, False, 60.0, 99.0), random.Random(0))
    assert quantile(found.first, 0.5) == pytest.approx(1, abs=0.1)
    assert (found.second, found.self_check) == ((), ())


def test_more_stalls_are_found_by_the_percentile_alone() -> None:
    by_tail, by_median = (
        compare_in_turns(Stalls(0.02), Plan("last release", 1.25, 0.25, 300, False, 60.0, percentile), random.Random(0))
        for percentile in (99.0, None)
    )
    assert min(quantile(by_tail.first, 0.5), quantile(by_tail.second, 0.5)) > 2
    assert by_tail.self_check
    assert max(by_median.first) < 1.1


def tail(lower: float, upper: float, best: float) -> Latency:
    return Latency(0.01, (best, 0.02), 700, 1, 1, 1, percentile=99.0, lower=lower, upper=upper, typical=0.001)


@pytest.mark.parametrize(
    ("first", "again", "outcome"),
    [
        (tail(0.001, 0.01, 0.001), None, Outcome.PASS),
        (tail(0.02, 0.03, 0.02), tail(0.001, 0.01, 0.001), Outcome.PASS),
        (tail(0.011, 0.03, 0.011), tail(0.011, 0.03, 0.011), Outcome.FAIL),
        # One session that the machine left alone was fast enough.
        (tail(0.011, 0.03, 0.009), tail(0.011, 0.03, 0.011), Outcome.INCONCLUSIVE),
        (tail(0.009, 0.03, 0.011), tail(0.011, 0.03, 0.011), Outcome.INCONCLUSIVE),
        (tail(0.011, 0.03, 0.011), tail(0.009, 0.03, 0.011), Outcome.INCONCLUSIVE),
    ],
)
def test_slow_runs_are_within_where_their_upper_bound_is(
    first: Latency, again: Latency | None, outcome: Outcome
) -> None:
    verdict = judge_tail_budget(0.01, first, again)
    assert (verdict.against, verdict.outcome) == (LIMIT, outcome)
    assert ("at percentile 99 of 700 inferences" in verdict.message) == (outcome is not Outcome.PASS)


@pytest.mark.parametrize(
    ("given", "label"), [({}, "p99"), ({"label": "tail"}, "tail"), ({"scenario": "long"}, "p99:long")]
)
def test_a_percentile_is_its_own_label_and_leaves_more_room(given: dict[str, Any], label: str) -> None:
    (limit,) = parse_limits(LatencyLimit, {"percentile": 99, **given}, "here", ("int8",))
    assert isinstance(limit, LatencyLimit)
    assert (limit.label, limit.max_slowdown) == (label, 0.25)
    (limit,) = parse_limits(LatencyLimit, {"percentile": 99.9}, "here", ("int8",))
    assert limit.label == "p99.9"


@pytest.mark.parametrize("percentile", [0.99, 100, "99", True, float("nan")])
def test_what_is_no_percentile_is_refused(percentile: Any) -> None:
    with pytest.raises(UsageMistake, match=r"^here: percentile=.*; expected a number from 50 to 99.99"):
        parse_limits(LatencyLimit, {"percentile": percentile}, "here", ("int8",))


@pytest.mark.parametrize("others", [{"absolute": True}, {"runtime": "last"}, {"per": "sequence"}])
def test_a_percentile_is_of_single_inferences_in_turns(others: dict[str, Any]) -> None:
    said = LatencyLimit(percentile=99.0, **others).misfit(KINDS["int8"])
    assert f"and {next(iter(others))}= is not judged by it." in said
    assert LatencyLimit(percentile=99.0, max=0.01, max_ratio=1.0).misfit(KINDS["int8"]) == ""


def test_batches_are_spread_over_all_samples_and_each_is_of_one_shape() -> None:
    one_shape = np.zeros((103, 4), np.float32)
    assert rows_of_many(one_shape, 10, 5) == [list(range(start, start + 10)) for start in range(0, 100, 20)]
    assert len(rows_of_many(one_shape, 10, 1000)) == 10
    assert rows_of_many(one_shape, 200, 5) == [range(200)]
    mixed = np.empty(5, object)
    mixed[:] = [np.zeros(n) for n in (3, 7, 3, 7, 7)]
    assert sorted(map(list, rows_of_many(mixed, 2, 10))) == [[0, 2], [1, 3]]
    assert sorted(map(list, rows_of_many(mixed, 3, 10))) == [[0, 2, 0], [1, 3, 4]]
    large = np.broadcast_to(np.float32(0), (8, 1 << 23))  # 32 MiB each, and nothing of it is there
    assert len(rows_of_many(large, 1, 8)) == 4


def test_what_a_thread_waits_for_a_processor_is_left_out_where_it_is_known() -> None:
    assert [without(waited, 3.0) for waited in (0.0, 1.0, 3.5)] == [3.0, 2.0, 3.0]
    with Waiting() as waiting:
        before = waiting.seconds()
        assert before >= 0
        assert waiting.seconds() >= before
    assert waiting.seconds() == 0.0  # closed: nothing is known


def test_a_percentile_and_its_bounds_are_kept_of_the_candidate() -> None:
    found = replace(tail(0.009, 0.02, 0.01), rounds=1324)
    assert found.per == "at percentile 99 of 1,324 inferences"
