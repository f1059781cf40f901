"""What became of each check of each baseline, by what was collected, run and judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_onnxlite.baseline.store import Held
from pytest_onnxlite.checks.memory.measurement import Memory, Peak
from pytest_onnxlite.checks.size.measurement import Size
from pytest_onnxlite.coverage import wording
from pytest_onnxlite.coverage.scope import Collected, Reach, Scope
from pytest_onnxlite.coverage.tally import Assessor, Tally
from pytest_onnxlite.registry import Registry

ROOT = Path("/project")
DIGITS, FACES = ("digits", "int8"), ("faces", "int8")
SIZE = (("int8", "size"),)
# Two baselines, each with a test of its own.
HELD = {
    DIGITS: Held(("size",), {"tests/test_a.py::test_digits": ("size",)}),
    FACES: Held(("size",), {"tests/test_b.py::test_faces[x]": ("size",)}),
}
BOTH = Collected({"tests/test_a.py::test_digits": SIZE, "tests/test_b.py::test_faces[x]": SIZE})
A = Collected({"tests/test_a.py::test_digits": SIZE})


def assess(
    held: Any,
    collected: Collected,
    judged: dict[str, Any],
    more_ran: tuple[str, ...] = (),
    failed: tuple[str, ...] = (),
    **reach: Any,
) -> Tally:
    by_test = {test: dict.fromkeys(names, ("size",)) for test, names in judged.items()}
    scope = Scope(collected, {}, replace(Reach(ROOT), **reach))
    return Assessor(held, by_test, {*judged, *more_ran, *failed}, failed, scope).tally()


JUDGED = {"tests/test_a.py::test_digits": [DIGITS]}
OLD = {name: Held(own.checks) for name, own in HELD.items()}
NARROW: Any = {"everything": False, "arguments": ((ROOT / "tests" / "test_a.py", ()),)}


@pytest.mark.parametrize(
    ("held", "collected", "options", "state"),
    [
        (HELD, BOTH, {}, "left out"),
        (HELD, BOTH, {"more_ran": ("tests/test_b.py::test_faces[x]",)}, "not judged"),
        (HELD, BOTH, {"failed": ("tests/test_b.py::test_faces[x]",)}, "failed"),
        (HELD, A, {}, "gone"),
        (HELD, A, NARROW, "out of reach"),
        (HELD, replace(A, refused={"tests/test_b.py": "was skipped"}), {}, "not judged"),
        (HELD, replace(A, refused={"": "was skipped"}), {}, "not judged"),
        (HELD, replace(A, refused={"tests/test": "was skipped"}), {}, "gone"),
        (HELD, replace(A, spared=(str(ROOT / "tests" / "test_b.py"),)), {}, "left out"),
        (HELD, replace(A, spared=(str(ROOT / "tests"),)), {}, "left out"),
        (HELD, replace(A, spared=(str(ROOT / "tests" / "test_c.py"),)), {}, "gone"),
        (HELD, replace(A, hidden=(str(ROOT / "tests"),)), NARROW, "not judged"),
        # Renamed, and left out; one of another check or kind, or of another baseline, is not it.
        (HELD, replace(A, came={**A.came, "tests/test_b.py::test_new": SIZE}), {}, "left out"),
        (HELD, replace(A, came={**A.came, "tests/test_b.py::test_new": (("onnx", "size"),)}), {}, "gone"),
        (HELD, replace(A, came={**A.came, "tests/test_b.py::test_new": (("int8", "graph"),)}), {}, "gone"),
        (HELD, replace(A, came={**A.came, "onnxlite::other::int8::size": SIZE}), {}, "gone"),
        (HELD, replace(A, came={**A.came, "onnxlite::faces::int8::size": SIZE}), {}, "left out"),
        # It came, and asks for something else now.
        (HELD, replace(BOTH, came={**BOTH.came, "tests/test_b.py::test_faces[x]": (("int8", "graph"),)}), {}, "gone"),
        # Saved by an earlier version, which wrote down no test.
        (OLD, BOTH, {}, "left out"),
        (OLD, A, {}, "gone"),
        (OLD, A, NARROW, "out of reach"),
        (OLD, A, {**NARROW, "covers_every_file": lambda: True}, "gone"),
        (OLD, replace(A, last_failed=True), {}, "left out"),
        (OLD, replace(A, refused={"tests/test_b.py": "was skipped"}), {}, "not judged"),
    ],
)
def test_what_became_of_a_baseline_that_was_not_looked_at(
    held: Any, collected: Collected, options: Any, state: str
) -> None:
    tally = assess(held, collected, JUDGED, **options)
    assert tally.states[DIGITS]["size"].name == "LOOKED"
    found = tally.states[FACES]["size"]
    assert found.name.lower().replace("_", " ") == state
    said = "".join(wording.findings(tally))
    assert ("no test looked at the baseline faces/int8.json" in said) is (state in ("gone", "not judged"))
    partial = wording.describe(tally, {}).if_partial
    assert bool(partial) is (state in ("left out", "out of reach") or bool(tally.left_out))
    assert not partial or partial == "partial: 1 of 2 baselines looked at"


@pytest.mark.parametrize(
    ("argument", "names", "test", "reached"),
    [
        ("", (), "tests/test_a.py::test_x", True),
        ("tests", (), "tests/test_a.py::test_x", True),
        ("tests/test_a.py", (), "tests/test_a.py::test_x", True),
        ("test", (), "tests/test_a.py::test_x", False),
        ("tests/test_b.py", (), "tests/test_a.py::test_x", False),
        ("tests/test_a.py", ("test_x",), "tests/test_a.py::test_x", True),
        ("tests/test_a.py", ("test_x",), "tests/test_a.py::test_x[1-a::b]", True),
        ("tests/test_a.py", ("test_x[1]",), "tests/test_a.py::test_x[1]", True),
        ("tests/test_a.py", ("test_x[1]",), "tests/test_a.py::test_x[2]", False),
        ("tests/test_a.py", ("test",), "tests/test_a.py::test_x", False),
        ("tests/test_a.py", ("TestA",), "tests/test_a.py::TestA::test_x[1]", True),
        ("tests/test_a.py", ("TestA", "test_x"), "tests/test_a.py::TestA::test_x[1]", True),
        ("tests/test_a.py", ("TestA", "test_x", "more"), "tests/test_a.py::TestA::test_x", False),
        ("tests", (), "onnxlite::digits::int8::size", False),
        ("pyproject.toml", ("digits",), "onnxlite::digits::int8::size", True),
        ("pyproject.toml", ("faces",), "onnxlite::digits::int8::size", False),
    ],
)
def test_what_an_argument_reaches(argument: str, names: tuple[str, ...], test: str, reached: bool) -> None:
    reach = Reach(ROOT, ((ROOT / argument, names),), everything=False, declaring=ROOT / "pyproject.toml")
    assert reach.holds(test) is reached


def test_nothing_guarded_is_told_where_nothing_was_left_out() -> None:
    assert list(wording.nothing_guarded(assess(HELD, Collected(), {}), (), ()))
    assert list(wording.nothing_guarded(assess({}, Collected(), {}), (), ()))
    assert not list(wording.nothing_guarded(assess({}, A, {}), (), ()))
    assert not list(wording.nothing_guarded(assess(HELD, Collected(), {}, **NARROW), (), ()))
    assert not list(wording.nothing_guarded(assess(HELD, A, JUDGED), JUDGED, ()))


def test_a_check_that_no_marker_asks_for_any_more_is_told_apart_from_a_whole_baseline() -> None:
    test = "tests/test_a.py::test_digits"
    held = {DIGITS: Held(("size", "graph"), {test: ("size", "graph")})}
    tally = assess(held, A, JUDGED)
    (text,) = wording.findings(tally)
    assert "the baseline holds what no test asked for: graph of digits/int8.json" in text
    assert tally.gone == {(DIGITS, test, "graph")}
    # One that cannot be read holds nobody knows what, and is red where it was looked at.
    assert not wording.findings(assess({DIGITS: Held()}, A, JUDGED))


STRICT, LOOSE = "tests/test_a.py::test_strict", "tests/test_b.py::test_loose"
SHARED = {DIGITS: Held(("size",), {STRICT: ("size",), LOOSE: ("size",)})}
CAME = Collected({STRICT: SIZE, LOOSE: SIZE})
ONE = Collected({LOOSE: SIZE})


@pytest.mark.parametrize(
    ("collected", "judged", "options", "state"),
    [
        (CAME, (STRICT, LOOSE), {}, "looked"),
        (CAME, (LOOSE,), {}, "left out"),
        (CAME, (LOOSE,), {"more_ran": (STRICT,)}, "not judged"),
        (CAME, (LOOSE,), {"failed": (STRICT,)}, "failed"),
        (ONE, (LOOSE,), {}, "gone"),
        (ONE, (LOOSE,), {"everything": False, "arguments": ((ROOT / "tests" / "test_b.py", ()),)}, "out of reach"),
        # The worst counts, whether the other one was looked at or not.
        (ONE, (), {}, "gone"),
        (CAME, (), {"more_ran": (STRICT,)}, "not judged"),
        # Under another name; one newcomer stands in for one test.
        (replace(ONE, came={**ONE.came, "new": SIZE}), (LOOSE, "new"), {}, "looked"),
        (replace(ONE, came={**ONE.came, "new": SIZE}), (LOOSE,), {}, "left out"),
        (replace(ONE, came={**ONE.came, "new": SIZE}), (LOOSE,), {"failed": ("new",)}, "failed"),
        (replace(ONE, came={**ONE.came, "new": SIZE}), (LOOSE,), {"more_ran": ("new",)}, "gone"),
        (Collected({"new": SIZE}), ("new",), {}, "gone"),
        (Collected({"new": SIZE, "newer": SIZE}), ("new", "newer"), {}, "looked"),
    ],
)
def test_of_several_tests_that_guard_a_check_each_must_have_judged_it(
    collected: Collected, judged: tuple[str, ...], options: Any, state: str
) -> None:
    tally = assess(SHARED, collected, {test: [DIGITS] for test in judged}, **options)
    found = tally.states[DIGITS]["size"]
    assert found.name.lower().replace("_", " ") == state
    assert bool(wording.findings(tally)) is found.is_missing
    assert bool(wording.describe(tally, {}).if_partial) is (found.is_partial or bool(tally.left_out))
    # What nobody looked at is told as the baseline itself, what others looked at by the test.
    not_looked = wording.describe(tally, {}).not_looked
    assert bool(not_looked) is (found.is_missing or found.is_partial)
    assert all((" by " in text) is bool(judged) for text in not_looked)


def test_two_measurements_of_one_file_must_agree_on_what_is_no_noise() -> None:
    checks = Registry.load().checks
    memory = Memory(Peak(2, 1, True), None, "VmHWM", None, 1, 1, {"x": (1, 4)})
    assert not checks["memory"].unlike(memory, replace(memory, candidate=Peak(3, 1, True)))
    assert checks["memory"].unlike(memory, replace(memory, threads=2)) == "threads (1 and 2)"
    assert "shapes" in checks["memory"].unlike(memory, replace(memory, shapes={"x": (1, 8)}))
    assert not checks["size"].unlike(Size(9, None, None), Size(9, "onnx", 20))
    assert checks["size"].unlike(Size(9, None, None), Size(8, None, None)) == "bytes (9 and 8)"
