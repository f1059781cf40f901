"""Every known way to break a quantized graph is seen by the check that is meant for it."""

from __future__ import annotations

import pytest
from graph_models import convnet
from graph_mutations import MUTATIONS, Mutation, sound

from pytest_onnxlite.lint import RULES, check_graph


@pytest.mark.parametrize("form", ["static", "dynamic"])
def test_the_models_that_are_broken_are_sound_before(form):
    assert check_graph(sound(form), convnet()) == []
    assert check_graph(sound(form)) == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_mutation_is_caught(mutation: Mutation):
    codes = sorted({finding.code for finding in check_graph(mutation.mutant(), convnet())})
    title = RULES[mutation.code].title
    print(f"{mutation.form:8} {mutation.name:48} → {mutation.code} {title}; all: {codes}")  # noqa: T201
    assert mutation.code in codes
