"""A pull request is compared with the release of another commit: `--onnxlite-against`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pytest_onnxlite.__main__ import main

from onnx_models import lookup
from projects import UNEXPLAINED, Project

ANSWERS = np.arange(200) % 10
AGAINST = "--onnxlite-against=main"


def git(folder: Path, *arguments: str) -> str:
    name = ["-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *name, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "c")


def release(project: Project, tmp_path: Path, wrong: int) -> None:
    """Put a model in place that answers so many of 200 samples wrongly."""
    project.replace("onnx.onnx", lookup(tmp_path / "m.onnx", (ANSWERS + (np.arange(200) < wrong)) % 10))


@pytest.fixture
def change(project: Project, tmp_path: Path) -> Project:
    """A branch whose commit has a worse model, and a baseline that was saved of that: its own work tree is green."""
    model = lookup(tmp_path / "m.onnx", ANSWERS)
    x = np.arange(200).reshape(-1, 1)
    project.write({"onnx": model}, x, ANSWERS, variant="onnx")
    project.save()
    (project.path / ".gitignore").write_text("__pycache__/\n.*/\nr.*\nstd*\nrunpytest*\n")
    git(project.path, "init", "-q")
    commit(project.path)
    git(project.path, "checkout", "-q", "-b", "change")
    release(project, tmp_path, wrong=20)
    project.save("--onnxlite-accept", "--onnxlite-reason=nobody will see")
    commit(project.path)
    return project


def test_a_change_is_judged_by_the_release_of_its_target_and_every_report_says_so(
    change: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = git(change.path, "rev-parse", "main")
    said = f"main (commit {target[:12]})"
    names = {"report": "r.json", "html": "r.html", "markdown": "r.md", "sarif": "r.sarif", "code-quality": "r.gitlab"}
    change.compare().assert_outcomes(passed=1)
    status = git(change.path, "status", "--porcelain")
    files = [f"--onnxlite-{option}={name}" for option, name in names.items()]
    red = change.compare(AGAINST, "--onnxlite-complete", "--junitxml=r.xml", UNEXPLAINED, *files)
    red.assert_outcomes(failed=1)
    red.stdout.fnmatch_lines(["*20 fewer right*", f"*onnxlite: compared with baselines of {said} *"])
    for name in (*names.values(), "r.xml"):
        assert said in (change.path / name).read_text() or name == "r.json", name
    assert json.loads((change.path / "r.json").read_text())["against"]["commit"] == target
    # What shards found is judged by the same baselines.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(change.path)
        assert main(["merge", "r.json"]) == 1
        assert "the shards do not agree about the baseline digits/onnx.json" in capsys.readouterr().out
        assert main(["merge", "r.json", AGAINST.replace("onnxlite-", "")]) == 1
        assert "do not agree" not in capsys.readouterr().out
    # The sound twin: as good as the release, under the same option. The controller reads the commit, for all workers.
    release(change, tmp_path, wrong=0)
    commit(change.path)
    log, real = tmp_path / "git.log", shutil.which("git")
    (tmp_path / "git").write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {real} "$@"\n')
    (tmp_path / "git").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        green = change.run("--onnxlite-baseline", AGAINST, "--onnxlite-complete", "-n2", subprocess=True)
    green.assert_outcomes(passed=1)
    green.stdout.fnmatch_lines([f"*onnxlite: compared with baselines of {said} *"])
    assert (
        log.read_text().count("cat-file --batch") == 2
    )  # baselines of the commit, and files next to them; none of our own
    assert git(change.path, "status", "--porcelain") == status


def test_a_folder_of_another_checkout_and_a_model_that_is_nowhere(change: Project, tmp_path: Path) -> None:
    target = tmp_path / "target"
    git(change.path, "worktree", "add", "-q", str(target), "main")
    red = change.compare(f"--onnxlite-against={target}", UNEXPLAINED)
    red.assert_outcomes(failed=1)
    red.stdout.fnmatch_lines(["*20 fewer right*", "*compared with baselines of the folder */target (commit *) =*"])
    # Files that git does not have are nowhere to be found.
    git(target, "rm", "-q", "--cached", "baselines/digits/*.onnx")
    git(target, "commit", "-q", "-m", "models are not kept in git")
    missing = change.compare(f"--onnxlite-against={git(target, 'rev-parse', 'HEAD')}", UNEXPLAINED)
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(["*the last release's file digits/onnx-*.onnx of * (commit *) cannot be read*"])
    # A model that the target has under another name has no baseline: red, and nothing is made up.
    shutil.move(target / "baselines" / "digits", target / "baselines" / "words")
    result = change.compare(f"--onnxlite-against={target}", UNEXPLAINED)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*there is no baseline digits/onnx.json of the folder*", "*no test looked at the baseline words*"]
    )

    # What cannot be meant is a usage error.
    for arguments, said in {
        ("--onnxlite-baseline", "--onnxlite-against=gone"): "no commit gone in",
        ("--onnxlite-baseline", "--onnxlite-against=HEAD"): "it would be compared with itself",
        ("--onnxlite-save-baseline", AGAINST): "goes with --onnxlite-baseline. What is saved",
        (AGAINST,): "goes with --onnxlite-baseline; alone nothing is compared",
    }.items():
        result = change.run(*arguments)
        assert result.ret == 4, arguments
        assert said in result.stderr.str() + result.stdout.str()
    # An ini file's is for runs that compare.
    change.pytester.makeini("[pytest]\nonnxlite_against = main\n")
    change.run("--onnxlite-save-baseline").assert_outcomes(passed=1)
    change.compare(UNEXPLAINED).stdout.fnmatch_lines(["*compared with baselines of main (commit *"])
