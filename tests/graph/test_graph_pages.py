"""The pages say what the checks do."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest

from pytest_onnxlite.lint import RULES
from pytest_onnxlite.linter.output import examples

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import graph_pages  # noqa: E402


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_the_page_lists_every_code_and_no_other():
    listed = re.findall(r"^### (OLX\d+)", page("graph-checks.md"), re.MULTILINE)
    assert listed == sorted(RULES)


def test_the_examples_are_what_the_checks_say():
    # Figures of the quantizer differ from version to version: the prose must not.
    def prose(text: str) -> list[str]:
        return re.sub(r"```text\n.*?\n```", "", text, flags=re.DOTALL).splitlines()

    made, kept = graph_pages.examples(), page("graph-checks.md")
    assert prose(graph_pages.checks_page(made)) == prose(kept), "run python benchmarks/graph_pages.py"
    assert kept.count("```text") == len(RULES)
    # What the linter explains is what the page shows.
    assert list(examples()) == sorted(RULES)
    assert graph_pages.checks_page(examples()) == kept, "run python benchmarks/graph_pages.py"


def test_the_table_of_mutations_is_true():
    kept = page("graph-mutations.md")
    pytest.importorskip("onnx_doctor", reason="the oldest versions that are allowed are older than it needs")
    doctor = importlib.metadata.version("onnx-doctor")
    versions = f"With onnx {onnx.__version__}, ONNX Runtime {onnxruntime.__version__}, onnx-doctor {doctor}:"
    if versions not in kept:
        pytest.skip(f"the page was written for other versions than {versions}")
    assert graph_pages.mutations_page() == kept, "run python benchmarks/graph_pages.py"
