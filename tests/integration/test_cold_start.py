"""The cold start: what creating a session and its first run take in a fresh process, against the last release's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from onnx_models import dense, in_other_bytes, stalling
from projects import UNEXPLAINED, Project

ONE = np.ones((4, 256), np.float32)


@pytest.mark.alone
def test_a_session_that_takes_longer_to_create_is_red(project: Project, tmp_path: Path) -> None:
    markers = '@pytest.mark.onnxlite_latency(phase="load", max_slowdown=1.0)'
    project.write({"onnx": dense(tmp_path / "a.onnx", 2)}, ONE, variant="onnx", markers=markers)
    project.save()
    saved = json.loads(project.baseline.read_text())
    (machine,) = saved["machines"].values()
    assert machine["latency[load]"]["seconds"] > 0
    assert saved["first"] == {"latency_ratio[load]": 1.0}
    project.replace("onnx.onnx", in_other_bytes(tmp_path / "a.onnx", tmp_path / "same.onnx"))
    project.compare().assert_outcomes(passed=1)
    project.replace("onnx.onnx", dense(tmp_path / "b.onnx", 120))
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "digits onnx: latency[load]" in text
    assert " to create a session, " in text
    assert "at most 2.00x allowed (max_slowdown=1.0" in text


@pytest.mark.alone
def test_a_first_run_that_takes_longer_is_red(project: Project, tmp_path: Path) -> None:
    # Both create the same session; a run of the one takes a single product, of the other four hundred.
    markers = '@pytest.mark.onnxlite_latency(phase="first", max_slowdown=1.0)'
    quick, slow = (stalling(tmp_path / f"{share}.onnx", share, 1, 400) for share in (0.0, 2.0))
    project.write({"onnx": quick}, ONE[:1], variant="onnx", markers=markers)
    project.save()
    saved = json.loads(project.baseline.read_text())
    (machine,) = saved["machines"].values()
    assert machine["latency[first]"]["phase"] == "first"
    project.replace("onnx.onnx", in_other_bytes(quick, tmp_path / "same.onnx"))
    project.compare().assert_outcomes(passed=1)
    project.replace("onnx.onnx", slow)
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "digits onnx: latency[first]" in text
    assert " for the first run, " in text
    assert "at most 2.00x allowed (max_slowdown=1.0" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('phase="warm"', "phase='warm'; expected 'load' or 'first'"),
        (
            'phase="load", max="1 s"',
            "phase='load' is compared with the last release's alone, and max= is not judged by it.",
        ),
        ('phase="first", runtime="last"', "and runtime= is not judged by it."),
        ('phase="first", percentile=99', "and percentile= is not judged by it."),
    ],
)
def test_mistakes_in_a_phase(pytester: pytest.Pytester, arguments: str, text: str) -> None:
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.onnxlite_latency({arguments})\ndef test_it(onnxlite_onnx): pass\n"
    )
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert text in result.stderr.str()


def test_a_phase_needs_the_last_release(project: Project, tmp_path: Path) -> None:
    markers = '@pytest.mark.onnxlite_latency(phase="load")'
    project.write({"onnx": dense(tmp_path / "a.onnx", 1)}, ONE, variant="onnx", markers=markers)
    project.run().assert_outcomes(skipped=1)
    result = project.compare()
    result.assert_outcomes(failed=1)
    assert "latency[load] missing" in result.stdout.str()
