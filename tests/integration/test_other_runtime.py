"""Variants that are the file of another one, run otherwise: `Variant("onnx", runtime=Runtime(...))`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, OnnxliteError, Runtime, Variant
from pytest_onnxlite.replay import replay
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.variants.variant import OnnxVariant

from onnx_models import dense, save_graph
from projects import Project

# ONNX Runtime then computes Gelu by a tanh, which is off by 2e-4 at 1.5.
APPROXIMATE = "optimization.enable_gelu_approximation"
X = np.array([[1.5], [1.499]] * 10, np.float32)
Y = np.array([0, 1] * 10)


def gelu(path: Path) -> Path:
    """Two classes, told apart by the fourth digit of a Gelu: `(N, 1)` to `(N, 2)`."""
    make = helper.make_node
    nodes = [
        make("Div", ["x", "root"], ["a"], name="scale"),
        make("Erf", ["a"], ["b"], name="erf"),
        make("Add", ["b", "one"], ["c"], name="shift"),
        make("Mul", ["x", "c"], ["d"], name="times"),
        make("Mul", ["d", "half"], ["g"], name="halve"),
        make("Gemm", ["g", "w", "bias"], ["y"], name="head"),
    ]
    weights = {
        "root": np.array(2**0.5, np.float32),
        "one": np.array(1, np.float32),
        "half": np.array(0.5, np.float32),
        "w": np.array([[1000.0, 0.0]], np.float32),
        "bias": np.array([-1399.68, 0.0], np.float32),
    }
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in (("x", 1), ("y", 2)))
    return save_graph(path, nodes, [x], [y], weights)


def folded(path: Path) -> Path:
    """A sum with a product of constants, which only an optimizer computes ahead: 10 nodes, or 1."""
    weights = {"w": np.full((320, 320), 1e-3, np.float32)}
    nodes = [helper.make_node("MatMul", [f"w{i}" if i else "w", "w"], [f"w{i + 1}"], f"square{i}") for i in range(8)]
    nodes += [helper.make_node("ReduceMax", ["w8"], ["m"], "most"), helper.make_node("Add", ["x", "m"], ["y"], "add")]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    return save_graph(path, nodes, [x], [y], weights)


def write(project: Project, path: Path, variants: str, markers: str, names: list[str], x: Any = X, y: Any = Y) -> None:
    """Guard the float model first, so that its session, first run and answers are there for the others to take."""
    project.write({"onnx": path}, x, y, spec=f"variants={variants}")
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("StaticInt8", "StaticInt8, Variant", 1))
    marked = "\n".join(line.strip() for line in markers.strip().splitlines())
    (project.path / "test_release.py").write_text(
        f"import pytest\n\n{marked}\ndef test_float(onnxlite_onnx):\n    pass\n\n{marked}\n"
        f"@pytest.mark.parametrize('onnxlite_variant', {names}, indirect=True)\ndef test_release(onnxlite_variant):\n    pass\n"
    )


def test_answers_are_those_of_its_own_runtime_and_a_loss_is_explained_and_replayed(
    project: Project, tmp_path: Path
) -> None:
    variants = (
        f"{{'fast': Variant('onnx', runtime=Runtime(session_options={{'{APPROXIMATE}': 1}})), "
        "'lean': Variant('onnx', runtime=Runtime(optimization='basic', threads=2))}"
    )
    markers = "@pytest.mark.onnxlite_accuracy(max_drop=0.1)\n@pytest.mark.onnxlite_outputs(min_sqnr=40)"
    write(project, gelu(tmp_path / "a.onnx"), variants, markers, ["fast", "lean"])
    result = project.run("--onnxlite-bundle=b", "--onnxlite-bundle-data", "--onnxlite-report=r.json")
    result.assert_outcomes(passed=2, failed=1)
    text = result.stdout.str()
    assert "digits fast: accuracy, outputs" in text
    assert (
        f"it is the file of the onnx variant, run otherwise ({APPROXIMATE} not set → 1). As that is run, the same file has "
        "100.0 % of 20 right: 10 of the 10 answers lost come from the runtime, not from the model." in text
    )
    records = {record["variant"]: record for record in json.loads((project.path / "r.json").read_text())["records"]}
    assert {name: record["conditions"]["threads"] for name, record in records.items()} == {
        "onnx": 1,
        "fast": 1,
        "lean": 2,
    }
    assert records["fast"]["runtime"]["options"] == {"threads": "1", APPROXIMATE: "1"}
    assert len({record["artefact"]["sha256"] for record in records.values()}) == 1
    # Somewhere else the two are run as they were here: the file is one, and what it is compared with too.
    (folder,) = (project.path / "b").iterdir()
    said: list[str] = []
    with pytest.raises(OnnxliteError, match="replay with --trust-options"):
        replay(folder, said.append)
    assert replay(folder, said.append, trusted=True) == 1
    assert "red again: accuracy against onnx (fail)" in said
    assert "red again: outputs against onnx (fail)" in said
    # With the other file run in the same way, as a replay that forgot its runtime would, nothing differs.
    manifest = json.loads((folder / "bundle.json").read_text())
    assert manifest["others"]["options"] == {"threads": "1"}
    manifest["others"] = None
    (folder / "bundle.json").write_text(json.dumps(manifest))
    replay(folder, said.append, trusted=True)
    assert "passes here: outputs against onnx (pass)" in said


RUNTIMES = """
[tool.onnxlite.runtimes.lean]
session_options = {enable_cpu_mem_arena = false}
"""


def test_it_has_its_baseline_and_keeps_its_runtime_whatever_the_run_names(project: Project, tmp_path: Path) -> None:
    (project.path / "pyproject.toml").write_text(RUNTIMES)
    variants = "{'none': Variant('onnx', runtime=Runtime(optimization='none'))}"
    markers = '@pytest.mark.onnxlite_placement\n@pytest.mark.onnxlite_latency(max="2 ms", max_time=0.5)'
    x = np.ones((4, 4), np.float32)
    write(project, folded(tmp_path / "a.onnx"), variants, markers, ["none"], x, None)
    # One is timed with all its products, the other with what is left of them.
    result = project.run("-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=1)
    assert re.search(r"digits none: latency\n.*at most 2 ms allowed", result.stdout.str(), re.DOTALL)
    test = project.path / "test_release.py"
    test.write_text(re.sub("@pytest.mark.onnxlite_latency.*\n", "", test.read_text()))
    project.save()
    folder = project.path / "baselines" / "digits"
    saved = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("onnx", "none")}
    assert {name: found["placement"]["nodes"] for name, found in saved.items()} == {"onnx": 1, "none": 10}
    assert saved["none"]["runtime"]["options"] == {"threads": "1", "optimization": "none"}
    # The run's own runtime is that of what names none; baselines of the run stand in its folder, all of them.
    project.save("--onnxlite-runtime=lean")
    there = {
        name: json.loads((project.path / f"baselines/@lean/digits/{name}.json").read_text())["runtime"]["options"]
        for name in ("onnx", "none")
    }
    assert there == {
        "onnx": {"threads": "1", "enable_cpu_mem_arena": "False"},
        "none": {"threads": "1", "optimization": "none"},
    }
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("optimization='none'", "optimization='extended'"))
    result = project.compare("--onnxlite-complete")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["digits none: runtime changed optimization none → extended since the last release"])
    assert "digits onnx: runtime changed" not in result.stdout.str()


DECLARED = """
[tool.onnxlite.runtimes.azure]
providers = ["AzureExecutionProvider"]

[tool.onnxlite.models.digits]
onnx = "a.onnx"
data = "data.npz"
judge = {judge}
size = {{max = "1 MB"}}

[tool.onnxlite.models.digits.variants]
half = {{kind = "Float16"}}
cloud = {{of = "onnx", runtime = "azure"}}
quick = {{of = "half", runtime = {{threads = 2}}}}
"""


def test_declared_models_have_them_and_the_first_run_is_its_own(project: Project) -> None:
    dense(project.path / "a.onnx", 2)
    np.savez(project.path / "data.npz", x=np.ones((8, 256), np.float32))
    declare = project.path / "pyproject.toml"
    declare.write_text(DECLARED.format(judge='["onnx", "half", "quick", "cloud"]'))
    result = project.run("--onnxlite-report=r.json", "-p", "no:randomly")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*AzureExecutionProvider was asked for and runs no node of the model*"])
    records = {r["variant"]: r for r in json.loads((project.path / "r.json").read_text())["records"]}
    assert records["quick"]["runtime"]["options"]["threads"] == "2"
    assert records["quick"]["artefact"]["sha256"] == records["half"]["artefact"]["sha256"]
    assert "Float16()" in records["quick"]["recipe"]
    for old, new, said in (
        ('of = "half"', 'of = "hafl"', "unknown variant 'hafl'; did you mean half?"),
        (
            'of = "half"',
            'of = "cloud"',
            "'quick' is that of 'cloud', which has no file of its own; expected onnx, int8",
        ),
        ('of = "half"', 'of = ""', "of=''; expected a kind, the name of another variant, or a file"),
        (", runtime = {{threads = 2}}", "", "how the file of 'half' is run here is missing"),
        ("threads = 2", "thread = 2", "unknown key 'thread'"),
        ('of = "half"', 'of = "half", kind = "Float16"', "unknown key 'kind'"),
    ):
        declare.write_text(DECLARED.replace(old, new).format(judge='["onnx"]'))
        result = project.run("--collect-only")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert said in result.stderr.str()


@pytest.mark.parametrize(
    ("of", "runtime", "message"),
    [
        ("trained", Runtime(), "is the trained model, which no runtime of ours runs"),
        ("same", Runtime(), "'same' is that of 'same', which has no file of its own; expected onnx, int8, tflite"),
        ("no.onnx", Runtime(), "no such file"),
        ("", Runtime(), r"Variant\(''\): expected a kind"),
        (3, Runtime(), r"Variant\(3\): expected a kind"),
        ("onnx", "openvino", r"runtime='openvino'\): expected Runtime\(\.\.\.\)"),
    ],
)
def test_a_variant_that_is_no_other_ones_file(tmp_path: Path, of: Any, runtime: Any, message: str) -> None:
    with pytest.raises(OnnxliteError, match=message):
        ModelSpec("m", onnx=dense(tmp_path / "a.onnx", 1), variants={"same": Variant(of, runtime=runtime)})


def test_it_is_what_the_other_one_is(tmp_path: Path) -> None:
    source = dense(tmp_path / "a.onnx", 2)
    variants = {
        "first": Variant("int8", runtime=Runtime(optimization="basic")),
        "second": Variant(source, runtime=Runtime(threads=2)),
        "third": Variant("onxx", runtime=Runtime()),
        "lite": Variant("tflite", runtime=Runtime(optimization="basic")),
    }
    x = np.random.default_rng(0).normal(size=(8, 256)).astype(np.float32)
    spec = ModelSpec(
        "m", onnx=source, evaluation=Dataset(x), recipe=DynamicInt8(exclude=["matmul0"]), variants=variants
    )
    builder = Builder(spec, Cache(tmp_path / "cache"), lambda _: None)
    first, second = builder.variant("first"), builder.variant("second")
    assert first.path == builder.int8.path
    assert (builder.kind("first").size_ratio, builder.kind("first").made_from) == (0.25, "onnx")
    assert builder.excluded("first") == ["matmul0"]
    assert (second.path, builder.kind("second").form) == (source, "file")
    assert isinstance(first, OnnxVariant)
    assert isinstance(second, OnnxVariant)
    assert (first.runtime, second.runtime) == (
        Runtime(optimization="basic"),
        Runtime(threads=2),
    )
    with pytest.raises(OnnxliteError, match="unknown variant 'onxx'; did you mean onnx"):
        builder.variant("third")
    with pytest.raises(OnnxliteError, match="LiteRT, which reads the threads of a runtime alone"):
        builder.variant("lite")
