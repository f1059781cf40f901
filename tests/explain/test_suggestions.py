"""A way out: what is suggested was tried, and passes when it is pasted."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite.guard.suggest import changes, neighbours
from pytest_onnxlite.spec.recipes import DynamicInt8, StaticInt8, recipe_text, recipe_toml

from onnx_models import ruin, stretched
from pages import Outline, missing_figures
from projects import Digits, Project

Run = Callable[..., Any]


def paste(project: Project, recipe: str) -> None:
    """Put a suggested recipe into the project, in the place of the one there."""
    conftest = project.path / "conftest.py"
    text = re.sub(r"recipe=\w+\(.*?\)(?=, calibration|, metric|\))", lambda _: f"recipe={recipe}", conftest.read_text())
    assert f"recipe={recipe}" in text
    conftest.write_text(text)


# -- the order of what is tried ------------------------------------------------------------------------------


def test_each_argument_is_changed_by_itself() -> None:
    found = [recipe_text(recipe) for recipe in changes(DynamicInt8())]
    assert found == [
        "DynamicInt8(per_channel=True)",
        "DynamicInt8(weight_type='uint8')",
        "DynamicInt8(weight_type='int8')",
        "DynamicInt8(reduce_range=True)",
    ]
    static = [recipe_text(recipe) for recipe in changes(StaticInt8())]
    assert "StaticInt8(method='entropy')" in static
    assert "StaticInt8(activation_type='int8')" in static
    assert "StaticInt8(weight_type='int8')" in static
    assert not [text for text in static if "reduce_range" in text]  # the default has 7 bits
    named = [recipe_text(recipe) for recipe in changes(StaticInt8(weight_type="int8"))]
    assert "StaticInt8(weight_type='int8', reduce_range=True)" in named


def test_small_changes_come_first_and_none_comes_twice() -> None:
    found = list(neighbours(DynamicInt8(), True, ["a", "b[0]"], ["Conv"]))
    assert len(found) == len(set(found))
    texts = [recipe_text(recipe) for recipe in found]
    order = [
        "DynamicInt8(per_channel=True)",
        "StaticInt8()",
        "DynamicInt8(exclude=['a'])",
        "DynamicInt8(exclude=['b[[]0]'])",
        "DynamicInt8(exclude=['a', 'b[[]0]'])",
        "StaticInt8(exclude=['a'])",
        "DynamicInt8(exclude=['a', 'b[[]0]', 'Conv'])",
    ]
    assert [texts.index(text) for text in order] == sorted(texts.index(text) for text in order)


def test_no_static_recipe_is_tried_without_calibration_data() -> None:
    assert all(isinstance(recipe, DynamicInt8) for recipe in neighbours(DynamicInt8(), False, ["a"], ["Conv"]))


def test_an_exclusion_is_dropped_before_anything_else_is_changed() -> None:
    first = next(neighbours(DynamicInt8(exclude=["fc"]), False, [], []))
    assert first == DynamicInt8()


# -- searching, and pasting ----------------------------------------------------------------------------------


def test_a_suggestion_that_is_pasted_passes(
    project: Project, digits: Digits, calibration: Path, tmp_path: Path, explain: Run
) -> None:
    markers = """
    @pytest.mark.onnxlite_accuracy(max_drop=0.01)
    @pytest.mark.onnxlite_size(ratio=0.3)
    @pytest.mark.onnxlite_graph
    @pytest.mark.onnxlite_latency(max_ratio=20.0, max_slowdown=1.0, max_time=3)
    """
    spec = f"recipe=StaticInt8(per_channel=False), calibration=np.load({str(calibration)!r})['mixed']"
    source = stretched(digits.onnx, tmp_path / "a.onnx", 200)
    project.write({"onnx": source}, digits.x, digits.y, markers=markers, spec=spec)
    explained = explain("--onnxlite-suggest", "--onnxlite-html=r.html", "--onnxlite-markdown=r.md")
    suggestion = explained.record["suggestion"]
    assert suggestion["recipe"] == "StaticInt8()", suggestion["text"]
    passed = suggestion["tried"][-1]
    assert passed["stopped_by"] == ""
    assert {"accuracy", "size", "latency", "time"} <= set(passed["figures"])
    assert explained.result.ret == 1  # it is still a failure
    # Every report has it.
    shown = Outline((project.path / "r.html").read_text()).text
    for text in (shown, (project.path / "r.md").read_text()):
        assert "A way out" in text
        assert "recipe=StaticInt8()," in text
    assert missing_figures(explained.report, shown) == []
    # As a person would: the code that is printed, and its import, which this project is without.
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace(", StaticInt8\n", "\n"))
    code = re.search(r"Paste in ModelSpec\('digits', \.\.\.\):\n +recipe=(.*),\n +with: (from .*)\n", explained.text)
    assert code is not None, explained.text
    paste(project, code[1])
    conftest.write_text(f"{code[2]}\n{conftest.read_text()}")
    project.run().assert_outcomes(passed=1)


def test_a_suggestion_for_a_declared_model_keeps_its_other_limits_and_is_pasted_into_pyproject(
    project: Project, digits: Digits, calibration: Path, tmp_path: Path, explain: Run
) -> None:
    stretched(digits.onnx, project.path / "model.onnx", 200)
    np.savez(project.path / "data.npz", x=digits.x, y=digits.y)
    pyproject = project.path / "pyproject.toml"
    declared = f"""
[tool.onnxlite.models.digits]
onnx = "model.onnx"
data = "data.npz"
calibration = {{file = {json.dumps(str(calibration))}, x = "mixed"}}
recipe = {{kind = "StaticInt8", per_channel = false}}
accuracy = {{max_drop = 0.01}}
size = {{ratio = 0.3}}
"""
    pyproject.write_text(declared)
    explained = explain("--onnxlite-suggest")
    explained.result.assert_outcomes(failed=1, passed=1)
    (suggestion,) = [r["suggestion"] for r in explained.report["records"] if r["suggestion"]]
    # The size is judged by another test, and is a limit of the model all the same.
    assert {"accuracy", "size"} <= set(suggestion["tried"][-1]["figures"])
    code = re.search(
        r"Paste in pyproject\.toml: \[tool\.onnxlite\.models\.digits\]:\n +(recipe = .*)\n", explained.text
    )
    assert code is not None, explained.text
    pyproject.write_text(re.sub(r"recipe = .*", lambda _: code[1], declared))
    project.run().assert_outcomes(passed=2)
    # Where another limit stands in the way of all that help, none is suggested.
    pyproject.write_text(declared.replace("ratio = 0.3", "ratio = 0.01"))
    explained = explain("--onnxlite-suggest", "--onnxlite-suggest-time=2", "--onnxlite-explain-time=0")
    explained.result.assert_outcomes(failed=2)
    for record in explained.report["records"]:
        assert record["suggestion"]["recipe"] is None
        assert {attempt["stopped_by"] for attempt in record["suggestion"]["tried"]} <= {"size", "build"}


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (DynamicInt8(), '{kind = "DynamicInt8"}'),
        (
            StaticInt8(exclude=["a/b", 'c"'], per_channel=False, method="entropy"),
            '{kind = "StaticInt8", method = "entropy", per_channel = false, exclude = ["a/b", "c\\""]}',
        ),
    ],
)
def test_a_recipe_in_toml(recipe: Any, text: str) -> None:
    assert recipe_toml(recipe) == text
    assert tomllib.loads(f"recipe = {text}")["recipe"]["kind"] == type(recipe).__name__


def test_where_nothing_passes_the_limit_in_the_way_is_named(project: Project, digits: Digits, explain: Run) -> None:
    spec = "recipe=DynamicInt8()"
    markers = "@pytest.mark.onnxlite_size(ratio=0.01)\n@pytest.mark.onnxlite_accuracy(max_drop=0.01)"
    project.write({"onnx": digits.onnx}, digits.x, digits.y, markers=markers, spec=spec)
    explained = explain("--onnxlite-suggest")
    suggestion = explained.record["suggestion"]
    assert suggestion["recipe"] is None
    assert re.search(r"None of \d+ recipes passes: size stopped \d+", suggestion["text"]), suggestion
    assert {attempt["stopped_by"] for attempt in suggestion["tried"]} <= {"size", "build"}


def test_the_search_keeps_to_its_time(project: Project, digits: Digits, explain: Run) -> None:
    markers = "@pytest.mark.onnxlite_size(ratio=0.01)"
    project.write({"onnx": digits.onnx}, digits.x, digits.y, markers=markers, spec="recipe=DynamicInt8()")
    suggestion = explain("--onnxlite-suggest", "--onnxlite-suggest-time=0").record["suggestion"]
    assert suggestion["tried"] == []
    assert "--onnxlite-suggest-time" in suggestion["text"]


def test_a_suggestion_replaces_a_file_of_the_users(
    project: Project, digits: Digits, tmp_path: Path, explain: Run
) -> None:
    ruined = ruin(digits.int8, tmp_path / "ruined.onnx")
    project.write({"onnx": digits.onnx, "int8": ruined}, digits.x, digits.y)
    suggestion = explain("--onnxlite-suggest").record["suggestion"]
    assert suggestion["recipe"] == "DynamicInt8()"
    assert "in the place of int8=" in suggestion["text"]


# -- a model that every recipe ruins -------------------------------------------------------------------------


def silero() -> Path | None:
    try:
        found = [Path(str(f.locate())) for f in files("silero-vad") or [] if f.name == "silero_vad_16k_sequence.onnx"]
    except PackageNotFoundError:
        return None
    return found[0] if found else None


SILERO = "recipe=DynamicInt8(), metric='cosine', output='speech_probs', batched=False"


def speech(count: int) -> Any:
    """Speech-like sound: voices whose loudness and pitch come and go; windows of 512 samples with 64 before each."""
    rng = np.random.default_rng(0)
    t = np.arange(16000 * 2) / 16000
    found = []
    for _ in range(count):
        pitch = np.cumsum(120 + 60 * np.sin(2 * np.pi * rng.uniform(1, 3) * t)) / 16000
        voice = np.sum([np.sin(2 * np.pi * k * pitch) / k for k in range(1, 12)], axis=0)
        sound = voice * np.maximum(0, np.sin(2 * np.pi * rng.uniform(1, 4) * t)) * 0.2 + rng.normal(0, 0.005, t.size)
        padded = np.concatenate([np.zeros(64), sound]).astype(np.float32)
        found.append(np.stack([padded[i : i + 576] for i in range(0, 512 * 32, 512)]))
    return np.stack(found)


@pytest.mark.skipif(silero() is None, reason="pip install --no-deps silero-vad")
@pytest.mark.thorough
def test_the_recurrent_part_of_silero_is_named_and_left_in_float_or_nothing_passes(
    project: Project, explain: Run
) -> None:
    source = silero()
    assert source is not None
    project.write({"onnx": source}, np.zeros((6, 1), np.float32), spec=SILERO)
    state = np.zeros((6, 1, 1, 128), np.float32)
    np.savez(project.path / "data.npz", input=speech(6), h=state, c=state)
    conftest = project.path / "conftest.py"
    data = "Dataset({name: data[name] for name in ('input', 'h', 'c')})"
    conftest.write_text(conftest.read_text().replace("Dataset(data['x'])", data))
    explained = explain("--onnxlite-suggest", "--onnxlite-suggest-time=90")
    found = explained.explanation("accuracy")
    # The convolution in front of the recurrent layer adds the largest error, and the signal drowns in that layer.
    assert found["why"].startswith("/encoder.3/Conv (Conv) adds the largest error"), found["why"]
    assert "The signal drowns in the recurrent /recurrent/LSTM" in found["why"], found["why"]
    layers = {layer["node"]: layer for layer in found["layers"]}
    assert layers["/recurrent/LSTM"]["inherited"] < 3
    assert layers["/recurrent/LSTM"]["quantized"] == ["DynamicQuantizeLSTM"]
    suggestion = explained.record["suggestion"]
    if suggestion["recipe"] is None:
        assert "stopped" in suggestion["text"]
        return
    paste(project, suggestion["recipe"])
    project.run().assert_outcomes(passed=1)
