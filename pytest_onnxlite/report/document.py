"""The JSON report: everything that was measured and decided, and all that the other reports are made from."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from pytest_onnxlite.baseline.fingerprint import describe_machine, fingerprint
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.run import Run
from pytest_onnxlite.settings import Mode
from pytest_onnxlite.variants.cache import version_of

SCHEMA = 1
# Digits beyond these are noise in every figure there is.
_DIGITS = 6
_TOOLS = (
    "pytest-onnxlite",
    "pytest",
    "pytest-benchmark",
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "tensorflow",
    "keras",
    "tf2onnx",
    "ai-edge-litert",
)

Document = dict[str, Any]


def environment() -> dict[str, str]:
    """Return the versions that figures depend on; what is not installed is left out."""
    found = {name: version_of(name) for name in _TOOLS}
    installed = {name: version for name, version in found.items() if version != "absent"}
    return {"python": platform.python_version(), **installed}


def build(run: Run, mode: Mode) -> Document:
    """Return the document of a run, as JSON data."""
    machine = describe_machine()
    records = run.all_records()
    red = any(verdict["red"] for record in records for verdict in record["verdicts"])
    content = {
        "schema": SCHEMA,
        "pytest_onnxlite": version_of("pytest-onnxlite"),
        "mode": mode,
        "machine": {"fingerprint": fingerprint(machine), **machine},
        "environment": environment(),
        "verdict": "fail" if run.findings or run.unjudged or red else "pass",
        "records": records,
        "unjudged": [{"test": test, **place} for test, place in run.unjudged.items()],
        "session": list(run.findings),
        "remarks": list(run.remarks),
        "saved": [asdict(entry) for entry in run.saved],
    }
    # As it is read back from the file, the order of its keys included: a report is the same at once and later.
    plain: Document = json.loads(json.dumps(_rounded(content), sort_keys=True, allow_nan=False))
    return plain


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        # JSON has no infinity, which a signal without noise has.
        return float(f"{value:.{_DIGITS}g}") if isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return value


def as_text(document: Document) -> str:
    """Return the file's content."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def load(path: Path) -> Document:
    """Read a report that `--onnxlite-report` wrote.

    Raises:
        OnnxliteError: it cannot be read, or is no such report.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OnnxliteError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise OnnxliteError(f"{path} is not JSON ({error}). Write it with: pytest --onnxlite-report={path}") from None
    if not isinstance(content, dict) or not isinstance(content.get("records"), list) or "schema" not in content:
        raise OnnxliteError(
            f"{path} is JSON, but no report of a guard: it has no 'schema' and 'records'. "
            f"Write one with: pytest --onnxlite-report={path}"
        )
    if content["schema"] != SCHEMA:
        raise OnnxliteError(
            f"{path} has schema {content['schema']!r}; this version of pytest-onnxlite reads {SCHEMA}. "
            "Render it with the version that wrote it."
        )
    return content
