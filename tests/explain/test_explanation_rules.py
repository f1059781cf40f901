"""Explanations come on failure or on request, keep to their time, and turn no verdict around."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite.checks.size.explain import tensors_to_shrink
from pytest_onnxlite.checks.size.parts import Unread
from pytest_onnxlite.lint.float_left import FloatLeft
from pytest_onnxlite.runtime.sessions import open_session
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.deadline import Budget, OutOfTime, time_limit
from pytest_onnxlite.variants.variant import OnnxVariant

from onnx_models import dense, ruin
from projects import Digits, Project

Run = Callable[..., Any]
STATIC = "recipe=StaticInt8(weight_type='int8'), calibration=np.load({!r})['mixed']"


def test_a_passing_verdict_is_not_explained_unless_asked(project: Project, digits: Digits, explain: Run) -> None:
    project.write({"onnx": digits.onnx, "int8": digits.int8}, digits.x, digits.y)
    assert explain().record["verdicts"][0]["explanation"] is None
    asked = explain("--onnxlite-explain")
    asked.result.assert_outcomes(passed=1)
    explanation = asked.record["verdicts"][0]["explanation"]
    assert explanation["layers"]
    assert "no layer stands out" in explanation["why"]
    assert explanation["why"] in asked.text


def test_no_time_no_explanation(project: Project, digits: Digits, explain: Run) -> None:
    markers = "@pytest.mark.onnxlite_size(ratio=0.1)"
    project.write({"onnx": digits.onnx, "int8": digits.int8}, digits.x, digits.y, markers=markers)
    explained = explain("--onnxlite-explain-time=0")
    explained.result.assert_outcomes(failed=1)
    assert explained.record["verdicts"][0]["explanation"] is None


@pytest.mark.parametrize("value", ["soon", "-1", "nan"])
def test_a_time_that_is_none_is_refused(project: Project, digits: Digits, value: str) -> None:
    project.write({"onnx": digits.onnx, "int8": digits.int8}, digits.x, digits.y)
    result = project.run(f"--onnxlite-explain-time={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--onnxlite-explain-time={value}: expected seconds, from 0.*"])


def test_an_explanation_that_fails_leaves_the_verdict(
    project: Project, digits: Digits, explain: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_onnxlite.checks.size import SizeCheck

    def fail(*_: Any) -> Any:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(SizeCheck, "explain", fail)
    markers = "@pytest.mark.onnxlite_size(ratio=0.1)"
    project.write({"onnx": digits.onnx, "int8": digits.int8}, digits.x, digits.y, markers=markers)
    explained = explain()
    explained.result.assert_outcomes(failed=1)
    assert "Why: it could not be explained (RuntimeError: a fault of ours)." in explained.text


def test_runs_end_when_their_time_is_up(digits: Digits) -> None:
    variant = OnnxVariant("cnn", "onnx", digits.onnx, Runtime())
    with time_limit(60), time_limit(0), pytest.raises(OutOfTime):
        variant.run(digits.x, 1)
    with time_limit(0), time_limit(60), pytest.raises(OutOfTime):
        variant.run(digits.x, 1)
    assert len(variant.run(digits.x[:4], 1)["digit"]) == 4  # and without a limit they do not


def test_an_explanation_without_time_says_what_is_missing_and_leaves_the_verdict(
    project: Project, digits: Digits, tmp_path: Path, explain: Run
) -> None:
    int8 = ruin(digits.int8, tmp_path / "ruined.onnx")
    project.write({"onnx": digits.onnx, "int8": int8}, digits.x, digits.y)
    explained = explain("--onnxlite-explain-time=0.000001")
    explained.result.assert_outcomes(failed=1)
    verdict = explained.record["verdicts"][0]
    assert (verdict["outcome"], verdict["red"]) == ("fail", True)
    lines = [verdict["explanation"]["why"], *verdict["explanation"]["lines"]]
    assert any("--onnxlite-explain-time" in line for line in lines), lines


def test_a_profile_without_time_runs_each_model_in_one_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_onnxlite.checks.latency import explain as latency

    opened = []

    def count(path: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(path.name)
        return open_session(path, *arguments, **options)

    monkeypatch.setattr(latency, "open_session", count)
    paths = dense(tmp_path / "a.onnx", 1, width=8), dense(tmp_path / "b.onnx", 2, width=8)
    feeds = {"x": np.ones((1, 8), np.float32)}
    for kernels in latency.profile_both(*paths, feeds, Runtime(), Budget(0)):
        assert kernels
    assert opened == ["a.onnx", "b.onnx"]
    opened.clear()
    latency.profile_both(*paths, feeds, Runtime(), Budget(60))
    assert sorted(opened) == ["a.onnx"] * 3 + ["b.onnx"] * 3


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_person_at_a_terminal_sees_what_is_going_on(project: Project, digits: Digits) -> None:
    import pty

    markers = "@pytest.mark.onnxlite_accuracy(max_drop=0)\n@pytest.mark.onnxlite_size(ratio=0.25, tolerance=0)"
    spec = "recipe=DynamicInt8(weight_type='int8')"
    project.write({"onnx": digits.onnx}, digits.x[:64], digits.y[:64], markers=markers, spec=spec)
    ours, theirs = pty.openpty()
    options = ["-pno:randomly", "-pno:cacheprovider", "--onnxlite-explain"]
    options += ["--onnxlite-explain-time=2", "--onnxlite-suggest", "--onnxlite-suggest-time=2"]
    command = [sys.executable, "-m", "pytest", *options, f"--onnxlite-cache-dir={project.path / 'cache'}"]
    process = subprocess.Popen(command, cwd=project.path, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # how Linux tells that the other end is closed
        while part := os.read(ours, 1 << 16):
            said += part
    os.close(ours)
    assert process.wait(60) == 1
    for step in ("looking where the error", "trying DynamicInt8("):
        assert f"onnxlite: {step}".encode() in said, said.decode()


# -- forecast ------------------------------------------------------------------------------------------------


def test_weights_that_saturate_without_vnni_are_a_remark_and_no_failure(
    project: Project, digits: Digits, calibration: Path, explain: Run
) -> None:
    project.write({"onnx": digits.onnx}, digits.x, digits.y, spec=STATIC.format(str(calibration)))
    explained = explain()
    explained.result.assert_outcomes(passed=1)
    forecast = explained.record["forecast"]
    assert 0.01 < forecast["share"] < 0.5
    assert "can saturate on x86 processors without VNNI" in explained.text


def test_the_portable_recipe_is_tried_against_it(
    project: Project, digits: Digits, calibration: Path, explain: Run
) -> None:
    project.write({"onnx": digits.onnx}, digits.x, digits.y, spec=STATIC.format(str(calibration)))
    trial = explain("--onnxlite-explain").record["forecast"]["portable"]
    assert trial["recipe"] == "StaticInt8()"
    assert trial["share"] == 0
    assert trial["accuracy"] > 0.95


def test_a_dynamic_model_of_uint8_weights_has_no_such_remark(project: Project, digits: Digits, explain: Run) -> None:
    project.write({"onnx": digits.onnx, "int8": digits.int8}, digits.x, digits.y)
    assert explain().record["forecast"] is None


# -- the fewest tensors --------------------------------------------------------------------------------------

LEFT = [FloatLeft("big", "n", 4000, "excluded by 'n'"), FloatLeft("small", "m", 400, "excluded by 'm'")]


@pytest.mark.parametrize(
    ("excess", "expected"),
    [
        (0, ([], 0)),
        (2900, (["big"], 3000)),
        (3000, (["big"], 3000)),
        (3001, (["big", "copy"], 3500)),
        (3600, (["big", "copy", "small"], 3800)),
        (9999, (["big", "copy", "small"], 3800)),
    ],
)
def test_the_fewest_tensors_are_chosen(excess: int, expected: tuple[list[str], int]) -> None:
    bias = FloatLeft("bias", "n", 8000, "input 1 of Add is not a weight that quantizers take")
    assert tensors_to_shrink([bias, *LEFT], [Unread("copy", 500)], excess) == expected
