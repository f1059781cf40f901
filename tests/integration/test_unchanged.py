"""A file that is the last release's, byte for byte, is not timed against itself: all that this could find is a false alarm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pytest_onnxlite.checks.latency.stopwatch import Stopwatch

from onnx_models import dense, in_other_bytes
from projects import UNEXPLAINED, Project

ONE = np.ones((4, 256), np.float32)
EACH = """
@pytest.mark.onnxlite_latency(max_slowdown=1.0, max_time=20)
@pytest.mark.onnxlite_latency(percentile=90, max_slowdown=1.0, max_time=20)
@pytest.mark.onnxlite_latency(phase="load", max_slowdown=1.0, max_time=20)
@pytest.mark.onnxlite_throughput(clients=2, max_slowdown=1.0, max_time=20)
"""


def compared(project: Project) -> dict[str, bool]:
    """Compare, and return whether each limit took the file for the last release's."""
    result = project.compare("--onnxlite-report=r.json", "--onnxlite-html=r.html", "-v", UNEXPLAINED)
    result.assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    found = {}
    for check, measured in record["measured"].items():
        comparison = measured["comparison"] if check == "throughput" else measured["comparisons"]["baseline"]
        found[check] = comparison["same"]
        assert set(comparison["first"]) == {1.0} or not comparison["same"]
    page = (project.path / "r.html").read_text()
    assert (", the same file" in page) is any(found.values())
    assert ("First set" in page) is not any(found.values())
    assert result.stdout.str().count(", the same file") == sum(found.values())
    return found


@pytest.mark.alone
def test_only_a_file_that_changed_is_timed_in_turns(project: Project, tmp_path: Path) -> None:
    model = dense(tmp_path / "a.onnx", 4)
    project.write({"onnx": model}, ONE, variant="onnx", markers=EACH)
    project.save()
    limits = ["latency", "latency[p90]", "latency[load]", "throughput"]
    assert compared(project) == dict.fromkeys(limits, True)
    project.replace("onnx.onnx", in_other_bytes(model, tmp_path / "same.onnx"))
    assert compared(project) == dict.fromkeys(limits, False)
    # The kept file is what is looked at, and not what the baseline says of it.
    project.artefact.unlink()
    project.replace("onnx.onnx", model)
    result = project.compare(UNEXPLAINED)
    result.assert_outcomes(failed=1)
    assert "the same file" not in result.stdout.str()


@pytest.mark.alone
def test_where_no_file_is_kept_one_with_the_bytes_that_were_saved_is_the_last_release(
    project: Project, tmp_path: Path
) -> None:
    model = dense(tmp_path / "a.onnx", 4)
    markers = f"{EACH}@pytest.mark.onnxlite_memory(max_growth=0.5)\n"
    project.write({"onnx": model}, ONE, variant="onnx", markers=markers)
    project.pytester.makeini("[pytest]\nonnxlite_keep_artefact = false\n")
    project.save()
    result = project.compare("--onnxlite-report=r.json")
    result.assert_outcomes(passed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert {v["outcome"] for v in record["verdicts"] if v["against"] == "baseline"} == {"pass"}
    assert record["measured"]["latency"]["comparisons"]["baseline"]["same"]
    # Other bytes are another file, and of the one that was saved there is nothing.
    project.replace("onnx.onnx", in_other_bytes(model, tmp_path / "same.onnx"))
    result = project.compare("--onnxlite-report=r.json", UNEXPLAINED)
    result.assert_outcomes(failed=1)
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    assert {v["outcome"] for v in record["verdicts"] if v["against"] == "baseline"} == {"not comparable"}


@pytest.mark.alone
def test_a_file_that_did_not_change_opens_one_session_at_a_time(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    open_session = Stopwatch._open

    def noted(self: Stopwatch, path: Path) -> object:
        opened.append(path.name)
        return open_session(self, path)

    monkeypatch.setattr(Stopwatch, "_open", noted)
    limit = "@pytest.mark.onnxlite_latency(max_slowdown=1.0)"
    project.write({"onnx": dense(tmp_path / "a.onnx", 4)}, ONE, variant="onnx", markers=limit)
    project.save()
    opened.clear()
    project.compare().assert_outcomes(passed=1)
    assert set(opened) == {"onnx.onnx"}
    assert len(opened) == 9  # and one to see how long an inference takes


@pytest.mark.alone
def test_what_the_float_model_is_to_it_is_timed_all_the_same(project: Project, tmp_path: Path) -> None:
    """The limit against another variant knows nothing of releases: a file that did not change can be red of it."""
    files = {"onnx": dense(tmp_path / "a.onnx", 2), "int8": dense(tmp_path / "b.onnx", 24, int8=True)}
    project.write(files, ONE, markers="@pytest.mark.onnxlite_latency(max_slowdown=1.0)")
    project.save()
    limit = "@pytest.mark.onnxlite_latency(max_slowdown=1.0, max_ratio=1.5)"
    (project.path / "test_release.py").write_text(
        f"import pytest\n\n{limit}\ndef test_release(onnxlite_int8):\n    pass\n"
    )
    result = project.compare("--onnxlite-report=r.json", UNEXPLAINED)
    result.assert_outcomes(failed=1)
    assert "at most 1.5x allowed (max_ratio=1.5" in result.stdout.str()
    (record,) = json.loads((project.path / "r.json").read_text())["records"]
    comparisons = record["measured"]["latency"]["comparisons"]
    assert {name: one["same"] for name, one in comparisons.items()} == {"float": False, "baseline": True}
