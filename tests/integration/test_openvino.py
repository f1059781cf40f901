"""OpenVINO's provider, end to end: in an environment of its own, which .ci/openvino makes; skipped elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from onnx import TensorProto, helper

from onnx_models import save_graph
from projects import UNEXPLAINED, Project

PROVIDER = "OpenVINOExecutionProvider"
pytestmark = pytest.mark.skipif(
    PROVIDER not in onnxruntime.get_available_providers(),
    reason="onnxruntime-openvino is not installed: see .ci/openvino",
)

X = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
RUNTIMES = f"""
[tool.onnxlite.runtimes.openvino]
providers = ["{PROVIDER}"]
provider_options = {{{PROVIDER} = {{device_type = "CPU", num_of_threads = 1}}}}
"""


def model(path: Path, last: str = "Softmax", layers: int = 4) -> Path:
    """Dense layers, and an operator behind them; OpenVINO's provider does not take a Hardmax."""
    rng = np.random.default_rng(1)
    weights = {f"w{i}": rng.normal(0, 0.18, (64, 64)).astype(np.float32) for i in range(layers)}
    nodes, value = [], "x"
    for i in range(layers):
        nodes.append(helper.make_node("MatMul", [value, f"w{i}"], [f"m{i}"], name=f"matmul{i}"))
        nodes.append(helper.make_node("Tanh", [f"m{i}"], [f"t{i}"], name=f"tanh{i}"))
        value = f"t{i}"
    nodes.append(helper.make_node(last, [value], ["y"], name="last"))
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 64]) for name in ("x", "y")]
    return save_graph(path, nodes, tensors[:1], tensors[1:], weights)


def answers(path: Path) -> npt.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": X})[0])


def write(project: Project, path: Path, markers: str) -> None:
    (project.path / "pyproject.toml").write_text(RUNTIMES)
    project.write({"onnx": path}, X, answers(path).argmax(axis=1), markers=markers, variant="onnx")


def test_a_release_is_guarded_on_openvino(project: Project, tmp_path: Path) -> None:
    markers = """
        @pytest.mark.onnxlite_accuracy(min=0.99)
        @pytest.mark.onnxlite_outputs
        @pytest.mark.onnxlite_placement
        @pytest.mark.onnxlite_latency(max_slowdown=1.0, max_time=0.5)
        @pytest.mark.onnxlite_memory(max_growth=0.5)
    """
    write(project, model(tmp_path / "a.onnx"), markers)
    project.save("--onnxlite-runtime=openvino")
    result = project.compare("--onnxlite-runtime=openvino", "--onnxlite-complete", "--onnxlite-report=r.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "digits * 9 of 9 nodes on OpenVINO * pass*",
            f"digits onnx runs with {PROVIDER}, {PROVIDER}.device_type CPU, *",
        ]
    )
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert (record["runtime"]["distribution"], record["runtime"]["version"]) == (
        "onnxruntime-openvino",
        onnxruntime.__version__,
    )
    baseline = project.path / "baselines" / "@openvino" / "digits" / "onnx.json"
    (machine,) = json.loads(baseline.read_text())["machines"].values()
    assert machine["description"]["provider"] == PROVIDER
    assert machine["description"]["options"] == {f"{PROVIDER}.device_type": "CPU", f"{PROVIDER}.num_of_threads": "1"}


def test_what_falls_back_is_red_and_named(project: Project, tmp_path: Path) -> None:
    write(project, model(tmp_path / "a.onnx", "Hardmax"), "@pytest.mark.onnxlite_placement")
    project.run().assert_outcomes(passed=1)
    red = project.run(UNEXPLAINED, "--onnxlite-runtime=openvino")
    red.assert_outcomes(failed=1)
    red.stdout.fnmatch_lines(
        ["*8 of 9 nodes on OpenVINO (88.9 %), at least 100.0 % asked for*", "*last (Hardmax) on CPUExecutionProvider*"]
    )
    test = project.path / "test_release.py"
    test.write_text(test.read_text().replace("onnxlite_placement", "onnxlite_placement(min_share=0.85)"))
    project.run("--onnxlite-runtime=openvino").assert_outcomes(passed=1)


def test_a_model_of_which_it_runs_nothing_is_red(project: Project, tmp_path: Path) -> None:
    write(project, model(tmp_path / "a.onnx", "Hardmax", layers=0), "@pytest.mark.onnxlite_size")
    result = project.run("--onnxlite-runtime=openvino")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*runs no node of the model: all 1 fall back to CPUExecutionProvider: last (Hardmax)*"]
    )


def test_a_device_that_is_not_there_is_red(project: Project, tmp_path: Path) -> None:
    write(project, model(tmp_path / "a.onnx"), "@pytest.mark.onnxlite_size")
    elsewhere = RUNTIMES.replace('device_type = "CPU", num_of_threads = 1', 'device_type = "GPU"')
    (project.path / "pyproject.toml").write_text(elsewhere)
    result = project.run("--onnxlite-runtime=openvino")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [f"*{PROVIDER} was asked for and did not start; ONNX Runtime runs the model with CPUExec*"]
    )


def test_one_file_is_guarded_on_both_providers(project: Project, tmp_path: Path) -> None:
    markers = """
        @pytest.mark.onnxlite_accuracy(min=0.99)
        @pytest.mark.onnxlite_outputs(min_sqnr=60)
        @pytest.mark.onnxlite_placement
        @pytest.mark.onnxlite_latency(max_slowdown=1.0, max_time=0.5)
        @pytest.mark.onnxlite_memory(max_growth=0.5)
    """
    write(project, model(tmp_path / "a.onnx"), markers)
    conftest = project.path / "conftest.py"
    named = f"variants={{'openvino': Variant('onnx', runtime=Runtime(providers=['{PROVIDER}']))}}"
    text = conftest.read_text().replace("StaticInt8", "StaticInt8, Variant", 1)
    conftest.write_text(text.replace('ModelSpec("digits",', f'ModelSpec("digits", {named},'))
    test = project.path / "test_release.py"
    text = test.read_text().replace(
        "def test_release(onnxlite_onnx)",
        "@pytest.mark.parametrize('onnxlite_variant', ['onnx', 'openvino'], indirect=True)\ndef test_release(onnxlite_variant)",
    )
    test.write_text(text)
    project.save()
    result = project.compare("--onnxlite-complete", "--onnxlite-report=r.json")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["digits * 9 of 9 nodes on CPU * pass*", "digits * 9 of 9 nodes on OpenVINO * pass*"])
    records = json.loads((project.path / "r.json").read_text())["records"]
    assert {r["variant"]: r["runtime"]["provider"] for r in records} == {
        "onnx": "CPUExecutionProvider",
        "openvino": PROVIDER,
    }
    # What OpenVINO does not take is red for the one, and no matter of the other.
    project.replace("onnx.onnx", model(tmp_path / "b.onnx", "Hardmax"))
    red = project.run(UNEXPLAINED)
    red.assert_outcomes(passed=1, failed=1)
    red.stdout.fnmatch_lines(["*digits openvino: *placement*", "*last (Hardmax) on CPUExecutionProvider*"])
