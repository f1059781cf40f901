"""Model and runtime judged together: the last release in its own runtime, in processes of its own."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtimes
from onnx_models import dense
from projects import Project

HERE, LAST = version("onnxruntime"), "1.2.3"
MEMORY = '@pytest.mark.onnxlite_memory(runtime="last", max_growth=0.2)'
LATENCY = '@pytest.mark.onnxlite_latency(runtime="last", max_slowdown=0.5, max_time=10)'


def rewrite(project: Project, **runtime: object) -> None:
    """Let the last release have had another runtime."""
    content = json.loads(project.baseline.read_text())
    content["runtime"] |= runtime
    project.baseline.write_text(json.dumps(content))


@pytest.fixture
def release(project: Project, tmp_path: Path) -> Project:
    """A saved release whose memory is guarded, of model and runtime together."""
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 2)}, x, variant="onnx", markers=MEMORY)
    project.save()
    return project


def verdicts(project: Project) -> dict[tuple[str, str], dict[str, Any]]:
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    return {(found["check"], found["against"]): found for found in record["verdicts"]}


def words(result: pytest.RunResult) -> str:
    return re.sub(r"\s+", " ", result.stdout.str())


@pytest.mark.alone
def test_a_runtime_that_got_slower_and_hungrier_is_found_although_both_run_today(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.ones((4, 256), np.float32)
    project.write({"onnx": dense(tmp_path / "a.onnx", 6)}, x, variant="onnx", markers=f"{LATENCY}\n{MEMORY}")
    project.save()
    rewrite(project, version=LAST)
    there = f"--onnxlite-last-runtime={runtimes.folder(tmp_path / 'last', LAST)}"
    clean = project.run("--onnxlite-baseline", there, subprocess=True)
    clean.assert_outcomes(passed=1)
    clean.stdout.re_match_lines(
        [rf"digits +onnx +.*x last \(onnxruntime {LAST}\) .*x last \(onnxruntime {LAST}\).* pass"]
    )

    # Today's takes twice as long and holds on to memory; so would the last release in it.
    monkeypatch.setenv("PYTHONPATH", str(runtimes.folder(tmp_path / "slow", "", runtimes.SLOW)))
    result = project.run("--onnxlite-baseline", there, "--onnxlite-report=r.json", subprocess=True)
    result.assert_outcomes(failed=1)
    found = verdicts(project)
    assert found.keys() == {("latency", "baseline"), ("memory", "baseline")}
    assert {verdict["outcome"] for verdict in found.values()} == {"fail"}
    evidence = found["latency", "baseline"]["evidence"]
    assert 1.7 < evidence["first"]["median"] < 2.6
    assert evidence["runtime"] == f"onnxruntime {LAST}"
    assert found["memory", "baseline"]["evidence"]["runtime"] == f"onnxruntime {LAST}"
    text = words(result)
    assert f"against the last release in onnxruntime {LAST}, noise" in text
    assert f"needs more memory than the last release in onnxruntime {LAST}: " in text
    assert "Model and runtime are judged together: the candidate ran in today's runtime" in text
    # The profile of both, in one runtime, tells it from the model.
    assert "the last release in the same runtime" in text


def test_the_last_releases_runtime_must_be_there_and_be_that_one(release: Project, tmp_path: Path) -> None:
    # Nothing changed: today's runtime is the last one.
    release.compare().assert_outcomes(passed=1)
    rewrite(release, version=LAST)
    red = release.compare()
    red.assert_outcomes(failed=1)
    assert f"that was onnxruntime {LAST}, and here is onnxruntime {HERE}" in words(red)
    assert "--onnxlite-last-runtime=DIR; or let pip install it into the cache: --onnxlite-last-runtime=auto" in words(
        red
    )
    # If nothing is compared, nothing of it is needed.
    release.run().assert_outcomes(skipped=1)
    refused = release.run("--onnxlite-save-baseline")
    assert refused.ret == 1
    assert "it fails its limits: memory (not comparable)" in words(refused)

    other = runtimes.folder(tmp_path / "other", "1.2.4")
    empty = tmp_path / "empty"
    empty.mkdir()
    old = tmp_path / "old"
    (old / "lib" / "python3.1" / "site-packages").mkdir(parents=True)
    (old / "pyvenv.cfg").write_text("home = /usr/bin\n")
    broken = runtimes.folder(tmp_path / "broken", LAST, "raise ImportError('no such kernel')\n")
    for folder, said in (
        (other, f"holds onnxruntime 1.2.4, and the last release was saved with {LAST}"),
        (empty, "holds no onnxruntime. Install it there: pip install --target"),
        (old, "is a virtual environment of another Python"),
        (broken, "cannot be loaded in this Python: ImportError: no such kernel"),
    ):
        result = release.compare(f"--onnxlite-last-runtime={folder}")
        result.assert_outcomes(failed=1)
        assert said in words(result)

    missing = release.compare("--onnxlite-last-runtime=nowhere")
    assert missing.ret == 4
    assert "--onnxlite-last-runtime=nowhere: no such folder" in missing.stderr.str() + missing.stdout.str()


def test_a_virtual_environment_is_a_folder_of_packages_too(release: Project, tmp_path: Path) -> None:
    name = "Lib" if sys.platform == "win32" else f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
    runtimes.folder(tmp_path / "venv" / name / "site-packages", LAST)
    (tmp_path / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    rewrite(release, version=LAST)
    result = release.compare(f"--onnxlite-last-runtime={tmp_path / 'venv'}")
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([rf"digits +onnx +.*x last \(onnxruntime {LAST}\).* pass"])


def test_auto_lets_pip_install_it_once(release: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = runtimes.wheel(tmp_path / "wheels", LAST)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    rewrite(release, version="1.2.2")
    red = release.compare("--onnxlite-last-runtime=auto")
    red.assert_outcomes(failed=1)
    assert "pip could not install onnxruntime==1.2.2 for Python" in words(red)
    assert "No matching distribution found for onnxruntime==1.2.2" in words(red)

    rewrite(release, version=LAST)
    own = f"--onnxlite-cache-dir={tmp_path / 'cache'}"
    release.compare("--onnxlite-last-runtime=auto", own).assert_outcomes(passed=1)
    (place,) = (tmp_path / "cache").glob("runtime-*")
    assert (place / "onnxruntime" / "__init__.py").is_file()
    for file in wheels.iterdir():
        file.unlink()
    again = release.compare("--onnxlite-last-runtime=auto", own)
    again.assert_outcomes(passed=1)
    again.stdout.re_match_lines([rf"digits +onnx +.*x last \(onnxruntime {LAST}\).* pass"])


def test_options_that_changed_are_the_last_releases_own_too(release: Project) -> None:
    rewrite(release, options={"threads": "2"})
    result = release.compare()
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([rf"digits +onnx +.*x last \(onnxruntime {HERE}, threads 2\).* pass"])


def test_another_word_is_a_usage_error(release: Project) -> None:
    test = next(release.path.glob("test_*.py"))
    test.write_text(test.read_text().replace('"last"', '"before"'))
    result = release.compare()
    assert result.ret == 4
    assert "runtime='before'; expected 'last'" in result.stderr.str() + result.stdout.str()
