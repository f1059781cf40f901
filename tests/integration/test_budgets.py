"""The limits that need no baseline, in a user's project: each red by its fault, and green without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import dense, lookup
from projects import Project

INDEX = np.arange(200, dtype=np.int64).reshape(-1, 1)
RIGHT = np.arange(200) % 10


def answers(wrong: range) -> Any:
    """Right answers but for these samples."""
    found = RIGHT.copy()
    found[wrong.start : wrong.stop] = (found[wrong.start : wrong.stop] + 1) % 10
    return found


def test_what_needs_no_baseline_is_judged_in_any_run_and_not_saved_if_it_fails(
    project: Project, tmp_path: Path
) -> None:
    markers = """
    @pytest.mark.onnxlite_accuracy(min=0.95)
    @pytest.mark.onnxlite_size(max="{size}")
    @pytest.mark.onnxlite_memory(max="{memory}")
    @pytest.mark.onnxlite_latency(max="{time}", max_time=0.5)
    """
    model = lookup(tmp_path / "a.onnx", answers(range(10)))
    generous = markers.format(size="10 MB", memory="1 GiB", time="10 s")
    project.write({"onnx": model}, INDEX, RIGHT, variant="onnx", markers=generous)
    result = project.run("--onnxlite-report=r.json", "-v")
    result.assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    outcomes = {v["check"]: v["outcome"] for v in record["verdicts"] if v["against"] == "limit"}
    assert outcomes == dict.fromkeys(("accuracy", "size", "memory", "latency"), "pass")

    project.replace("onnx.onnx", lookup(tmp_path / "b.onnx", answers(range(11))))
    strict = markers.format(size="7 kB", memory="1 KiB", time="0.001 us")
    project.write({"onnx": tmp_path / "b.onnx"}, INDEX, RIGHT, variant="onnx", markers=strict)
    result = project.run()
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "94.5 % (189 of 200 right), at least 95.0 % asked (min=0.95): 1 right answers too few." in text
    assert "bytes, at most 7,000 allowed (max=6.84 KiB): " in text
    assert "at most 1.00 KiB allowed (max=): " in text
    assert "at most 1 ns allowed (max=)." in text
    assert "Even its fastest block took " in text

    cheap = "@pytest.mark.onnxlite_size(max='7 kB')"
    project.write({"onnx": tmp_path / "b.onnx"}, INDEX, RIGHT, variant="onnx", markers=cheap)
    project.run("--onnxlite-save-baseline").assert_outcomes(failed=1)
    assert not list(project.path.glob("baselines/[!.]*/*"))


def test_a_time_for_another_machine_is_shown_and_not_judged(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    markers = '@pytest.mark.onnxlite_latency(max="1 us", budget_machine="ci-large", max_time=0.5)'
    project.write(
        {"onnx": dense(tmp_path / "a.onnx", 2)}, np.ones((4, 256), np.float32), variant="onnx", markers=markers
    )
    result = project.run("--onnxlite-report=r.json")
    result.assert_outcomes(skipped=1)  # nothing was judged, and that is no pass
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    (verdict,) = (v for v in record["verdicts"] if v["against"] == "limit")
    assert verdict["outcome"] == "not compared"
    assert "max= is for the machine 'ci-large' (budget_machine=), and this one is " in verdict["message"]
    # The kind of this machine, as `show` prints it, and the name that CI gives it, are both this machine.
    monkeypatch.setenv("ONNXLITE_MACHINE", "ci-large")
    project.run().assert_outcomes(failed=1)
    monkeypatch.delenv("ONNXLITE_MACHINE")
    kind = verdict["message"].rstrip(".").rsplit(" ", 1)[-1]
    project.write(
        {"onnx": tmp_path / "a.onnx"},
        np.ones((4, 256), np.float32),
        variant="onnx",
        markers=markers.replace("ci-large", kind),
    )
    project.run().assert_outcomes(failed=1)
    project.write(
        {"onnx": tmp_path / "a.onnx"},
        np.ones((4, 256), np.float32),
        variant="onnx",
        markers="@pytest.mark.onnxlite_latency(budget_machine='ci-large')",
    )
    result = project.run()
    assert "budget_machine='ci-large' names the machine that max= is for: give max= too." in result.stderr.str()


def test_answers_that_were_traded_for_others_are_red(project: Project, tmp_path: Path) -> None:
    markers = "@pytest.mark.onnxlite_accuracy(max_flips=3)"
    project.write(
        {"onnx": lookup(tmp_path / "a.onnx", answers(range(10)))}, INDEX, RIGHT, variant="onnx", markers=markers
    )
    project.save()
    project.replace("onnx.onnx", lookup(tmp_path / "b.onnx", answers(range(3, 13))))
    project.compare().assert_outcomes(passed=1)
    project.replace("onnx.onnx", lookup(tmp_path / "c.onnx", answers(range(4, 14))))
    result = project.compare()
    result.assert_outcomes(failed=1)
    assert "4 samples that the last release has right are wrong now, at most 3 allowed (max_flips=3); 4 others" in (
        result.stdout.str()
    )
    project.save("--onnxlite-accept")
    project.compare().assert_outcomes(passed=1)
