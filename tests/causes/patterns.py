"""A small net that was fitted to pictures of eight random patterns, and projects that guard changed copies of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import TensorProto, helper

from onnx_models import save_graph

CLASSES = 8
Floats = npt.NDArray[np.float32]


def pictures(count: int, seed: int = 1, noise: float = 0.3, shares: Any = None) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Noisy pictures of patterns, `(N, 1, 8, 8)`, and which pattern each shows."""
    patterns = np.random.default_rng(0).uniform(size=(CLASSES, 1, 8, 8))
    rng = np.random.default_rng(seed)
    y = rng.choice(CLASSES, size=count, p=shares)
    return (patterns[y] + noise * rng.normal(size=(count, 1, 8, 8))).astype(np.float32), y.astype(np.int64)


def fitted(path: Path, relabel: dict[int, int] | None = None, filters: int = 12) -> Path:
    """A convolution of random filters, a dense layer, and scores that are fitted to the patterns by least squares."""
    rng = np.random.default_rng(5)
    weights: dict[str, Any] = {
        "w0": rng.normal(0, 0.4, (filters, 1, 3, 3)).astype(np.float32),
        "b0": rng.normal(0, 0.1, filters).astype(np.float32),
        "w1": rng.normal(0, 0.05, (filters * 36, 48)).astype(np.float32),
    }
    body = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "w1"], ["h"], name="hidden"),
        helper.make_node("Relu", ["h"], ["a"], name="relu2"),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, ["batch", 1, 8, 8])]
    features = save_graph(path, body, inputs, [value("a", TensorProto.FLOAT, ["batch", 48])], weights)
    x, y = pictures(1500, seed=2)
    for label, other in (relabel or {}).items():
        y = np.where(y == label, other, y)
    (read,) = onnxruntime.InferenceSession(features).run(None, {"x": x})
    scores, *_ = np.linalg.lstsq(np.c_[read, np.ones(len(read))], np.eye(CLASSES)[y] * 4, rcond=None)
    weights |= {"w2": scores[:-1].astype(np.float32), "b2": scores[-1].astype(np.float32)}
    head = [
        helper.make_node("MatMul", ["a", "w2"], ["m"], name="head"),
        helper.make_node("Add", ["m", "b2"], ["y"], name="bias"),
    ]
    return save_graph(path, [*body, *head], inputs, [value("y", TensorProto.FLOAT, ["batch", CLASSES])], weights)
