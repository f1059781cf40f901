"""SARIF 2.1.0, the form in which code scanning reads results (https://docs.oasis-open.org/sarif/sarif/v2.1.0/)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from pytest_onnxlite.lint.rules import RULES

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# What it calls a finding's severity.
LEVELS = {"error": "error", "warning": "warning", "info": "note"}


@dataclass(frozen=True)
class SarifRule:
    """A rule: its stable id, what it asks in a few words, why, what to do, and its level: `error`, `warning`, `note`."""

    id: str
    title: str
    why: str
    hint: str
    level: str


@dataclass(frozen=True)
class SarifResult:
    """A place where a rule is broken.

    Attributes:
        rule: the rule's id.
        level: `error`, `warning` or `note`.
        text: what was expected and found, and what to do.
        file: the file that it is shown at.
        line: in that file, from 1.
        where: the node, tensor or limit that it is about.
        fingerprint: the same for the same fault in another run; empty for none.
    """

    rule: str
    level: str
    text: str
    file: str
    line: int
    where: str
    fingerprint: str = ""


def rule_of(code: str) -> SarifRule:
    """Return a rule of the graph checks."""
    rule = RULES[code]
    return SarifRule(rule.code, rule.title, rule.why, rule.hint, LEVELS[rule.severity])


def log(
    version: str, rules: Sequence[SarifRule], results: Sequence[SarifResult], failures: Sequence[tuple[str, str]] = ()
) -> str:
    """Return a log of one run.

    Args:
        version: this package's.
        rules: those that `results` name.
        results: what was found.
        failures: what could not be looked at: a text and its file.
    """
    places = [rule.id for rule in rules]
    notifications = [
        {"level": "error", "message": {"text": text}, "locations": [{"physicalLocation": _place(file)}]}
        for text, file in failures
    ]
    run = {
        "tool": {"driver": {"name": "onnxlite", "version": version, "rules": [_rule(rule) for rule in rules]}},
        "invocations": [{"executionSuccessful": not failures, "toolExecutionNotifications": notifications}],
        "results": [_result(result, places.index(result.rule)) for result in results],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1)


def _place(file: str) -> dict[str, object]:
    return {"artifactLocation": {"uri": quote(file)}}


def _rule(rule: SarifRule) -> dict[str, object]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.hint},
        "defaultConfiguration": {"level": rule.level},
    }


def _result(result: SarifResult, index: int) -> dict[str, object]:
    place: dict[str, object] = {**_place(result.file), "region": {"startLine": result.line}}
    return {
        "ruleId": result.rule,
        "ruleIndex": index,
        "level": result.level,
        "message": {"text": result.text},
        "locations": [
            {
                "physicalLocation": place,
                "logicalLocations": [{"fullyQualifiedName": result.where}],
            }
        ],
        **({"partialFingerprints": {"onnxlite/v1": result.fingerprint}} if result.fingerprint else {}),
    }
