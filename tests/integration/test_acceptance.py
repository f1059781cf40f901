"""What is accepted, by whom it is seen, and what is not accepted: in a user's project."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pytest_onnxlite.__main__ import main

from onnx_models import dense, lookup
from projects import Project

INDEX = np.arange(200, dtype=np.int64).reshape(-1, 1)
RIGHT = np.arange(200) % 10
MARKERS = "@pytest.mark.onnxlite_accuracy(max_drop=0.01)\n@pytest.mark.onnxlite_size"
REASON = "labels were cleaned; see the review"


def model(path: Path, wrong: int, waste: int = 0) -> Path:
    """A model that has some answers wrong, and so many bytes that nothing needs."""
    answers = RIGHT.copy()
    answers[:wrong] = (answers[:wrong] + 1) % 10
    lookup(path, answers)
    loaded = onnx.load(path)
    onnx.helper.set_model_props(loaded, {"waste": "x" * waste})
    onnx.save(loaded, path)
    return path


@pytest.fixture
def worse(project: Project, tmp_path: Path) -> Project:
    """A project whose candidate is less accurate than its last release, and larger."""
    project.write({"onnx": model(tmp_path / "a.onnx", 0)}, INDEX, RIGHT, variant="onnx", markers=MARKERS)
    project.save()
    project.replace("onnx.onnx", model(tmp_path / "b.onnx", 5, 3000))
    return project


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=n@example.org", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def accepted(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(project.baseline.read_text()).get("accepted", [])
    return found


def shown_log(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of `show --log`."""
    capsys.readouterr()
    assert main(["show", str(folder), "--log"]) == 0
    return capsys.readouterr().out.splitlines()


def test_what_is_not_named_stays_red_and_nothing_is_saved(worse: Project) -> None:
    before = worse.baseline.read_bytes()
    result = worse.run("--onnxlite-save-baseline", "--onnxlite-accept-only=size", f"--onnxlite-reason={REASON}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*digits onnx: accuracy",
            "accepted: digits onnx size: *",
            "ERROR: digits/onnx was not saved: it fails its limits: accuracy (fail). --onnxlite-accept-only=size does not name *",
        ]
    )
    assert worse.baseline.read_bytes() == before
    result = worse.run("--onnxlite-save-baseline", "--onnxlite-accept-only=size, accuracy")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["saved: baselines/digits/onnx.json, with accuracy and size accepted"])


def test_what_is_accepted_is_kept_with_its_reason_and_told_later(
    worse: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(worse.path, "init", "-q")
    options = ("--onnxlite-accept", f"--onnxlite-reason={REASON}", "--onnxlite-report=r.json")
    worse.save(*options).stdout.fnmatch_lines(["saved: *, with accuracy and size accepted; labels were cleaned; see *"])
    (one,) = accepted(worse)
    assert one["reason"] == REASON
    assert [limit["check"] for limit in one["limits"]] == ["accuracy", "size"]
    accuracy, size = one["limits"]
    assert (accuracy["before"], accuracy["after"]) == ("100.0 %", "97.5 %")
    assert (accuracy["against"], accuracy["outcome"]) == ("baseline", "fail")
    assert accuracy["allowed"] == "1.0 points worse at most"
    assert "at most 2 allowed (max_drop=0.01" in accuracy["message"]
    assert size["before"].endswith(" KiB")
    (saved,) = json.loads((worse.path / "r.json").read_text())["saved"]
    assert saved["accepted"] == one

    # Whatever is saved later keeps it, a save that changes nothing changes no byte, and reports say it.
    git(worse.path, "add", "baselines")
    git(worse.path, "commit", "-qm", "accepted")
    before = worse.baseline.read_bytes()
    worse.save("--onnxlite-accept").stdout.fnmatch_lines(["unchanged: baselines/digits/onnx.json"])
    assert worse.baseline.read_bytes() == before
    told = f"*the last release was accepted with accuracy 100.0 % → 97.5 % (1.0 points worse at most allowed); size *: {REASON}"
    result = worse.compare("-v", "--onnxlite-markdown=r.md", "--onnxlite-report=r.json")
    result.stdout.fnmatch_lines([told.replace("[", "[[]")])
    assert "the last release was accepted with accuracy" in (worse.path / "r.md").read_text()
    (record,) = json.loads((worse.path / "r.json").read_text())["records"]
    assert record["baseline"]["accepted"] == [one]
    assert main(["report", str(worse.path / "r.json")]) == 0
    assert "the last release was accepted with accuracy" in capsys.readouterr().out
    worse.compare().stdout.no_fnmatch_line("*the last release was accepted*")

    worse.replace("onnx.onnx", model(tmp_path / "c.onnx", 9, 3000))
    worse.save("--onnxlite-accept")
    assert [entry["limits"][0]["check"] for entry in accepted(worse)] == ["accuracy", "accuracy"]
    assert "reason" not in accepted(worse)[1]
    folder = worse.path / "baselines"
    lines = shown_log(folder, capsys)
    heads = [line for line in lines if "digits onnx" in line]
    assert ["commit " in head for head in heads] == [True, False]
    assert heads[1].endswith("not committed")
    assert f"  reason: {REASON}" in lines
    assert "  reason: none given" in lines
    assert "  accuracy 97.5 % → 95.5 % (1.0 points worse at most allowed), fail against the last release" in lines
    # What was deleted is in git's history.
    git(worse.path, "rm", "-rqf", "baselines")
    folder.mkdir(exist_ok=True)
    assert f"  reason: {REASON}" in shown_log(folder, capsys)


def test_without_git_the_files_alone_are_read(
    worse: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(worse.path.parent))
    folder = worse.path / "baselines"
    nothing, no_git = shown_log(folder, capsys)
    assert nothing.endswith("says that a limit was overridden.")
    assert no_git.startswith("git cannot read the history")
    worse.save("--onnxlite-accept")
    assert shown_log(folder, capsys)[0].endswith("not committed")
    worse.baseline.write_text("<<<<<<< HEAD")
    assert "is not JSON" in shown_log(folder, capsys)[-1]


def test_what_no_test_asks_for_any_more_is_dropped_if_it_is_named(worse: Project) -> None:
    test = worse.path / "test_release.py"
    test.write_text(test.read_text().replace("@pytest.mark.onnxlite_size", ""))
    names = "--onnxlite-accept-only="
    refused = worse.run("--onnxlite-save-baseline", f"{names}accuracy")
    refused.stdout.fnmatch_lines(["ERROR: digits/onnx was not saved: it would drop size, *"])
    worse.save(f"{names}accuracy,size").stdout.fnmatch_lines(["saved: *, without size; with accuracy accepted"])
    dropped = accepted(worse)[0]["limits"][1]
    assert (dropped["check"], dropped["outcome"], dropped["after"]) == ("size", "dropped", "no longer judged")


def test_a_limit_of_its_own_is_saved_by_no_accept(worse: Project) -> None:
    test = worse.path / "test_release.py"
    test.write_text(test.read_text().replace("max_drop=0.01", "max_drop=0.01, min=0.98"))
    before = worse.baseline.read_bytes()
    for option in ("--onnxlite-accept", "--onnxlite-accept-only=accuracy,size"):
        result = worse.run("--onnxlite-save-baseline", option)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            [
                "ERROR: digits/onnx was not saved: it fails its limits: accuracy (fail). What is not against the last release *"
            ]
        )
    assert worse.baseline.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ["--onnxlite-save-baseline", "--onnxlite-accept-only=latency,sise"],
            "unknown check 'sise'; did you mean size?",
        ),
        (["--onnxlite-save-baseline", "--onnxlite-accept-only=,"], "expected names of checks, such as latency,size"),
        (["--onnxlite-save-baseline", "--onnxlite-accept", "--onnxlite-accept-only=size"], "give one of the two"),
        (["--onnxlite-accept-only=size"], "--onnxlite-accept-only goes with --onnxlite-save-baseline"),
        (["--onnxlite-save-baseline", "--onnxlite-reason=x"], "--onnxlite-reason says why something is accepted"),
        (
            ["--onnxlite-save-baseline", "--onnxlite-accept", "--onnxlite-reason=a\nb"],
            "expected one line of at most 500",
        ),
    ],
)
def test_mistakes_in_what_is_accepted(pytester: pytest.Pytester, options: list[str], text: str) -> None:
    result = pytester.runpytest(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert text in result.stderr.str()


def test_a_check_of_a_project_can_be_named_and_the_ini_file_names_too(worse: Project) -> None:
    own = """
from pytest_onnxlite.checks.size import SizeCheck

class Own(SizeCheck):
    name = "own"
    first = None

    def judge(self, task):
        raise NotImplementedError

def pytest_onnxlite_checks():
    return [Own()]
"""
    conftest = worse.path / "conftest.py"
    conftest.write_text(conftest.read_text() + own)
    worse.pytester.makeini("[pytest]\nonnxlite_accept_only = own accuracy")
    result = worse.run("--onnxlite-save-baseline")
    assert "unknown check 'own accuracy'" in result.stderr.str()
    worse.pytester.makeini("[pytest]\nonnxlite_accept_only = own, accuracy, runtime")
    assert worse.run("--onnxlite-save-baseline").ret == 1
    worse.save("--onnxlite-accept")  # what is typed wins


def test_steps_that_were_accepted_add_up_to_what_is_not(project: Project, tmp_path: Path) -> None:
    markers = """
    @pytest.mark.onnxlite_accuracy(max_drop=0.02, max_drop_total=0.04)
    @pytest.mark.onnxlite_size(max_growth_total=0.5)
    """
    project.write({"onnx": model(tmp_path / "0.onnx", 0)}, INDEX, RIGHT, variant="onnx", markers=markers)
    project.save()
    for wrong in (4, 8):
        project.replace("onnx.onnx", model(tmp_path / f"{wrong}.onnx", wrong, 500 * wrong))
        project.save("--onnxlite-accept-only=size")
    before = project.baseline.read_bytes()
    project.replace("onnx.onnx", model(tmp_path / "9.onnx", 9, 4600))
    for options in (["--onnxlite-baseline"], ["--onnxlite-save-baseline", "--onnxlite-accept"]):
        result = project.run(*options, "--onnxlite-markdown=r.md")
        result.assert_outcomes(failed=1)
        text = result.stdout.str()
        assert (
            "the first release had 100.0 % (200): 9 fewer right since then, at most 8 allowed (max_drop_total=0.04"
            in text
        )
        assert "more, at most 50.0 % allowed (max_growth_total=0.5). It is the sum of what each release lost" in text
        assert "against the first release" in (project.path / "r.md").read_text()
    assert project.baseline.read_bytes() == before


@pytest.mark.alone
def test_time_that_was_lost_since_the_first_release_is_red(project: Project, tmp_path: Path) -> None:
    markers = "@pytest.mark.onnxlite_latency(max_slowdown=1.0, max_slowdown_total=0.25)"
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 8)}, x, variant="onnx", markers=markers)
    project.save()
    project.replace("onnx.onnx", dense(tmp_path / "twin.onnx", 8, seed=1))
    project.compare().assert_outcomes(passed=1)
    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 12))
    result = project.compare("--onnxlite-explain-time=0")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "x the time of the first release: 1x up to the last one, and " in text
    assert "at most 1.25x allowed (max_slowdown_total=0.25). An independent second set agrees" in text
    assert "max_slowdown=1.0" not in text
