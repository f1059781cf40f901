"""A release whose inputs are others than the last one's: it is accepted whole, or nothing of it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnx_models import save_graph
from projects import UNEXPLAINED

CONFTEST = """
import numpy as np, onnxruntime, pytest
from pytest_onnxlite import Dataset, ModelSpec

@pytest.fixture(scope="session")
def onnxlite_model():
    session = onnxruntime.InferenceSession("model.onnx")
    rng = np.random.default_rng(0)
    x = {i.name: rng.normal(size=(200, i.shape[1])).astype("float32") for i in session.get_inputs()}
    return ModelSpec("sums", onnx="model.onnx", evaluation=Dataset(x, session.run(None, x)[0].argmax(1)))
"""
MARKERS = {
    "accuracy": "",
    "outputs": "",
    "size": "(tolerance=1.0)",
    "latency": "(max_slowdown=1.0, max_time=0.5)",
    "memory": "(max_growth=1.0)",
    "graph": "",
}


def model(path: Path, inputs: dict[str, int], seed: int = 0) -> None:
    """A sum of one dense layer for each input, by its width."""
    rng = np.random.default_rng(seed)
    weights: dict[str, Any] = {f"w{n}": rng.normal(size=(width, 3)) for n, width in enumerate(inputs.values())}
    save_graph(
        path,
        [
            *(helper.make_node("MatMul", [name, f"w{n}"], [f"m{n}"]) for n, name in enumerate(inputs)),
            helper.make_node("Sum", [f"m{n}" for n in range(len(inputs))], ["y"]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name, width in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        {name: np.asarray(array, np.float32) for name, array in weights.items()},
    )


def write(pytester: pytest.Pytester, markers: dict[str, str]) -> None:
    """A project that guards a model with two inputs."""
    pytester.makeconftest(CONFTEST)
    text = "".join(f"@pytest.mark.onnxlite_{name}{arguments}\n" for name, arguments in markers.items())
    (pytester.path / "test_sums.py").write_text(f"import pytest\n{text}def test_sums(onnxlite_onnx): pass\n")


def save(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest("--onnxlite-save-baseline", "--onnxlite-cache-dir=cache", UNEXPLAINED, *options)


def test_a_release_with_other_inputs_is_accepted_whole(pytester: pytest.Pytester) -> None:
    write(pytester, MARKERS)
    model(pytester.path / "model.onnx", {"a": 16, "b": 8})
    assert save(pytester).ret == 0
    for inputs, beside_last in (
        ({"ids": 8, "mask": 16}, True),  # named anew, and in another order
        ({"ids": 9, "mask": 16}, False),  # and one that the last release cannot take
    ):
        model(pytester.path / "model.onnx", inputs)
        result = save(pytester, "--onnxlite-accept")
        assert result.ret == 0, result.stdout.str()
        result.stdout.fnmatch_lines(["saved: baselines*onnx.json, with accuracy, outputs*graph accepted"])
        (line,) = (line for line in result.outlines if line.startswith("accepted: sums onnx graph: "))
        assert "which breaks who calls the model: OLX20" in line
        content = json.loads((pytester.path / "baselines" / "sums" / "onnx.json").read_text())
        assert set(MARKERS) <= {*content, *next(iter(content["machines"].values()))}
        (table,) = (line for line in result.outlines if line.startswith("sums  "))
        assert ("x last" in table) is beside_last


def test_what_cannot_be_accepted_saves_nothing(pytester: pytest.Pytester) -> None:
    write(pytester, {"size": "", "memory": "(max_growth=1.0)"})
    model(pytester.path / "model.onnx", {"a": 16, "b": 8})
    assert save(pytester).ret == 0
    (baseline,) = pytester.path.glob("baselines/*/*.json")
    before = baseline.read_bytes()
    # Not accepted, what cannot be measured next to the last release is red.
    model(pytester.path / "model.onnx", {"a": 16, "b": 9})
    result = save(pytester)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*memory not comparable", "  the last release cannot be run on what this one is fed*Got: 9*"]
    )
    assert baseline.read_bytes() == before
    # A limit that names no release is kept whatever is accepted.
    write(pytester, {"size": '(max="100 B")'})
    result = save(pytester, "--onnxlite-accept")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "ERROR: sums/onnx was not saved: it fails its limits: size (fail). What is not against the last release is not accepted*"
        ]
    )
    assert baseline.read_bytes() == before
