"""What a save that was killed, or a merge, left in the folder of the baselines: a run tells it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from onnx_models import lookup
from projects import Project

INDEX = np.arange(100, dtype=np.int64).reshape(-1, 1)


def saved(project: Project, tmp_path: Path) -> Path:
    """A saved release; returns the folder of its baselines."""
    project.write({"onnx": lookup(tmp_path / "a.onnx", INDEX[:, 0] % 10)}, INDEX, INDEX[:, 0] % 10, variant="onnx")
    project.save()
    return project.path / "baselines"


def test_half_a_save_is_red_until_it_is_mended(project: Project, tmp_path: Path) -> None:
    folder = saved(project, tmp_path)
    note = folder / "unfinished-save.json"
    new = hashlib.sha256((folder / "digits" / "onnx.json").read_bytes()).hexdigest()
    # It was to write both, and was killed after the first.
    changes = {"digits/onnx.json": {"before": "", "after": new}, "digits/int8.json": {"before": "", "after": "0" * 64}}
    note.write_text(json.dumps({"baselines": changes}))
    result = project.compare("--onnxlite-report=r.json")
    assert result.ret == 1
    result.assert_outcomes(passed=1)
    text = result.stdout.str()
    assert "did not come to its end: of the baselines that belong together, it wrote digits/onnx.json" in text
    assert json.loads((project.path / "r.json").read_text())["verdict"] == "fail"
    note.unlink()
    assert project.compare().ret == 0


def test_a_released_file_that_nothing_names_is_told_and_is_no_failure(project: Project, tmp_path: Path) -> None:
    folder = saved(project, tmp_path)
    content = lookup(tmp_path / "b.onnx", [1, 2, 3]).read_bytes()
    stray = folder / "digits" / f"int8-{hashlib.sha256(content).hexdigest()[:16]}.onnx"
    stray.write_bytes(content)
    result = project.compare()
    assert result.ret == 0
    assert f"no baseline names this released file any more: digits/{stray.name}" in result.stdout.str()
