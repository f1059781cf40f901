"""Limits of one test share what a model answers: run once, never stale, and never changed by one of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite.spec.dataset import Dataset, count_samples
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.shared import SharedOutputs
from pytest_onnxlite.variants.variant import OnnxVariant, RuntimeVariant

from onnx_models import lookup
from projects import Project

COUNT = 200
INDEX = np.arange(COUNT, dtype=np.int64).reshape(-1, 1)
RIGHT = np.arange(COUNT) % 10


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often each kind was run on all samples, at which batch size."""
    found: Counter[tuple[str, int]] = Counter()
    answer = RuntimeVariant.answer

    def counting(self: RuntimeVariant, inputs: Any, batch_size: int) -> Any:
        if count_samples(inputs) == COUNT:
            found[self.kind, batch_size] += 1
        return answer(self, inputs, batch_size)

    monkeypatch.setattr(RuntimeVariant, "answer", counting)
    return found


def test_all_metrics_and_the_check_of_outputs_take_one_run(
    project: Project, tmp_path: Path, runs: Counter[tuple[str, int]]
) -> None:
    markers = '@pytest.mark.onnxlite_accuracy(metric={"top1": 0.01, "top5": 0.005})\n@pytest.mark.onnxlite_outputs'
    files = {"onnx": lookup(tmp_path / "a.onnx", RIGHT), "int8": lookup(tmp_path / "q.onnx", RIGHT, int8=True)}
    project.write(files, INDEX, RIGHT, markers=markers)
    project.run().assert_outcomes(passed=1)
    assert runs == {("onnx", 1): 1, ("int8", 1): 1}
    # Another batch size is another run, and the next test asks anew.
    runs.clear()
    test = f"""import pytest
@pytest.mark.onnxlite_accuracy
@pytest.mark.onnxlite_accuracy(batch_size=8, label="eight")
{markers.splitlines()[1]}
def test_release(onnxlite_int8): pass
@pytest.mark.onnxlite_accuracy
def test_again(onnxlite_int8): pass
"""
    (project.path / "test_release.py").write_text(test)
    project.run().assert_outcomes(passed=2)
    assert runs == {("onnx", 1): 2, ("int8", 1): 2, ("onnx", 8): 1, ("int8", 8): 1}


def test_a_metric_that_writes_into_outputs_changes_nothing_for_the_next(project: Project, tmp_path: Path) -> None:
    (project.path / "mine.py").write_text(
        "def spoiled(outputs, labels):\n    right = outputs.argmax(1) == labels\n    outputs[:] = 0\n    return right\n"
    )
    markers = '@pytest.mark.onnxlite_accuracy(metric="mine:spoiled")\n@pytest.mark.onnxlite_accuracy(min=1.0)\n@pytest.mark.onnxlite_outputs'
    files = {"onnx": lookup(tmp_path / "a.onnx", RIGHT), "int8": lookup(tmp_path / "q.onnx", RIGHT, int8=True)}
    project.write(files, INDEX, RIGHT, markers=markers)
    project.pytester.syspathinsert(project.path)
    project.run().assert_outcomes(passed=1)


def test_outputs_that_are_large_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: Counter[tuple[str, int]]
) -> None:
    shared, variant = SharedOutputs(), OnnxVariant("m", "onnx", lookup(tmp_path / "a.onnx", RIGHT), Runtime())
    for most, count in ((COUNT * 40, 1), (COUNT * 40 - 1, 2)):
        monkeypatch.setattr("pytest_onnxlite.variants.shared._MOST_BYTES", most)
        runs.clear()
        with shared.kept():
            for _ in range(2):
                shared.run(variant, Dataset(INDEX), 1)
        assert runs["onnx", 1] == count


def test_what_is_kept_is_of_that_file_that_data_and_that_runtime(tmp_path: Path) -> None:
    shared, path = SharedOutputs(), lookup(tmp_path / "a.onnx", RIGHT)
    data, wrong = Dataset(INDEX), Dataset(INDEX[::-1].copy())

    def answers(data: Dataset, runtime: Runtime | None = None, batch_size: int = 1) -> list[int]:
        # As for a last release, a variant of its own each time.
        variant = OnnxVariant("m", "onnx", path, runtime or Runtime())
        return list(shared.run(variant, data, batch_size)["digit"].argmax(1))

    with shared.kept():
        assert answers(data) == [*RIGHT]
        assert answers(wrong) == [*RIGHT[::-1]]
        lookup(path, (RIGHT + 1) % 10)  # written anew under the same name
        assert answers(data) == [*((RIGHT + 1) % 10)]
        before = len(shared._kept or [])
        answers(data, Runtime(threads=2))
        answers(data, batch_size=4)
        assert len(shared._kept or []) == before + 2
    assert shared._kept is None
