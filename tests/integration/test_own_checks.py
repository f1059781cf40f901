"""Checks and kinds that a project adds, by the example in the docs: a marker, a baseline section and every report for them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from projects import REPOSITORY, Digits, Project

BLOCKS = re.findall(r"```python\n# conftest.py\n(.*?)```", (REPOSITORY / "docs/checks.md").read_text(), re.DOTALL)
MODEL = """
@pytest.fixture(scope="session")
def onnxlite_model():
    data = np.load("data.npz")
    return ModelSpec("digits", onnx="onnx.onnx", int8="int8.onnx", evaluation=Dataset(data["x"], data["y"]))
"""
TEST = """
import pytest

@pytest.mark.onnxlite_ece(max_error=0.05)
def test_sure(onnxlite_int8): pass

@pytest.mark.onnxlite_size
@pytest.mark.onnxlite_ece
@pytest.mark.onnxlite_graph
def test_slim(onnxlite_slim): pass
"""


@pytest.fixture
def own(project: Project, digits: Digits) -> Project:
    project.write({"onnx": digits.onnx, "int8": digits.int8}, digits.x, digits.y)
    imports = "from pytest_onnxlite import Dataset, ModelSpec\nimport pytest\n"
    (project.path / "conftest.py").write_text("\n".join([imports, *BLOCKS, MODEL]))
    (project.path / "test_release.py").write_text(TEST)
    return project


def test_a_check_and_a_kind_of_ones_own_are_judged_saved_and_shown(own: Project) -> None:
    own.run("--onnxlite-save-baseline").assert_outcomes(passed=2)
    saved = json.loads((own.path / "baselines/digits/int8.json").read_text())
    assert 0 < saved["ece"]["error"] < 0.05
    assert (own.path / "baselines/digits/slim.json").exists()
    reports = ("--onnxlite-report=r.json", "--onnxlite-html=r.html", "--onnxlite-markdown=r.md")
    result = own.run("--onnxlite-baseline", *reports)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["model * variant * ece*", "digits * slim * pass*"])
    document = json.loads((own.path / "r.json").read_text())
    assert document["records"][0]["measured"]["ece"] == saved["ece"]
    assert "ece" in (own.path / "r.md").read_text()
    assert "ece" in (own.path / "r.html").read_text()
    # Later, where the project's conftest.py is not loaded, the report is still read.
    for command in (["report", "r.json"], ["show", "baselines"]):
        done = subprocess.run(
            [sys.executable, "-m", "pytest_onnxlite", *command], cwd=own.path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_a_check_of_ones_own_is_red_by_its_limit_and_by_its_baseline(own: Project, digits: Digits) -> None:
    own.run("--onnxlite-save-baseline").assert_outcomes(passed=2)
    soften(digits.int8, own.path / "int8.onnx")
    result = own.run("--onnxlite-baseline", "-n0")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*digits int8: ece*", "*at most 0.05 allowed*", "*the last release had 0.0*"])


def soften(source: Path, target: Path) -> None:
    """Divide what the last Softmax reads by ten: the same answers, given with less certainty."""
    model = onnx.load(source)
    (softmax,) = (node for node in model.graph.node if node.op_type == "Softmax")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(10, np.float32), "temperature"))
    cooler = onnx.helper.make_node("Div", [softmax.input[0], "temperature"], ["cooler"], "cooler")
    softmax.input[0] = "cooler"
    model.graph.node.insert(list(model.graph.node).index(softmax), cooler)
    onnx.save(model, target)


def test_its_arguments_are_checked_and_listed(own: Project) -> None:
    own.run("--markers").stdout.fnmatch_lines(["@pytest.mark.onnxlite_ece(*max_error=...*how far the probabilities*"])
    (own.path / "test_release.py").write_text(TEST.replace("max_error=0.05", "max_error=5"))
    result = own.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*onnxlite_ece: max_error=5; expected a number from 0 to 1*", "See docs/failures.md#markers"]
    )


def test_it_limits_declared_models_too(own: Project) -> None:
    (own.path / "test_release.py").unlink()
    (own.path / "pyproject.toml").write_text(
        '[tool.onnxlite.models.digits]\nonnx = "onnx.onnx"\nint8 = "int8.onnx"\ndata = "data.npz"\n'
        'variants = ["int8", "slim"]\nece = {max_error = 0.00001}\n'
    )
    result = own.run()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*digits slim: ece*"])


def test_a_baseline_of_a_check_that_nobody_registers_is_red(own: Project) -> None:
    own.run("--onnxlite-save-baseline").assert_outcomes(passed=2)
    text = (own.path / "conftest.py").read_text()
    (own.path / "conftest.py").write_text(text.replace("return [CalibrationCheck()]", "return []"))
    (own.path / "test_release.py").write_text(
        TEST.replace("@pytest.mark.onnxlite_ece", "@pytest.mark.onnxlite_size").replace("(max_error=0.05)", "")
    )
    result = own.run("--onnxlite-baseline")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*the baseline holds what no test asked for: *ece of digits/int8.json*"])


@pytest.mark.parametrize("said", ["verdicts", "[]"])
def test_a_check_that_says_nothing_about_the_last_release_is_red(own: Project, said: str) -> None:
    own.run("--onnxlite-save-baseline").assert_outcomes(passed=2)
    conftest = own.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("[*verdicts, *missing]", f"{said}[:1]"))
    result = own.run("--onnxlite-baseline")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*the check ece said nothing about the last release*"])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("return [CalibrationCheck]", "expected instances of Check"),
        ("CalibrationCheck.name = 'size'; return [CalibrationCheck()]", "that name is taken"),
        ("CalibrationCheck.name = 'machines'; return [CalibrationCheck()]", "that name is taken"),
        ("CalibrationCheck.name = 'calibration'; return [CalibrationCheck()]", "that name is taken"),
        ("CalibrationCheck.name = 'A b'; return [CalibrationCheck()]", "expected lower-case letters"),
    ],
)
def test_a_check_that_cannot_be_used_is_a_usage_error(own: Project, given: str, text: str) -> None:
    conftest = (own.path / "conftest.py").read_text()
    (own.path / "conftest.py").write_text(conftest.replace("return [CalibrationCheck()]", given))
    result = own.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert text in result.stderr.str()
