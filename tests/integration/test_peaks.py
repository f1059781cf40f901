"""Memory in a user's project: which saved peaks today's are held against."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from onnx_models import dense
from projects import Project

MEMORY = "@pytest.mark.onnxlite_memory"
GIVEN_BACK = "VmHWM, freed blocks given back"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_peak_that_was_read_in_another_way_is_not_compared_until_it_is_saved_again(
    project: Project, tmp_path: Path
) -> None:
    x = np.ones((4, 64), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 2, 64)}, x, markers=MEMORY, variant="onnx")
    project.save()
    saved = project.baseline.read_text()
    assert saved.count(GIVEN_BACK) == 1
    project.compare().assert_outcomes(passed=1)
    project.baseline.write_text(saved.replace(GIVEN_BACK, "VmHWM"))
    result = project.compare("-v")
    result.assert_outcomes(passed=1)
    assert (
        f"that peak was read by VmHWM, and today's is read by {GIVEN_BACK}, which do not measure" in result.stdout.str()
    )
    project.save()
    assert GIVEN_BACK in project.baseline.read_text()
