"""The graph checks as a linter: what it finds, what ends it with which code, and what other tools read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnxruntime.quantization import QuantType

from pytest_onnxlite.__main__ import main

from onnx_models import dense, edit, lookup, quantize
from projects import REPOSITORY


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a sound float model, its sound INT8 model, and one that draws random numbers (OLX118)."""
    folder = tmp_path / "the models"
    (folder / "deep").mkdir(parents=True)
    dense(folder / "float.onnx", 2, 32)
    quantize(folder / "float.onnx", folder / "deep" / "int8.onnx", weight_type=QuantType.QUInt8)

    def random(model: onnx.ModelProto) -> None:
        last = model.graph.node[-1]
        drawn, out = f"{last.output[0]}_drawn", last.output[0]
        last.output[0] = f"{out}_before"
        model.graph.node.append(onnx.helper.make_node("RandomNormalLike", [last.output[0]], [drawn], "noise"))
        model.graph.node.append(onnx.helper.make_node("Add", [last.output[0], drawn], [out], "noisy"))

    edit(folder / "float.onnx", folder / "deep" / "random.onnx", random)
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main(["lint", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def broken(folder: Path) -> Path:
    """An INT8 model with a scale of zero: an error (OLX301)."""

    def zero(model: onnx.ModelProto) -> None:
        scale = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("_scale"))
        scale.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) * 0, scale.name))

    return edit(folder / "deep" / "int8.onnx", folder / "broken.onnx", zero)


def test_sound_files_in_folders_end_with_0_and_are_counted(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "deep" / "random.onnx").unlink()
    assert run(capsys, models) == (0, "2 files: sound\n")
    assert run(capsys, models / "deep" / "int8.onnx", "--source", models / "float.onnx") == (0, "1 file: sound\n")


def test_an_error_ends_with_1_and_a_warning_if_it_is_strict(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, models)
    assert (code, "random.onnx: OLX118 warning: " in text) == (0, True)
    assert run(capsys, models, "--strict")[0] == 1
    path = broken(models)
    code, text = run(capsys, models)
    assert code == 1
    assert re.search(r"broken\.onnx: OLX30\d error: \S+", text)
    assert text.endswith("4 files: 1 error, 1 warning\n")
    assert run(capsys, path, "--ignore", "OLX3") == (0, "1 file: sound\n")
    assert run(capsys, path, "--select", "OLX2,OLX6")[0] == 0
    assert run(capsys, path, "--select", "OLX3")[0] == 1


def test_what_was_not_checked_is_never_0(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "lfs.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    code, text = run(capsys, models)
    assert code == 2
    assert "lfs.onnx: not checked: " in text
    assert "1 not checked" in text
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, said in (
        ([empty], "holds no .onnx file: nothing would be checked"),
        ([tmp_path / "absent.onnx"], "absent.onnx"),
        ([models, "--select", "OLY3"], "--select: unknown code 'OLY3'"),
        ([models, "--ignore", "OLX999"], "--ignore: unknown code 'OLX999'"),
        ([models, "--source", models / "float.onnx"], "--source names the float model of one file, and 4 are"),
        ([models / "float.onnx", "--source", tmp_path / "absent.onnx"], "absent.onnx"),
    ):
        code, text = run(capsys, *arguments)
        assert (code, said in text) == (2, True), text


def test_a_link_that_leads_nowhere_is_not_passed_over(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a tool leaves it that keeps large files elsewhere, and did not fetch them."""
    (models / "fetched.onnx").symlink_to(models / "never fetched.onnx")
    code, text = run(capsys, models)
    assert code == 2
    assert "fetched.onnx: not checked: " in text


def test_no_code_silences_a_check_that_was_stopped(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def malform(model: onnx.ModelProto) -> None:
        gather = next(node for node in model.graph.node if node.op_type == "Gather")
        gather.op_type = "If"  # which has branches

    source = lookup(models / "onnx.onnx", [1, 2, 3])
    path = edit(lookup(models / "int8.onnx", [1, 2, 3], int8=True), models / "malformed.onnx", malform)
    for arguments in (["--ignore", "OLX"], ["--select", "OLX6"]):
        code, text = run(capsys, path, "--source", source, *arguments)
        assert code == 1
        assert "expected a model that every check can read" in text


def test_what_other_tools_read(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken(models)
    code, text = run(capsys, path, "--format", "json")
    (file,) = json.loads(text)["files"]
    assert (code, file["path"], file["findings"][0]["severity"]) == (1, path.as_posix(), "error")
    code, text = run(capsys, path, "--format", "github")
    assert code == 1
    assert re.match(r"::error file=.*the models/broken\.onnx,line=1,title=onnxlite OLX30\d::", text)
    target = tmp_path / "found.sarif"
    code, text = run(capsys, path, models / "deep" / "random.onnx", "--format", "sarif", "--output", target)
    assert (code, text) == (1, "")
    log: Any = json.loads(target.read_text(encoding="utf-8"))
    assert log["version"] == "2.1.0"
    (scan,) = log["runs"]
    rules = [rule["id"] for rule in scan["tool"]["driver"]["rules"]]
    assert rules == sorted(set(rules))
    for result in scan["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"].endswith(".onnx")
        assert "%20" in location["physicalLocation"]["artifactLocation"]["uri"]
        assert location["logicalLocations"][0]["fullyQualifiedName"]
    assert {result["level"] for result in scan["results"]} == {"error", "warning"}
    assert scan["invocations"][0]["executionSuccessful"] is True
    (models / "lfs.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    _, text = run(capsys, models / "lfs.onnx", "--format", "sarif")
    assert json.loads(text)["runs"][0]["invocations"][0]["executionSuccessful"] is False


def test_a_name_out_of_a_model_begins_no_command_of_its_own(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rename(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == "RandomNormalLike")
        node.name = "x\n::add-mask::y\x1b[31m"

    path = edit(models / "deep" / "random.onnx", models / "named.onnx", rename)
    for form in ("text", "github"):
        _, text = run(capsys, path, "--format", form)
        assert not [line for line in text.splitlines() if line.startswith("::add-mask")]
        assert "\x1b" not in text


def test_a_rule_is_explained_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "olx309"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("OLX309 (error): per-channel parameters lie along the output channel\n")
    assert "A model that breaks it:\n  conv_w_DequantizeLinear" in text
    assert "What to do: quantize per channel" in text
    assert main(["explain", "OLX3"]) == 2
    assert "OLX3 is how several codes begin: OLX301, " in capsys.readouterr().err
    assert main(["explain", "OLX000"]) == 2
    assert "unknown code 'OLX000'" in capsys.readouterr().err


def test_the_command_runs_without_pytest_and_without_onnx_runtime(models: Path) -> None:
    code = (
        "import sys\n"
        "from pytest_onnxlite.__main__ import main\n"
        f"assert main(['lint', {str(models / 'float.onnx')!r}]) == 0\n"
        "print(sorted({'pytest', '_pytest', 'onnxruntime', 'hypothesis'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "1 file: sound\n[]\n"
    program = Path(sys.executable).parent / "onnxlite"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"pytest-onnxlite \d+\.\d+\.\d+\n", version.stdout)


def test_the_hook_for_pre_commit_names_a_command_that_is_there() -> None:
    text = (REPOSITORY / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    assert "\n  entry: onnxlite lint\n" in text
    assert 'onnxlite = "pytest_onnxlite.__main__:command"' in (REPOSITORY / "pyproject.toml").read_text(
        encoding="utf-8"
    )
