"""Models of classical machine learning: labels and maps as outputs, texts as inputs, as scikit-learn's converter writes them."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_onnxlite import Dataset, ModelSpec, OnnxliteError
from pytest_onnxlite.checks.accuracy.judge import judge_accuracy
from pytest_onnxlite.checks.accuracy.judge_labels import doubt
from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measure import measure
from pytest_onnxlite.checks.accuracy.measurement import Accuracy
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.runtime.values import as_arrays
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache

from onnx_models import edit
from projects import UNEXPLAINED, Project

CLASSES = ("ham", "eggs", "spam")
PLAIN = Absent(Outcome.NOT_COMPARED, "only under --onnxlite-baseline")
# One feature decides: the class whose number is nearest.
X = np.array([[0.0], [1.0], [2.0]] * 40, np.float32)
Y = np.array(["ham", "eggs", "spam"] * 40)


def classifier(path: Path, labels: tuple[Any, ...] = CLASSES, shift: float = 0.0, texts: bool = False) -> Path:
    """A linear classifier with the outputs of skl2onnx's defaults: a label, and a map from label to probability.

    Args:
        path: the file.
        labels: of the three classes, texts or integers.
        shift: of where the second class ends; 1.0 gives all of the third to the second.
        texts: whether it takes one of the texts `ham`, `eggs`, `spam` for each sample, instead of a number.
    """
    is_text = isinstance(labels[0], str)
    names: Any = {"classlabels_strings" if is_text else "classlabels_ints": list(labels)}
    zipped: Any = {"classlabels_strings" if is_text else "classlabels_int64s": list(labels)}
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["features"],
            ["output_label", "scores"],
            "classifier",
            domain="ai.onnx.ml",
            coefficients=[0.0, 4.0, 8.0],
            intercepts=[0.0, -2.0, -8.0 - 4 * shift],
            post_transform="SOFTMAX",
            **names,
        ),
        helper.make_node("ZipMap", ["scores"], ["output_probability"], "zip", domain="ai.onnx.ml", **zipped),
    ]
    if texts:
        encode = helper.make_node(
            "LabelEncoder",
            ["x"],
            ["features"],
            "encode",
            domain="ai.onnx.ml",
            keys_strings=list(CLASSES),
            values_floats=[0.0, 1.0, 2.0],
        )
        nodes.insert(0, encode)
    else:
        nodes[0].input[0] = "x"
    key = TensorProto.STRING if is_text else TensorProto.INT64
    row = helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.STRING if texts else TensorProto.FLOAT, ["N", 1])],
        [
            helper.make_tensor_value_info("output_label", key, ["N"]),
            helper.make_value_info("output_probability", helper.make_sequence_type_proto(row)),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


MARKERS = """
@pytest.mark.onnxlite_accuracy(per_class=True, max_drop=0.01)
@pytest.mark.onnxlite_outputs
@pytest.mark.onnxlite_size
@pytest.mark.onnxlite_graph
"""
MEASURED = """
@pytest.mark.onnxlite_latency(max="10 s", max_time=0.5)
@pytest.mark.onnxlite_memory(max="1 GiB")
"""


@pytest.mark.parametrize(
    ("texts", "output"),
    [(True, "output_label"), (True, "output_probability"), (False, "output_label"), (False, "output_probability")],
    ids=["texts", "texts in a map", "integers that are no positions", "integers in a map"],
)
def test_labels_and_maps_are_judged(project: Project, tmp_path: Path, texts: bool, output: str) -> None:
    labels = CLASSES if texts else (7, 3, 5)
    x = Y.reshape(-1, 1) if texts else X
    y = Y if texts else np.array(labels * 40)
    model = classifier(tmp_path / "a.onnx", labels, texts=texts)
    project.write({"onnx": model}, x, y, variant="onnx", markers=MARKERS, spec=f"output={output!r}")
    project.save()
    result = project.compare("--onnxlite-report=r.json")
    result.assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert record["measured"]["accuracy"]["correct"] == 120

    project.replace("onnx.onnx", classifier(tmp_path / "b.onnx", labels, shift=1.0, texts=texts))
    result = project.compare()
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "66.7 % (80 of 120 right), the last release had 100.0 % (120)" in text
    assert "onnx: outputs" in text
    assert "Traceback" not in text


def test_texts_and_maps_are_timed_and_measured(project: Project, tmp_path: Path) -> None:
    model = classifier(tmp_path / "a.onnx", texts=True)
    project.write({"onnx": model}, Y.reshape(-1, 1), Y, variant="onnx", markers=MEASURED, spec="output='output_label'")
    project.run().assert_outcomes(passed=1)


def forest(path: Path, wrong: bool = False) -> Path:
    """A pipeline of scikit-learn's, by its converter: string labels, and a map from label to probability."""
    skl2onnx = pytest.importorskip("skl2onnx")
    ensemble, pipeline, preprocessing = map(
        import_module, ("sklearn.ensemble", "sklearn.pipeline", "sklearn.preprocessing")
    )

    features = np.hstack([X, np.random.default_rng(0).normal(size=(len(X), 3)).astype(np.float32)])
    labels = np.where(Y == "ham", Y, np.where(Y == "spam", "eggs", "spam")) if wrong else Y
    steps = preprocessing.StandardScaler(), ensemble.RandomForestClassifier(5, max_depth=4, random_state=0)
    fitted = pipeline.make_pipeline(*steps).fit(features, labels)
    model = skl2onnx.to_onnx(fitted, features[:1], target_opset={"": 17, "ai.onnx.ml": 3})
    onnx.save(model, path)
    return path


def test_a_pipeline_of_trees_is_judged_and_the_graph_check_says_that_it_has_nothing_to_say(
    project: Project, tmp_path: Path
) -> None:
    x = np.hstack([X, np.random.default_rng(0).normal(size=(len(X), 3)).astype(np.float32)])
    spec = "output='output_label'"
    project.write({"onnx": forest(tmp_path / "a.onnx")}, x, Y, variant="onnx", markers=MARKERS + MEASURED, spec=spec)
    result = project.run("--onnxlite-report=r.json")
    result.assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    said = "sound, nothing to compare: Scaler, TreeEnsembleClassifier, ZipMap"
    figures = {verdict["check"]: verdict["figure"] for verdict in record["verdicts"]}
    assert figures["graph"] == said
    assert set(figures) == {"accuracy", "outputs", "size", "latency", "memory", "graph"}
    assert said in result.stdout.str()
    # Answers are judged by what the trees answer; and what the graph check does look at, it still sees.
    project.write({"onnx": tmp_path / "a.onnx"}, x, Y, variant="onnx", markers=MARKERS, spec=spec)
    project.save()
    project.replace("onnx.onnx", forest(tmp_path / "b.onnx", wrong=True))
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    assert re.search(r"digits onnx: accuracy, outputs", result.stdout.str())
    renamed = edit(tmp_path / "a.onnx", tmp_path / "c.onnx", lambda model: rename(model, "output_label", "answer"))
    project.replace("onnx.onnx", renamed)
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("'output_label'", "'answer'"))
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    assert (
        "inputs or outputs changed, nothing to compare: Scaler, TreeEnsembleClassifier, ZipMap" in result.stdout.str()
    )


def rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        node.output[:] = [new if name == old else name for name in node.output]
    (output,) = (value for value in model.graph.output if value.name == old)
    output.name = new


def test_labels_that_the_model_does_not_know_are_told(project: Project, tmp_path: Path) -> None:
    y = np.where(Y == "spam", "bacon", Y)
    for output in ("output_probability", "output_label"):
        project.write({"onnx": classifier(tmp_path / "a.onnx")}, X, y, variant="onnx", spec=f"output={output!r}")
        text = project.run().stdout.str()
        assert "the label 'bacon' is none of the model's classes ('eggs', 'ham', 'spam')" in text
    project.write(
        {"onnx": tmp_path / "a.onnx"}, X, np.array([0, 1, 2] * 40), variant="onnx", spec="output='output_label'"
    )
    text = project.run().stdout.str()
    assert "the output holds labels, (120,) <U4, and the labels are (120,) int64; expected one of the same kind" in text
    project.write({"onnx": tmp_path / "a.onnx"}, Y.reshape(-1, 1), Y, variant="onnx", spec="output='output_label'")
    text = project.run().stdout.str()
    assert "the model's input 'x' takes float32, the data is <U4" in text
    # Nothing of it can be quantized, and that is no fault of the quantizer.
    project.write({"onnx": tmp_path / "a.onnx"}, X, Y, spec="output='output_label'")
    assert "A model like this has no INT8 variant to guard; judge onnxlite_onnx instead." in project.run().stdout.str()


NEAR = "it knows 'spam', which is spelled otherwise"
UNFIT = "the evaluation data or its labels do not fit this model, or it has learned nothing: the onnx variant has "
WRONG: dict[str, tuple[tuple[Any, ...], bool, str, Any, str]] = {
    "in capitals": (CLASSES, False, "output_label", np.char.upper, "is none of the model's classes"),
    "with a space": (CLASSES, False, "output_label", lambda y: np.where(y == "spam", "spam ", y), NEAR),
    "in capitals, in a map": (CLASSES, False, "output_probability", lambda y: np.where(y == "spam", "SPAM", y), NEAR),
    # What a model answers that takes texts, its file does not say.
    "in capitals, of texts": (
        CLASSES,
        True,
        "output_label",
        lambda y: np.where(y == "spam", "Spam", y),
        "labels are spelled otherwise than the model's answers: 'Spam' is never answered, 'spam' is. Give y of",
    ),
    "unknown, of texts": (
        CLASSES,
        True,
        "output_label",
        lambda y: np.char.add("a", y),
        UNFIT + "0.0 %, always answering",
    ),
    "of the sample before": (
        CLASSES,
        False,
        "output_label",
        lambda y: np.roll(y, 1),
        UNFIT + "0.0 %, always answering 'eggs'",
    ),
    "before, in a map": (
        CLASSES,
        False,
        "output_probability",
        lambda y: np.roll(y, 1),
        UNFIT + "0.0 %, always answering 'eggs'",
    ),
    "before, integers": (
        (7, 3, 5),
        False,
        "output_label",
        lambda y: np.roll(y, 1),
        UNFIT + "0.0 %, always answering 3 has",
    ),
    "two as one": (
        CLASSES,
        False,
        "output_label",
        lambda y: np.where(y == "spam", "ham", y),
        "the onnx variant answers 'spam' to 40 of 120 samples, and none is labelled so",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_labels_of_a_model_that_answers_labels_are_told(tmp_path: Path, case: str) -> None:
    labels, texts, output, wrong, text = WRONG[case]
    path = classifier(tmp_path / "a.onnx", labels, texts=texts)
    y = np.array(labels * 40)

    def said(y: Any, limit: AccuracyLimit) -> tuple[Outcome, str]:
        data = Dataset(Y.reshape(-1, 1) if texts else X, y)
        builder = Builder(ModelSpec("m", onnx=path, evaluation=data, output=output), Cache(tmp_path), lambda _: None)
        found = measure(builder, builder.onnx, 1)
        verdict = judge_accuracy(limit, found, PLAIN)[0]
        assert isinstance(found, Accuracy)
        assert found.fit is not None
        return verdict.outcome, verdict.message or doubt(found.fit, found.total)

    try:
        outcome, found = said(wrong(y), AccuracyLimit(min=0.01))
    except OnnxliteError as error:
        outcome, found = Outcome.FAIL, str(error)
    else:
        assert UNFIT not in said(wrong(y), AccuracyLimit(min=0.01, chance_ok=True))[1]
    assert text in found
    assert outcome is (Outcome.PASS if case == "two as one" else Outcome.FAIL)
    # The sound twin.
    assert said(y, AccuracyLimit(min=1.0)) == (Outcome.PASS, "")


def test_an_estimator_gives_its_label_and_its_probabilities_as_the_file_does(project: Project, tmp_path: Path) -> None:
    project.write(
        {"onnx": classifier(tmp_path / "a.onnx")}, X, Y, variant="onnx", markers="@pytest.mark.onnxlite_outputs"
    )
    conftest = project.path / "conftest.py"
    conftest.write_text(
        conftest.read_text().replace(
            'ModelSpec("digits",', "ModelSpec(\"digits\", trained=Estimator(), output='output_label',"
        )
        + """
class Estimator:
    classes_ = np.array(["eggs", "ham", "spam"])

    def predict(self, x):
        return np.array(["ham", "eggs", "spam"], object)[x[:, 0].astype(int)]

    def predict_proba(self, x):
        scores = np.stack([4 * x[:, 0] - 2, 0 * x[:, 0], 8 * x[:, 0] - 8], axis=1)
        return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
"""
    )
    result = project.run("--onnxlite-report=r.json")
    result.assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert set(record["measured"]["outputs"]["outputs"]) == {"output_label", "output_probability"}
    assert {v["against"]: v["outcome"] for v in record["verdicts"]}["trained"] == "pass"


def test_what_is_no_tensor_and_no_map_is_refused_with_what_to_do(project: Project, tmp_path: Path) -> None:
    floats = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x", "x"], ["y"])],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1])],
        [helper.make_value_info("y", helper.make_sequence_type_proto(floats))],
    )
    path = tmp_path / "sequence.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    project.write({"onnx": path}, X, variant="onnx")
    text = project.run().stdout.str()
    assert "output 'y' is a sequence of tensors, which is not judged; let the model return tensors or maps" in text
    assert "Traceback" not in text


def test_maps_become_rows_in_the_order_of_their_keys() -> None:
    found, columns = as_arrays(["p", "t"], [[{"b": 1.0, "a": 2.0}, {"a": 3.0, "b": 4.0}], np.array(["x"], object)])
    assert columns == {"p": ("a", "b")}
    assert found["p"].tolist() == [[2.0, 1.0], [3.0, 4.0]]
    assert (found["t"].dtype.kind, found["t"].tolist()) == ("U", ["x"])
    found, columns = as_arrays(["p"], [{1: 0.25, 0: 0.75}])
    assert found["p"].tolist() == [0.75, 0.25]
    with pytest.raises(ValueError, match="a map with other keys from sample to sample"):
        as_arrays(["p"], [[{"a": 1.0}, {"b": 1.0}]])
    with pytest.raises(ValueError, match="output 'p' is an empty optional"):
        as_arrays(["p"], [None])
