"""The table of checks: a name with a label finds the check, whoever asks."""

from __future__ import annotations

import pytest

from pytest_onnxlite.labels import ByName, labelled

TABLE = ByName({"latency": 1, "memory": 2})


def test_a_label_finds_what_stands_under_the_name() -> None:
    assert TABLE["latency"] == TABLE["latency[long]"] == TABLE[labelled("latency", "load:short")] == 1
    assert TABLE.get("memory[x]") == 2
    assert "memory[x]" in TABLE
    assert ([*TABLE], len(TABLE)) == (["latency", "memory"], 2)


@pytest.mark.parametrize("name", ["size", "size[long]", "latency[", "latency[]", "latency[a][b]", "[latency]", ""])
def test_nothing_else_does(name: str) -> None:
    assert name not in TABLE
    assert TABLE.get(name) is None
    with pytest.raises(KeyError):
        TABLE[name]


def test_names_are_put_in_its_order() -> None:
    names = {"memory", "size", "latency[b]", "latency", "latency[a]"}
    assert TABLE.in_order(names) == ["latency", "latency[a]", "latency[b]", "memory", "size"]
    assert TABLE.known(names) == [("latency", 1), ("latency[a]", 1), ("latency[b]", 1), ("memory", 2)]
