"""Models are run as their runtime says: custom operators, options, providers; and a run can name another runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.calibrate import CalibraterBase

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, Runtime, StaticInt8
from pytest_onnxlite.__main__ import main
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache

from onnx_models import dense, quantize
from projects import UNEXPLAINED, Project

# Imported here, so that runs of pytest within this process find it imported: it cannot be loaded twice.
EXTENSIONS = find_spec("onnxruntime_extensions") and import_module("onnxruntime_extensions")
needs_extensions = pytest.mark.skipif(EXTENSIONS is None, reason="onnxruntime-extensions is not installed")
X = np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32)
WEIGHTS = [np.random.default_rng(seed).normal(0, 0.3, (16, 16)).astype(np.float32) for seed in (1, 2)]
Y = (np.abs(X @ WEIGHTS[0]) @ WEIGHTS[1]).argmax(axis=1)
EVERYTHING = """
    @pytest.mark.onnxlite_accuracy(max_drop=0.5)
    @pytest.mark.onnxlite_outputs
    @pytest.mark.onnxlite_size
    @pytest.mark.onnxlite_latency(max_slowdown=1.0, max_time=0.5)
    @pytest.mark.onnxlite_memory(max_growth=0.5)
"""


def custom(path: Path, scale: float = 1.0) -> Path:
    """A model with an operator of onnxruntime-extensions between two of ONNX's."""
    weights = {f"w{i}": value * np.float32(scale) for i, value in enumerate(WEIGHTS)}
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], name="first"),
        helper.make_node("NegPos", ["a"], ["neg", "pos"], name="split", domain="ai.onnx.contrib"),
        helper.make_node("Sub", ["pos", "neg"], ["b"], name="join"),
        helper.make_node("MatMul", ["b", "w1"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.contrib", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@needs_extensions
def test_a_model_with_custom_operators_is_guarded_in_every_session(project: Project, tmp_path: Path) -> None:
    # No session opens without the library: what passes here, was opened with it.
    library = "runtime=Runtime(custom_ops=['onnxruntime_extensions'])"
    source = custom(tmp_path / "a.onnx")
    files = {"onnx": source, "int8": quantize(source, tmp_path / "int8.onnx")}
    project.write(files, X, Y, markers=EVERYTHING, spec=library)
    result = project.save()
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"digits int8 runs with custom_ops _extensions_pydll\S+ [0-9a-f]{12}"])
    project.replace("int8.onnx", quantize(custom(tmp_path / "b.onnx", 0.9), tmp_path / "c.onnx"))
    result = project.compare("--onnxlite-explain", "--onnxlite-report=r.json")
    result.assert_outcomes(passed=1)
    assert "could not be explained" not in result.stdout.str()
    report = (project.path / "r.json").read_text()
    assert "Where the error enters" in report
    assert "Time in operators (profiled" in report
    (record,) = json.loads(report)["records"]
    assert record["runtime"]["options"]["custom_ops"] == record["baseline"]["runtime"]["options"]["custom_ops"]


@needs_extensions
def test_a_model_with_custom_operators_is_quantized(tmp_path: Path) -> None:
    source, runtime = custom(tmp_path / "a.onnx"), Runtime(custom_ops=["onnxruntime_extensions"])
    spec = ModelSpec("m", onnx=source, evaluation=Dataset(X, Y), calibration=X, recipe=DynamicInt8(), runtime=runtime)
    for recipe in (DynamicInt8(), StaticInt8()):
        variant = Builder(replace(spec, recipe=recipe), Cache(tmp_path / "cache"), lambda _: None).int8
        found = variant.predict(X)
        assert isinstance(found, np.ndarray)
        assert (found.argmax(axis=1) == Y).mean() > 0.9
    # Calibrated by what went through the operator, and not around it: its outputs have ranges too.
    assert variant.graph.operators["QuantizeLinear"] >= 3
    assert CalibraterBase.create_inference_session.__module__ == CalibraterBase.__module__  # as it was


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_onnxlite", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@needs_extensions
def test_a_failure_is_replayed_with_libraries_that_somebody_here_names(project: Project, tmp_path: Path) -> None:
    spec = (
        "runtime=Runtime(custom_ops=['onnxruntime_extensions'], session_options={'session.inter_op.allow_spinning': 0})"
    )
    markers = "@pytest.mark.onnxlite_accuracy(min=0.999)"
    project.write({"onnx": custom(tmp_path / "a.onnx")}, X, (Y + 1) % 16, markers=markers, variant="onnx", spec=spec)
    project.run(UNEXPLAINED, "--onnxlite-bundle=b", "--onnxlite-bundle-data").assert_outcomes(failed=1)
    (folder,) = (project.path / "b").iterdir()
    without = command("replay", str(folder), cwd=tmp_path)
    assert "a bundle holds no code. Name yours: --custom-ops=FILE" in without.stdout + without.stderr
    named = command("replay", str(folder), "--custom-ops=onnxruntime_extensions", cwd=tmp_path)
    assert (
        "session.inter_op.allow_spinning=0. If they are well, replay with --trust-options"
        in named.stdout + named.stderr
    )
    assert (without.returncode, named.returncode) == (2, 2)
    done = command("replay", str(folder), "--custom-ops=onnxruntime_extensions", "--trust-options", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "red again: accuracy against limit" in done.stdout


RUNTIMES = """
[tool.onnxlite.runtimes.lean]
optimization = "basic"
session_options = {enable_cpu_mem_arena = false}

[tool.onnxlite.runtimes.azure]
providers = ["AzureExecutionProvider"]

[tool.onnxlite.runtimes.gone]
providers = ["NoneExecutionProvider"]
"""


@pytest.fixture
def named(project: Project, tmp_path: Path) -> Project:
    """A model whose size and outputs are guarded, and runtimes by name."""
    (project.path / "pyproject.toml").write_text(RUNTIMES)
    x = np.random.default_rng(0).normal(size=(8, 256)).astype(np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 2)}, x, variant="onnx", markers="@pytest.mark.onnxlite_outputs")
    return project


def test_a_run_names_a_runtime_which_has_baselines_of_its_own(
    named: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named.save()
    own = named.baseline.read_bytes()
    # Nothing was saved on that runtime, which is red; what was saved on another one does not stand in for it.
    missing = named.compare("--onnxlite-runtime=lean")
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(["*there is no baseline *@lean*digits*onnx.json*"])
    saved = named.save("--onnxlite-runtime=lean")
    saved.stdout.fnmatch_lines(["*saving baselines, on the runtime lean*"])
    lean = named.path / "baselines" / "@lean" / "digits" / "onnx.json"
    assert json.loads(lean.read_text())["runtime"]["options"] == {
        "threads": "1",
        "optimization": "basic",
        "enable_cpu_mem_arena": "False",
    }
    # Both are whole runs, and neither misses the other's baselines.
    for arguments in ([], ["--onnxlite-runtime=lean"]):
        result = named.compare(
            "--onnxlite-complete", f"--onnxlite-report={len(arguments)}.json", "--onnxlite-markdown=r.md", *arguments
        )
        result.assert_outcomes(passed=1)
        report = json.loads((named.path / f"{len(arguments)}.json").read_text())
        assert report["runtime"] == ("lean" if arguments else "")
        assert report["coverage"]["state"] == "full"
        assert ("optimization basic" in (named.path / "r.md").read_text()) is bool(arguments)
        assert ("digits onnx runs with enable_cpu_mem_arena False, optimization basic" in result.stdout.str()) is bool(
            arguments
        )
    assert named.baseline.read_bytes() == own
    # Shards of the one are merged with its own baselines, and with no shard of the other; neither misses what is the other's.
    monkeypatch.chdir(named.path)
    for report in ("0.json", "1.json"):
        assert main(["merge", report]) == 0
        assert "no shard looked at" not in capsys.readouterr().out
    assert main(["merge", "1.json", "--baseline-dir=baselines/@lean"]) == 0
    capsys.readouterr()
    assert main(["merge", "0.json", "1.json"]) == 2
    said = capsys.readouterr().err
    assert "the shards were run with several runtimes: the models' own in 0.json, lean in 1.json" in said
    assert "no shard looked at" not in said
    # What is lost of the one is found by the one.
    lean.unlink()
    assert main(["merge", "1.json"]) == 1
    assert "do not agree about the baseline digits/onnx.json" in capsys.readouterr().out
    named.compare().assert_outcomes(passed=1)
    named.compare("--onnxlite-runtime=lean").assert_outcomes(failed=1)


def test_a_provider_that_is_not_there_or_runs_nothing_is_red(named: Project) -> None:
    gone = named.run("--onnxlite-runtime=gone")
    gone.assert_outcomes(errors=1)
    gone.stdout.fnmatch_lines(
        ["*NoneExecutionProvider was asked for, and the ONNX Runtime that is installed here has *"]
    )
    azure = named.run("--onnxlite-runtime=azure")
    azure.assert_outcomes(errors=1)
    said = (
        "*AzureExecutionProvider was asked for and runs no node of the model: all 4 fall back to CPUExecutionProvider:*"
    )
    azure.stdout.fnmatch_lines([f"{said} matmul0 (MatMul), relu0 (Relu)*"])
    named.run().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("table", "arguments", "said"),
    [
        (RUNTIMES, ["--onnxlite-runtime=leen"], "unknown runtime 'leen'; did you mean lean?"),
        ("", ["--onnxlite-runtime=lean"], "has no table [[]tool.onnxlite.runtimes.NAME[]]"),
        ("[tool.onnxlite.runtimes.lean]\noptimisation = 'all'", [], "runtimes.lean[]]: unknown key 'optimisation'"),
        ("[tool.onnxlite.runtimes.lean]\nthreads = 0", [], "runtimes.lean[]]: Runtime(threads=0): expected a whole"),
        ("[tool.onnxlite.runtimes.'../up']\nthreads = 1", [], "expected a name of lower-case letters"),
        ("[tool.onnxlite.runtime.lean]\nthreads = 1", [], "unknown key 'runtime'; did you mean runtimes?"),
    ],
)
def test_a_runtime_that_is_declared_wrong_ends_the_run(
    named: Project, table: str, arguments: list[str], said: str
) -> None:
    (named.path / "pyproject.toml").write_text(table)
    result = named.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said}*"])


def test_a_declared_model_has_a_runtime(project: Project, tmp_path: Path) -> None:
    dense(project.path / "a.onnx", 2)
    np.savez(project.path / "data.npz", x=np.ones((8, 256), np.float32))
    table = '[tool.onnxlite.models.{0}]\nonnx = "a.onnx"\ndata = "data.npz"\nvariants = ["onnx"]\nsize = {{}}\n{1}\n'
    texts = [
        table.format("named", 'runtime = "lean"'),
        table.format("own", 'threads = 2\nruntime = {optimization = "none"}'),
        table.format("gone", 'runtime = "gone"'),
    ]
    (project.path / "pyproject.toml").write_text(RUNTIMES + "\n".join(texts))
    result = project.run("--onnxlite-report=r.json")
    result.assert_outcomes(skipped=2, failed=1)
    records = json.loads((project.path / "r.json").read_text())["records"]
    assert {record["model"]: record["runtime"]["options"] for record in records} == {
        "named": {"threads": "1", "optimization": "basic", "enable_cpu_mem_arena": "False"},
        "own": {"threads": "2", "optimization": "none"},
    }
    (project.path / "pyproject.toml").write_text(RUNTIMES + table.format("named", 'runtime = "leen"'))
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unknown runtime 'leen'; did you mean lean?*"])


def test_a_spec_that_changed_its_runtime_says_so(named: Project) -> None:
    named.save()
    conftest = named.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace('"digits", ', '"digits", runtime=Runtime(optimization="none"), '))
    result = named.compare()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["digits onnx: runtime changed optimization all → none since the last release"])
    pinned = named.compare("-o", "onnxlite_runtime_change=fail")
    pinned.assert_outcomes(failed=1)


def test_the_placement_is_judged_and_saved(named: Project) -> None:
    test = named.path / "test_release.py"
    test.write_text(test.read_text().replace("onnxlite_outputs", "onnxlite_placement"))
    saved = named.save()
    saved.stdout.fnmatch_lines(["digits * 4 of 4 nodes on CPU * pass*"])
    assert json.loads(named.baseline.read_text())["placement"] == {"nodes": 4, "placed": 4, "operators": {}}
    named.compare("--onnxlite-complete").assert_outcomes(passed=1)


def test_without_any_onnx_runtime_there_is_one_clear_error(named: Project) -> None:
    # As find_spec sees it where none is installed.
    plugin = named.path / "nothing_installed.py"
    plugin.write_text("import sys\nsys.modules['onnxruntime'] = None\n")
    result = named.run("-p", "nothing_installed", subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: pytest-onnxlite: no ONNX Runtime is installed here*pytest-onnxlite?cpu?*"])
    assert result.stderr.str().strip().splitlines()[1:] == ["See docs/failures.md#no-onnx-runtime"]
    # A fixture alone says so too, and what is not guarded runs.
    (named.path / "test_release.py").write_text("def test_a(onnxlite_onnx):\n    pass\n\n\ndef test_b():\n    pass\n")
    result = named.run("-p", "nothing_installed", subprocess=True)
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["No ONNX Runtime is installed here, which runs the models.*"])
