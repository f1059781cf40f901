"""Every known way to break a quantized graph is seen by the check that is meant for it."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from graph_models import convnet
from graph_mutations import MUTATIONS, Mutation, sound
from graph_places import PLACES, placed, with_external_data

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


# What is about a model as a whole, its stored form or the ends of its main graph is so at top level alone.
_WHOLE = {"OLX103", "OLX104", "OLX107", "OLX108", "OLX109", "OLX110", "OLX113", "OLX201", "OLX206"}


@pytest.mark.parametrize("external", [False, True], ids=["inline", "external"])
@pytest.mark.parametrize("place", PLACES)
def test_mutations_are_caught_wherever_they_lie(place: str, external: bool, tmp_path: Path) -> None:
    def stored(model: onnx.ModelProto, name: str) -> onnx.ModelProto | Path:
        model = placed(model, place)
        return with_external_data(model, tmp_path, name) if external else model

    reference = stored(convnet(), "float")
    missed = []
    for form in ("static", "dynamic"):
        assert check_graph(stored(sound(form), form), reference) == []
    for number, mutation in enumerate(MUTATIONS):
        if place == "top level" and not external:
            continue  # the test above, one by one
        if mutation.code in _WHOLE:
            continue
        codes = {finding.code for finding in check_graph(stored(mutation.mutant(), f"mutant{number}"), reference)}
        if mutation.code not in codes:
            missed.append(f"{mutation.form} {mutation.name}: {mutation.code} not in {sorted(codes)}")
    assert missed == []
