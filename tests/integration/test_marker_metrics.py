"""Several metrics on one test: each of its own output and labels, with its own baseline, in markers and in pyproject.toml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_onnxlite.runtime import arrays

from onnx_models import save_graph, score_lookup
from projects import UNEXPLAINED, Project

COUNT = 200
INDEX = np.arange(COUNT, dtype=np.int64).reshape(-1, 1)
RIGHT = np.arange(COUNT) % 10


def ranked(path: Path, second: int, last: int = 0) -> Path:
    """Scores in which some samples' label is second, and of some the last."""
    table = np.tile(np.linspace(1, 0.1, 10, dtype=np.float32), (COUNT, 1))
    rank = np.zeros(COUNT, int)
    rank[:second], rank[second : second + last] = 1, 9
    for row, place in enumerate(rank):
        order = [*range(10)]
        order.remove(RIGHT[row])
        order.insert(place, RIGHT[row])
        table[row, order] = np.linspace(1, 0.1, 10)
    return score_lookup(path, table)


def test_one_marker_limits_several_metrics(project: Project, tmp_path: Path) -> None:
    markers = '@pytest.mark.onnxlite_accuracy(metric={"top1": 0.01, "top5": 0.005})\n@pytest.mark.onnxlite_accuracy'
    project.write({"onnx": ranked(tmp_path / "a.onnx", 20)}, INDEX, RIGHT, variant="onnx", markers=markers)
    project.save()
    saved = json.loads(project.baseline.read_text())
    assert {name: part["correct"] for name, part in saved.items() if name.startswith("accuracy")} == {
        "accuracy": 180,
        "accuracy[top1]": 180,
        "accuracy[top5]": 200,
    }
    project.replace("onnx.onnx", ranked(tmp_path / "twin.onnx", 21))  # a half per cent of top1
    project.compare().assert_outcomes(passed=1)
    # As many first answers as before, but of those that were second some are last.
    project.replace("onnx.onnx", ranked(tmp_path / "b.onnx", 18, 2))
    result = project.compare(UNEXPLAINED, "--onnxlite-bundle=b")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["digits onnx: accuracy[[]top5]"])
    text = result.stdout.str()
    assert "the last release had 100.0 % (200): 2 fewer right, at most 1 allowed (max_drop=0.005" in text
    (inputs,) = project.path.glob("b/*/inputs.npz")
    assert arrays.load(inputs)["rows"].tolist() == [18, 19]
    result = project.run("--onnxlite-save-baseline", "--onnxlite-accept-only=accuracy[top5]", UNEXPLAINED)
    assert result.ret == 0
    project.compare().assert_outcomes(passed=1)


def two_heads(path: Path, tags: Any, scores: Any) -> Path:
    """A model that answers tags, (batch, steps, classes), and a score, (batch, 1), to an index, (batch, 1)."""
    return save_graph(
        path,
        [
            helper.make_node("Gather", ["tag_table", "index"], ["tag_rows"], axis=0),
            helper.make_node("Squeeze", ["tag_rows", "axes"], ["tags"]),
            helper.make_node("Gather", ["score_table", "index"], ["score_rows"], axis=0),
            helper.make_node("Squeeze", ["score_rows", "axes"], ["score"]),
        ],
        [helper.make_tensor_value_info("index", TensorProto.INT64, ["batch", 1])],
        [
            helper.make_tensor_value_info("tags", TensorProto.FLOAT, ["batch", *tags.shape[1:]]),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 1]),
        ],
        {
            "tag_table": tags.astype(np.float32),
            "score_table": scores.astype(np.float32),
            "axes": np.array([1], np.int64),
        },
    )


DECLARED = """
[tool.onnxlite.models.heads]
onnx = "onnx.onnx"
variants = ["onnx"]
data = {file = "data.npz", y = "tags", labels = {score = "score"}}
accuracy = [
    {metric = "positions", output = "tags", max_drop = 0.01},
    {metric = "mae", output = "score", max_drop = 0.05},
]
"""


def test_declared_outputs_have_a_metric_each(project: Project, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y, score = rng.integers(0, 3, (COUNT, 6)), rng.normal(size=(COUNT, 1))
    y[:, 4:][rng.uniform(size=(COUNT, 2)) < 0.5] = -100  # shorter ones are padded
    tags = np.eye(3)[np.maximum(y, 0)]
    np.savez(project.path / "data.npz", x=INDEX, tags=y, score=score)
    (project.path / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\n{DECLARED}")
    two_heads(project.path / "onnx.onnx", tags, score + 0.1)
    project.save()
    sections = json.loads(project.baseline.read_text())
    assert sections["accuracy[positions:tags]"]["value"] == 1.0
    assert sections["accuracy[mae:score]"]["value"] == pytest.approx(0.1, rel=1e-3)
    two_heads(project.path / "onnx.onnx", tags, score - 0.12)
    project.compare().assert_outcomes(passed=2)

    two_heads(project.path / "onnx.onnx", tags, score - 0.2)
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(passed=1, failed=1)
    assert "the last release had 0.1: 0.1 worse, at most 0.05 allowed" in result.stdout.str()
    tags[:8, :4] = np.roll(tags[:8, :4], 1, axis=-1)  # most labels of 4 % of the samples
    two_heads(project.path / "onnx.onnx", tags, score + 0.1)
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*heads onnx: accuracy[[]positions:tags]*"])


def test_a_bundle_holds_the_labels_of_every_output(project: Project, tmp_path: Path) -> None:
    from pytest_onnxlite.replay import replay

    score = np.random.default_rng(0).normal(size=(COUNT, 1)).astype(np.float32)
    tags = np.eye(10)[RIGHT][:, None]
    two_heads(tmp_path / "a.onnx", tags, score + 1)
    markers = '@pytest.mark.onnxlite_accuracy(metric="mae", output="score", max=0.5)'
    project.write({"onnx": tmp_path / "a.onnx"}, INDEX, RIGHT, variant="onnx", markers=markers)
    conftest = project.path / "conftest.py"
    np.save(project.path / "score.npy", score)
    conftest.write_text(
        conftest.read_text().replace("data['y'])", "data['y'], labels={'score': np.load('score.npy')})")
    )
    result = project.run("--onnxlite-bundle=b", "--onnxlite-bundle-data", UNEXPLAINED)
    result.assert_outcomes(failed=1)
    said: list[str] = []
    replay(next((project.path / "b").iterdir()), said.append)
    assert any(line.startswith("red again: accuracy[mae:score] against limit") for line in said), said
    project.run("--onnxlite-bundle=c", UNEXPLAINED)
    replay(next((project.path / "c").iterdir()), said.append)
    assert any("its samples are not in the bundle" in line for line in said)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("metric=len", "expected a metric's name, such as 'top5'"),
        ("metric={}", "give at least one, and no max_drop="),
        ('metric={"top1": 0.1}, max_drop=0.1', "give at least one, and no max_drop="),
        ('metric={"top1": "x"}', "max_drop='x'; expected a number from 0"),
        ('output="a/b"', "'a/b' cannot be one. Give label="),
        ('metric="mae", output=3', "output=3; expected the name of an output"),
    ],
)
def test_mistakes_in_a_markers_metric(pytester: pytest.Pytester, arguments: str, text: str) -> None:
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.onnxlite_accuracy({arguments})\ndef test_it(onnxlite_onnx): pass\n"
    )
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert text in result.stderr.str()


def test_what_is_known_when_the_model_is_there_is_told_then(project: Project, tmp_path: Path) -> None:
    markers = """
    @pytest.mark.onnxlite_accuracy(metric="tpo1")
    @pytest.mark.onnxlite_accuracy(label="b", labels="score")
    @pytest.mark.onnxlite_accuracy(label="c", output="digits", max_drop=0.5)
    @pytest.mark.onnxlite_accuracy(metric="os.path:join")
    """
    project.write({"onnx": ranked(tmp_path / "a.onnx", 0)}, INDEX, RIGHT, variant="onnx", markers=markers)
    result = project.run(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "onnxlite_accuracy: metric='tpo1'; expected 'top1' to 'top9', 'mae'" in text
    assert "onnxlite_accuracy(labels='score'): the evaluation data of ModelSpec('digits') has the labels none." in text
    assert "output='digits' is none of them" in text
    assert "your metric 'join' failed" in text
