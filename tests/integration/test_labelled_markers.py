"""Several markers of one check on one test, told apart by labels: a baseline section, a verdict and a line in reports each."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from onnx_models import dense
from projects import UNEXPLAINED, Project

X = np.ones((4, 64), np.float32)
PLAIN = "@pytest.mark.onnxlite_size"
LOOSE = '@pytest.mark.onnxlite_size(label="loose", tolerance=0.5)'
BOTH = f"{PLAIN}\n{LOOSE}"


def write(project: Project, layers: int, markers: str) -> None:
    model = dense(project.path / f"made-{layers}.onnx", layers, width=64)
    project.write({"onnx": model}, X, variant="onnx", markers=markers)


def command(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "pytest_onnxlite", *arguments]
    return subprocess.run(call, cwd=project.path, capture_output=True, text=True)


def test_each_is_saved_judged_shown_merged_and_replayed_by_itself(project: Project) -> None:
    write(project, 4, BOTH)
    project.save()
    saved = json.loads(project.baseline.read_text())
    assert saved["size[loose]"] == saved["size"]
    assert saved["first"]["size[loose]"] == saved["first"]["size"]
    assert saved["tests"] == {"test_release.py::test_release": ["size", "size[loose]"]}
    assert "unchanged" in project.save().stdout.str()
    project.compare("--onnxlite-complete").assert_outcomes(passed=1)

    write(project, 5, BOTH)  # a quarter larger: too much for the one, and not for the other
    reports = ("--onnxlite-report=r.json", "--onnxlite-html=r.html", "--onnxlite-markdown=r.md", "--junitxml=r.xml")
    result = project.compare(*reports, "--onnxlite-bundle=bundles", UNEXPLAINED)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["digits onnx: size", "model * variant * size * size[[]loose] * verdict"])
    document = json.loads((project.path / "r.json").read_text())
    (record,) = document["records"]
    against = {v["check"]: v["outcome"] for v in record["verdicts"] if v["against"] == "baseline"}
    assert against == {"size": "fail", "size[loose]": "pass"}
    assert record["limits"]["size[loose]"]["tolerance"] == 0.5
    assert document["coverage"]["state"] == "full"
    assert ">size[loose]</th>" in (project.path / "r.html").read_text()
    assert "size\\[loose\\]" in (project.path / "r.md").read_text()
    assert 'name="onnxlite.digits.onnx.size[loose].baseline"' in (project.path / "r.xml").read_text()

    (bundle,) = (project.path / "bundles").iterdir()
    replayed = command(project, "replay", str(bundle))
    assert "red again: size against baseline (fail)" in replayed.stdout
    assert "size[loose]" not in replayed.stdout
    shown = command(project, "show", "baselines")
    assert "size[loose]" in shown.stdout.splitlines()[0]
    assert shown.returncode == 0
    merged = command(project, "merge", "r.json", "--baseline-dir=baselines")
    assert "no shard looked at" not in merged.stdout + merged.stderr


def test_what_is_red_by_a_label_is_red_again_and_can_be_accepted(project: Project) -> None:
    strict = '@pytest.mark.onnxlite_size(label="strict", tolerance=0)\n' + LOOSE
    write(project, 4, strict)
    project.save()
    write(project, 5, strict)
    result = project.compare("--onnxlite-bundle=bundles", UNEXPLAINED)
    result.stdout.fnmatch_lines(["*digits onnx: size[[]strict]"])
    (bundle,) = (project.path / "bundles").iterdir()
    assert "red again: size[strict] against baseline (fail)" in command(project, "replay", str(bundle)).stdout
    project.run("--onnxlite-save-baseline", UNEXPLAINED).stdout.fnmatch_lines(["*size[[]strict] (fail)*"])
    project.run("--onnxlite-save-baseline", "--onnxlite-accept-only=size[loose]", UNEXPLAINED).assert_outcomes(failed=1)
    project.save("--onnxlite-accept-only=size[strict]", "--onnxlite-reason=a layer more")
    (accepted,) = json.loads(project.baseline.read_text())["accepted"]
    assert [(one["check"], one["before"]) for one in accepted["limits"]] == [("size[strict]", "64.35 KiB")]
    project.compare().assert_outcomes(passed=1)
    write(project, 6, strict)
    project.save("--onnxlite-accept-only=size")


def test_a_section_of_a_label_that_nobody_asks_for_is_missing_until_that_is_accepted(project: Project) -> None:
    write(project, 4, BOTH)
    project.save()
    write(project, 4, PLAIN)
    result = project.compare("--onnxlite-report=r.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*the baseline holds what no test asked for: size[[]loose] of digits/onnx.json*"])
    assert json.loads((project.path / "r.json").read_text())["coverage"]["state"] == "missing"
    merged = command(project, "merge", "r.json", "--baseline-dir=baselines")
    assert "no shard looked at size[loose] of digits/onnx.json" in merged.stdout + merged.stderr
    project.run("--onnxlite-save-baseline", "--onnxlite-accept")
    assert "size[loose]" not in json.loads(project.baseline.read_text())
    project.compare().assert_outcomes(passed=1)


def test_a_baseline_from_before_labels_keeps_its_place_and_lacks_the_new_one(project: Project) -> None:
    write(project, 4, PLAIN)
    project.save()
    write(project, 4, BOTH)
    result = project.compare("--onnxlite-report=r.json")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*digits onnx: size[[]loose] missing", "*has no size[[]loose]: it was saved by a run*"]
    )
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert [v["outcome"] for v in record["verdicts"] if v["check"] == "size"][-1] == "pass"


def test_what_a_label_keeps_of_a_machine_is_saved_again(project: Project) -> None:
    """Of the same file, the second save looks at what there is of each label on this machine."""
    write(project, 1, '@pytest.mark.onnxlite_memory\n@pytest.mark.onnxlite_memory(label="four", batch_size=4)')
    project.save()
    saved = project.baseline.read_text()
    assert "unchanged" in project.save().stdout.str()
    assert project.baseline.read_text() == saved
    (machine,) = json.loads(saved)["machines"].values()
    assert (machine["memory"]["batch_size"], machine["memory[four]"]["batch_size"]) == (1, 4)


def test_two_timed_markers_stand_on_one_test_and_each_has_its_ratio(project: Project) -> None:
    write(
        project,
        1,
        "@pytest.mark.onnxlite_latency(max_time=0.5, max_slowdown=1.0)\n"
        '@pytest.mark.onnxlite_latency(label="four", batch_size=4, max_time=0.5, max_slowdown=1.0)',
    )
    project.save()
    saved = json.loads(project.baseline.read_text())
    (machine,) = saved["machines"].values()
    assert (machine["latency"]["batch_size"], machine["latency[four]"]["batch_size"]) == (1, 4)
    assert {"latency", "latency[four]"} <= {name.replace("latency_ratio", "latency") for name in saved["first"]}
    project.compare("--onnxlite-report=r.json").assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    judged = {(v["check"], v["against"]): v["outcome"] for v in record["verdicts"]}
    assert judged["latency", "baseline"] in ("pass", "improved")
    assert judged["latency[four]", "baseline"] in ("pass", "improved")
    assert judged["latency[four]", "runtime"] == "pass"  # held against what was saved under its own label


@pytest.mark.parametrize(
    ("markers", "said"),
    [
        (
            f'{LOOSE}\n@pytest.mark.onnxlite_size(label="loose")',
            "*onnxlite_size stands here twice with the label 'loose', and only one of the two would be judged.*",
        ),
        (f"{PLAIN}\n@pytest.mark.onnxlite_size(tolerance=0.5)", "*stands here twice without a label*"),
        ('@pytest.mark.onnxlite_size(label="a b")', "*label='a b'; expected 1 to 64 letters, digits*"),
        ("@pytest.mark.onnxlite_size(label=3)", "*label=3; expected 1 to 64 letters*"),
    ],
)
def test_what_tells_nothing_apart_is_an_error(project: Project, markers: str, said: str) -> None:
    write(project, 1, markers)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_a_closer_marker_still_sharpens_one_of_the_same_label(project: Project) -> None:
    write(project, 4, LOOSE)
    text = (project.path / "test_release.py").read_text()
    module = f"import pytest\npytestmark = [{PLAIN[1:]}(max='1 kB'), {LOOSE[1:]}]\n"
    sharper = '@pytest.mark.onnxlite_size(max="1 MB")\n' + LOOSE.replace("0.5", "0.4")
    (project.path / "test_release.py").write_text(text.replace("import pytest\n", module).replace(LOOSE, sharper))
    project.run("--onnxlite-report=r.json").assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert {name: limit["tolerance"] for name, limit in record["limits"].items()} == {"size": 0.05, "size[loose]": 0.4}


def declare(project: Project, sizes: str) -> None:
    dense(project.path / "onnx.onnx", 2, width=64)
    np.savez(project.path / "data.npz", x=X)
    (project.path / "pyproject.toml").write_text(
        f'[tool.onnxlite.models.net]\nonnx = "onnx.onnx"\ndata = "data.npz"\nvariants = ["onnx"]\nsize = {sizes}\n'
    )


def test_limits_of_declared_models_have_labels_too(project: Project, pytester: pytest.Pytester) -> None:
    declare(project, '[{}, {label = "loose", tolerance = 0.5}]')
    result = project.run("--onnxlite-save-baseline", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["onnxlite::net::onnx::size PASSED*", "onnxlite::net::onnx::size[[]loose] PASSED*"])
    assert "size[loose]" in json.loads(project.baseline.read_text())
    part = project.compare("onnxlite::net::onnx::size[loose]")
    part.assert_outcomes(passed=1)
    part.stdout.fnmatch_lines(
        ["partial: 0 of 1 baseline looked at.", "*not looked at in this run: size of net/onnx.json"]
    )
    project.compare("--onnxlite-complete").assert_outcomes(passed=2)
    declare(project, "[{}]")
    project.compare().stdout.fnmatch_lines(["*size[[]loose] of net/onnx.json*declared no longer*"])
    declare(project, '[{label = "loose"}, {label = "loose"}]')
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*size is limited twice with the label 'loose'*told apart by label=*"])
