"""Each message has its place on the page of failures, each place has its message, and what is red prints where it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import pytest_onnxlite
from pytest_onnxlite import ModelSpec, OnnxliteError, check_graph, topics
from pytest_onnxlite.checks import NAMES
from pytest_onnxlite.checks.verdict import Outcome

from projects import REPOSITORY

PACKAGE = Path(pytest_onnxlite.__file__).parent
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
TOPICS = {
    *topics.SOURCES.values(),
    *topics.OUTCOMES.values(),
    *topics.RUN,
    *topics.START,
    *NAMES,
    topics.RUNTIME,
    topics.OWN_CHECK,
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def mistakes() -> set[str]:
    """Return the names of the exceptions that are a user's mistake, or a fault that a user can act on."""
    names = {"OnnxliteError", "UsageMistake"}
    classes = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while True:
        more = {one.name for one in classes if names & {base.id for base in one.bases if isinstance(base, ast.Name)}}
        if more <= names:
            return names
        names |= more


def makers() -> set[str]:
    """Return the modules that make such a one."""
    names = mistakes()
    return {
        module_of(path)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    }


def anchors() -> set[str]:
    """Return the places of the page that are about a message."""
    text = (REPOSITORY / topics.PAGE).read_text(encoding="utf-8")
    titles = re.findall(r"^### (.+)$", text, re.MULTILINE) + re.findall(r"^## (Commands)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_page_has_a_place_for_each_topic_and_no_other() -> None:
    assert anchors() == TOPICS


def test_each_module_that_finds_a_mistake_has_a_topic() -> None:
    found = makers()
    assert len(found) > 50
    assert {module for module in found if not topics.of_module(module)} == set()


def test_each_entry_of_the_table_is_a_module_that_finds_mistakes() -> None:
    known = {*makers(), "fixtures", "hooks.session"}  # those fail a test without an exception of ours
    assert {name for name in topics.SOURCES if not any(f"{one}.".startswith(f"{name}.") for one in known)} == set()


def test_each_state_that_can_be_red_has_a_topic() -> None:
    good = {Outcome.PASS, Outcome.IMPROVED, Outcome.FAIL}
    assert topics.OUTCOMES.keys() == {str(outcome) for outcome in set(Outcome) - good}


def test_each_topic_of_a_run_is_printed() -> None:
    wanted = {*topics.RUN, *topics.START}
    own = {name for name, value in vars(topics).items() if isinstance(value, str) and value in wanted}
    assert len(own) == len(wanted)
    used = {
        node.id
        for path, tree in TREES.items()
        if path.stem != "topics"
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("see", "told", "self._refuse")
        for node in ast.walk(call)
        if isinstance(node, ast.Name)
    }
    assert own - used == set()


@pytest.mark.parametrize(
    ("check", "outcome", "topic"),
    [
        ("size", "fail", "size"),
        ("ece", "fail", topics.OWN_CHECK),
        ("runtime", "fail", "runtime"),
        ("latency", "inconclusive", "inconclusive"),
        ("ece", "not comparable", "not-comparable"),
    ],
)
def test_a_verdict_stands_under_its_check_or_its_state(check: str, outcome: str, topic: str) -> None:
    assert topics.of_verdict(check, outcome, NAMES) == topic


def test_a_mistake_stands_where_the_module_that_found_it_does(tmp_path: Path) -> None:
    with pytest.raises(OnnxliteError) as described:
        ModelSpec("digits", onnx=tmp_path / "gone.onnx")
    with pytest.raises(OnnxliteError) as read:
        check_graph(tmp_path / "gone.onnx")
    assert topics.of_error(described.value) == "what-a-modelspec-says"
    assert topics.of_error(read.value) == "a-file-that-cannot-be-read"
    assert topics.of_error(ValueError()) == topics.NO_TOPIC
    assert topics.address("size") == "docs/failures.md#size"
    assert topics.told("it is so", "size") == topics.told("it is so.", "size") == "it is so. See docs/failures.md#size"
