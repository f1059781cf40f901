"""Names out of a model are data: none puts a line of its own, a command or an escape sequence into a report."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from pytest_onnxlite.checks.verdict import Explanation, Outcome, Verdict
from pytest_onnxlite.lint.finding import report
from pytest_onnxlite.text import MOST_LETTERS, shown, shown_lines

from onnx_models import edit, lookup
from projects import Project

EVIL = "x\n::add-mask::y\r::error::z\x1b[31m\u202e\u2028##[group]"
LONG = "w" * 5000
COMMAND = re.compile(r"^\s*::(?!notice |error )|##\w*\[", re.M)
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]")


def require_harmless(text: str) -> None:
    assert not COMMAND.search(text)
    assert not STEERING.search(text)
    assert LONG not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("matmul_1: 3 of 4 ± 2 … ≥", "matmul_1: 3 of 4 ± 2 … ≥"),
        ("x\n::add-mask::y", "x\\n::add-mask::y"),
        ("  ::error::y", "  \\::error::y"),
        ("a::b", "a::b"),
        ("a ##[error]b ##vso[task]c ## d", "a ##\\[error]b ##\\vso[task]c ## d"),
        ("\x1b[31m\x07\x9b\ud800\u202e", "\\x1b[31m\\x07\\x9b\\ud800\\u202e"),
    ],
)
def test_what_steers_is_escaped_and_the_rest_stays(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert shown(expected) == expected


@given(st.text())
def test_shown_text_is_one_line_and_stays_as_it_is(text: str) -> None:
    once = shown(text)
    assert once.isprintable()
    assert len(once.splitlines()) <= 1
    assert shown(once) == once
    require_harmless(once)


def test_what_is_long_is_cut_in_its_middle() -> None:
    cut = shown("a" + LONG + "b")
    assert (cut[0], cut[-1], len(cut) <= MOST_LETTERS + 1) == ("a", "b", True)
    assert shown_lines(f"a\n{LONG}\nb").split("\n")[2] == "b"


def test_verdicts_explanations_and_findings_only_show() -> None:
    verdict = Verdict("size", "limit", Outcome.FAIL, EVIL, f"first\n{EVIL}", remarks=(EVIL,))
    why = Explanation(EVIL, (f"  {EVIL}: 3 dB",), details=(EVIL,))
    for text in (
        verdict.figure,
        *verdict.remarks,
        why.why,
        *why.lines,
        *why.details,
        report("OLX105", EVIL, EVIL, LONG).where,
    ):
        assert "\n" not in text
        require_harmless(text)
    require_harmless(verdict.message)
    require_harmless(report("OLX105", EVIL, EVIL, LONG).render())


def with_names(source: Path, target: Path) -> Path:
    """Give a model an unused weight, a node and an output that are called so."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        graph.initializer.append(numpy_helper.from_array(np.ones(300, np.float32), EVIL))
        graph.initializer.append(numpy_helper.from_array(np.ones(300, np.float32), LONG))
        graph.node[-1].name = f"node {EVIL}"
        graph.node[-1].output[0] = graph.output[0].name = f"out {EVIL}"

    return edit(source, target, change)


def test_no_report_obeys_a_name(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [i % 10 for i in range(100)]
    plain = lookup(project.path / "a.onnx", answers)
    int8 = with_names(lookup(project.path / "b.onnx", answers, int8=True), project.path / "c.onnx")
    markers = "@pytest.mark.onnxlite_graph\n@pytest.mark.onnxlite_size(ratio=0.1)\n@pytest.mark.onnxlite_accuracy"
    project.write({"onnx": plain, "int8": int8}, np.arange(100)[:, None], np.array(answers), markers=markers)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    options = [f"--onnxlite-{option}" for option in ("report=r.json", "html=r.html", "markdown=r.md", "explain")]
    result = project.run("--junitxml=r.xml", "-rA", *options)
    assert result.ret == 1
    output = result.stdout.str()
    assert "x\\n::add-mask::y" in output
    require_harmless(output)
    for name in ("r.html", "r.md", "r.xml"):
        text = (project.path / name).read_text(encoding="utf-8")
        assert "add-mask" in text, name
        require_harmless(text)
    # JSON holds names as they are, as data; what is rendered from it later is as harmless.
    rendered = project.pytester.run("python", "-m", "pytest_onnxlite", "report", "r.json").stdout.str()
    assert "add-mask" in rendered
    require_harmless(rendered)
