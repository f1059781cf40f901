"""What a user may say about a model, and what is told to one who said it wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, OnnxliteError
from pytest_onnxlite.checks.limit import Limit
from pytest_onnxlite.metrics import as_metric
from pytest_onnxlite.records import Conditions, JudgedFile, Record
from pytest_onnxlite.run import baseline_findings, covers_all
from pytest_onnxlite.runtime.sessions import TensorInfo, to_feeds

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
        ({"metric": "f1"}, "metric='f1'"),
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


@pytest.mark.parametrize(
    ("arguments", "testpaths", "full"),
    [
        ([], [], True),
        (["."], [], True),
        (["tests"], [], False),
        (["tests"], ["tests"], True),
        (["tests", "more"], ["tests", "more"], True),
        (["tests"], ["tests", "more"], False),
        (["tests/test_a.py"], ["tests"], False),
        (["tests/test_a.py::test_b"], [], False),
        (["tests/sub"], ["tests"], False),
        (["."], ["tests"], True),
    ],
)
def test_which_runs_are_full(tmp_path: Path, arguments: list[str], testpaths: list[str], full: bool) -> None:
    for folder in ("tests/sub", "more"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tests" / "test_a.py").touch()
    assert covers_all(arguments, tmp_path, tmp_path, testpaths) is full


def guarded(*checks: str) -> Record:
    conditions = Conditions(1, True, 1, "top1", 1000, None)
    return Record("t", "digits", "int8", JudgedFile(), conditions, limits={check: Limit() for check in checks})


RECORD = guarded("size")
DIGITS = {("digits", "int8"): ["size"]}
FACES = {("faces", "int8"): ["size"]}
MORE = {("digits", "int8"): ["accuracy", "size", "latency"]}


@pytest.mark.parametrize(
    ("records", "unjudged", "saved", "full", "wrong", "remarks"),
    [
        ([RECORD], [], DIGITS, True, "", ""),
        ([RECORD], [], DIGITS | FACES, True, "no test looked at the baseline faces/", ""),
        ([RECORD], [], DIGITS | FACES, False, "", "not looked at in this run: faces/"),
        ([], [], {}, True, "nothing was guarded", ""),
        ([], [], DIGITS, False, "nothing was guarded", ""),
        # The test that looks at it failed before: that is red enough.
        ([], ["test_release"], DIGITS, True, "", "not looked at in this run: digits/"),
        ([RECORD], [], MORE, True, "no test asked for: accuracy, latency of digits/int8.json", ""),
        ([RECORD], [], MORE, False, "", "not looked at in this run: accuracy, latency of digits/int8.json"),
        (
            [RECORD],
            ["test_release"],
            MORE,
            True,
            "",
            "not looked at in this run: accuracy, latency of digits/int8.json",
        ),
        # Several tests look at one baseline.
        ([RECORD, guarded("accuracy", "latency")], [], MORE, True, "", ""),
        # A check that the baseline lacks is its test's to say.
        ([guarded("size", "graph")], [], DIGITS, True, "", ""),
        # One that cannot be read holds nothing, and is red where it was looked at.
        ([RECORD], [], {("digits", "int8"): []}, True, "", ""),
    ],
)
def test_what_a_run_as_a_whole_concludes(
    records: Any, unjudged: Any, saved: Any, full: bool, wrong: str, remarks: str
) -> None:
    findings, notes = baseline_findings(records, unjudged, saved, full)
    assert wrong in "".join(findings)
    assert bool(findings) is bool(wrong)
    assert remarks in "".join(notes)
    assert bool(notes) is bool(remarks)
