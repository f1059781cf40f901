"""A folder that holds a failure, so that it can be judged again elsewhere: files, failing inputs, baseline.

What of the user's data goes in: the samples that a verdict names, which are those that the candidate gets wrong and
what it is compared with gets right. More only where it is asked for.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np

from pytest_onnxlite import commands
from pytest_onnxlite.baseline.fingerprint import Machine, describe_machine, fingerprint
from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.baseline.runtime import runtime_here
from pytest_onnxlite.baseline.shipped import ShippedRuntime
from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.own_metric import seen_by
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.guard.guardian import Failure
from pytest_onnxlite.kinds import KINDS
from pytest_onnxlite.labels import unlabelled
from pytest_onnxlite.records import Conditions, Record, to_data
from pytest_onnxlite.report.document import environment, rounded
from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.samples import LikeScenario, Sample, describe, describe_scenarios
from pytest_onnxlite.settings import PROCESSORS, Mode, Settings
from pytest_onnxlite.spec.dataset import Array, Inputs
from pytest_onnxlite.spec.recipes import OtherRuntime
from pytest_onnxlite.variants.builder import Builder, Progress
from pytest_onnxlite.variants.cache import hash_file
from pytest_onnxlite.variants.external import files_of, hash_model
from pytest_onnxlite.variants.variant import OnnxVariant, RuntimeVariant, Variant

SCHEMA = 3
MANIFEST, README = "bundle.json", "README.txt"
INPUTS, DATA = "inputs.npz", "data.npz"
# Stands before the name of each slice in the latter.
SLICE, LABELS = "slice.", "labels."
CANDIDATE, FLOAT, LAST = "candidate", "float", "last"
# What a team attaches to a report without thinking; larger files go in by their hash alone.
MOST_BYTES = 256 << 20
# Enough to see what they have in common.
_MOST_SAMPLES = 200
_SEED = 2021

_README = """\
A failed release check of pytest-onnxlite, to be judged again where this folder is.

    {replay}

Test     {test}
Variant  {name}
Failed   {checks}

{message}

What is here
{contents}
Needed: pytest-onnxlite {version} and ONNX Runtime {onnxruntime} (bundle.json has all versions and the machine).
Timings and memory are measured anew on the machine where it is replayed.
"""


@dataclass(frozen=True)
class PlacedFile:
    """A file of the failure: its place in the bundle, None if it is not in it, and then why; its hash and bytes."""

    file: str | None = None
    sha256: str = ""
    bytes: int = 0
    reason: str = ""


@dataclass(frozen=True)
class PlacedInputs:
    """The failing samples: their file, None if they are not in it, and why; which rows, and how many failed."""

    file: str | None = None
    rows: tuple[int, ...] = ()
    failing: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds.

    Attributes:
        mode: what the run was for.
        test: the test's id.
        model: the model's name.
        variant: the variant's kind.
        conditions: how it was judged.
        limits: by check, the marker's arguments as JSON data.
        red: check, what it was against, and what was said, of each red verdict.
        metric_is_built_in: whether the metric is one of ours.
        files: the candidate, the float model and the last release.
        inputs: the failing samples.
        data: the file of the whole evaluation data; None if it is not in it.
        sample: by input, from which inputs can be made if none may leave.
        seed: to make them with.
        scenarios: those that the limits name.
        environment: versions.
        machine: where it failed.
        fingerprint: that machine's key.
        platform: its operating system.
        others: how the model's other files are run, if the variant is one that is run otherwise.
        record: the whole record as JSON data, for a person.
        contents: the hash of every file in it that something is judged by.
        schema: of this file.
    """

    mode: Mode
    test: str
    model: str
    variant: str
    conditions: Conditions
    limits: Mapping[str, Mapping[str, object]]
    red: tuple[tuple[str, str, str], ...]
    metric_is_built_in: bool
    files: Mapping[str, PlacedFile]
    inputs: PlacedInputs | None
    data: str | None
    sample: Mapping[str, Sample]
    environment: Mapping[str, str]
    machine: Machine
    fingerprint: str
    scenarios: Mapping[str, LikeScenario] = field(default_factory=dict)
    seed: int = _SEED
    platform: str = sys.platform
    others: ShippedRuntime | None = None
    record: Mapping[str, object] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def name(self) -> str:
        """Model and kind."""
        return f"{self.model} {self.variant}"


def say(failure: Failure, settings: Settings, progress: Progress) -> str:
    """Write a failure's folder; returns what to say about it, or why it could not be written."""
    assert settings.bundle is not None
    progress(f"bundling the failure of {failure.record.name}")
    try:
        path = write(settings.bundle, failure, mode=settings.mode, all_data=settings.bundle_data)
    except OnnxliteError as error:
        return f"\n{error}"
    return f"\nReplay it elsewhere: {commands.replay(path)}"


def write(folder: Path, failure: Failure, *, mode: Mode, all_data: bool) -> Path:
    """Write the folder of one variant that a test failed for, replacing the one of an earlier run.

    Args:
        folder: where bundles are collected.
        failure: what failed.
        mode: what the run was for.
        all_data: whether the whole evaluation data goes in.

    Returns:
        The folder written.

    Raises:
        OnnxliteError: it cannot be written.
    """
    place = folder / _name(failure.record)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder))
        try:
            _fill(work, failure, mode, all_data)
            work.chmod(0o755)
            shutil.rmtree(place, ignore_errors=True)
            work.replace(place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise OnnxliteError(f"--onnxlite-bundle: {place} cannot be written: {error.strerror or error}.") from None
    return place


def _name(record: Record) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "-", f"{record.model}-{record.variant}-{record.test.split('::', 1)[-1]}")[:60]
    digest = hashlib.sha256(f"{record.test} {record.name}".encode()).hexdigest()
    return f"{words.strip('-')}-{digest[:8]}"


def _fill(work: Path, failure: Failure, mode: Mode, all_data: bool) -> None:
    record, builder, variant = failure.record, failure.builder, failure.variant
    no_file = PlacedFile(reason="it is no file, it can only be called")
    files = {CANDIDATE: place(variant.path, work, CANDIDATE) if variant.has_file else no_file}
    is_other = isinstance(builder.spec.made.get(variant.kind), OtherRuntime)
    reference = builder.made_from(variant.kind) if builder.kind(variant.kind).quantized else None
    if reference is None and is_other:
        reference = builder.accuracy_reference()
    if isinstance(reference, RuntimeVariant):
        files[FLOAT] = place(reference.path, work, FLOAT)
    last = _place_baseline(work, failure)
    if last is not None:
        files[LAST] = last
    data = rounded(to_data(record))
    inputs, whole = _place_inputs(work, failure), _place_data(work, builder) if all_data else None
    manifest = Manifest(
        mode=mode,
        test=record.test,
        model=record.model,
        variant=record.variant,
        conditions=record.conditions,
        limits=data["limits"],
        red=tuple((verdict.check, verdict.against, verdict.message) for verdict in failure.red),
        metric_is_built_in=builder.spec.rating.is_built_in,
        files=files,
        inputs=inputs,
        data=whole,
        sample=describe(builder.evaluation.x),
        scenarios=describe_scenarios(builder.spec, [limit.scenario_name for limit in record.limits.values()]),
        environment=environment(),
        machine=describe_machine(),
        fingerprint=fingerprint(describe_machine()),
        others=runtime_here(KINDS["onnx"], builder.spec.runtime) if is_other else None,
        record=data,
        contents=contents(work),
    )
    plain = rounded(msgspec.to_builtins(manifest))
    (work / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(plain, order="sorted")) + b"\n")
    (work / README).write_text(_readme(manifest, failure.red), encoding="utf-8", errors="backslashreplace")


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file in a bundle but of the two that are for a person and say what is in it."""
    return {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).as_posix() not in (MANIFEST, README)
    }


def place(source: Path, work: Path, name: str) -> PlacedFile:
    """Put a model into a folder of its own, with its external data; by its hash alone where it is too large.

    Args:
        source: the model's file or folder.
        work: the bundle.
        name: the folder's name.

    Raises:
        OnnxliteError: its external data is not there.
    """
    files = sorted(f for f in source.rglob("*") if f.is_file()) if source.is_dir() else files_of(source)
    size = sum(file.stat().st_size for file in files)
    if size > MOST_BYTES:
        return PlacedFile(None, hash_model(source), size)
    # External data is found by its name next to the model.
    for file in files:
        target = work / name / file.resolve().relative_to(source.parent.resolve())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return PlacedFile(f"{name}/{source.name}", hash_model(source), size)


def _place_baseline(work: Path, failure: Failure) -> PlacedFile | None:
    """Put the baseline's file in as it is, be it broken, and the last release's file."""
    model, store, last = failure.record.model, failure.store, failure.last
    source = store.path(model, failure.record.variant)
    if not source.is_file():
        return None
    target = work / "baselines" / model
    target.mkdir(parents=True)
    shutil.copyfile(source, target / source.name)
    for data in last.data.values():
        shutil.copyfile(data, target / data.name)
    if last.file is None or not isinstance(last.reference, Baseline):
        return PlacedFile(reason=last.no_file or getattr(last.reference, "reason", ""))
    artefact = last.reference.artefact
    if artefact.bytes > MOST_BYTES:
        return PlacedFile(None, artefact.sha256, artefact.bytes)
    inner = artefact.file
    if last.file.parent.name == artefact.file:  # a model of several files, in a folder of its own
        inner = f"{artefact.file}/{last.file.name}"
        shutil.copytree(last.file.parent, target / artefact.file)
    else:
        shutil.copyfile(last.file, target / inner)
    return PlacedFile(f"baselines/{model}/{inner}", artefact.sha256, artefact.bytes)


def _named(x: Inputs) -> dict[str, Array]:
    """Return inputs by name, as they lie in an npz file."""
    return {f"x.{name}": array for name, array in (x if isinstance(x, Mapping) else {"": x}).items()}


def _rows(x: Inputs, rows: Array) -> Inputs:
    return {name: array[rows] for name, array in x.items()} if isinstance(x, Mapping) else x[rows]


def _place_data(work: Path, builder: Builder) -> str:
    data = builder.evaluation
    tables = ((SLICE, data.slices), (LABELS, data.labels))
    more = {f"{prefix}{name}": values for prefix, table in tables for name, values in table.items()}
    arrays.save(work / DATA, {**_named(data.x), **({} if data.y is None else {"y": data.y}), **more})
    return DATA


def _place_inputs(work: Path, failure: Failure) -> PlacedInputs | None:
    """Put the failing samples in: those that the candidate gets wrong and what it is compared with gets right."""
    builder = failure.builder
    red = [v for v in failure.red if unlabelled(v.check) == "accuracy" and v.outcome is Outcome.FAIL]
    red = [v for v in red if v.against not in PROCESSORS]  # those that fail here; on another processor others may
    limit = failure.record.limits.get(red[0].check) if red else None
    if not isinstance(limit, AccuracyLimit):
        return None
    lost = [v.against for v in red if v.check == red[0].check]
    try:
        builder = seen_by(limit, builder)
        failing = _failing(lost, limit.batch_size or builder.spec.batch_size, replace(failure, builder=builder))
    except OnnxliteError as error:
        # Answers that cannot be counted, such as NaN: the verdict says which samples.
        return PlacedInputs(reason=str(error))
    kept = failing[:_MOST_SAMPLES]
    if not len(kept):
        return None
    data = builder.evaluation
    labels = {} if data.y is None else {"y": data.y[kept]}
    arrays.save(work / INPUTS, {**_named(_rows(data.x, kept)), **labels, "rows": kept})
    return PlacedInputs(INPUTS, tuple(kept.tolist()), len(failing))


def _failing(lost: list[str], batch_size: int, failure: Failure) -> Array:
    """Return the rows of the samples that a loss consists of, the largest losses first if it is not counted."""
    builder = failure.builder
    own = accuracy.rate(builder, failure.variant, batch_size)
    if own.ndim == 0:
        return np.zeros(0, np.int64)  # one figure for all samples: none of them is to blame
    others = [reference for against in lost for reference in _references(against, failure)]
    rated = [accuracy.rate(builder, other, batch_size) for other in others]
    if own.dtype.kind == "b":
        # If there is nothing to ask, every wrong answer may be one that was right.
        right = np.logical_or.reduce(rated) if rated else np.ones(len(own), bool)
        return np.flatnonzero(~own & right)
    metric = builder.spec.rating
    loss: Array = np.maximum.reduce(
        [metric.loss(own, other) for other in rated] or [metric.loss(own, np.zeros_like(own))]
    )
    rows: Array = np.argsort(-loss, kind="stable")
    return rows[loss[rows] > 0]


def _references(against: str, failure: Failure) -> list[Variant]:
    """Return what a verdict compared with, if it can be asked again."""
    if against != BASELINE:
        reference = failure.builder.accuracy_reference()
        return [] if reference is None else [reference]
    if not isinstance(failure.variant, OnnxVariant) or failure.last.file is None:
        return []
    return [failure.variant.beside(failure.last.file)]


def _readme(manifest: Manifest, red: list[Verdict]) -> str:
    lines = []
    names = {CANDIDATE: "the model that failed", FLOAT: "the float model it was made from", LAST: "the last release"}
    for name, found in manifest.files.items():
        if found.file:
            lines.append(f"  {found.file}: {names[name]}")
        elif found.sha256:
            lines.append(f"  not here, {found.bytes:,} bytes are too many: {names[name]}, SHA-256 {found.sha256}")
    inputs = manifest.inputs
    if inputs and inputs.file:
        lines.append(
            f"  {inputs.file}: {len(inputs.rows)} of {inputs.failing} samples that it loses on, with their labels"
        )
    if manifest.data:
        lines.append(f"  {manifest.data}: the whole evaluation data (--onnxlite-bundle-data)")
    else:
        lines.append("  No other data of yours: where inputs are needed, they are made from the seed in bundle.json.")
    lines.append(f"  {MANIFEST}: the verdicts, what was measured, limits, versions, machine, seed")
    return _README.format(
        replay=commands.replay("."),
        test=manifest.test,
        name=manifest.name,
        checks=", ".join(dict.fromkeys(f"{v.check} ({v.outcome})" for v in red)),
        message="\n\n".join(dict.fromkeys(v.message for v in red)),
        contents="\n".join(lines) + "\n",
        version=manifest.environment.get("pytest-onnxlite", "?"),
        onnxruntime=manifest.environment.get("onnxruntime", "?"),
    )
