"""The slow runs: a percentile of single inferences, against the last release's and a number of the team's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from onnx_models import in_other_bytes, stalling
from projects import UNEXPLAINED, Project

MANY = np.random.default_rng(0).normal(size=(40, 256)).astype(np.float32)
# Of what stalls, 15 of 100 runs take four times as long: 1.5 times in the mean.
MARKERS = """
@pytest.mark.onnxlite_latency(max_slowdown=1.0, max_time=20)
@pytest.mark.onnxlite_latency(percentile=95, max_slowdown=0.5, max_time=20)
"""


@pytest.mark.alone
def test_slow_runs_are_red_though_the_median_is_not(project: Project, tmp_path: Path) -> None:
    project.write({"onnx": stalling(tmp_path / "a.onnx", 0.0)}, MANY, variant="onnx", markers=MARKERS)
    project.save()
    saved = json.loads(project.baseline.read_text())
    (machine,) = saved["machines"].values()
    assert machine["latency[p95]"]["percentile"] == 95
    assert "percentile" not in machine["latency"]
    assert saved["first"] == {"latency_ratio": 1.0, "latency_ratio[p95]": 1.0}
    project.replace("onnx.onnx", in_other_bytes(tmp_path / "a.onnx", tmp_path / "same.onnx"))
    result = project.compare("-v")
    result.assert_outcomes(passed=1)
    assert "at percentile 95 of " in result.stdout.str()

    project.replace("onnx.onnx", stalling(tmp_path / "b.onnx", 0.15, times=4))
    reports = ("--onnxlite-report=r.json", "--onnxlite-markdown=r.md", "--onnxlite-html=r.html")
    result = project.compare(*reports)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "digits onnx: latency[p95]" in text
    assert "digits onnx: latency " not in text
    assert " at percentile 95 of " in text
    assert "at most 1.50x allowed (max_slowdown=0.5" in text
    assert "The median run takes " in text
    assert "x: the slow runs became slower." in text
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    found = {v["check"]: v for v in record["verdicts"] if v["against"] == "baseline"}
    assert (found["latency"]["outcome"], found["latency[p95]"]["outcome"]) == ("pass", "fail")
    evidence = found["latency[p95]"]["evidence"]
    assert evidence["percentile"] == 95
    assert evidence["queries"] >= 130
    assert evidence["first"]["median"] > 1.5 > evidence["typical"]
    for report in ("r.md", "r.html"):
        assert " at percentile 95 of " in (project.path / report).read_text()


@pytest.mark.alone
def test_a_budget_is_for_slow_runs_where_it_says_so(project: Project, tmp_path: Path) -> None:
    # So much time is enough for one product, and too little for forty.
    np.savez(project.path / "data.npz", x=np.ones((10, 1024), np.float32))
    (project.path / "pyproject.toml").write_text(
        """
        [tool.onnxlite.models.digits]
        onnx = "onnx.onnx"
        data = "data.npz"
        variants = ["onnx"]
        latency = {percentile = 90, max = "0.8 ms"}
        """
    )
    stalling(project.path / "onnx.onnx", 0.0, 1, 40, 1024)
    project.run().assert_outcomes(passed=1)
    stalling(project.path / "onnx.onnx", 0.3, 1, 40, 1024)
    result = project.run()
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "digits onnx: latency[p90]" in text
    assert "at most 800 µs allowed (max=)." in text
    assert "Even in the best of 24 sessions it was " in text


def test_a_mistake_in_a_percentile_is_one_of_usage(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.onnxlite_latency(percentile=0.99)\ndef test_it(onnxlite_onnx): pass\n"
    )
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "percentile=0.99; expected a number from 50 to 99.99 (99 is the time that 99 of 100" in result.stderr.str()


def test_a_percentile_needs_the_last_release(project: Project, tmp_path: Path) -> None:
    markers = "@pytest.mark.onnxlite_latency(percentile=99)"
    project.write({"onnx": stalling(tmp_path / "a.onnx", 0.0)}, MANY, variant="onnx", markers=markers)
    project.run().assert_outcomes(skipped=1)
    result = project.compare()
    result.assert_outcomes(failed=1)
    assert "latency[p99] missing" in result.stdout.str()


def test_a_budget_for_slow_runs_is_shown_on_another_machine_and_not_judged(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    markers = '@pytest.mark.onnxlite_latency(percentile=90, max="1 us", budget_machine="ci-large")'
    project.write({"onnx": stalling(tmp_path / "a.onnx", 0.0)}, MANY, variant="onnx", markers=markers)
    project.run("--onnxlite-report=r.json").assert_outcomes(skipped=1)  # nothing was judged, and that is no pass
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    (verdict,) = (v for v in record["verdicts"] if v["against"] == "limit")
    assert (verdict["check"], verdict["outcome"]) == ("latency[p90]", "not compared")
    assert "max= is for the machine 'ci-large' (budget_machine=), and this one is " in verdict["message"]
    monkeypatch.setenv("ONNXLITE_MACHINE", "ci-large")
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "at most 1 µs allowed (max=)" in result.stdout.str()


@pytest.mark.alone
def test_the_slow_runs_of_a_variant_are_held_against_those_of_the_float_model(project: Project, tmp_path: Path) -> None:
    # Of the same file twice no run is slower; of one that stalls the slow ones are, and the median is not.
    sound, stalls = stalling(tmp_path / "a.onnx", 0.0), stalling(tmp_path / "b.onnx", 0.3, times=6)
    (project.path / "twin.onnx").write_bytes(sound.read_bytes())
    (project.path / "stalls.onnx").write_bytes(stalls.read_bytes())
    markers = """
    @pytest.mark.onnxlite_latency(percentile=90, max_ratio=2.0, max_time=20)
    @pytest.mark.parametrize("onnxlite_variant", ["twin", "stalls"], indirect=True)
    """
    spec = "variants={'twin': 'twin.onnx', 'stalls': 'stalls.onnx'}"
    project.write({"onnx": sound}, MANY, variant="variant", markers=markers, spec=spec)
    result = project.run(UNEXPLAINED)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*digits stalls: latency[[]p90]*"])
    assert "(max_ratio=2" in result.stdout.str()
