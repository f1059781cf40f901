"""Slices in a user's project: a loss in one of them is red, in code and as declared, and in a bundle again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import lookup
from pages import Outline
from projects import Project

INDEX = np.arange(400, dtype=np.int64).reshape(-1, 1)
RIGHT = np.arange(400) % 10
NIGHT = np.arange(400) < 60


def wrong(rows: Any) -> Any:
    found = RIGHT.copy()
    found[rows] = (found[rows] + 1) % 10
    return found


# As many right answers: those of 20 nights were lost for those of 20 days.
BEFORE, AFTER = wrong(slice(100, 120)), wrong(slice(0, 20))


def write(project: Project, tmp_path: Path, markers: str, slices: str) -> None:
    project.write({"onnx": lookup(tmp_path / "a.onnx", BEFORE)}, INDEX, RIGHT, variant="onnx", markers=markers)
    conftest = project.path / "conftest.py"
    text = conftest.read_text().replace(
        "Dataset(data['x'], data['y'])", f"Dataset(data['x'], data['y'], slices={slices})"
    )
    conftest.write_text(text)


def test_a_loss_in_one_slice_is_red_in_code_and_in_its_bundle(project: Project, tmp_path: Path) -> None:
    slices = "{'night': np.arange(400) < 60, 'camera': ['a', 'b'] * 198 + ['old'] * 4}"
    write(project, tmp_path, "@pytest.mark.onnxlite_accuracy(slices=True)", slices)
    project.save()
    result = project.compare("-v")
    result.assert_outcomes(passed=1)
    assert "slices too small to judge (fewer than 30 samples): camera=old (4)" in result.stdout.str()
    project.replace("onnx.onnx", lookup(tmp_path / "b.onnx", AFTER))
    result = project.compare("--onnxlite-html=r.html", "--onnxlite-bundle=bundles", "--onnxlite-bundle-data")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert (
        "95.0 % in all is within the limit, and 1 of 3 slices lost more than allowed (max_drop=0.01), beyond chance"
        in text
    )
    assert "night: 40 of 60 right, the last release has 60: 20 lost, 0 won" in text
    shown = Outline((project.path / "r.html").read_text()).text
    assert "night 60 samples 66.7 % ✗ lost too much" in shown
    assert "the last release 100.0 % (20 lost, 0 won)" in shown
    (bundle,) = (project.path / "bundles").iterdir()
    again = project.pytester.run("python", "-m", "pytest_onnxlite", "replay", str(bundle))
    assert "night: 40 of 60 right, the last release has 60" in again.stdout.str()
    # Without slices= nothing is seen of it.
    (project.path / "test_release.py").write_text(
        (project.path / "test_release.py").read_text().replace("(slices=True)", "")
    )
    project.compare().assert_outcomes(passed=1)


def test_classes_are_slices_and_declared_models_have_them_too(project: Project, tmp_path: Path) -> None:
    lookup(project.path / "a.onnx", BEFORE)
    np.savez(project.path / "data.npz", x=INDEX, y=RIGHT, dark=NIGHT)
    (project.path / "pyproject.toml").write_text(
        """
        [tool.onnxlite.models.digits]
        onnx = "a.onnx"
        data = {file = "data.npz", slices = {night = "dark"}}
        variants = ["onnx"]
        accuracy = {slices = true, per_class = true}
        """
    )
    project.save()
    project.compare().assert_outcomes(passed=1)
    lookup(project.path / "a.onnx", AFTER)
    result = project.compare()
    result.assert_outcomes(failed=1)
    assert "1 of 11 slices lost more than allowed" in result.stdout.str()
    # A class that was traded for another.
    lookup(project.path / "a.onnx", wrong(RIGHT == 3))
    project.save("--onnxlite-accept")
    lookup(project.path / "a.onnx", wrong(RIGHT == 4))
    result = project.compare("--onnxlite-report=r.json")
    result.assert_outcomes(failed=1)
    assert "class 4: 0 of 40 right, the last release has 40" in result.stdout.str()
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    (verdict,) = (v for v in record["verdicts"] if v["against"] == "baseline")
    assert verdict["evidence"]["lost_slices"] == ["class 4"]


@pytest.mark.parametrize(
    ("markers", "slices", "said"),
    [
        ("slices=True", "{}", "gives none. Give evaluation=Dataset(x, y, slices="),
        ("per_class=True", "{}), metric=('cosine'", "knows none"),
        ("slices=True", "{'night': [True]}", "expected one boolean, integer or string for each of the 400 samples"),
    ],
)
def test_what_cannot_be_judged_by_slices_says_so(
    project: Project, tmp_path: Path, markers: str, slices: str, said: str
) -> None:
    write(project, tmp_path, f"@pytest.mark.onnxlite_accuracy({markers})", slices)
    result = project.run()
    assert result.ret == 1
    assert said in result.stdout.str()
