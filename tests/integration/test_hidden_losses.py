"""Passes that hide something: labels that do not belong to the data, a class that is lost, INT8 that is slower."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from onnx_models import lookup, score_lookup
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
            "told *onnx *10.0 % *pass, not compared",
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
