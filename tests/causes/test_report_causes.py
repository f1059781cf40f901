"""Reports and suggestions: what is said of a failure contradicts nothing, and the next step is one that leads somewhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from cause import Cause
from onnx import TensorProto, helper
from patterns import fitted, pictures

from pytest_onnxlite.checks.accuracy.causes import Evidence, OneSided, rank_causes
from pytest_onnxlite.checks.verdict import BASELINE, Explanation, Outcome, Verdict
from pytest_onnxlite.guard.suggest import in_the_way, neighbours
from pytest_onnxlite.labels import ByName
from pytest_onnxlite.records import Conditions, Forecast, JudgedFile, Record, SaturationTrial
from pytest_onnxlite.report import terminal
from pytest_onnxlite.spec.recipes import StaticInt8, recipe_text

from onnx_models import edit, quantize, save_graph
from projects import Project

X: npt.NDArray[np.float32] = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)


def net(path: Path, width: int = 64) -> Path:
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], name="dense1"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], name="dense2"),
    ]
    return save_graph(
        path,
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        {
            "w1": rng.normal(size=(16, width)).astype(np.float32),
            "w2": rng.normal(size=(width, 4)).astype(np.float32),
        },
    )


def answers_of(path: Path) -> npt.NDArray[np.int64]:
    """What a model answers to the samples, as labels."""
    (scores,) = onnxruntime.InferenceSession(path).run(None, {"x": X})
    found: npt.NDArray[np.int64] = np.asarray(scores).argmax(axis=1)
    return found


def rename(old: str, new: str) -> Any:
    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]
        for value in (*model.graph.input, *model.graph.output):
            value.name = new if value.name == old else value.name

    return change


def run(project: Project, *options: str) -> tuple[dict[str, Any], str]:
    """Run the project; return its one record and all that was said."""
    text = project.run("--onnxlite-report=report.json", *options).stdout.str()
    (record,) = json.loads((project.path / "report.json").read_text())["records"]
    return record, text


# -- what a table and its lines say ----------------------------------------------------------------------------

RENAMED = Cause(
    "an output renamed since the last release",
    r"inputs or outputs changed!",
    (r"sound!", r"sound, .*!"),
)
INPUT = Cause(
    "an input renamed in the INT8 file",
    r"Layers were not compared: this file takes pixels, and the float model x\. .*\(OLX201\)",
    (r"ValueError", r"Required inputs"),
)


def test_a_failed_graph_is_never_called_sound(project: Project, tmp_path: Path) -> None:
    graph = "@pytest.mark.onnxlite_graph"
    project.write({"onnx": net(tmp_path / "a.onnx")}, X, markers=graph, variant="onnx")
    project.save()
    project.replace("onnx.onnx", edit(tmp_path / "a.onnx", tmp_path / "b.onnx", rename("y", "logits")))
    record, text = run(project, "--onnxlite-baseline", "--onnxlite-markdown=report.md", "--onnxlite-html=report.html")
    assert [v["outcome"] for v in record["verdicts"]] == ["pass", "fail"]
    (row,) = re.findall(r"^digits +onnx .*$", text, re.M)
    pages = "".join((project.path / f"report.{kind}").read_text() for kind in ("md", "html"))
    RENAMED.hold(row, text + re.sub(r"✗\s*(</?\w+[^>]*>\s*)*sound", "sound!", pages))


def test_layers_of_files_that_are_fed_by_other_names_are_not_compared(project: Project, tmp_path: Path) -> None:
    int8 = edit(quantize(net(tmp_path / "a.onnx"), tmp_path / "q.onnx"), tmp_path / "b.onnx", rename("x", "pixels"))
    markers = "@pytest.mark.onnxlite_accuracy(max_drop=0)\n@pytest.mark.onnxlite_graph"
    project.write({"onnx": tmp_path / "a.onnx", "int8": int8}, X, markers=markers)
    _, text = run(project)
    INPUT.hold(next(line for line in text.splitlines() if "Layers " in line), text)


KEEP = Cause(
    "a smaller file whose accuracy fails",
    r"improved: digits int8 size: .* smaller than the last release\. It can be saved when what fails here is mended",
    (r"Keep it with",),
)


def record_of(name: str, *verdicts: Verdict, forecast: Forecast | None = None) -> Record:
    conditions = Conditions(batch_size=1, batched=True, threads=1, metric="top1", samples=8, output=None)
    return Record("test_a", name, "int8", JudgedFile(), conditions, verdicts=verdicts, forecast=forecast)


def test_what_would_not_be_saved_is_not_said_to_be_kept() -> None:
    better = Verdict(
        "size",
        BASELINE,
        Outcome.IMPROVED,
        "9 KiB",
        "10.0 % smaller than the last release.",
        keep="pytest --onnxlite-save-baseline",
    )
    worse = Verdict("accuracy", "onnx", Outcome.FAIL, "50.0 %", "lost", red=True)
    lines = terminal.notes([record_of("digits", better), record_of("digits", worse)], ByName({}))
    KEEP.hold(next(line for line in lines if line.startswith("improved")), "\n".join(lines))
    # Of another model, and of one that fails nothing, it is said.
    lines = terminal.notes([record_of("digits", better), record_of("other", worse)], ByName({}))
    assert lines == [f"improved: digits int8 size: {better.message} Keep it with: pytest --onnxlite-save-baseline"]
    # By what is typed, not by words of a message that may change.
    other = replace(better, message="Much smaller; keep it with pride.")
    (line,) = (
        line for line in terminal.notes([record_of("digits", other, worse)], ByName({})) if line.startswith("improved")
    )
    assert line.endswith("keep it with pride. It can be saved when what fails here is mended.")


VNNI = Cause(
    "three models whose weights saturate elsewhere",
    r"^b int8: 9\.0 % can saturate\. The same is true of a int8 \(5\.0 %\) and c int8 \(1\.0 %\)\.$",
)


def test_what_differs_on_other_processors_is_said_once_a_run() -> None:
    shares = {"a": 0.05, "b": 0.09, "c": 0.01}
    records = [
        record_of(name, forecast=Forecast(f"{100 * share:.1f} % can saturate.", share, 10))
        for name, share in shares.items()
    ]
    (line,) = terminal.notes(records, ByName({}))
    VNNI.hold(line, line)
    assert terminal.notes(records[:1], ByName({})) == ["a int8: 5.0 % can saturate."]
    # What was tried for a model, and what could not be said, stays its own.
    tried = record_of("d", forecast=Forecast("Tried.", 0.5, 10, (), SaturationTrial("DynamicInt8()", 0.0, 0.9)))
    assert terminal.notes([*records, tried, record_of("e", forecast=Forecast("failed"))], ByName({}))[1:] == [
        "d int8: Tried.",
        "e int8: failed",
    ]


def test_rows_of_the_table_of_times_have_the_models_name(project: Project, tmp_path: Path) -> None:
    net(project.path / "model.onnx")
    np.savez(project.path / "data.npz", x=X)
    tables = "".join(
        f"""[tool.onnxlite.models.{name}]
onnx = "model.onnx"
data = "data.npz"
recipe = {{kind = "DynamicInt8"}}
latency = {{max_ratio = 50.0, max_time = 0.5}}
"""
        for name in ("first", "second")
    )
    (project.path / "pyproject.toml").write_text(tables)
    text = project.run("--benchmark-columns=median").stdout.str()
    assert sorted(re.findall(r"^(first|second) int8 latency +[\d.]+", text, re.M)) == ["first", "second"], text


# -- suggestions ---------------------------------------------------------------------------------------------

HOPELESS = Cause(
    "a ratio that no recipe reaches",
    r"None of \d+ recipes passes: size stopped \d+ \(\d+ of them were not built: their weights alone are too large\)\.",
)
NEAREST = Cause(
    "the same, and what would have to give",
    r"Nearest by size: recipe=.*, with size .* \(0\.\d+ of onnx\), accuracy \d+\.\d %\. What would have to give: its weights "
    r"alone take .*, 0\.2\d\d of the float model",
)
MISFIT = Cause(
    "a search for a recipe, with labels that do not fit the data",
    r"^No recipe was tried: the evaluation data or its labels do not fit this model: ",
    (r"recipes passes", r"This passes every limit"),
)


def test_recipes_that_cannot_pass_are_not_built(project: Project, tmp_path: Path) -> None:
    markers = "@pytest.mark.onnxlite_size(ratio=0.1)\n@pytest.mark.onnxlite_accuracy(max_drop=0.5)"
    float_model = net(tmp_path / "a.onnx", 512)
    project.write({"onnx": float_model}, X, answers_of(float_model), markers=markers, spec="recipe=DynamicInt8()")
    record, text = run(project, "--onnxlite-suggest")
    suggestion = record["suggestion"]
    first, nearest = suggestion["text"].splitlines()
    HOPELESS.hold(first, text)
    NEAREST.hold(nearest, text)
    # All but the nearest, of which the rest is told.
    (built,) = (attempt for attempt in suggestion["tried"] if attempt["bytes"] is not None)
    assert set(built["figures"]) == {"accuracy", "size"}
    assert built["least"] == min(attempt["least"] for attempt in suggestion["tried"]) < built["bytes"]
    assert built["accuracy"] > 0.5


def test_no_search_begins_where_labels_do_not_fit(project: Project, tmp_path: Path) -> None:
    y = np.random.default_rng(3).integers(0, 4, len(X))
    markers = "@pytest.mark.onnxlite_accuracy(max_drop=0.05)"
    project.write({"onnx": net(tmp_path / "a.onnx")}, X, y, markers=markers, spec="recipe=DynamicInt8()")
    record, text = run(project, "--onnxlite-suggest")
    MISFIT.hold(record["suggestion"]["text"], text)
    assert record["suggestion"]["tried"] == []


CALIBRATION = Cause(
    "calibration that is to blame, and a search for a recipe",
    r"^First the calibration: the calibration data is one-sided: 64 of 64 samples are answered 1\. Recipes are second",
)


SPOILT = Cause(
    "a fifth of the range in calibration, and a search for a recipe",
    r"^First the calibration: \d+\.\d % of the values of input x lie beyond .*\. Recipes are second to that\.$",
)


def explained(evidence: Evidence) -> Explanation:
    first = rank_causes(evidence)[0]
    return Explanation(first.text, kind=first.kind, short=first.short)


def test_calibration_is_said_before_any_recipe() -> None:
    layer = Explanation("dense1 adds the largest error. Its calibration is fine.", kind="layers")
    # By what a cause is about, and not by a word that may stand in any.
    named = Explanation("calibration (MatMul) adds the largest error.", kind="layers")
    assert in_the_way([layer, named]) == ""
    text = in_the_way([layer, explained(Evidence(lost=5, one_sided=OneSided(64, 64, 1, 0.1)))])
    CALIBRATION.hold(text, text)
    assert "Ranges of activations" not in text


def test_no_time_goes_into_recipes_whose_calibration_is_to_blame(project: Project, tmp_path: Path) -> None:
    x, y = pictures(200)
    spec = "recipe=StaticInt8(), calibration=data['x'][:50] * np.float32(0.2)"
    markers = "@pytest.mark.onnxlite_accuracy(max_drop=0.02)"
    project.write({"onnx": fitted(tmp_path / "a.onnx")}, x, y, markers=markers, spec=spec)
    record, text = run(project, "--onnxlite-suggest")
    suggestion = record["suggestion"]
    first, second = suggestion["text"].splitlines()[:2]
    SPOILT.hold(first, text)
    assert second.startswith(
        "  Only recipes without calibration were tried. This passes every limit of the test (tried, 1 in"
    )
    assert [attempt["recipe"] for attempt in suggestion["tried"]] == ["DynamicInt8()"]


def test_a_few_nodes_in_float_are_tried_with_unsigned_weights() -> None:
    texts = [recipe_text(recipe) for recipe in neighbours(StaticInt8(), True, ["a", "b", "c", "d"], ["Conv"])]
    for wanted in (
        "StaticInt8(exclude=['a', 'b', 'c'])",
        "StaticInt8(weight_type='uint8', exclude=['a'])",
        "StaticInt8(weight_type='uint8', exclude=['a', 'b', 'c'])",
    ):
        assert texts.index(wanted) < 30, texts[:30]


CAUSES = [RENAMED, INPUT, KEEP, VNNI, HOPELESS, NEAREST, MISFIT, CALIBRATION, SPOILT]
