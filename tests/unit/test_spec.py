"""What a user may say about a model, and what is told to one who said it wrong."""

from __future__ import annotations

import contextlib
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytest_onnxlite
from pytest_onnxlite import (
    Dataset,
    DynamicInt8,
    Float16,
    ModelSpec,
    OnnxliteError,
    Runtime,
    Scenario,
    Stateful,
    StaticInt8,
    WeightOnly,
)
from pytest_onnxlite.metrics import as_metric
from pytest_onnxlite.runtime.sessions import TensorInfo, to_feeds
from pytest_onnxlite.spec.dataset import count_samples
from pytest_onnxlite.variants.variant import OnnxVariant

from onnx_models import dense

X = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, np.zeros(3, int), "4 samples and Dataset.y has 3 labels"),
        (X[:0], None, "no samples"),
        (np.float32(1), None, "no samples"),
        (np.array([[1.0, np.nan]]), None, "NaN or infinity, first in sample 0"),
        (np.array([[1], [1, 2]], object), None, "Python objects"),
        ({"a": X, "b": X[:2]}, None, "unequal numbers of samples"),
        ({}, None, "empty mapping"),
    ],
)
def test_a_data_set_that_cannot_be_used(x: Any, y: Any, message: str) -> None:
    with pytest.raises(OnnxliteError, match=message):
        Dataset(x, y)


def test_a_data_set_is_known_by_its_content() -> None:
    same = Dataset(X, np.zeros(4, int)).sha256
    assert Dataset(X.copy(), np.zeros(4, int)).sha256 == same
    others = [Dataset(X), Dataset(X + 1, np.zeros(4, int)), Dataset(X, np.ones(4, int)), Dataset(X.astype(float))]
    assert same not in {other.sha256 for other in others}
    assert len({other.sha256 for other in others}) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "1 to 64 letters"),
        ({"name": "a/b"}, "1 to 64 letters"),
        ({"name": "ends."}, "1 to 64 letters"),
        ({"name": "NUL.x"}, "reserved file name"),
        ({"trained": None}, "names no model"),
        ({"trained": "missing.keras"}, "no such file"),
        ({"onnx": "missing.onnx"}, "no such file"),
        ({"evaluation": X}, "evaluation is a ndarray"),
        ({"metric": "f7"}, "metric='f7'"),
        ({"recipe": "int8"}, "recipe='int8'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"threads": True}, "threads=True"),
        ({"calibration": np.array([np.inf])}, "calibration holds NaN or infinity"),
    ],
)
def test_a_spec_that_cannot_be_used(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    model = tmp_path / "m.keras"
    model.write_bytes(b"not yet read")
    with pytest.raises(OnnxliteError, match=message):
        ModelSpec(**{"name": "digits", "trained": model, **arguments})


@pytest.mark.parametrize("arguments", [{"weight_type": "int4"}, {"exclude": "Conv"}])
def test_a_recipe_that_cannot_be_used(arguments: dict[str, Any]) -> None:
    with pytest.raises(OnnxliteError, match="expected"):
        DynamicInt8(**arguments)


OF_ANY_TYPE: list[Any] = [3, 0, -1, 1.5, float("nan"), "no", "", [1], {"a": 1}, True, None, b"x", ("a",), np.float32(2)]
# Each public class, and what it needs at least.
PUBLIC: dict[Any, dict[str, Any]] = {
    ModelSpec: {"name": "digits", "onnx": __file__},
    DynamicInt8: {},
    StaticInt8: {},
    Float16: {},
    WeightOnly: {},
    Runtime: {},
    Scenario: {"length": 3},
    Stateful: {"state": {"a": "b"}},
    Dataset: {"x": X},
}


@pytest.mark.parametrize("made", PUBLIC, ids=lambda made: made.__name__)
def test_an_argument_of_another_type_is_told_and_a_word_is_no_switch(made: Any) -> None:
    # batched="no" was True, and output=0 an internal error of pytest.
    for name, default in inspect.signature(made).parameters.items():
        taken = []
        for value in OF_ANY_TYPE:
            with contextlib.suppress(OnnxliteError):
                made(**{**PUBLIC[made], name: value})
                taken.append(value)
        if isinstance(default.default, bool):
            assert taken == [True], name
        if name == "output":
            assert taken == ["no", None]
        if name in ("batch_size", "threads", "length"):
            assert [value for value in taken if value is not None] == [3], name


MISTAKES = {
    "Dataset(X, [1])": "4 samples and Dataset.y has 1 labels",
    "Dataset({'a': X, 'b': X[:2]})": "unequal numbers of samples",
    "Dataset(X, slices={'dark': [1]})": "slices",
    "ModelSpec('a/b')": "1 to 64 letters",
    "ModelSpec('digits', onnx='missing.onnx')": "no such file",
    "ModelSpec('digits', onnx=__file__, metric='f7')": "metric='f7'",
    "StaticInt8(method='mean')": "expected 'minmax'",
    "DynamicInt8(exclude='Conv')": "expected a list of globs",
    "VARIANT.predict(X)": "takes",
    "VARIANT.size": "Check the path",
    "check_graph('missing.onnx')": "cannot be read",
    "summarize('missing.onnx')": "cannot be read",
}


@pytest.mark.parametrize("call", MISTAKES)
def test_a_mistake_is_shown_where_it_is_made(tmp_path: Path, call: str) -> None:
    """What pytest shows of it has the user's line and the message, and no line of ours."""
    source = tmp_path / "conftest.py"
    source.write_text(call)
    dense(tmp_path / "m.onnx", 1, width=3)
    variant = OnnxVariant("m", "onnx", tmp_path / ("gone.onnx" if "size" in call else "m.onnx"), Runtime())
    names = {**vars(pytest_onnxlite), **{name: getattr(pytest_onnxlite, name) for name in pytest_onnxlite.__all__}}
    with pytest.raises(OnnxliteError) as raised:
        exec(compile(call, source, "exec"), {**names, "X": X, "VARIANT": variant, "__file__": str(source)})
    shown = str(raised.getrepr(style="long"))
    assert MISTAKES[call] in shown
    places = {line.split(":")[0] for line in shown.splitlines() if re.match(r"\S+:\d+:", line)}
    assert {Path(place).name for place in places} == {"test_spec.py", "conftest.py"}
    assert "raise " not in shown


def test_what_is_no_mistake_of_the_users_keeps_its_traceback() -> None:
    with pytest.raises(TypeError) as raised:
        count_samples(None)  # type: ignore[arg-type]
    assert "dataset.py" in str(raised.getrepr(style="long"))


INFO = (TensorInfo("x", "float32", ("batch", 2)),)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8", "int16"])
def test_values_that_stay_exact_are_converted(dtype: str) -> None:
    feeds = to_feeds(np.ones((1, 2), dtype), INFO)
    assert feeds["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones((1, 3), np.float32), r"takes \(N, 2\) float32, the data is \(N, 3\)"),
        (np.ones((1, 2, 1), np.float32), r"takes \(N, 2\) float32"),
        (np.ones((1, 2), np.int64), "takes float32, the data is int64"),
        (np.ones((1, 2), complex), "takes float32, the data is complex128"),
        ({"y": X}, r"inputs are \['x'\], the data names \['y'\]"),
    ],
)
def test_inputs_that_do_not_fit(inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_feeds(inputs, INFO)


def test_top1_of_scores_and_of_a_probability() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert as_metric("top1")(scores, np.array([0, 1, 1])).tolist() == [True, True, False]
    assert as_metric("top1")(scores[:, 1:], np.array([[0], [1], [1]])).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (np.zeros((2, 3)), np.eye(3)[:2], "one-hot"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), "expected class indices"),
        (np.zeros((2, 3)), np.array([0, 3]), "labels reach from 0 to 3, the model has 3 classes"),
        (np.zeros((2, 3)), np.array([-1, 0]), "labels reach from -1"),
        (np.zeros((2, 3, 4)), np.array([0, 1]), "top1 expects"),
    ],
)
def test_top1_of_what_it_cannot_judge(outputs: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_metric("top1")(outputs, labels)
