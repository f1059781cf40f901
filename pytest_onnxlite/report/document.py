"""The report: everything that was measured and decided. One typed document, that all other reports are made from."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from pytest_onnxlite import commands, jsontext
from pytest_onnxlite.against import Against
from pytest_onnxlite.baseline.fingerprint import Machine, describe_machine, fingerprint
from pytest_onnxlite.coverage.wording import Coverage
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.files import problem_with
from pytest_onnxlite.records import Checks, Record, from_data, to_data
from pytest_onnxlite.report.trend import Series
from pytest_onnxlite.run import Run, Unjudged
from pytest_onnxlite.saving import Saved
from pytest_onnxlite.settings import Mode
from pytest_onnxlite.variants.cache import onnxruntime_distribution, version_of

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


@dataclass(frozen=True)
class Document:
    """A run's report.

    Attributes:
        version: of pytest-onnxlite, which wrote it.
        mode: what the run was for.
        machine: where it ran.
        fingerprint: the machine's key.
        environment: the versions that figures depend on.
        verdict: `pass` or `fail`.
        records: what the guarded tests recorded.
        unjudged: guarded tests that failed although no verdict of theirs is red.
        session: what is wrong with the run as a whole.
        remarks: what is worth knowing about it and not wrong.
        saved: what became of the baselines to be saved.
        coverage: how much of what is guarded it looked at; None if nothing was compared or saved, and in what earlier
            versions wrote.
        runtime: the name of the runtime that every model was run with; empty for each model's own.
        commit: the commit of the project's repository; empty if it is not known.
        against: what it was compared with, if not the work tree's own baselines.
        trend: the releases before, where they were asked for; in no file.
    """

    version: str
    mode: Mode
    machine: Machine
    fingerprint: str
    environment: Mapping[str, str]
    verdict: str
    records: tuple[Record, ...] = ()
    unjudged: tuple[Unjudged, ...] = ()
    session: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    saved: tuple[Saved, ...] = ()
    coverage: Coverage | None = None
    commit: str = ""
    runtime: str = ""
    against: Against | None = None
    trend: tuple[Series, ...] = field(default=())


def environment() -> dict[str, str]:
    """Return the versions that figures depend on; what is not installed is left out."""
    found = {name: version_of(name) for name in (*_TOOLS, onnxruntime_distribution())}
    installed = {name: version for name, version in found.items() if version != "absent"}
    return {"python": platform.python_version(), **installed}


def build(
    run: Run, mode: Mode, checks: Checks, commit: str = "", runtime: str = "", against: Against | None = None
) -> Document:
    """Return the document of a run, as it is read back from the file: a report is the same at once and later."""
    machine, records = describe_machine(), run.all_records()
    document = Document(
        version=version_of("pytest-onnxlite"),
        mode=mode,
        machine=machine,
        fingerprint=fingerprint(machine),
        environment=environment(),
        verdict="fail" if run.is_red else "pass",
        records=tuple(records),
        unjudged=tuple(run.unjudged.values()),
        session=tuple(run.findings),
        remarks=tuple(run.remarks),
        saved=tuple(run.saved),
        coverage=run.coverage,
        commit=commit,
        runtime=runtime,
        against=against,
    )
    return parse(as_data(document), checks, "the report")


def as_data(document: Document) -> dict[str, Any]:
    """Return a document as JSON data, keys sorted and figures rounded."""
    content = {
        "schema": SCHEMA,
        "pytest_onnxlite": document.version,
        "mode": document.mode,
        "machine": {"fingerprint": document.fingerprint, **msgspec.to_builtins(document.machine)},
        "environment": document.environment,
        "verdict": document.verdict,
        "records": [to_data(record) for record in document.records],
        "unjudged": msgspec.to_builtins(document.unjudged),
        "session": document.session,
        "remarks": document.remarks,
        "saved": msgspec.to_builtins(document.saved),
        "coverage": msgspec.to_builtins(document.coverage),
        "commit": document.commit,
        "runtime": document.runtime,
        "against": msgspec.to_builtins(document.against),
    }
    plain: dict[str, Any] = json.loads(json.dumps(rounded(content), sort_keys=True, allow_nan=False))
    return plain


def rounded(value: Any) -> Any:
    """Return JSON data that every reader takes: figures rounded, infinity as text, and what is no Unicode escaped.

    A signal without noise has infinity; the name of a file may hold any bytes, which Python keeps as lone surrogates.
    """
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if isfinite(value) else str(value)
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {rounded(str(key)): rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(inner) for inner in value]
    return value


def as_text(document: Document) -> str:
    """Return the file's content."""
    return json.dumps(as_data(document), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def load(path: Path, checks: Checks) -> Document:
    """Read a report that `--onnxlite-report` wrote.

    Raises:
        OnnxliteError: it cannot be read, or is no such report.
    """
    try:
        problem = problem_with(path)
        if problem:
            raise OnnxliteError(f"{path} {problem}.")
        content = jsontext.decode(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OnnxliteError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OnnxliteError(f"{path} is not JSON ({error}). Write it with: {commands.report(path)}") from None
    if not isinstance(content, dict) or not isinstance(content.get("records"), list) or "schema" not in content:
        raise OnnxliteError(
            f"{path} is JSON, but no report of a guard: it has no 'schema' and 'records'. "
            f"Write one with: {commands.report(path)}"
        )
    if content["schema"] != SCHEMA or isinstance(content["schema"], bool):  # to Python, True is 1
        raise OnnxliteError(
            f"{path} has schema {content['schema']!r}; this version of pytest-onnxlite reads {SCHEMA}. "
            "Render it with the version that wrote it."
        )
    return parse(content, checks, str(path))


def parse(content: Mapping[str, Any], checks: Checks, where: str) -> Document:
    """Return the document that JSON data holds.

    Raises:
        OnnxliteError: a part of it is missing, or of another type.
    """
    try:
        machine = dict(content["machine"])
        plain = {name: content[name] for name in ("mode", "environment", "verdict", "session", "remarks")}
        shell = msgspec.convert(
            {
                **plain,
                "version": content["pytest_onnxlite"],
                "fingerprint": machine.pop("fingerprint"),
                "machine": machine,
                "unjudged": content["unjudged"],
                "saved": content["saved"],
                "coverage": content.get("coverage"),
                "commit": content.get("commit", ""),
                "runtime": content.get("runtime", ""),
                "against": content.get("against"),
            },
            Document,
        )
        return replace(shell, records=tuple(from_data(record, checks) for record in content["records"]))
    except (msgspec.ValidationError, OnnxliteError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise OnnxliteError(
            f"{where} lacks what a report holds ({type(error).__name__}: {error}). It was changed, or written by another "
            "version; run the guard again."
        ) from None


def flatten(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """Return every figure of JSON data with its path; a list of plain values in one line."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{path} › {key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(inner, (list, Mapping)) for inner in value):
        for number, inner in enumerate(value):
            yield from flatten(inner, f"{path} › {number}")
    elif isinstance(value, list):
        if value:
            yield path, ", ".join(plain_text(inner) for inner in value)
    elif value is not None:
        yield path, plain_text(value)


def plain_text(value: Any) -> str:
    """Return a value of JSON as it stands there; a text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value)
