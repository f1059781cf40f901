"""Files that nobody sound wrote: refused in words, changed by nobody, and never a reason to pass.

`python benchmarks/fuzz.py` tries many more, and docs/hostile-files.md has what came of it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from hostile import Fortress, command, digests, red_project
from onnx import TensorProto, helper, numpy_helper

from pytest_onnxlite import Dataset, OnnxliteError
from pytest_onnxlite.checks.accuracy.answers import Confusion
from pytest_onnxlite.lint import GraphError, check_graph

from onnx_models import lookup
from projects import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "benchmarks"))
from fuzz import KINDS

SOME = {"baselines": 60, "reports": 24, "bundles": 4, "baseline-runs": 6, "graphs": 120, "data": 120}


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return red_project(tmp_path_factory.mktemp("hostile") / "project")


@pytest.mark.parametrize("kind", SOME)
def test_nothing_hostile_passes_breaks_or_is_changed(kind: str, red: Path, tmp_path: Path) -> None:
    folder = red if kind in ("baselines", "reports", "bundles") else tmp_path / "project"
    tally = KINDS[kind][1](folder, random.Random(kind), SOME[kind])
    assert not tally.finds, "\n".join(tally.finds)
    assert tally.tried > SOME[kind] // 2
    assert tally.refused


# -- what the long runs found -----------------------------------------------------------------------------------


def bundle_of(red: Path, tmp_path: Path) -> Path:
    (accuracy,) = (red / "bundles").glob("*accuracy*")
    return Path(shutil.copytree(accuracy, tmp_path / "bundle"))


def test_no_pass_is_bought_by_a_bundles_baseline(red: Path, tmp_path: Path) -> None:
    folder = bundle_of(red, tmp_path)
    (folder / "notes.txt").write_text("nobody reads this")
    (folder / "README.txt").write_text("shorter")
    untouched = command("replay", folder)
    assert (untouched.passed, "red again: accuracy against" in untouched.text) == (False, True)
    (path,) = folder.glob("baselines/m000/int8.json")
    content = json.loads(path.read_text())
    content["accuracy"]["correct"] = content["first"]["accuracy"]["correct"] = 90
    path.write_text(json.dumps(content))
    changed = command("replay", folder)
    assert not changed.passed
    assert "int8.json is another. It was changed" in changed.text
    assert "passes here" not in changed.text


@pytest.mark.parametrize(("name", "says"), [("data.npz", "is gone"), ("baselines/m000/onnx.json", "is new")])
def test_so_is_a_file_that_is_gone_or_new(red: Path, tmp_path: Path, name: str, says: str) -> None:
    folder = bundle_of(red, tmp_path)
    path = folder / name
    path.unlink() if path.exists() else path.write_text("{}")
    assert f"{Path(name).name} {says}" in command("replay", folder).text


LONE = "\\ud800"


@pytest.mark.parametrize("bad", [LONE, "[" * 1_100 + "]" * 1_100])
def test_a_report_with_what_no_reader_takes_is_refused(red: Path, tmp_path: Path, bad: str) -> None:
    path = tmp_path / "report.json"
    path.write_text((red / "red.json").read_text().replace('"m000"', f'"{bad}"' if bad == LONE else bad, 1))
    for arguments in (["report", path], ["merge", path, "--baseline-dir", red / "baselines"]):
        refused = command(*arguments)
        assert not refused.passed
        assert not refused.crashed
        assert "report.json is not JSON" in refused.text


@pytest.mark.parametrize(("field", "bad"), [("variant", None), ("test", 7), ("line", None), ("broken_baseline", 1)])
def test_a_report_whose_record_has_a_field_of_a_wrong_kind_is_refused(
    red: Path, tmp_path: Path, field: str, bad: object
) -> None:
    path, content = tmp_path / "report.json", json.loads((red / "red.json").read_text())
    content["records"][1][field] = bad
    path.write_text(json.dumps(content))
    refused = command("report", path)
    assert not refused.passed
    assert not refused.crashed
    assert "lacks what a report holds" in refused.text


def test_a_table_of_answers_has_a_row_for_each_label_and_a_column_for_each_answer() -> None:
    sound = {"labels": [3, 5], "answers": [3], "reference": [[9, 0], [0, 4]], "candidate": [[8, 1], [0, 4]]}
    assert msgspec.convert(sound, Confusion).candidate == ((8, 1), (0, 4))
    for bad in ([[8, 1]], [[8, 1], []], [[8, 1], [0, 4, 0]]):
        with pytest.raises(msgspec.ValidationError, match="a row for each label"):
            msgspec.convert({**sound, "candidate": bad}, Confusion)


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names there are Unicode")
def test_a_file_whose_name_is_no_text_is_reported(tmp_path: Path) -> None:
    fortress = Fortress(tmp_path / "project", 1)
    odd = tmp_path / os.fsdecode(b"no\xfftext")
    (tmp_path / "project").rename(odd)
    fortress.folder = odd
    run = fortress.run("--onnxlite-report=r.json", "--onnxlite-html=r.html", "--onnxlite-markdown=r.md")
    assert (run.code, run.crashed) == (1, False), run.text
    assert "is not the name of a file in Unicode" in run.text
    assert json.loads((odd / "r.json").read_text())["verdict"] == "fail"


IMPOSSIBLE = {
    "a size of any length": ("first", "size", "bytes", int("9" * 400)),
    "a factor without end": ("first", "latency_ratio", 1e308),
    "less than no processor": ("outputs", "machine", "cpus", -0.5),
    "a signal like none": ("outputs", "sqnr", 1e19),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_figure_that_cannot_be_is_red(red: Path, tmp_path: Path, case: str) -> None:
    *path, key, value = IMPOSSIBLE[case]
    folder = Path(shutil.copytree(red / "baselines", tmp_path / "baselines"))
    file = folder / "m000" / "int8.json"
    content = json.loads(file.read_text())
    place = content
    for name in path:
        place = place[name]
    place[key] = value
    file.write_text(json.dumps(content))
    before = digests(folder)
    shown = command("show", folder)
    assert not shown.passed
    assert not shown.crashed
    assert f"{key}: expected" in shown.text
    assert digests(folder) == before


def test_dates_are_no_inputs() -> None:
    for array in (np.zeros(4, "datetime64[s]"), np.zeros(4, [("a", "<f8")])):
        with pytest.raises(OnnxliteError, match=r"Dataset\.x holds .*, which no model takes"):
            Dataset(array)


# -- models -----------------------------------------------------------------------------------------------------


def changed(tmp_path: Path, name: str) -> Path:
    """A model with one part that is malformed in a way that onnx-ir holds."""
    path = lookup(tmp_path / "int8.onnx", [1, 2, 3], int8=True)
    model = onnx.load(path)
    gather = next(node for node in model.graph.node if node.op_type == "Gather")
    if name == "text for an axis":
        gather.attribute[0].CopyFrom(helper.make_attribute("axis", b"\xff"))
    elif name == "no branch":
        gather.op_type = "If"
    elif name == "an opset of any size":
        model.opset_import[0].version = 2**62
    elif name == "a name of any length":
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="x" * 5_000)
    elif name == "a tensor of half its size":
        weight = numpy_helper.from_array(np.zeros(4, np.float32), "w")
        weight.raw_data = weight.raw_data[:7]
        gather.attribute.append(helper.make_attribute("value", weight))
    onnx.save(model, path)
    return path


MALFORMED = (
    "text for an axis",
    "no branch",
    "an opset of any size",
    "a name of any length",
    "a tensor of half its size",
)


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_part_is_a_finding(tmp_path: Path, name: str) -> None:
    sound = lookup(tmp_path / "onnx.onnx", [1, 2, 3])
    path = changed(tmp_path, name)
    for pair in ((path, sound), (path, None), (sound, path)):
        try:
            errors = [finding for finding in check_graph(*pair) if finding.severity == "error"]
        except GraphError as error:
            assert path.name in str(error)  # noqa: PT017 - either is told
        else:
            assert errors


def test_a_check_that_was_stopped_is_red_whatever_is_ignored(tmp_path: Path) -> None:
    path = changed(tmp_path, "no branch")
    sound = lookup(tmp_path / "onnx.onnx", [1, 2, 3])
    codes = sorted({finding.code for finding in check_graph(path, sound)})
    left = [finding for finding in check_graph(path, sound, ignore=codes) if finding.severity == "error"]
    assert left
    assert "A part of the model is malformed" in str(left[0])


def test_limits_of_a_wrong_kind_are_told_as_a_bundle_that_was_changed(red: Path, tmp_path: Path) -> None:
    folder = bundle_of(red, tmp_path)
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    content["limits"] = {
        check: {**limit, "batch_size": "many", "max_drop": []} for check, limit in content["limits"].items()
    }
    path.write_text(json.dumps(content))
    said = command("replay", folder)
    assert "the bundle's limits make no sense" in said.text
    assert not said.crashed
