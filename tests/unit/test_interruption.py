"""A model that never ends: a limit, Ctrl-C and a plugin's time limit end it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_onnxlite import OnnxliteError
from pytest_onnxlite.runtime import interruption
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.variant import OnnxVariant

from onnx_models import save_graph
from projects import Project


def looping(path: Path) -> OnnxVariant:
    """A model that doubles its input, (batch, 1) float32, for as long as the first sample is above 0."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["state"], ["next"]),
            helper.make_node("Greater", ["largest", "zero"], ["go_on"]),
        ],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("state", TensorProto.FLOAT, ["batch", 1]),
        ],
        [value("go_on", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, ["batch", 1])],
    )
    save_graph(
        path,
        [
            helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
            helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body),
        ],
        [value("x", TensorProto.FLOAT, ["batch", 1])],
        [value("y", TensorProto.FLOAT, ["batch", 1])],
        {"zero": np.float32(0), "yes": np.bool_(True)},
    )
    return OnnxVariant("m", "onnx", path, Runtime())


SAMPLES = np.where(np.arange(5) == 3, 1, -1).astype(np.float32)[:, None]


@pytest.fixture(autouse=True)
def _limit() -> object:
    yield
    interruption.limit_inferences(600.0)


def inferring() -> bool:
    time.sleep(0.1)  # what ends a thread comes after its work
    return any(thread.name == "onnxlite-inference" for thread in threading.enumerate())


def test_an_inference_that_never_ends_is_ended_and_named(tmp_path: Path) -> None:
    variant = looping(tmp_path / "loop.onnx")
    interruption.limit_inferences(0.5)
    with pytest.raises(
        OnnxliteError, match=r"loop\.onnx was still running samples 3 to 3 after 0\.5 s .*raise onnxlite_in"
    ):
        variant.run(SAMPLES, 1)
    assert not inferring()
    # The session is as good as before.
    assert variant.run(SAMPLES[:3], 1)["y"].tolist() == SAMPLES[:3].tolist()


def test_a_run_has_the_limit_of_its_ini_file(project: Project, tmp_path: Path) -> None:
    looping(tmp_path / "loop.onnx")
    x = np.concatenate([-np.ones((40, 1), np.float32), SAMPLES])
    project.write({"onnx": tmp_path / "loop.onnx"}, x, variant="onnx", spec="metric='mae'")
    result = project.run("-o", "onnxlite_inference_time=0.5")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was still running samples 43 to 43 after 0.5 s*"])


class TimeIsUp(BaseException):
    """What a plugin that limits a test's time raises in the main thread."""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1], ids=["Ctrl-C", "a timer"])
def test_a_signal_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    variant = looping(tmp_path / "loop.onnx")

    def interrupt(*_: object) -> None:
        raise TimeIsUp

    def send() -> None:
        while variant._began is None or variant._began[1] != 3:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    before = signal.signal(number, interrupt)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(TimeIsUp):
            variant.run(SAMPLES, 1)
    finally:
        sender.join()
        signal.signal(number, before)
    assert not inferring()
