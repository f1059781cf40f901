"""Each rule has been seen to block."""

from __future__ import annotations

import pytest
from graph_cases import CASES

from pytest_onnxlite.lint import RULES


def test_every_rule_has_a_case():
    assert sorted(CASES) == sorted(RULES)


@pytest.mark.parametrize("code", sorted(CASES))
def test_the_rule_is_seen_broken(code, tmp_path):
    findings = CASES[code](tmp_path)
    found = [finding for finding in findings if finding.code == code]
    assert found, f"found {[finding.code for finding in findings]} only"
    for finding in found:
        assert all((finding.where, finding.expected, finding.found, finding.why, finding.hint))
        assert finding.expected != finding.found
        assert len(str(finding).splitlines()) == 3
