"""Variants with names: recipes and files, each with its baseline and its place in every report."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_onnxlite import Dataset, DynamicInt8, Float16, ModelSpec, OnnxliteError, StaticInt8, WeightOnly
from pytest_onnxlite.replay import replay
from pytest_onnxlite.spec.recipes import blocks_share
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache

from onnx_models import edit, quantize, save_graph, set_weight, weights_of
from projects import UNEXPLAINED, Project

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 64)).astype(np.float32)
NAMES = ["fp16", "int4", "int8-static", "vendor"]
CONFTEST = """
import numpy as np
import pytest
from pytest_onnxlite import Dataset, DynamicInt8, Float16, ModelSpec, StaticInt8, WeightOnly

data = np.load("data.npz")

@pytest.fixture(scope="session")
def onnxlite_model():
    variants = {
        "fp16": Float16(keep=["act"]),
        "int4": WeightOnly(bits=4, block_size=32),
        "int8-static": StaticInt8(per_channel=True),
        "vendor": "vendor.onnx",
    }
    return ModelSpec(
        "bert", onnx="bert.onnx", evaluation=Dataset(data["x"]), calibration=data["x"][:50], metric="cosine", variants=variants
    )
"""
TEST = """
import pytest

@pytest.mark.onnxlite_accuracy(max_drop=0.02)
@pytest.mark.onnxlite_size
@pytest.mark.onnxlite_graph
@pytest.mark.parametrize("onnxlite_variant", {names}, indirect=True)
def test_release(onnxlite_variant):
    assert onnxlite_variant.kind in {names}
"""


def net(path: Path) -> Path:
    """Two products with a Tanh between them: nothing that a single element could turn over."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h"], "body"),
        helper.make_node("Tanh", ["h"], ["t"], "act"),
        helper.make_node("MatMul", ["t", "w1"], ["y"], "head"),
    ]
    weights = {f"w{i}": (rng.normal(size=(64, 64)) / 8).astype(np.float32) for i in range(2)}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 64]) for name in "xy")
    return save_graph(path, nodes, [x], [y], weights)


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return net(tmp_path_factory.mktemp("net") / "bert.onnx")


@pytest.fixture
def bert(project: Project, float_model: Path) -> Project:
    shutil.copyfile(float_model, project.path / "bert.onnx")
    quantize(float_model, project.path / "vendor.onnx")
    np.savez(project.path / "data.npz", x=X)
    (project.path / "conftest.py").write_text(CONFTEST)
    (project.path / "test_release.py").write_text(TEST.format(names=NAMES))
    return project


def test_each_has_its_baseline_and_its_place_in_every_report(bert: Project) -> None:
    bert.save()
    folder = bert.path / "baselines/bert"
    assert sorted(path.stem for path in folder.glob("*.json")) == NAMES
    for name in NAMES:
        assert json.loads((folder / f"{name}.json").read_text())["variant"] == name
        assert len(list(folder.glob(f"{name}-*.onnx"))) == 1
    reports = ["--onnxlite-report=r.json", "--onnxlite-markdown=r.md", "--onnxlite-html=r.html", "--junitxml=r.xml"]
    result = bert.compare(*reports)
    result.assert_outcomes(passed=4)
    for name in NAMES:
        result.stdout.fnmatch_lines([f"bert * {name} * pass*"])
        for report in ("r.json", "r.md", "r.html", "r.xml"):
            assert name in (bert.path / report).read_text(), (name, report)
    # A baseline that no test looks at is red for names too, and one that another test replaces keeps its file.
    (bert.path / "test_release.py").write_text(TEST.format(names=["int8", *NAMES[:3]]))
    assert bert.run("--onnxlite-save-baseline", "--onnxlite-accept").ret == 0
    assert len(list(folder.glob("int8-static-*.onnx"))) == 1
    result = bert.compare()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*no test looked at the baseline bert/vendor.json*"])


def test_each_is_judged_by_what_it_is(bert: Project) -> None:
    """A float model that grew between two releases: whatever was made of it, and what was not, is told apart."""
    bert.save()
    edit(bert.path / "bert.onnx", bert.path / "bert.onnx", lambda model: _scramble(model, "w1"))
    result = bert.compare(UNEXPLAINED)
    # The vendor's file is that of before: next to the new float model it is another one.
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["bert vendor: accuracy, graph*", "*OLX701*"])


def _scramble(model: onnx.ModelProto, name: str) -> None:
    set_weight(model, name, np.flip(weights_of(model)[name], axis=1).copy())


@pytest.mark.parametrize(
    ("names", "extra", "message"),
    [
        (
            '["fp16", "fp61"]',
            "",
            "*unknown variant 'fp61'; did you mean fp16? There are fp16, int4, int8-static, vendor*",
        ),
        ('["fp16"], indirect=False', "", "*indirect=True is missing*"),
        ("[None]", "", "*takes onnxlite_variant, which is not parametrized*"),
        ('["fp16"]', "(variant='int4')", "*variant='int4'; expected one of*fp16, variant.*"),
    ],
)
def test_a_name_that_is_none_is_told(bert: Project, names: str, extra: str, message: str) -> None:
    given = names if "indirect" in names else f"{names}, indirect=True"
    (bert.path / "test_release.py").write_text(
        "import pytest\n\n@pytest.mark.onnxlite_size"
        f"{extra}\n@pytest.mark.parametrize('onnxlite_variant', {given})\ndef test_release(onnxlite_variant): pass\n"
    )
    result = bert.run()
    assert result.ret in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.TESTS_FAILED)
    assert re.search(
        message.strip("*").replace("*", ".*").replace("?", r"\?"), result.stdout.str() + result.stderr.str()
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_test_may_take_others_next_to_it_and_says_which_is_judged(bert: Project) -> None:
    (bert.path / "test_release.py").write_text(
        """
import numpy as np
import pytest

@pytest.mark.onnxlite_size(variant="variant", max="12 KB")
@pytest.mark.parametrize("onnxlite_variant", ["int4", "int8", "fp16"], indirect=True)
def test_near(onnxlite_onnx, onnxlite_variant):
    assert onnxlite_variant.kind != "onnx"

@pytest.fixture
def mine(onnxlite_variant):
    return onnxlite_variant.kind

@pytest.mark.onnxlite_size(ratio=0.2)
@pytest.mark.parametrize("onnxlite_variant", ["int4"], indirect=True)
class TestClass:
    def test_of_a_class(self, mine):
        assert mine == "int4"
"""
    )
    result = bert.run(UNEXPLAINED)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["bert fp16: size*", "*at most 12,000 allowed*"])


DECLARED = """
[tool.onnxlite.models.bert]
onnx = "bert.onnx"
data = "data.npz"
metric = "cosine"
{judge}
accuracy = {{max_drop = 0.02}}
size = {{}}
graph = {{}}

[tool.onnxlite.models.bert.variants]
fp16 = {{kind = "Float16", keep = ["act"]}}
int4 = {{kind = "WeightOnly", block_size = 64}}
vendor = "vendor.onnx"
"""


def test_declared_models_name_them_too(bert: Project) -> None:
    (bert.path / "test_release.py").unlink()
    declare = bert.path / "pyproject.toml"
    declare.write_text(DECLARED.format(judge=""))
    result = bert.run("-v", "-p", "no:randomly")
    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines(["onnxlite::bert::fp16::accuracy PASSED*", "onnxlite::bert::vendor::graph PASSED*"])
    declare.write_text(DECLARED.format(judge='judge = ["fp16"]'))
    bert.run("-v", "onnxlite::bert").assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'fp16 = {{kind = "Float16", keep = ["act"]}}',
            'FP16 = "vendor.onnx"\nfp16 = "vendor.onnx"',
            "differ by case alone",
        ),
        ('fp16 = {{kind = "Float16", keep = ["act"]}}', 'int8 = "vendor.onnx"', "the name of a fixture of ours"),
        (
            'kind = "Float16", keep',
            'kind = "Float61", keep',
            "'Float61'; expected a table with kind = 'DynamicInt8', 'Stat",
        ),
        ("block_size = 64", "block_size = 65", "block_size=65: expected 16, 32, 64, 128 or 256"),
        ("{judge}", 'judge = ["fp61"]', r"judge=\['fp61'\]; expected a list of .*fp16, int4 and vendor"),
    ],
)
def test_a_declaration_that_is_wrong(bert: Project, old: str, new: str, message: str) -> None:
    (bert.path / "pyproject.toml").write_text(DECLARED.replace(old, new).format(judge=""))
    result = bert.run("--collect-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert re.search(message, result.stderr.str())


# -- why, and again elsewhere --------------------------------------------------------------------------------


def fragile(path: Path) -> Path:
    """What each way of storing weights loses by itself: outliers in 4 bits, values near 0 in half precision."""
    rng = np.random.default_rng(1)
    weights = {f"w{i}": (rng.normal(size=(64, 64)) / 8).astype(np.float32) for i in range(2)}
    weights["w0"][[3, 40]] = 8.0  # one in each block; these inputs are 0
    weights["w1"] *= 5e-7
    weights["large"] = np.array(2e6, np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h"], "body"),
        helper.make_node("Tanh", ["h"], ["t"], "act"),
        helper.make_node("MatMul", ["t", "w1"], ["z"], "head"),
        helper.make_node("Mul", ["z", "large"], ["y"], "enlarge"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 64]) for name in "xy")
    return save_graph(path, nodes, [x], [y], weights)


def test_a_loss_of_each_is_explained_by_its_layer_and_its_bundle_is_red_again(bert: Project, tmp_path: Path) -> None:
    source = fragile(bert.path / "bert.onnx")
    # The vendor's was made of a model with another head.
    quantize(edit(source, tmp_path / "other.onnx", lambda model: _scramble(model, "w1")), bert.path / "vendor.onnx")
    x = X[:24].copy()
    x[:, [3, 40]] = 0
    np.savez(bert.path / "data.npz", x=x)
    test = TEST.format(names=["fp16", "int4", "vendor"]).replace(
        "@pytest.mark.onnxlite_size\n@pytest.mark.onnxlite_graph\n", ""
    )
    (bert.path / "test_release.py").write_text(test)
    result = bert.run("--onnxlite-bundle=b", "--onnxlite-bundle-data", "--onnxlite-explain-time=20")
    result.assert_outcomes(failed=3)
    parts = re.split(r"^_+ test_release\[(\S+)\] _+$", result.stdout.str(), flags=re.MULTILINE)
    text = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert re.search(r"Why: head \(MatMul\) adds .* Left in float, head gives back [\d.]+ of the ", text["fp16"])
    assert re.search(r"Why: body \(MatMul\) adds .* Left in float, body gives back [\d.]+ of the ", text["int4"])
    assert re.search(r"Why: head \(MatMul\) adds .*\n +They are ranked by their own error alone", text["vendor"])
    said: list[str] = []
    for folder in sorted((bert.path / "b").iterdir()):
        assert replay(folder, said.append) == 1
    assert said.count("red again: accuracy against onnx (fail)") == 3


# -- without pytest ------------------------------------------------------------------------------------------


Make = Callable[..., Builder]


@pytest.fixture
def build(tmp_path: Path, float_model: Path) -> Make:
    def make(variants: dict[str, Any], **options: Any) -> Builder:
        spec = {"onnx": float_model, "evaluation": Dataset(X), "metric": "cosine", **options}
        return Builder(ModelSpec("m", variants=variants, **spec), Cache(tmp_path / "cache"), lambda _: None)

    return make


def test_a_kind_follows_from_the_recipe_or_from_the_file(build: Make, float_model: Path, tmp_path: Path) -> None:
    made = build({"a": Float16(), "b": WeightOnly(4, 32), "c": DynamicInt8()})
    files = {name: made.variant(name).path for name in "abc"}
    given = build({"d": float_model, **{name: str(path) for name, path in files.items()}})
    assert {name: given.kind(name).form for name in "abcd"} == {"a": "float16", "b": "blocks", "c": "int8", "d": "file"}
    assert {name: given.kind(name).size_ratio for name in "abcd"} == {
        "a": 0.5,
        "b": pytest.approx(blocks_share(4, 32, symmetric=False)),
        "c": 0.25,
        "d": None,
    }
    assert made.kind("b").size_ratio == given.kind("b").size_ratio
    assert given.variant("a").size == made.variant("a").size
    assert given.recipe_text("a") == ""
    assert made.recipe_text("a") == "Float16(), weights in float16"


def test_half_precision_is_quantized_by_way_of_float32_with_a_word(build: Make, tmp_path: Path) -> None:
    half = build({"fp16": Float16()}).variant("fp16").path
    builder = build({"int4": WeightOnly(), "int8-static": StaticInt8()}, onnx=half, calibration=X[:50])
    for kind, expected in (("int8", 0.99), ("int4", 0.98), ("int8-static", 0.99)):
        variant = builder.variant(kind)
        assert "quantized from its values in float32" in builder.recipe_text(kind)
        ours, theirs = variant.predict(X), builder.onnx.predict(X)
        assert isinstance(ours, np.ndarray)
        assert isinstance(theirs, np.ndarray)
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > expected
    # Inputs and outputs in half precision stay so.
    inside = onnx.load(half)
    for value in (*inside.graph.input, *inside.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    nodes = [node for node in inside.graph.node if "graph_" not in node.name]
    names = {node.input[0]: node.output[0] for node in inside.graph.node if node.name.startswith("graph_output")}
    names |= {node.output[0]: node.input[0] for node in inside.graph.node if node.name.startswith("graph_input")}
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    del inside.graph.node[:]
    inside.graph.node.extend(nodes)
    onnx.save(inside, tmp_path / "whole.onnx")
    whole = build({}, onnx=tmp_path / "whole.onnx").int8
    assert (whole.inputs_info[0].dtype, whole.outputs_info[0].dtype) == ("float16", "float16")


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"Int8": Float16()}, "'Int8', which is the name of a fixture of ours"),
        ({"variant": Float16()}, "the name of a fixture of ours"),
        ({"fp16": Float16(), "FP16": Float16()}, "differ by case alone"),
        ({"fp.16": Float16()}, "expected 1 to 40 letters"),
        ({"": Float16()}, "expected 1 to 40 letters"),
        ({"nul": Float16()}, "no device of Windows"),
        ({"../x": Float16()}, "expected 1 to 40 letters"),
        ({"x": 16}, r"variants\['x'\] is 16; expected DynamicInt8"),
        ({"x": "no.onnx"}, "no such file"),
        ({"x": __file__}, "expected an .onnx or .tflite file"),
        ([1], "variants is a list"),
    ],
)
def test_a_spec_that_cannot_be(float_model: Path, variants: Any, message: str) -> None:
    with pytest.raises(OnnxliteError, match=message):
        ModelSpec("m", onnx=float_model, variants=variants)


def test_a_file_alone_is_a_model(build: Make, float_model: Path, tmp_path: Path) -> None:
    builder = build({"vendor": float_model}, onnx=None)
    assert builder.variant("vendor").predict(X).shape == (200, 64)  # type: ignore[union-attr]
    assert builder.made_from("vendor") is None
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(OnnxliteError, match="is not an ONNX model"):
        build({"vendor": broken}).variant("vendor")


@pytest.mark.parametrize("made", [Float16(keep=["hed"]), WeightOnly(exclude=["hed"])])
def test_what_is_to_stay_in_float_and_is_not_there(build: Make, made: Any) -> None:
    with pytest.raises(OnnxliteError, match=r"='hed' matches no node of the graph .*; did you mean 'head'\?"):
        build({"x": made}).variant("x")
