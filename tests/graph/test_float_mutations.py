"""Whatever changes what stays in float is seen, wherever it stands and however it is stored."""

from __future__ import annotations

import pytest
from float_mutations import FLOAT_MUTATIONS, SCOPES, STORAGES, FloatMutation, candidate, source, stored_as

from pytest_onnxlite.lint import check_graph


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("scope", SCOPES)
def test_the_models_that_are_changed_are_sound_before(scope, storage, tmp_path):
    assert check_graph(stored_as(candidate(scope), storage, tmp_path), source(scope)) == []


@pytest.mark.parametrize("mutation", FLOAT_MUTATIONS, ids=lambda m: m.name)
def test_a_change_is_seen_wherever_it_stands(mutation: FloatMutation, tmp_path):
    for scope in SCOPES[:1] if mutation.top else SCOPES:
        for storage in STORAGES:
            mutant = candidate(scope)
            mutation.apply(mutant)
            found = check_graph(stored_as(mutant, storage, tmp_path), source(scope))
            codes = {finding.code for finding in found if finding.severity == "error"}
            assert mutation.code in codes, (scope, storage, sorted(codes))
