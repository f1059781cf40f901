"""JSON Schemas (2020-12) of the files that others may read: a baseline, and the JSON report. Made from the typed records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pytest_onnxlite.against import Against
from pytest_onnxlite.baseline import record as baseline_record
from pytest_onnxlite.baseline.accepted import Acceptance
from pytest_onnxlite.baseline.fingerprint import Machine
from pytest_onnxlite.baseline.record import Artefact, EarlierRelease
from pytest_onnxlite.baseline.shipped import ShippedRuntime
from pytest_onnxlite.checks.verdict import Verdict
from pytest_onnxlite.coverage.wording import Coverage
from pytest_onnxlite.labels import LABEL
from pytest_onnxlite.records import Checks, Conditions, Forecast, JudgedFile, JudgedOn, Suggestion
from pytest_onnxlite.report import document
from pytest_onnxlite.run import Unjudged
from pytest_onnxlite.saving import Saved

Schema = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
# msgspec takes an empty schema for none.
_ANY: Schema = {"description": "depends on the check"}
_TEXT: Schema = {"type": "string"}
# Figures that no number of JSON can say are texts in a report, such as a signal without noise.
_BEYOND: Schema = {"enum": ["inf", "-inf", "nan"]}


class _Parts:
    """The records' own schemas, and references to them."""

    def __init__(self, checks: Checks) -> None:
        self.checks = checks
        own = [Artefact, Acceptance, EarlierRelease, Machine, ShippedRuntime]
        told = [Against, Conditions, Coverage, Forecast, JudgedFile, JudgedOn, Saved, Suggestion, Unjudged, Verdict]
        kinds = [kind for check in checks.values() for kind in (check.section, check.limit, *check.forms)]
        schemas, self.definitions = msgspec.json.schema_components(
            [*own, *told, *kinds], schema_hook=_opaque, ref_template="#/$defs/{name}"
        )
        self._by_kind = dict(zip([*own, *told, *kinds], schemas, strict=True))

    def of(self, kind: Any) -> Schema:
        return self._by_kind[kind]

    def by_check(self, what: Mapping[str, Schema]) -> Schema:
        """Return the schema of an object with a key for each check, with a label or without."""
        return {
            "type": "object",
            "patternProperties": {f"^{name}(\\[{LABEL.pattern}\\])?$": part for name, part in what.items()},
        }


def _opaque(kind: Any) -> Schema:
    if kind is object:
        return _ANY
    raise NotImplementedError(f"no schema is known of {kind!r}")


def baseline_schema(checks: Checks) -> Schema:
    """Return the schema of a baseline file; checks that a project adds may stand in it as well."""
    parts = _Parts(checks)
    everywhere = {name: parts.of(check.section) for name, check in checks.items() if not check.per_machine}
    on_machine = {name: parts.of(check.section) for name, check in checks.items() if check.per_machine}
    machine = parts.by_check(on_machine)
    machine["properties"] = {"description": parts.of(Machine)}
    whole = parts.by_check(everywhere)
    whole["properties"] = {
        "schema": {"const": baseline_record.SCHEMA},
        "model": _TEXT,
        "variant": _TEXT,
        "artefact": parts.of(Artefact),
        "runtime": parts.of(ShippedRuntime),
        "machines": {"type": "object", "additionalProperties": machine},
        "first": {"type": "object", "additionalProperties": _ANY},
        "tests": {"type": "object", "additionalProperties": {"type": "array", "items": _TEXT}},
        "accepted": {"type": "array", "items": parts.of(Acceptance)},
        "earlier": {"type": "array", "items": parts.of(EarlierRelease)},
    }
    whole["required"] = ["schema", "model", "variant", "artefact"]
    return _finished("A baseline of pytest-onnxlite", whole, parts)


def report_schema(checks: Checks) -> Schema:
    """Return the schema of the JSON report; checks that a project adds may stand in it as well."""
    parts = _Parts(checks)
    whole: Schema = {
        "type": "object",
        "properties": {
            "schema": {"const": document.SCHEMA},
            "pytest_onnxlite": _TEXT,
            "mode": {"enum": ["plain", "compare", "save"]},
            "machine": {"type": "object", "properties": {"fingerprint": _TEXT}, "required": ["fingerprint"]},
            "environment": {"type": "object", "additionalProperties": _TEXT},
            "verdict": {"enum": ["pass", "fail"]},
            "records": {"type": "array", "items": _record(parts)},
            "unjudged": {"type": "array", "items": parts.of(Unjudged)},
            "session": {"type": "array", "items": _TEXT},
            "remarks": {"type": "array", "items": _TEXT},
            "saved": {"type": "array", "items": parts.of(Saved)},
            "coverage": {"anyOf": [parts.of(Coverage), {"type": "null"}]},
            "commit": _TEXT,
            "runtime": _TEXT,
            "against": {"anyOf": [parts.of(Against), {"type": "null"}]},
        },
        "required": ["schema", "pytest_onnxlite", "mode", "machine", "environment", "verdict", "records"],
    }
    finished: Schema = _with_infinity(_finished("A report of pytest-onnxlite", whole, parts))
    return finished


def _record(parts: _Parts) -> Schema:
    checks = parts.checks
    limits = {name: parts.of(check.limit) for name, check in checks.items()}
    measured = {name: {"anyOf": [parts.of(form) for form in check.forms]} for name, check in checks.items()}
    plain = parts.definitions[parts.of(Verdict)["$ref"].rpartition("/")[2]]["properties"]
    told = {name: part for name, part in plain.items() if name not in ("evidence", "explanation")}
    verdict: Schema = {
        "type": "object",
        "properties": {"evidence": {"type": "object"}, "explanation": {"type": ["object", "null"]}, **told},
        "required": ["check", "against", "outcome", "figure", "message", "red"],
    }
    properties = {
        **dict.fromkeys(("test", "model", "variant", "recipe", "file", "runtime_change"), _TEXT),
        "line": {"type": "integer"},
        "artefact": parts.of(JudgedFile),
        "conditions": parts.of(Conditions),
        "limits": parts.by_check(limits),
        "measured": parts.by_check(measured),
        "baseline": {"type": ["object", "null"]},
        "broken_baseline": {"type": ["string", "null"]},
        "forecast": {"anyOf": [parts.of(Forecast), {"type": "null"}]},
        "suggestion": {"anyOf": [parts.of(Suggestion), {"type": "null"}]},
        "runtime": {"anyOf": [parts.of(ShippedRuntime), {"type": "null"}]},
        "judged_on": {"anyOf": [parts.of(JudgedOn), {"type": "null"}]},
        "verdicts": {"type": "array", "items": verdict},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": ["test", "model", "variant", "artefact", "conditions", "limits", "measured", "verdicts"],
    }


def _finished(title: str, whole: Schema, parts: _Parts) -> Schema:
    """Return a schema with the definitions that it refers to, and of their docstrings the first sentence."""
    used: dict[str, Schema] = {}
    waiting = list(_references(whole))
    while waiting:
        name = waiting.pop()
        if name not in used:
            part = dict(parts.definitions[name])
            if "description" in part:
                part["description"] = part["description"].split("\n\n")[0]
            used[name] = part
            waiting += _references(part)
    plain: Schema = json.loads(json.dumps({"$schema": _DIALECT, "title": title, **whole, "$defs": used}))
    return plain


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        schema = list(schema.values())
    if isinstance(schema, (list, tuple)):
        for item in schema:
            yield from _references(item)


def _with_infinity(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_infinity(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        return {"anyOf": [schema, _BEYOND]}
    return {name: _with_infinity(value) for name, value in schema.items()}


SCHEMAS = {"baseline": baseline_schema, "report": report_schema}
