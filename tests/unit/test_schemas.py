"""The published JSON Schemas: in step with the records, true of what is written, and no wider than what is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_onnxlite.baseline.fingerprint import Machine
from pytest_onnxlite.checks.outputs.measurement import OutputsEvidence
from pytest_onnxlite.checks.verdict import Explanation, Outcome, Verdict
from pytest_onnxlite.records import Conditions, JudgedFile, Record
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.report.document import Document, as_data
from pytest_onnxlite.schemas import SCHEMAS

from projects import REPOSITORY

CHECKS = Registry.load().checks
FOLDER = REPOSITORY / "docs" / "schemas"
BASELINES = sorted(REPOSITORY.glob("baselines/*/*.json"))


def published(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))


def faults(name: str, content: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(published(name)).iter_errors(content)]


def in_order(schema: Any) -> Any:
    """Return a schema with its alternatives in one order: msgspec's versions have others."""
    if isinstance(schema, dict):
        found = {key: in_order(value) for key, value in schema.items()}
        return (
            {**found, "anyOf": sorted(found["anyOf"], key=lambda one: json.dumps(one, sort_keys=True))}
            if "anyOf" in found
            else found
        )
    return [in_order(value) for value in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("name", SCHEMAS)
def test_they_are_in_step_with_the_records(name: str) -> None:
    """Written anew by `python -m pytest_onnxlite schema NAME > docs/schemas/NAME.schema.json`."""
    assert in_order(published(name)) == in_order(SCHEMAS[name](CHECKS))
    jsonschema.Draft202012Validator.check_schema(published(name))


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.parent.name + "-" + path.stem)
def test_baselines_keep_to_it(path: Path) -> None:
    content = json.loads(path.read_text())
    assert faults("baseline", content) == []
    assert faults("baseline", {**content, "accuracy": {**content["accuracy"], "total": 0}})
    assert faults("baseline", {**content, "schema": 2})
    assert faults("baseline", {**content, "size[small]": {"bytes": -1}})
    del content["artefact"]
    assert faults("baseline", content)


def test_a_report_keeps_to_it() -> None:
    verdict = Verdict(
        "size", "limit", Outcome.FAIL, "1 B", "too large", red=True, explanation=Explanation("a tensor", ("w: 1 B",))
    )
    endless = Verdict("outputs", "onnx", Outcome.PASS, "inf", evidence=OutputsEvidence(), red=False)
    record = Record(
        "t", "m", "int8", JudgedFile(), Conditions(1, True, 1, "top1", 1000, None), verdicts=(verdict, endless)
    )
    document = Document("0", "compare", Machine(), "m", {"python": "3.11"}, "fail", (record,), session=("no baseline",))
    content = as_data(document)
    assert faults("report", content) == []
    content["records"][0]["verdicts"][0]["outcome"] = "perhaps"
    assert faults("report", content)
