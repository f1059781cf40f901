"""The marker says of a file what `check_graph` says of it: errors fail the test, and every report shows the warnings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_onnxlite.lint import check_graph

from onnx_models import quantize, save_graph, tied
from projects import Project

GRAPH = "@pytest.mark.onnxlite_graph"
TOKENS = np.arange(200, dtype=np.int64).reshape(40, 5)


def evidence(project: Project) -> list[tuple[str, str, str]]:
    document = json.loads((project.path / "report.json").read_text())
    (verdict,) = [v for record in document["records"] for v in record["verdicts"] if v["against"] == "limit"]
    return [(f["code"], f["severity"], f["where"]) for f in verdict["evidence"].get("findings", [])]


def reported(project: Project, monkeypatch: pytest.MonkeyPatch) -> tuple[pytest.RunResult, str, str]:
    """Run with every report; return the run, the Markdown and the HTML."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    pages = {
        name: project.path / f"report.{end}" for name, end in (("report", "json"), ("markdown", "md"), ("html", "html"))
    }
    result = project.run(*(f"--onnxlite-{name}={path}" for name, path in pages.items()))
    return result, pages["markdown"].read_text(), pages["html"].read_text()


def test_warnings_pass_and_are_shown_in_every_report(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tied(tmp_path / "a.onnx", gemm=True)
    twice = quantize(source, tmp_path / "twice.onnx")  # it stores the table once more, transposed
    project.write({"onnx": source, "int8": twice}, TOKENS, markers=GRAPH)
    result, markdown, html = reported(project, monkeypatch)
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"digits +int8 +sound, 1 warning +pass"])
    expected = [
        (f.code, f.severity, f.where) for f in check_graph(project.path / "int8.onnx", project.path / "onnx.onnx")
    ]
    assert evidence(project) == expected == [("OLX604", "warning", "int8.onnx")]
    text = "OLX604 int8.onnx: expected"
    result.stdout.fnmatch_lines(
        [f"digits int8: warning: {text}*", f"::warning file=test_release.py,*graph warning::{text}*"]
    )
    for page in (markdown, html):
        assert "sound, 1 warning" in page
        assert text in page


def test_a_failure_names_the_warnings_behind_the_errors(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tied(tmp_path / "a.onnx")
    plain = quantize(source, tmp_path / "plain.onnx")  # it turns the table around, and multiplies in float
    model = onnx.load(plain)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    onnx.save(model, plain)
    project.write({"onnx": source, "int8": plain}, TOKENS, markers=GRAPH)
    result, markdown, html = reported(project, monkeypatch)
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r"digits +int8 +1 finding, 1 warning! +FAIL"])
    expected = [
        (f.code, f.severity, f.where) for f in check_graph(project.path / "int8.onnx", project.path / "onnx.onnx")
    ]
    assert sorted(evidence(project)) == sorted(expected)
    assert [code for code, *_ in evidence(project)] == ["OLX601", "OLX110"]
    texts = ("OLX601 error: head (table_quantized)", "OLX110 warning: int8.onnx")
    for page in (result.stdout.str(), markdown, html):
        for text in texts:
            assert text in page
    assert "::warning" not in result.stdout.str()  # the error's note has them all


def training(path: Path, **mode: Any) -> Path:
    """A layer and a BatchNormalization, `(batch, 16) float32`."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(16, 16)).astype(np.float32)}
    weights |= {name: np.full(16, 0.5, np.float32) for name in ("gamma", "beta", "mean", "var")}
    outputs = ["y", "mean_now", "var_now"] if mode else ["y"]
    return save_graph(
        path,
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="layer"),
            helper.make_node("BatchNormalization", ["h", "gamma", "beta", "mean", "var"], outputs, name="norm", **mode),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16])],
        weights,
    )


BOTH = f"""
import pytest

{GRAPH}
def test_onnx(onnxlite_onnx):
    pass

{GRAPH}
def test_int8(onnxlite_int8):
    pass
"""


@pytest.mark.parametrize("trains", [True, False], ids=["training", "inference"])
def test_training_mode_is_red_in_the_float_file_and_in_what_is_made_from_it(
    project: Project, tmp_path: Path, trains: bool
) -> None:
    mode = {"training_mode": 1} if trains else {}
    x = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    project.write({"onnx": training(tmp_path / "a.onnx", **mode)}, x, test=BOTH)
    result = project.run()
    if not trains:
        result.assert_outcomes(passed=2)
        return
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*OLX119 error: norm: expected BatchNormalization as it is in inference*"])
    # What the float file has is no fault of the quantizer.
    assert "quantized the model wrongly" not in result.stdout.str()


def test_a_model_that_calibration_saw_nothing_of_is_told_so(project: Project, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    path = save_graph(
        tmp_path / "a.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16])],
        {"w": x[:16]},
    )
    project.write({"onnx": path}, x, markers=GRAPH, spec="calibration=0 * data['x'], recipe=StaticInt8()")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*digits: calibration saw nothing but zeros, with StaticInt8()*", "*OLX325 error*"])
