"""The order of a latency measurement, driven with a fake clock."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from pytest_onnxlite.checks.turns.comparison import Comparison
from pytest_onnxlite.checks.turns.ratios import is_clear, is_suspicious, is_too_noisy
from pytest_onnxlite.checks.turns.schedule import Plan, compare_in_turns
from pytest_onnxlite.statistics import quantile

MOST = 1.05


class FakeBench:
    """Sessions whose speed is a number; a block takes 5 ms, whatever ran."""

    def __init__(self, slowdown: float, session_noise: Callable[[], float] = lambda: 1.0) -> None:
        self.slowdown = slowdown
        self.session_noise = session_noise
        self.clock = 0.0
        self.events: list[str] = []
        self.candidate = self.reference = self.twin = 1.0

    def open_alone(self) -> None:
        self.events.append("open alone")
        self.candidate = self.slowdown * self.session_noise()

    def open_pair(self, candidate_first: bool) -> None:
        self.events.append("open candidate first" if candidate_first else "open reference first")
        self.candidate = self.slowdown * self.session_noise()
        self.reference = self.session_noise()

    def open_self_pair(self) -> None:
        self.events.append("open self")
        self.reference, self.twin = self.session_noise(), self.session_noise()

    def _block(self, name: str, seconds: float) -> float:
        self.events.append(name)
        self.clock += 0.005
        return seconds

    def time_candidate(self) -> float:
        return self._block("candidate", self.candidate)

    def time_reference(self) -> float:
        return self._block("reference", self.reference)

    def time_reference_twin(self) -> float:
        return self._block("twin", self.twin)

    def rest(self, seconds: float) -> None:
        self.events.append("rest")
        self.clock += seconds

    def now(self) -> float:
        return self.clock


def drive(
    bench: FakeBench, max_time: float = 1000.0, is_long: bool = False, rests: bool = False, added: int | None = None
) -> Comparison:
    plan = Plan("last release", MOST, 0.05, 5, is_long, max_time, rests=rests, added=added)
    return compare_in_turns(bench, plan, random.Random(0))


def opened(bench: FakeBench) -> int:
    """Session pairs of candidate and reference."""
    return sum(event.endswith("first") for event in bench.events)


def test_an_equal_model_takes_one_set_of_eight_session_pairs() -> None:
    bench = FakeBench(1.0)
    sets = drive(bench)
    assert sets.first == (1.0,) * 8
    assert (sets.second, sets.self_check) == ((), ())
    assert bench.events.count("candidate") == bench.events.count("reference") == 40


def test_the_same_file_is_timed_alone_and_its_ratio_is_one_however_noisy_the_machine_is() -> None:
    noise = iter([1.0, 3.0, 0.5, 2.0, 1.0, 4.0, 1.0, 2.0])
    bench = FakeBench(1.0, lambda: next(noise))
    sets = compare_in_turns(bench, Plan("last release", MOST, 0.05, 5, False, 1000.0, same=True))
    assert (sets.first, sets.second, sets.self_check, sets.same) == ((1.0,) * 8, (), (), True)
    assert sets.fastest == 0.5
    assert set(bench.events) == {"open alone", "candidate"}
    assert (bench.events.count("open alone"), bench.events.count("candidate")) == (8, 40)


def test_the_fastest_block_is_the_references() -> None:
    """Of every set, and of where it is compared with itself."""
    bench = FakeBench(0.1, lambda: 7.0)
    assert (drive(bench).fastest, drive(bench).same) == (7.0, False)
    times = iter([5.0, 1.0] * 8 + [5.0, 1.0] * 8 + [0.3, 0.3] + [5.0, 5.0] * 7)
    red = FakeBench(100.0, lambda: next(times))
    found = drive(red)
    assert found.self_check
    assert found.fastest == 0.3


def test_creation_order_alternates_and_block_order_varies() -> None:
    bench = FakeBench(1.0)
    drive(bench)
    opened = [event for event in bench.events if event.startswith("open")]
    assert all(one != other for one, other in itertools.pairwise(opened))
    firsts = {bench.events[i + 1] for i, event in enumerate(bench.events) if event.startswith("open")}
    assert firsts == {"candidate", "reference"}


def test_a_slower_model_is_measured_by_two_sets_and_the_machine_by_a_third() -> None:
    sets = drive(FakeBench(1.2))
    assert is_suspicious(sets.first, MOST)
    assert is_suspicious(sets.second, MOST)
    assert len(sets.self_check) == 8


def test_session_pairs_follow_the_spread() -> None:
    rng = random.Random(3)
    quiet, noisy = (FakeBench(1.0, lambda spread=spread: rng.gauss(1, spread)) for spread in (0.002, 0.05))  # type: ignore[misc]
    drive(quiet)
    drive(noisy)
    assert opened(quiet) == 8
    assert opened(noisy) > 8


def test_a_noisy_machine_is_found_out_by_the_reference_itself() -> None:
    rng = random.Random(3)
    bench = FakeBench(1.0, lambda: rng.lognormvariate(0, 1.0))
    sets = drive(bench)
    # Session pairs, or half or a quarter as many where two or four were taken together.
    assert len(sets.first) in (32, 64, 128)
    assert len(sets.self_check) in (32, 64, 128)
    assert bench.events.count("open self") == 128


def test_no_pair_is_added_after_the_time_is_up() -> None:
    rng = random.Random(3)
    bench = FakeBench(1.05, lambda: rng.gauss(1, 0.03))
    sets = drive(bench, max_time=0.5)
    # Eight pairs of five rounds take 0.4 s on the fake clock; the eight under way at 0.5 s are finished.
    assert len(sets.first) <= 16


def test_the_second_set_has_as_much_time_as_the_first() -> None:
    """Cut short by the first, it would let pass what it has to confirm."""
    found = []
    for seed in range(20):
        rng = random.Random(seed)
        found.append(drive(FakeBench(1.08, lambda rng=rng: rng.gauss(1, 0.03)), max_time=0.5))  # type: ignore[misc]
    assert {(len(one.first), len(one.second)) for one in found} >= {(16, 16)}


def test_what_eight_pairs_do_not_decide_is_measured_longer() -> None:
    rng = random.Random(3)
    bench = FakeBench(1.0, lambda: rng.gauss(1, 0.05))
    drive(bench)
    assert opened(bench) > 8
    assert bench.events.count("reference") == 5 * 8 + 15 * (opened(bench) - 8)


class BusyBench(FakeBench):
    """Beside a neighbour that slows most blocks down, by a factor that lasts for a session."""

    def __init__(self, slowdown: float, seed: int = 0) -> None:
        super().__init__(slowdown)
        self.rng = random.Random(seed)
        self.drag = {"candidate": 1.0, "reference": 1.0, "twin": 1.0}

    def _block(self, name: str, seconds: float) -> float:
        if self.rng.random() < 0.3:  # now and then the neighbour sleeps
            return super()._block(name, seconds)
        return super()._block(name, seconds * self.drag[name])

    def open_pair(self, candidate_first: bool) -> None:
        super().open_pair(candidate_first)
        self.drag = {name: self.rng.uniform(1.2, 2.0) for name in self.drag}

    def open_self_pair(self) -> None:
        super().open_self_pair()
        self.drag = {name: self.rng.uniform(1.2, 2.0) for name in self.drag}


@pytest.mark.parametrize(("slowdown", "red"), [(1.0, False), (1.15, True)])
def test_beside_a_busy_neighbour_the_fast_tenth_decides(slowdown: float, red: bool) -> None:
    for seed in range(20):
        sets = drive(BusyBench(slowdown, seed))
        assert (bool(sets.second) and is_suspicious(sets.second, MOST)) is red
        assert not sets.self_check or not is_too_noisy(sets.self_check, 0.05)


def test_a_session_is_known_by_its_fast_blocks() -> None:
    assert quantile([5.0], 0.1) == 5.0
    assert quantile([float(i) for i in range(11)], 0.1) == 1.0
    assert quantile([3.0, 1.0, 2.0], 0.1) == pytest.approx(1.2)
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    # A busy neighbour slows most blocks down, and changes nothing.
    assert quantile([1.0, 1.0, 1.0, *[9.0] * 17], 0.1) == 1.0


def test_long_inferences_of_several_threads_rest_once_eight_pairs_have_not_decided() -> None:
    quiet = FakeBench(1.0)
    drive(quiet, is_long=True, rests=True)
    assert "rest" not in quiet.events
    rng = random.Random(3)
    noisy = FakeBench(1.0, lambda: rng.gauss(1, 0.05))
    drive(noisy, is_long=True, rests=True)
    assert noisy.events.count("rest") == 2 * 15 * (opened(noisy) - 8) > 0


@pytest.mark.parametrize("added", [5, 30])
def test_pairs_that_are_added_have_as_many_blocks_as_the_plan_says(added: int) -> None:
    rng = random.Random(3)
    noisy = FakeBench(1.0, lambda: rng.gauss(1, 0.05))
    drive(noisy, is_long=True, added=added)
    assert "rest" not in noisy.events
    assert opened(noisy) > 8
    assert noisy.events.count("reference") == 5 * 8 + added * (opened(noisy) - 8)


@pytest.mark.parametrize(("slowdown", "alarms"), [(1.0, 0), (1.03, 0), (1.10, 200), (1.15, 200)])
def test_alarms_on_sessions_that_spread_as_dense_int8_models_do(slowdown: float, alarms: int) -> None:
    found = 0
    for seed in range(200):
        rng = random.Random(seed)
        # Each session is off by 2 %, so that ratios of pairs spread by 2.8 %.
        sets = drive(FakeBench(slowdown, lambda rng=rng: rng.gauss(1, 0.02)))  # type: ignore[misc]
        found += bool(sets.second) and is_suspicious(sets.second, MOST)
    assert abs(found - alarms) <= 2


def test_which_session_was_created_first_is_no_bias_of_the_self_check() -> None:
    class SecondIsFaster(FakeBench):
        def open_self_pair(self) -> None:
            super().open_self_pair()
            self.twin = 0.8 * self.reference

    bench = SecondIsFaster(1.2)
    found = drive(bench)
    # Eight pairs lie in two heaps; eight more give replicates of two pairs, one of each heap.
    assert bench.events.count("open self") == 16
    assert found.self_check == pytest.approx((1.0,) * 8)


@pytest.mark.parametrize(("slowdown", "red"), [(1.0, False), (1.15, True)])
def test_where_half_of_all_sessions_lie_on_one_core_the_fastest_of_four_decides(slowdown: float, red: bool) -> None:
    # Two threads and a busy neighbour on two cores: the same file was inconclusive in 3 of 6 checks.
    for seed in range(20):
        rng = random.Random(seed)
        bench = FakeBench(slowdown, lambda rng=rng: rng.gauss(1, 0.01) * rng.choice([1.0, 1.5]))  # type: ignore[misc]
        sets = drive(bench, added=30)
        assert (bool(sets.second) and is_suspicious(sets.second, MOST)) is red
        assert not sets.self_check or not is_too_noisy(sets.self_check, 0.05)
        assert red or is_clear(sets.first, MOST) or not is_too_noisy(sets.first, 0.05)


class OrderMatters(FakeBench):
    """With two threads the session that was created first can be slower throughout, whichever model it holds."""

    def __init__(self, slowdown: float, seed: int) -> None:
        rng = random.Random(seed)
        super().__init__(slowdown, lambda: rng.gauss(1, 0.01))

    def open_pair(self, candidate_first: bool) -> None:
        super().open_pair(candidate_first)
        self.candidate *= 1.2 if candidate_first else 1.0
        self.reference *= 1.0 if candidate_first else 1.2

    def open_self_pair(self) -> None:
        super().open_self_pair()
        self.reference *= 1.2


@pytest.mark.parametrize("is_long", [False, True])
@pytest.mark.parametrize(("slowdown", "red"), [(1.0, False), (1.15, True)])
def test_which_session_was_created_first_is_no_bias_of_the_verdict(slowdown: float, red: bool, is_long: bool) -> None:
    for seed in range(20):
        sets = drive(OrderMatters(slowdown, seed), is_long=is_long)
        assert (bool(sets.second) and is_suspicious(sets.second, MOST)) is red
        assert len(sets.first) == 8  # replicates of two session pairs each
        for ratios in (sets.first, sets.second, sets.self_check):
            assert not ratios or not is_too_noisy(ratios, 0.05)


class StallingBench(FakeBench):
    """A machine that becomes slower for half of the session pairs, and a candidate one of whose five runs takes four times as long."""

    def open_pair(self, candidate_first: bool) -> None:
        super().open_pair(candidate_first)
        self.candidate = self.reference = 1.0 if opened(self) % 8 in (1, 2, 3, 4) else 1.7
        self.runs = itertools.cycle([1.0, 1.0, 4.0, 1.0, 1.0])

    def time_candidate(self) -> float:
        return super().time_candidate() * next(self.runs)


def test_the_typical_run_is_compared_pair_by_pair_where_the_machines_speed_changes() -> None:
    """Of all runs together, the medians would be of a slow state on one side and of a fast one on the other."""
    plan = Plan("last release", 1.5, 0.5, 5, False, 1000.0, percentile=90)
    found = compare_in_turns(StallingBench(1.0), plan, random.Random(0))
    assert is_suspicious(found.first, 1.5)
    assert found.typical == 1.0
    assert drive(FakeBench(1.0)).typical is None
