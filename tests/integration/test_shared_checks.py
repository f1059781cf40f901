"""Several tests that guard the same check of the same variant: each has a limit of its own, and none stands in for another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pytest_onnxlite.__main__ import main

from onnx_models import lookup
from projects import Project

SAMPLES = 200
ANSWERS = np.random.default_rng(0).integers(0, 10, SAMPLES)
LOOSE = """
@pytest.mark.onnxlite_accuracy(max_drop=0.5)
def test_loose(onnxlite_int8): pass
"""
STRICT = """
@pytest.mark.onnxlite_accuracy(max_drop=0.0)
def test_strict(onnxlite_int8): pass
"""
BY_STRICT = "accuracy of digits/int8.json by test_release.py::test_strict"


def said(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def answer(project: Project, wrong: int) -> None:
    """Let so many answers of the candidate be wrong."""
    lookup(project.path / "int8.onnx", (ANSWERS + (np.arange(SAMPLES) < wrong)) % 10, int8=True)


def tests(project: Project, *texts: str) -> None:
    (project.path / "test_release.py").write_text("import pytest\n" + "".join(texts))


def kept(project: Project) -> dict[str, object]:
    found: dict[str, object] = json.loads(project.baseline.read_text())
    return found


@pytest.fixture
def shared(project: Project, tmp_path: Path) -> Project:
    """A project with a baseline that a strict test and a loose one guard."""
    float_file = lookup(tmp_path / "float.onnx", ANSWERS)
    int8_file = lookup(tmp_path / "int8.onnx", ANSWERS, int8=True)
    project.write({"onnx": float_file, "int8": int8_file}, np.arange(SAMPLES).reshape(-1, 1), ANSWERS)
    tests(project, LOOSE, STRICT)
    project.save()
    return project


def test_each_of_them_must_judge(shared: Project) -> None:
    assert kept(shared)["tests"] == {
        "test_release.py::test_loose": ["accuracy"],
        "test_release.py::test_strict": ["accuracy"],
    }
    assert shared.compare("--onnxlite-complete").ret == 0
    for name, text, why in (
        ("skipped", "@pytest.mark.skip" + STRICT, "test_strict judged nothing; it was skipped (unconditional skip)"),
        ("deleted", "", "test_strict was not collected, or its marker is gone"),
        (
            "without its marker",
            STRICT.replace("@pytest", "# @pytest"),
            "test_strict was not collected, or its marker is gone",
        ),
        ("of another variant", STRICT.replace("int8", "onnx"), "test_strict asks for it no longer"),
    ):
        tests(shared, LOOSE, text)
        result = shared.compare("--onnxlite-report=r.json")
        assert result.ret == 1, name
        result.stdout.fnmatch_lines([f"ERROR: a test did not judge what it guards: {BY_STRICT}. *{why}.*"])
        report = json.loads((shared.path / "r.json").read_text())
        assert (report["verdict"], report["coverage"]["not_looked"]) == ("fail", [BY_STRICT]), name
        # And so it is in a part of the run that leaves the other one out.
        assert shared.compare("--deselect=test_release.py::test_loose").ret != 0, name


def test_one_that_is_left_out_makes_the_run_a_part(shared: Project) -> None:
    tests(shared, LOOSE, STRICT, "def test_plain(): pass\n")
    for options in (["-k", "not strict"], ["--deselect=test_release.py::test_strict"]):
        result = shared.compare(*options)
        assert result.ret == 0, said(result)
        assert "partial: 0 of 1 baseline looked at." in said(result)
        assert f"baselines not looked at in this run: {BY_STRICT}" in said(result)
        assert shared.compare("--onnxlite-complete", *options).ret == 1


def test_a_test_with_another_name_stands_in_for_one_that_is_gone(shared: Project) -> None:
    tests(shared, LOOSE, STRICT.replace("test_strict", "test_new"))
    assert shared.compare("--onnxlite-complete").ret == 0
    result = shared.compare("-k", "loose")
    assert (result.ret, "partial: 0 of 1" in said(result)) == (0, True)
    shared.save()
    assert sorted(kept(shared)["tests"]) == ["test_release.py::test_loose", "test_release.py::test_new"]  # type: ignore[call-overload]
    # For two that are gone one is not enough.
    tests(shared, LOOSE.replace("loose", "only"))
    assert shared.compare().ret == 1


def test_a_worse_file_is_not_saved_without_the_test_that_it_fails(shared: Project) -> None:
    answer(shared, wrong=60)
    before = shared.baseline.read_bytes()
    for options in (["-k", "loose"], ["-k", "loose", "--onnxlite-accept"]):
        refused = shared.run("--onnxlite-save-baseline", *options)
        assert refused.ret == 1
        refused.stdout.fnmatch_lines(
            [
                "ERROR: digits/int8 was not saved: its file is a new one, and this run did not judge it by *::test_strict, *"
            ]
        )
        assert shared.baseline.read_bytes() == before
    assert shared.run("--onnxlite-save-baseline").ret == 1
    answer(shared, wrong=0)
    shared.save("-k", "loose")
    assert shared.baseline.read_bytes() == before


def test_one_that_is_gone_is_dropped_where_that_is_accepted(shared: Project) -> None:
    tests(shared, LOOSE)
    before = shared.baseline.read_bytes()
    refused = shared.run("--onnxlite-save-baseline")
    assert refused.ret == 1
    refused.stdout.fnmatch_lines(
        ["ERROR: digits/int8 was not saved: it would drop test_release.py::test_strict (accuracy), *--onnxlite-accept*"]
    )
    assert shared.baseline.read_bytes() == before
    accepted = shared.save("--onnxlite-accept")
    accepted.stdout.fnmatch_lines(["saved: baselines/digits/int8.json, without test_release.py::test_strict"])
    assert "accuracy" in kept(shared)
    assert shared.compare("--onnxlite-complete").ret == 0


def test_two_that_measure_otherwise_are_not_saved(shared: Project) -> None:
    before = shared.baseline.read_bytes()
    tests(shared, LOOSE, STRICT.replace("max_drop=0.0", "batch_size=2"))
    refused = shared.run("--onnxlite-save-baseline", "--onnxlite-accept")
    assert refused.ret == 1
    refused.stdout.fnmatch_lines(
        [
            "ERROR: digits/int8 was not saved: test_release.py::test_loose and test_release.py::test_strict do not agree on "
            "its accuracy, of which a baseline keeps one: they differ in batch_size (1 and 2). *"
        ]
    )
    assert shared.baseline.read_bytes() == before


def test_shards_must_have_judged_by_each_of_them(
    shared: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shared.path)
    assert shared.compare("-k", "loose", "--onnxlite-report=1.json").ret == 0
    assert shared.compare("-k", "strict", "--onnxlite-report=2.json").ret == 0
    assert main(["merge", "1.json", "2.json"]) == 0
    # A shard whose version of the project has the strict test no longer.
    tests(shared, LOOSE, "def test_plain(): pass\n")
    assert shared.compare("-k", "plain", "--onnxlite-report=2.json").ret == 1
    content = json.loads(Path("2.json").read_text())
    Path("2.json").write_text(json.dumps({**content, "session": [], "verdict": "pass"}))
    first = json.loads(Path("1.json").read_text())
    first["coverage"]["left_out"] = []
    Path("1.json").write_text(json.dumps(first))
    capsys.readouterr()
    assert main(["merge", "1.json", "2.json"]) == 1
    assert f"no shard looked at {BY_STRICT}" in capsys.readouterr().out.replace("\\", "")


def test_a_new_test_that_judges_nothing_is_told(shared: Project) -> None:
    tests(shared, LOOSE, STRICT, "@pytest.mark.skip" + STRICT.replace("test_strict", "test_new"))
    result = shared.compare()
    assert result.ret == 0, said(result)
    line = "guarded tests that judged nothing, and that no baseline names: test_release.py::test_new"
    result.stdout.fnmatch_lines([line])
    complete = shared.compare("--onnxlite-complete")
    assert complete.ret == 1
    assert "asks for a full run, and these guarded tests judged nothing: test_release.py::test_new" in said(complete)
    # Where it runs, there is nothing to tell.
    tests(shared, LOOSE, STRICT, STRICT.replace("test_strict", "test_new"))
    assert "judged nothing" not in said(shared.compare("--onnxlite-complete"))
