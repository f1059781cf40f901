"""The examples of docs/models.md run as they stand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from digits import load_digits
from emulation import JUDGED_ON
from onnx_models import attention, lstm_step, save_graph
from projects import REPOSITORY, Digits

PAGE = REPOSITORY / "docs" / "models.md"
TENSORFLOW = {"Layers of your own", "TFLite"}
# Each has an INT8 model of its own; the other sections' is the one of the metrics.
JUDGED = {"How INT8 is made", "Metrics", "Several inputs, sequences, no batch dimension"}


def sections() -> dict[str, dict[str, str]]:
    """Return the files of each section's example, by title."""
    text = PAGE.read_text(encoding="utf-8")
    found = {}
    for part in text.split("\n## ")[1:]:
        files = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", part, re.DOTALL))
        if files:
            found[part.splitlines()[0]] = files
    return found


def voice(path: Path) -> None:
    """A model of two inputs and two outputs without a batch dimension."""
    rng = np.random.default_rng(0)
    save_graph(
        path,
        [
            helper.make_node("MatMul", ["window", "w"], ["heard"], name="hear"),
            helper.make_node("Add", ["heard", "state"], ["state_out"], name="remember"),
            helper.make_node("MatMul", ["state_out", "v"], ["score"], name="score"),
        ],
        [
            helper.make_tensor_value_info("window", TensorProto.FLOAT, [1, 16]),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 8]),
        ],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 4]),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, [1, 8]),
        ],
        {"w": rng.normal(size=(16, 8)).astype(np.float32), "v": rng.normal(size=(8, 4)).astype(np.float32)},
    )


def doubled(path: Path) -> None:
    import keras

    class Doubling(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return 2 * x

    keras.Sequential([keras.Input((8,)), Doubling(), keras.layers.Dense(4)]).save(path)


@pytest.mark.parametrize(
    "title", [pytest.param(t, marks=pytest.mark.int8_judged) if t in JUDGED else t for t in sections()]
)
def test_an_example_runs_as_it_stands(
    pytester: pytest.Pytester, digits: Digits, shared_cache: Path, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = pytester.path / "models"
    models.mkdir()
    (train, _), _ = load_digits()
    np.savez(models / "evaluation.npz", x=digits.x[:200], y=digits.y[:200])
    np.savez(models / "calibration.npz", x=train[:100])
    shutil.copyfile(digits.onnx, models / "digits.onnx")
    shutil.copyfile(digits.int8, models / "digits-int8.onnx")
    shutil.copyfile(digits.trained, models / "digits.keras")
    voice(models / "voice.onnx")
    attention(models / "sentences.onnx", 2)
    lstm_step(models / "listener.onnx")
    if title in TENSORFLOW:
        doubled(models / "doubled.keras")
    assert set(sections()) >= TENSORFLOW | JUDGED
    files = sections()[title]
    assert set(files) == {"conftest.py", "test_release.py"}
    for name, code in files.items():
        (pytester.path / name).write_text(code, encoding="utf-8")
    elsewhere = [f"--onnxlite-processors={JUDGED_ON}"] if JUDGED_ON and title in JUDGED else []
    result = pytester.runpytest(f"--onnxlite-cache-dir={shared_cache}", *elsewhere)
    code = files["test_release.py"]
    more = sum(names.count(",") for names in re.findall(r'"onnxlite_variant", \[(.*?)\]', code))
    result.assert_outcomes(passed=code.count("def test_") + more)
