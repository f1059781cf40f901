"""What became of each check of each baseline, by what was collected, run and judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_onnxlite import coverage
from pytest_onnxlite.baseline.store import Held
from pytest_onnxlite.coverage import Assessor, Collected, Reach, Scope

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
) -> coverage.Tally:
    looked: dict[Any, set[str]] = {}
    for names in judged.values():
        for name in names:
            looked.setdefault(name, set()).add("size")
    scope = Scope(collected, {}, replace(Reach(ROOT), **reach))
    return Assessor(held, looked, judged, {*judged, *more_ran, *failed}, failed, scope).tally()


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
    said = "".join(coverage.findings(tally))
    assert ("no test looked at the baseline faces/int8.json" in said) is (state in ("gone", "not judged"))
    partial = coverage.describe(tally, {}).if_partial
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
    assert list(coverage.nothing_guarded(assess(HELD, Collected(), {}), (), ()))
    assert list(coverage.nothing_guarded(assess({}, Collected(), {}), (), ()))
    assert not list(coverage.nothing_guarded(assess({}, A, {}), (), ()))
    assert not list(coverage.nothing_guarded(assess(HELD, Collected(), {}, **NARROW), (), ()))
    assert not list(coverage.nothing_guarded(assess(HELD, A, JUDGED), JUDGED, ()))


def test_a_check_that_no_marker_asks_for_any_more_is_told_apart_from_a_whole_baseline() -> None:
    test = "tests/test_a.py::test_digits"
    held = {DIGITS: Held(("size", "graph"), {test: ("size", "graph")})}
    tally = assess(held, A, JUDGED)
    (text,) = coverage.findings(tally)
    assert "the baseline holds what no test asked for: graph of digits/int8.json" in text
    assert tally.gone == {(DIGITS, test, "graph")}
    # One that cannot be read holds nobody knows what, and is red where it was looked at.
    assert not coverage.findings(assess({DIGITS: Held()}, A, JUDGED))
