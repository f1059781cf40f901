"""Samples that differ in shape: what is timed and measured is what runs, and every report says at which shapes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from onnx_models import attention, dense, in_other_bytes
from projects import UNEXPLAINED, Project

BOTH = "@pytest.mark.onnxlite_latency(max_slowdown=0.25)\n@pytest.mark.onnxlite_memory"


def of_lengths(project: Project, model: Path, *lengths: int, markers: str = BOTH) -> None:
    """Write a project whose samples have these lengths."""
    project.write({"onnx": model}, np.zeros((1, 1)), variant="onnx", markers=markers)
    conftest = project.path / "conftest.py"
    samples = f"Dataset([np.ones((length, 8), np.float32) for length in {lengths}])"
    conftest.write_text(conftest.read_text().replace("Dataset(data['x'])", samples))


@pytest.mark.alone
def test_attention_that_costs_at_the_longest_samples_is_red(project: Project, tmp_path: Path) -> None:
    # The first sample is short: timed with it alone, two heads and four take as long.
    of_lengths(project, attention(tmp_path / "a.onnx", 2), 4, 4, 4, 400)
    project.save()
    green = project.compare()
    green.assert_outcomes(passed=1)
    green.stdout.fnmatch_lines(["digits onnx: latency and memory measured at x (1, 400, 8) and x (1, 4, 8)"])
    (saved,) = json.loads(project.baseline.read_text())["machines"].values()
    assert saved["latency"]["shapes"] == saved["memory"]["shapes"] == {"x": [1, 400, 8]}
    (short,) = saved["latency"]["others"]
    assert short["shapes"] == {"x": [1, 4, 8]}
    assert short["seconds"] < saved["latency"]["seconds"] / 10

    project.replace("onnx.onnx", attention(tmp_path / "b.onnx", 4))
    red = project.compare("--onnxlite-report=r.json", "--onnxlite-markdown=r.md", "--onnxlite-html=r.html", UNEXPLAINED)
    red.assert_outcomes(failed=1)
    text = red.stdout.str()
    assert "(max_slowdown=0.25, x (1, 400, 8), batch size 1, 1 thread)" in text
    assert "At other shapes: " in text
    assert "x at x (1, 4, 8)." in text
    assert "(max_growth=0.05, x (1, 400, 8), batch size 1" in text
    red.stdout.re_match_lines([r"digits +onnx +.*!.*x last .*at x \(1, 400, 8\)"])
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    for check in ("latency", "memory"):
        measured = record["measured"][check]
        assert [measured["shapes"], *(other["shapes"] for other in measured["others"])] == [
            {"x": [1, 400, 8]},
            {"x": [1, 4, 8]},
        ]
        (verdict,) = (v for v in record["verdicts"] if (v["check"], v["against"]) == (check, "baseline"))
        assert verdict["evidence"]["shapes"] == {"x": [1, 400, 8]}
    assert "Latency and memory measured at x (1, 400, 8) and x (1, 4, 8)." in (project.path / "r.md").read_text()
    assert "Latency and memory measured at x (1, 400, 8) and x (1, 4, 8)." in (project.path / "r.html").read_text()


@pytest.mark.alone
def test_where_the_file_is_not_kept_each_shape_has_its_saved_time(project: Project, tmp_path: Path) -> None:
    markers = "@pytest.mark.onnxlite_latency(absolute=True, max_slowdown=1.0)"
    of_lengths(project, attention(tmp_path / "a.onnx", 2), 4, 4, 4, 200, markers=markers)
    project.pytester.makeini("[pytest]\nonnxlite_keep_artefact = false\n")
    project.save()
    project.replace("onnx.onnx", in_other_bytes(tmp_path / "a.onnx", tmp_path / "same.onnx"))
    project.compare().assert_outcomes(passed=1)
    # Other shapes are other conditions.
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("200", "300"))
    result = project.compare()
    result.assert_outcomes(failed=1)
    assert "at this batch size, thread count and shape" in result.stdout.str()


@pytest.mark.alone
def test_samples_of_one_shape_are_timed_once_and_their_shape_is_in_every_report(
    project: Project, tmp_path: Path
) -> None:
    x = np.ones((4, 256), np.float32)
    markers = "@pytest.mark.onnxlite_latency(max_slowdown=0.25)"
    project.write({"onnx": dense(tmp_path / "a.onnx", 4)}, x, variant="onnx", markers=markers)
    assert "measured at" not in project.save().stdout.str()
    # A baseline of the version before does not say the shape.
    baseline = json.loads(project.baseline.read_text())
    (machine,) = baseline["machines"].values()
    assert machine["latency"].pop("shapes") == {"x": [1, 256]}
    project.baseline.write_text(json.dumps(baseline))
    result = project.compare("--onnxlite-report=r.json", "--onnxlite-markdown=r.md", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["digits onnx: latency measured at x (1, 256)"])
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert record["measured"]["latency"]["others"] == []
    assert "Latency measured at x (1, 256)." in (project.path / "r.md").read_text()
