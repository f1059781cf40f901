"""The JSON report: everything that was measured and decided."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_onnxlite.baseline.fingerprint import describe_machine, fingerprint
from pytest_onnxlite.baseline.saving import Saved
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import write_atomically
from pytest_onnxlite.judge.verdict import Mode
from pytest_onnxlite.variants.cache import version_of

SCHEMA = 1


def write(
    path: Path,
    mode: Mode,
    records: Sequence[Mapping[str, Any]],
    findings: Sequence[str],
    saved: Sequence[Saved],
) -> None:
    """Write the report.

    Raises:
        OnnxliteError: the file cannot be written.
    """
    machine = describe_machine()
    content = {
        "schema": SCHEMA,
        "pytest_onnxlite": version_of("pytest-onnxlite"),
        "mode": mode.value,
        "machine": {"fingerprint": fingerprint(machine), **machine},
        "verdict": "fail" if findings or any(v["red"] for r in records for v in r["verdicts"]) else "pass",
        "records": list(records),
        "session": list(findings),
        "saved": [asdict(entry) for entry in saved],
    }
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, io.BytesIO(text.encode()))
    except OSError as error:
        raise OnnxliteError(f"--onnxlite-report: {path} cannot be written: {error.strerror or error}.") from None
