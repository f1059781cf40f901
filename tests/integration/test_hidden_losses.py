"""Passes that hide something: labels that do not fit, a lost class, slower INT8, names alike, files that git ignores."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from pytest_onnxlite.gitignore import ignored

from onnx_models import dense, external, lookup, score_lookup
from projects import Project

CONFTEST = """
import numpy as np
import pytest
from pytest_onnxlite import Dataset, ModelSpec

data = np.load("data.npz")

@pytest.fixture(scope="session", params=["sound", "rolled", "boolean", "zeros", "half"])
def onnxlite_model(request):
    return ModelSpec(
        request.param, onnx="onnx.onnx", int8="int8.onnx", evaluation=Dataset(data["x"], data[request.param])
    )
"""
TESTS = """
import pytest

@pytest.mark.onnxlite_accuracy
def test_release(onnxlite_int8):
    pass

@pytest.mark.onnxlite_accuracy(chance_ok=True)
def test_chance(onnxlite_int8):
    pass
"""


def test_labels_that_do_not_belong_to_the_data_are_red(project: Project) -> None:
    """The INT8 file answers two of a hundred samples otherwise, which shows by labels of its own alone."""
    rng = np.random.default_rng(0)
    n = 600
    labels = rng.integers(0, 10, n)
    table = rng.normal(size=(n, 10)).astype(np.float32)
    table[np.arange(n), labels] += 5
    score_lookup(project.path / "onnx.onnx", table)
    answers = table.argmax(axis=1)
    answers[::120] = (answers[::120] + 1) % 10  # 5 of 600
    lookup(project.path / "int8.onnx", answers, int8=True)
    np.savez(
        project.path / "data.npz",
        x=np.arange(n)[:, None],
        sound=labels,
        rolled=np.roll(labels, 1),
        boolean=labels == 3,
        zeros=np.zeros(n, np.int64),
        half=np.where(rng.random(n) < 0.5, labels, np.roll(labels, 1)),
    )
    project.pytester.makeconftest(CONFTEST)
    (project.path / "test_release.py").write_text(TESTS)
    result = project.run("-rA", "--tb=short")
    output = result.stdout.str()
    result.assert_outcomes(passed=7, failed=3)
    for name in ("rolled", "boolean", "zeros"):
        assert f"FAILED test_release.py::test_release[{name}]" in output
        assert f"{name} int8: accuracy\n" in output
    assert output.count("the evaluation data or its labels do not fit this model: the onnx variant has") >= 3
    assert "always answering 0 has 100.0 %" in output
    result.stdout.fnmatch_lines(
        [
            "half int8: the labels are doubtful: where the onnx variant is surest*"
            "5 of 600 samples are answered differently than by the onnx variant, at most 6 allowed*"
        ]
    )


def test_without_a_reference_doubtful_answers_are_compared_with_the_last_release(project: Project) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 10, 600)
    table = rng.normal(size=(600, 10)).astype(np.float32)
    table[np.arange(600), labels] += 5
    y = np.where(rng.random(600) < 0.5, labels, np.roll(labels, 1))
    project.write({"onnx": score_lookup(project.path / "a.onnx", table)}, np.arange(600)[:, None], y, variant="onnx")
    project.save()
    # As many right answers by these labels, and forty other answers.
    changed, right = table.copy(), table.argmax(axis=1) == y
    for rows in (np.flatnonzero(right)[:20], np.flatnonzero(~right)[:20]):
        changed[rows, (table.argmax(axis=1)[rows] + 1) % 10] += 20
    for row in np.flatnonzero(~right)[:20]:
        changed[row, y[row]] += 50
    project.replace("onnx.onnx", score_lookup(project.path / "b.onnx", changed))
    result = project.compare()
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*40 of 600 samples are answered differently than by the last release, at most 6 allowed*"]
    )
    assert project.run("--onnxlite-save-baseline", "--onnxlite-accept").ret == 0


def test_chance_is_allowed_in_declared_limits(project: Project) -> None:
    lookup(project.path / "net.onnx", [0] * 400)
    np.savez(project.path / "data.npz", x=np.arange(400)[:, None], y=np.arange(400) % 10)
    text = """
    [tool.onnxlite.models.{name}]
    onnx = "net.onnx"
    data = "data.npz"
    variants = ["onnx"]
    accuracy = {{max_drop = 0.01{more}}}
    """
    project.pytester.makepyprojecttoml(
        text.format(name="at_chance", more="") + text.format(name="told", more=", chance_ok = true")
    )
    result = project.run("-rA")
    result.assert_outcomes(skipped=1, failed=1)  # nothing else to judge
    result.stdout.fnmatch_lines(
        [
            "*do not fit this model, or it has learned nothing: the onnx variant has 10.0 %, always answering 0 has 10.0 %*",
            "told *onnx *10.0 % *not compared",
        ]
    )


@pytest.fixture
def lost_class(project: Project, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Every report of a run in which INT8 lost a rare class wholly, and passes."""
    labels = np.repeat([0, 1], [991, 9])
    theirs = labels.copy()
    theirs[0] = 1
    files = {
        "onnx": lookup(project.path / "a.onnx", theirs, classes=2),
        "int8": lookup(project.path / "b.onnx", [0] * 1000, classes=2, int8=True),
    }
    project.write(files, np.arange(1000)[:, None], labels)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    options = ("report=r.json", "html=r.html", "markdown=r.md")
    result = project.run("--junitxml=r.xml", *(f"--onnxlite-{option}" for option in options))
    assert result.ret == 0
    texts = {name: (project.path / name).read_text(encoding="utf-8") for name in ("r.json", "r.html", "r.md", "r.xml")}
    return {"terminal": result.stdout.str(), **texts}


def test_every_report_tells_of_a_class_that_was_lost(lost_class: dict[str, Any]) -> None:
    text = "class 1 (0 of 9 right, the onnx variant has 9)"
    assert f"digits int8: lost among many right answers: {text}." in lost_class["terminal"]
    (verdict, _) = json.loads(lost_class["r.json"])["records"][0]["verdicts"]
    assert (verdict["outcome"], [text in remark for remark in verdict["remarks"]]) == ("pass", [True])
    assert text in lost_class["r.html"]
    assert text in lost_class["r.md"]
    properties = {
        entry.get("name"): entry.get("value") for entry in ElementTree.fromstring(lost_class["r.xml"]).iter("property")
    }
    assert text in str(properties["onnxlite.digits.int8.accuracy.onnx"])
    (notice,) = (line for line in lost_class["terminal"].splitlines() if line.startswith("::notice "))
    assert text in notice
    assert "::error" not in lost_class["terminal"]


@pytest.mark.alone
def test_int8_that_is_slower_than_float_is_told_on_a_pass(project: Project) -> None:
    """Twice the layers is no fault that the last release lacks: it passes when it is saved, and when it is compared."""
    x = np.ones((4, 256), np.float32)
    files = {"onnx": dense(project.path / "a.onnx", 6), "int8": dense(project.path / "b.onnx", 12, int8=True)}
    project.write(files, x, markers="@pytest.mark.onnxlite_latency(max_slowdown=0.5)")
    saved = project.save("--junitxml=r.xml")
    saved.stdout.fnmatch_lines(["digits int8: slower than the onnx model it was made from: *x (99.5 % ≥ *"])
    assert "slower than the onnx model" in (project.path / "r.xml").read_text(encoding="utf-8")
    compared = project.compare()
    compared.assert_outcomes(passed=1)
    compared.stdout.fnmatch_lines(["digits int8: slower than the float model it was made from: *when it was saved*"])


@pytest.mark.alone
def test_nothing_is_told_of_an_int8_model_that_is_a_twin(project: Project) -> None:
    x = np.ones((4, 256), np.float32)
    files = {"onnx": dense(project.path / "a.onnx", 6), "int8": dense(project.path / "b.onnx", 6, int8=True)}
    project.write(files, x, markers="@pytest.mark.onnxlite_latency(max_slowdown=0.5)")
    assert "slower" not in project.save().stdout.str()
    assert "slower" not in project.compare().stdout.str()


TWO_CASES = """
import numpy as np
import pytest
from pytest_onnxlite import Dataset, ModelSpec

@pytest.fixture(scope="session", params=[{names}])
def onnxlite_model(request):
    return ModelSpec(request.param, onnx="net.onnx", evaluation=Dataset(np.arange(100)[:, None], np.arange(100) % 10))
"""


def test_models_whose_names_differ_by_case_alone_are_refused(project: Project) -> None:
    """On Windows and macOS their baselines would be one folder."""
    lookup(project.path / "net.onnx", [i % 10 for i in range(100)])
    (project.path / "test_release.py").write_text(
        "import pytest\n\n@pytest.mark.onnxlite_accuracy\ndef test_release(onnxlite_onnx):\n    pass\n"
    )
    project.pytester.makeconftest(TWO_CASES.format(names="'Bert', 'bert'"))
    result = project.run("--onnxlite-save-baseline")
    assert result.ret == 1
    assert "the models 'Bert' and 'bert' differ by case alone" in result.stdout.str()
    assert not list(project.path.glob("baselines/[!.]*"))
    # In two runs, and next to a name that only begins alike.
    project.pytester.makeconftest(TWO_CASES.format(names="'Bert', 'bert2'"))
    project.save()
    project.pytester.makeconftest(TWO_CASES.format(names="'bert', 'bert2'"))
    for option in ("--onnxlite-baseline", "--onnxlite-save-baseline"):
        result = project.run(option)
        assert result.ret == 1
        assert "the model 'bert' and the baselines in " in result.stdout.str()
    assert sorted(path.name for path in project.path.glob("baselines/[!.]*")) == ["Bert", "bert2"]


def git(project: Project, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=project.path, check=True, capture_output=True)


@pytest.fixture
def saved_in_git(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in a work tree of git, with no ignore file of the machine's own."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.delenv("GIT_DIR", raising=False)
    git(project, "init", "-q")
    onnx = lookup(project.path / "net.onnx", [i % 10 for i in range(100)])
    project.write({"onnx": onnx}, np.arange(100)[:, None], np.arange(100) % 10, variant="onnx")
    return project


HIDDEN = "git ignores what was saved in *"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_saved_files_that_git_ignores_are_told(saved_in_git: Project) -> None:
    project = saved_in_git
    ignore = project.path / ".gitignore"
    assert "git ignores" not in project.save().stdout.str()
    for rules, told in [
        ("*.onnx", "*digits/onnx-*.onnx (.gitignore:1: [*].onnx).*"),
        ("baselines/", "*digits/onnx.json (.gitignore:1: baselines/); digits/onnx-*"),
        ("*.onnx\n!baselines/**", ""),
        ("*.pt", ""),
    ]:
        ignore.write_text(rules)
        result = project.save()
        if told:
            result.stdout.fnmatch_lines([HIDDEN + told])
        else:
            assert "git ignores" not in result.stdout.str()
    # Rules of the user's own count, and what is tracked is not hidden.
    (project.path / "mine").write_text("*.json\n")
    git(project, "config", "core.excludesFile", str(project.path / "mine"))
    project.save("--onnxlite-report=r.rep").stdout.fnmatch_lines([HIDDEN + "onnx.json (*mine:1: [*].json)*"])
    assert "git ignores" in "".join(json.loads((project.path / "r.rep").read_text())["remarks"])
    git(project, "add", "-f", "baselines")
    assert "git ignores" not in project.save().stdout.str()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_so_are_data_files_that_checks_keep(saved_in_git: Project) -> None:
    project = saved_in_git
    x, onnx = np.arange(100)[:, None], project.path / "net.onnx"
    project.write({"onnx": onnx}, x, np.arange(100) % 10, variant="onnx", markers="@pytest.mark.onnxlite_outputs")
    (project.path / ".gitignore").write_text("*.npz")
    project.save().stdout.fnmatch_lines([HIDDEN + "*digits/onnx-outputs-*.npz (.gitignore:1: [*].npz).*"])


def test_nothing_is_told_without_git_or_of_files_that_are_kept_elsewhere(
    saved_in_git: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = saved_in_git
    (project.path / ".gitignore").write_text("*.onnx")
    (project.path / "pytest.ini").write_text("[pytest]\nonnxlite_artefact_dir = kept\n")
    assert "git ignores" not in project.save().stdout.str()
    (project.path / "pytest.ini").write_text("[pytest]\n")
    shutil.rmtree(project.path / "baselines")
    monkeypatch.setenv("PATH", str(project.path))
    assert "git ignores" not in project.save().stdout.str()


LARGE = "what was saved in * is larger than 50.00 MiB, and no rule of Git LFS covers it: "


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_what_is_too_large_for_git_is_told_unless_lfs_takes_it(saved_in_git: Project) -> None:
    project = saved_in_git
    model = external(project.path / "net.onnx", project.path / "large.onnx", "net.data", 1000)
    with (project.path / "net.data").open("r+b") as data:
        data.truncate((50 << 20) + 1)
    labels = np.arange(100) % 10
    project.write({}, np.arange(100)[:, None], labels, variant="onnx", spec=f"onnx={model.name!r}")
    told = project.save()
    told.stdout.fnmatch_lines([LARGE + "digits/onnx-*/net.data (50.00 MiB)*git lfs track '[*].data'; or keep *"])
    for name, rule in ((".gitattributes", "*.data filter=lfs diff=lfs merge=lfs -text"), (".gitignore", "*.data")):
        (project.path / name).write_text(rule)
        assert "is larger than" not in project.save().stdout.str(), rule
        (project.path / name).unlink()
    # In a folder of the same work tree that the project named; and nothing of what is outside of one.
    inside = project.path / "pytest.ini"
    inside.write_text("[pytest]\nonnxlite_artefact_dir = kept\n")
    project.save("--onnxlite-accept").stdout.fnmatch_lines([LARGE + "*"])
    inside.write_text(f"[pytest]\nonnxlite_artefact_dir = {project.path.parent / 'outside'}\n")
    assert "is larger than" not in project.save("--onnxlite-accept").stdout.str()


@pytest.mark.skipif(os.name == "nt", reason="a script stands in for git")
def test_git_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert ignored(tmp_path, ["a.json"], seconds=0.2) == []
