"""Scenarios: latency and memory at named inputs, each with its own verdict, and what a model cannot take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnx_models import attention, save_graph
from projects import UNEXPLAINED, Project

SHORT_AND_LONG = 'scenarios={"short": Scenario(length=4), "long": Scenario(length=512)}'
EACH = """
@pytest.mark.onnxlite_latency(scenario="short", max_slowdown=0.5)
@pytest.mark.onnxlite_latency(scenario="long", max_slowdown=0.5)
"""
X = np.ones((3, 8, 8), np.float32)


def write(project: Project, model: Path, markers: str, spec: str = SHORT_AND_LONG, x: object = X) -> None:
    project.write({"onnx": model}, x, variant="onnx", markers=markers, spec=spec)


@pytest.mark.alone
def test_a_candidate_that_is_slower_at_length_512_alone_is_red_there_and_green_where_it_is_short(
    project: Project, tmp_path: Path
) -> None:
    write(project, attention(tmp_path / "a.onnx", 2), EACH)
    project.save()
    (machine,) = json.loads(project.baseline.read_text())["machines"].values()
    assert machine["latency[long]"]["shapes"] == {"x": [1, 512, 8]}
    assert machine["latency[short]"]["shapes"] == {"x": [1, 4, 8]}
    green = project.compare()
    green.assert_outcomes(passed=1)
    green.stdout.fnmatch_lines(["digits onnx: latency[[]long] measured at x (1, 512, 8)"])

    project.replace("onnx.onnx", attention(tmp_path / "b.onnx", 4))
    red = project.compare("--onnxlite-report=r.json", "--onnxlite-bundle=bundles", UNEXPLAINED)
    red.assert_outcomes(failed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    outcomes = {v["check"]: v["outcome"] for v in record["verdicts"] if v["against"] == "baseline"}
    assert outcomes["latency[long]"] == "fail"
    assert outcomes["latency[short]"] in ("pass", "improved")
    assert "x (1, 512, 8), batch size 1" in red.stdout.str()
    (bundle,) = (project.path / "bundles").iterdir()
    command = [sys.executable, "-m", "pytest_onnxlite", "replay", str(bundle)]
    again = subprocess.run(command, capture_output=True, text=True).stdout
    assert "red again: latency[long] against baseline (fail)" in again
    assert "x (1, 512, 8), batch size 1" in again


@pytest.mark.alone
def test_a_candidate_that_needs_more_memory_at_length_512_is_red(project: Project, tmp_path: Path) -> None:
    write(project, attention(tmp_path / "a.onnx", 2), '@pytest.mark.onnxlite_memory(scenario="long")')
    project.save()
    project.replace("onnx.onnx", attention(tmp_path / "b.onnx", 4))
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    assert "digits onnx: memory[long]" in result.stdout.str()
    assert "(max_growth=0.05, x (1, 512, 8), batch size 1" in result.stdout.str()


@pytest.mark.alone
def test_a_changed_scenario_is_told_as_changed_conditions_until_it_is_accepted(
    project: Project, tmp_path: Path
) -> None:
    markers = (
        '@pytest.mark.onnxlite_latency(scenario="long", max_time=0.5, max_slowdown=1.0)\n'
        '@pytest.mark.onnxlite_memory(scenario="many")'
    )
    spec = 'scenarios={"long": Scenario(length=64), "many": Scenario(batch_size=8)}'
    model = attention(tmp_path / "a.onnx", 2)
    write(project, model, markers, spec)
    project.save()
    write(project, model, markers, spec.replace("64", "32").replace("8", "5"))
    result = project.compare("--onnxlite-report=r.json")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert (
        "the scenario 'long' of digits onnx is not what it was: the last release was measured at x (1, 64, 8), batch size 1, "
        "and today it is x (1, 32, 8), batch size 1."
    ) in text
    assert "the scenario 'many'" in text
    assert "x (8, 8, 8), batch size 8, and today it is x (5, 8, 8), batch size 5." in text
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert {v["outcome"] for v in record["verdicts"]} == {"not comparable"}
    assert project.run("--onnxlite-save-baseline").ret == 1
    project.save("--onnxlite-accept")
    (machine,) = json.loads(project.baseline.read_text())["machines"].values()
    assert machine["latency[long]"]["shapes"] == {"x": [1, 32, 8]}  # the same file, and not the figures from before
    assert machine["memory[many]"]["batch_size"] == 5
    project.compare().assert_outcomes(passed=1)


def limited(path: Path, positions: int = 16) -> Path:
    """A model that takes any length, and whose table has so many positions."""
    return save_graph(
        path,
        [
            helper.make_node("Shape", ["x"], ["length"], name="shape", start=1, end=2),
            helper.make_node("Squeeze", ["length"], ["count"], name="count"),
            helper.make_node("Range", ["zero", "count", "one"], ["positions"], name="range"),
            helper.make_node("Gather", ["table", "positions"], ["rows"], name="lookup"),
            helper.make_node("Add", ["x", "rows"], ["y"], name="add"),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length", 8])],
        {"zero": np.int64(0), "one": np.int64(1), "table": np.ones((positions, 8), np.float32)},
    )


def test_what_cannot_be_run_is_told_by_its_scenario_and_the_others_go_on(project: Project, tmp_path: Path) -> None:
    budget = 'max="10 s", max_time=0.5'
    markers = "\n".join(
        f"@pytest.mark.onnxlite_latency({arguments})"
        for arguments in (
            f'scenario="fits", {budget}',
            f'scenario="own", {budget}',
            'scenario="long"',
            'scenario="lnog"',
            'scenario="many", batch_size=2',
            'scenario="wide"',
        )
    )
    spec = (
        'scenarios={"fits": Scenario(length=16), "long": Scenario(length=17), "many": Scenario(batch_size=4), '
        '"own": Scenario(inputs=3 * data["x"][:1], batch_size=2), "wide": Scenario(inputs=np.ones((2, 8, 7), np.float32))}'
    )
    write(project, limited(tmp_path / "a.onnx"), f'{markers}\n@pytest.mark.onnxlite_memory(scenario="long")', spec)
    result = project.run("--onnxlite-report=r.json")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    for said in (
        "digits onnx: the scenario 'long' (length 17) cannot be run: onnx.onnx fails to run on samples 0 to 0: ",
        "unknown scenario 'lnog'; did you mean long? There are fits, long, many, own, wide.",
        "the marker says batch_size=2, and its scenario 'many' says 4; leave one of the two out.",
        "the scenario 'wide' (inputs of its own) cannot be run: the model's input 'x' takes (N, length, 8) float32, the data is",
    ):
        assert said in text
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    shapes = {name: found["shapes"]["x"] for name, found in record["measured"].items()}
    assert shapes == {"latency[fits]": [1, 16, 8], "latency[own]": [2, 8, 8]}
    outcomes = {v["check"]: v["outcome"] for v in record["verdicts"] if v["against"] == "limit"}
    assert [name for name, outcome in outcomes.items() if outcome == "pass"] == ["latency[fits]", "latency[own]"]
    assert outcomes["memory[long]"] == "fail"


def declare(project: Project, scenarios: str, latency: str) -> None:
    attention(project.path / "onnx.onnx", 1)
    np.savez(project.path / "data.npz", x=X, long=np.ones((2, 40, 8), np.float32))
    (project.path / "pyproject.toml").write_text(
        '[tool.onnxlite.models.net]\nonnx = "onnx.onnx"\ndata = "data.npz"\nvariants = ["onnx"]\n'
        f"scenarios = {scenarios}\nlatency = {latency}\n"
    )


def test_declared_models_have_scenarios(project: Project) -> None:
    own = '{short = {length = 2}, own = {inputs = {file = "data.npz", x = "long"}, batch_size = 2}}'
    budget = 'max = "10 s", max_time = 0.5'
    declare(project, own, f'[{{scenario = "short", {budget}}}, {{scenario = "own", {budget}}}]')
    result = project.run("--onnxlite-report=r.json", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["onnxlite::net::onnx::latency[[]own] *", "onnxlite::net::onnx::latency[[]short] *"])
    records = json.loads((project.path / "r.json").read_text())["records"]
    shapes = {name: found["shapes"]["x"] for record in records for name, found in record["measured"].items()}
    assert shapes == {"latency[own]": [2, 40, 8], "latency[short]": [1, 2, 8]}
    declare(project, "{long = {length = 2}}", '{scenario = "short"}')
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*models.net[]] latency: unknown scenario 'short'*There are long.*"])
