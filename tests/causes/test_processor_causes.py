"""Saturation for real: on an x86 processor without VNNI answers are lost, and the first cause is the processor.

On any other, nothing is lost and nothing is said. Continuous integration runs this on an emulated one too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cause import Cause
from seeded import Seed, read, write

from pytest_onnxlite.processors import this_processor

from onnx_models import saturating
from projects import Project

LAYERS = (r"adds the largest error", r"Where the error enters", r"no layer stands out", r"^Calibrate")
SATURATING = {
    "recipe": Cause(
        "really: INT8 weights of a recipe that saturate on an x86 without VNNI, emulated",
        r"^this processor is an x86 without VNNI, .* reduce_range=True gives back 115 of the 115 lost answers "
        r"\(100\.0 % of 200 right\)",
        LAYERS,
    ),
    "file": Cause(
        "really: an INT8 file of the user's whose weights saturate there",
        r"^this processor is an x86 without VNNI, .* Quantize it with reduce_range=True or with uint8 weights\.",
        (r"^Calibrate", r"training data or labels"),
    ),
}
CAUSES = [*SATURATING.values()]


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_onnxlite.checks.accuracy import explain
    from pytest_onnxlite.variants import first_run

    def ask(function: Callable[[Any], Any], argument: Any, **_: Any) -> Any:
        return function(argument)

    monkeypatch.setattr(explain, "ask", ask)
    monkeypatch.setattr(first_run, "ask", ask)


@pytest.mark.int8_answers
def test_a_processor_that_saturates_is_the_first_cause_there_and_nowhere_else(project: Project, tmp_path: Path) -> None:
    plain, quantized = saturating(tmp_path)
    x = np.concatenate([np.ones((15, 64)), np.full((100, 64), 0.5), np.tile([1, 0], (85, 32))]).astype(np.float32)
    y = np.repeat([0, 0, 1], [15, 100, 85])
    seeds = {
        "recipe": Seed({"onnx": plain}, x, y, recipe="DynamicInt8(weight_type='int8')"),
        "file": Seed({"onnx": plain, "int8": quantized}, x, y),
    }
    write(project.path, seeds)
    result = project.run("--onnxlite-report=report.json", "--onnxlite-explain-time=120")
    if this_processor() != "avx2":
        result.assert_outcomes(passed=2)
        return
    result.assert_outcomes(failed=2)
    said = read(result, project.path)
    for name, cause in SATURATING.items():
        cause.hold(said[name].why, said[name].text)
