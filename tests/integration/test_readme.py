"""The README is true: its first steps work as they stand, and its outputs, and those of docs/failures.md, are what is printed.

ONNXLITE_UPDATE_README=1 writes the outputs of this run into them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pytest_onnxlite.options import INI_ONLY, OPTIONS
from pytest_onnxlite.registry import Registry, marker_of

from onnx_models import dense, quantize, ruin, two_outputs, wide
from projects import REPOSITORY, Digits, Project

README = REPOSITORY / "README.md"
PAGES = (README, REPOSITORY / "docs" / "failures.md")
Scenario = Callable[["Stage"], pytest.RunResult]


class Stage:
    """What a scenario needs: a project, the example model, a folder."""

    def __init__(self, project: Project, digits: Digits, folder: Path) -> None:
        self.project = project
        self.digits = digits
        self.folder = folder

    def guard(self, int8: Path | None = None, **options: Any) -> Project:
        files = {"onnx": self.digits.onnx, "int8": int8 or self.digits.int8}
        self.project.write(files, self.digits.x, self.digits.y, **options)
        return self.project

    def replaced(self, before: Path, after: Path, x: Any, marker: str, *arguments: str) -> pytest.RunResult:
        self.project.write({"onnx": before}, x, variant="onnx", markers=f"@pytest.mark.{marker}")
        self.project.save()
        self.project.replace("onnx.onnx", after)
        return self.project.compare(*arguments)


EVERYTHING = "\n".join(f"@pytest.mark.onnxlite_{c}" for c in ("accuracy", "size", "latency", "memory", "graph"))


def passing(stage: Stage) -> pytest.RunResult:
    project = stage.guard(markers=EVERYTHING)
    project.save()
    return project.compare()


def accuracy(stage: Stage) -> pytest.RunResult:
    return stage.guard(ruin(stage.digits.int8, stage.folder / "ruined.onnx")).run()


def size(stage: Stage) -> pytest.RunResult:
    nodes = [node.name for node in onnx.load(stage.digits.onnx).graph.node if node.op_type == "MatMul"]
    half = quantize(stage.digits.onnx, stage.folder / "half.onnx", nodes_to_exclude=nodes[:1])
    return stage.guard(half, markers="@pytest.mark.onnxlite_size(ratio=0.25)").run()


def latency(stage: Stage) -> pytest.RunResult:
    x = np.ones((4, 256), np.float32)
    # Which of equal nodes a profile finds slowest is not the same twice.
    return stage.replaced(
        dense(stage.folder / "a.onnx", 10),
        dense(stage.folder / "b.onnx", 12),
        x,
        "onnxlite_latency(max_slowdown=0.05)",
        "--onnxlite-explain-time=0",
    )


def memory(stage: Stage) -> pytest.RunResult:
    x = np.ones((4, 1, 64, 64), np.float32)
    return stage.replaced(
        wide(stage.folder / "a.onnx", 512), wide(stage.folder / "b.onnx", 1024), x, "onnxlite_memory(max_growth=0.05)"
    )


def graph(stage: Stage) -> pytest.RunResult:
    before, after = two_outputs(stage.folder / "a.onnx"), two_outputs(stage.folder / "b.onnx", ("digit", "result"))
    return stage.replaced(before, after, np.ones((4, 8), np.float32), "onnxlite_graph")


def missing(stage: Stage) -> pytest.RunResult:
    return stage.guard(markers=EVERYTHING).compare()


def not_measured(stage: Stage) -> pytest.RunResult:
    project = stage.guard(markers="@pytest.mark.onnxlite_latency")
    project.save()
    return project.compare("--benchmark-disable")


def other_data(stage: Stage) -> pytest.RunResult:
    project = stage.guard()
    project.save()
    np.savez(project.path / "data.npz", x=stage.digits.x[:900], y=stage.digits.y[:900])
    return project.compare()


def forgotten(stage: Stage) -> pytest.RunResult:
    project = stage.guard(markers="@pytest.mark.onnxlite_size")
    project.save()
    shutil.copytree(project.path / "baselines" / "digits", project.path / "baselines" / "faces")
    return project.compare()


# The pages show what a newer one prints.
OLDER_RUNTIME = tuple(map(int, version("onnxruntime").split(".")[:2])) < (1, 32)
SCENARIOS: dict[str, Scenario] = {
    "pass": passing,
    "accuracy": accuracy,
    "size": size,
    "latency": latency,
    "memory": memory,
    "graph": graph,
    "missing": missing,
    "not measured": not_measured,
    "other data": other_data,
    "forgotten": forgotten,
}


def excerpt(result: pytest.RunResult, root: Path) -> str:
    """Return what a reader should see: the failure's text, or the summary."""
    text = result.stdout.str().replace(f"{root}{os.sep}", "")
    failure = re.search(r"^_+ test_release _+\n(.*?)(?=^=|^-+ benchmark)", text, re.DOTALL | re.MULTILINE)
    if failure:
        return failure[1].rstrip()
    summary = re.search(r"^=+ onnxlite: [^\n]* =+\n(.*?)(?=^=)", text, re.DOTALL | re.MULTILINE)
    assert summary, text
    # Whether INT8 is slower than float is the processor's affair.
    return re.sub(r"^\S+ int8: slower than [^\n]*\n", "", summary[0], flags=re.MULTILINE).strip()


def block(name: str) -> tuple[Path, re.Match[str]]:
    """Return the page that shows an output, and the place."""
    form = re.compile(rf"(<!-- output: {name} -->\n```text\n)((?:(?!```).)*)(\n```)", re.DOTALL)
    ((page, found),) = [(page, found) for page in PAGES for found in form.finditer(page.read_text(encoding="utf-8"))]
    return page, found


def masked(text: str) -> str:
    """Figures differ from machine to machine; words do not."""
    return re.sub(r"\s+", " ", re.sub(r"\d[\d.,]*", "#", text)).strip()


@pytest.mark.alone
@pytest.mark.parametrize("name", SCENARIOS)
def test_an_output_in_the_docs_is_what_is_printed(project: Project, digits: Digits, tmp_path: Path, name: str) -> None:
    result = SCENARIOS[name](Stage(project, digits, tmp_path))
    assert result.ret == (0 if name == "pass" else 1), result.stdout.str()
    printed = excerpt(result, project.path)
    page, shown = block(name)
    if os.environ.get("ONNXLITE_UPDATE_README"):
        page.write_text(shown.string[: shown.start(2)] + printed + shown.string[shown.end(2) :], encoding="utf-8")
    elif name == "memory" and OLDER_RUNTIME:
        # Which nodes allocate is the runtime's affair.
        assert masked(printed).partition("; most by")[0] == masked(shown[2]).partition("; most by")[0]
    else:
        assert masked(printed) == masked(shown[2])


def test_each_output_in_the_docs_is_made_by_a_scenario() -> None:
    shown = [name for page in PAGES for name in re.findall(r"<!-- output: (.*?) -->", page.read_text(encoding="utf-8"))]
    assert sorted(shown) == sorted(SCENARIOS)


def code_blocks(section: str) -> dict[str, str]:
    """Return the named code blocks of a section: ```python title comment `# conftest.py`."""
    text = README.read_text(encoding="utf-8")
    part = text.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", part, re.DOTALL)
    return dict(blocks)


@pytest.mark.alone
def test_the_first_five_minutes_work_as_they_stand(pytester: pytest.Pytester, digits: Digits) -> None:
    for name, code in code_blocks("Five minutes").items():
        (pytester.path / name).write_text(code)
    (pytester.path / "models").mkdir()
    shutil.copyfile(digits.trained, pytester.path / "models" / "digits.keras")
    np.savez(pytester.path / "models" / "evaluation.npz", x=digits.x, y=digits.y)
    assert {path.name for path in pytester.path.glob("*.py")} == {"conftest.py", "test_release.py"}
    saved = pytester.runpytest("--onnxlite-save-baseline", "-p", "no:randomly")
    saved.assert_outcomes(passed=1)
    pytester.runpytest("--onnxlite-baseline", "-p", "no:randomly").assert_outcomes(passed=1)


def test_every_option_marker_and_argument_is_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    names = [f"--onnxlite-{name}" for name, _, _ in OPTIONS]
    names += [f"onnxlite_{name}" for name, _, _ in INI_ONLY]
    assert [name for name in names if name not in text] == []
    of_each = {"variant", "label"}  # said once, above the table
    for check in Registry.load().checks.values():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{marker_of(check.name)}` |"))
        assert [name for name in check.limit.names() if name not in of_each and f"`{name}`" not in row] == []
