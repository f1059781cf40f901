"""A folder that holds a failure, so that it can be judged again elsewhere: files, failing inputs, baseline.

What of the user's data goes in: the samples that a verdict names, which are those that the candidate gets wrong and
what it is compared with gets right. More only where it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pytest_onnxlite.baseline.fingerprint import describe_machine, fingerprint
from pytest_onnxlite.baseline.record import BrokenBaseline
from pytest_onnxlite.baseline.store import BaselineStore, NoArtefact
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.measure import accuracy
from pytest_onnxlite.report.document import environment
from pytest_onnxlite.settings import PROCESSORS
from pytest_onnxlite.spec import Array, Inputs
from pytest_onnxlite.variants import arrays
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.external import files_of, hash_model
from pytest_onnxlite.variants.variant import OnnxVariant, Variant

SCHEMA = 1
MANIFEST = "bundle.json"
INPUTS, DATA = "inputs.npz", "data.npz"
CANDIDATE, FLOAT = "candidate", "float"
# What a team attaches to a report without thinking; larger files go in by their hash alone.
MOST_BYTES = 256 << 20
# Enough to see what they have in common.
_MOST_SAMPLES = 200
_SEED = 2021

_README = """\
A failed release check of pytest-onnxlite, to be judged again where this folder is.

    python -m pytest_onnxlite replay .

Test     {test}
Variant  {model} {variant}
Failed   {checks}

{message}

What is here
{contents}
Needed: pytest-onnxlite {version} and ONNX Runtime {onnxruntime} (bundle.json has all versions and the machine).
Timings and memory are measured anew on the machine where it is replayed.
"""


def write(
    folder: Path,
    record: Mapping[str, Any],
    builder: Builder,
    variant: Variant,
    store: BaselineStore,
    *,
    mode: str,
    all_data: bool,
) -> Path:
    """Write the folder of one variant that a test failed for, replacing the one of an earlier run.

    Args:
        folder: where bundles are collected.
        record: what was measured and decided, with at least one red verdict.
        builder: builds the model's other variants.
        variant: what was judged.
        store: the baselines.
        mode: what the run was for.
        all_data: whether the whole evaluation data goes in.

    Returns:
        The folder written.

    Raises:
        OnnxliteError: it cannot be written.
    """
    place = folder / _name(record)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder))
        try:
            _fill(work, record, builder, variant, store, mode, all_data)
            work.chmod(0o755)
            shutil.rmtree(place, ignore_errors=True)
            work.replace(place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise OnnxliteError(f"--onnxlite-bundle: {place} cannot be written: {error.strerror or error}.") from None
    return place


def _name(record: Mapping[str, Any]) -> str:
    test = record["test"]
    words = re.sub(r"[^A-Za-z0-9]+", "-", f"{record['model']}-{record['variant']}-{test.split('::', 1)[-1]}")[:60]
    digest = hashlib.sha256(f"{test} {record['model']} {record['variant']}".encode()).hexdigest()
    return f"{words.strip('-')}-{digest[:8]}"


def _fill(
    work: Path,
    record: Mapping[str, Any],
    builder: Builder,
    variant: Variant,
    store: BaselineStore,
    mode: str,
    all_data: bool,
) -> None:
    red = [verdict for verdict in record["verdicts"] if verdict["red"]]
    no_file = {"file": None, "reason": "it is no file, it can only be called"}
    files: dict[str, dict[str, Any] | None] = {
        CANDIDATE: place(variant.path, work, CANDIDATE) if variant.has_file else no_file
    }
    reference = builder.made_from(variant.kind) if variant.kind in ("int8", "tflite_int8") else None
    if reference is not None:
        files[FLOAT] = place(reference.path, work, FLOAT)
    files["previous"] = _place_baseline(work, record, store)
    manifest = {
        "schema": SCHEMA,
        "mode": mode,
        **{key: record[key] for key in ("test", "file", "line", "model", "variant")},
        **{key: record[key] for key in ("conditions", "recipe", "limits", "measured", "verdicts")},
        "metric_is_built_in": builder.spec.rating.is_built_in,
        "files": {name: found for name, found in files.items() if found},
        "inputs": _place_inputs(work, record, builder, variant, store),
        "data": _place_data(work, builder) if all_data else None,
        "sample": _describe_sample(builder.evaluation.x),
        "seed": _SEED,
        "environment": environment(),
        "machine": {"fingerprint": fingerprint(describe_machine()), **describe_machine()},
        "platform": sys.platform,
    }
    (work / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    (work / "README.txt").write_text(_readme(manifest, red), encoding="utf-8")


def place(source: Path, work: Path, name: str) -> dict[str, Any]:
    """Put a model into a folder of its own, with its external data; by its hash alone where it is too large.

    Args:
        source: the model's file or folder.
        work: the bundle.
        name: the folder's name.

    Returns:
        `sha256`, `bytes`, and `file`, its place in the bundle; None for none.

    Raises:
        OnnxliteError: its external data is not there.
    """
    files = sorted(f for f in source.rglob("*") if f.is_file()) if source.is_dir() else files_of(source)
    size = sum(file.stat().st_size for file in files)
    found: dict[str, Any] = {"sha256": hash_model(source), "bytes": size, "file": None}
    if size > MOST_BYTES:
        return found
    # External data is found by its name beside the model.
    for file in files:
        target = work / name / file.resolve().relative_to(source.parent.resolve())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return {**found, "file": f"{name}/{source.name}"}


def _place_baseline(work: Path, record: Mapping[str, Any], store: BaselineStore) -> dict[str, Any] | None:
    """Put the baseline's file in as it is, be it broken, and the previous release's artefact."""
    model, kind = record["model"], record["variant"]
    source = store.path(model, kind)
    if not source.is_file():
        return None
    target = work / "baselines" / model
    target.mkdir(parents=True)
    shutil.copyfile(source, target / source.name)
    try:
        baseline = store.load(model, kind)
        assert baseline is not None
        artefact = store.artefact(baseline)
    except (BrokenBaseline, NoArtefact) as error:
        return {"file": None, "reason": str(error)}
    found = {"sha256": baseline.artefact.sha256, "bytes": baseline.artefact.bytes, "file": None}
    if baseline.artefact.bytes > MOST_BYTES:
        return found
    inner = artefact.relative_to(store.artefact_folder(model))
    if len(inner.parts) > 1:  # a model of several files, in a folder of its own
        shutil.copytree(store.artefact_folder(model) / inner.parts[0], target / inner.parts[0])
    else:
        shutil.copyfile(artefact, target / inner)
    return {**found, "file": f"baselines/{model}/{inner.as_posix()}"}


def _describe_sample(x: Inputs) -> dict[str, Any]:
    """Return dtype and shape of each input, from which inputs can be made where none may leave."""
    # Of samples of different lengths the first stands for all.
    first = {name: array[0] for name, array in (x if isinstance(x, Mapping) else {"": x}).items()}
    return {name: {"dtype": str(sample.dtype), "shape": list(sample.shape)} for name, sample in first.items()}


def _named(x: Inputs) -> dict[str, Array]:
    """Return inputs by name, as they lie in an npz file."""
    return {f"x.{name}": array for name, array in (x if isinstance(x, Mapping) else {"": x}).items()}


def _rows(x: Inputs, rows: Array) -> Inputs:
    return {name: array[rows] for name, array in x.items()} if isinstance(x, Mapping) else x[rows]


def _place_data(work: Path, builder: Builder) -> str:
    data = builder.evaluation
    arrays.save(work / DATA, {**_named(data.x), **({} if data.y is None else {"y": data.y})})
    return DATA


def _place_inputs(
    work: Path, record: Mapping[str, Any], builder: Builder, variant: Variant, store: BaselineStore
) -> dict[str, Any] | None:
    """Put the failing samples in: those that the candidate gets wrong and what it is compared with gets right."""
    against = [
        verdict["against"]
        for verdict in record["verdicts"]
        if verdict["red"]
        and verdict["check"] == "accuracy"
        and verdict["outcome"] == "fail"
        # They are those that fail here; on another processor others may.
        and verdict["against"] not in PROCESSORS
    ]
    if not against:
        return None
    try:
        batch_size = record["limits"]["accuracy"].get("batch_size") or builder.spec.batch_size
        failing = _failing(against, batch_size, builder, variant, store)
    except OnnxliteError as error:
        # Answers that cannot be counted, such as NaN: the verdict says which samples.
        return {"file": None, "reason": str(error)}
    kept = failing[:_MOST_SAMPLES]
    if not len(kept):
        return None
    data = builder.evaluation
    labels = {} if data.y is None else {"y": data.y[kept]}
    arrays.save(work / INPUTS, {**_named(_rows(data.x, kept)), **labels, "rows": kept})
    return {"file": INPUTS, "rows": kept.tolist(), "failing": len(failing)}


def _failing(against: list[str], batch_size: int, builder: Builder, variant: Variant, store: BaselineStore) -> Array:
    """Return the rows of the samples that a loss consists of, the largest losses first where it is not counted."""
    own = accuracy.rate(builder, variant, batch_size)
    if own.ndim == 0:
        return np.zeros(0, np.int64)  # one figure for all samples: none of them is to blame
    others = [r for name in against for r in _references(name, builder, variant, store)]
    rated = [accuracy.rate(builder, other, batch_size) for other in others]
    if own.dtype.kind == "b":
        # Where there is nothing to ask, every wrong answer may be one that was right.
        right = np.logical_or.reduce(rated) if rated else np.ones(len(own), bool)
        return np.flatnonzero(~own & right)
    metric = builder.spec.rating
    loss: Array = np.maximum.reduce(
        [metric.loss(own, other) for other in rated] or [metric.loss(own, np.zeros_like(own))]
    )
    rows: Array = np.argsort(-loss, kind="stable")
    return rows[loss[rows] > 0]


def _references(name: str, builder: Builder, variant: Variant, store: BaselineStore) -> list[Variant]:
    """Return what a verdict compared with, where it can be asked again."""
    if name != "baseline":
        reference = builder.accuracy_reference()
        return [] if reference is None else [reference]
    if not isinstance(variant, OnnxVariant):
        return []
    try:
        baseline = store.load(variant.model, variant.kind)
        assert baseline is not None
        path = store.artefact(baseline)
    except (BrokenBaseline, NoArtefact):
        return []
    return [OnnxVariant(variant.model, variant.kind, path, threads=variant.threads, batched=variant.batched)]


def _readme(manifest: Mapping[str, Any], red: list[dict[str, Any]]) -> str:
    lines = []
    names = {
        CANDIDATE: "the model that failed",
        FLOAT: "the float model it was made from",
        "previous": "the last accepted release",
    }
    for name, found in manifest["files"].items():
        if found["file"]:
            lines.append(f"  {found['file']}: {names[name]}")
        elif found.get("sha256"):
            lines.append(f"  not here, {found['bytes']:,} bytes are too many: {names[name]}, SHA-256 {found['sha256']}")
    inputs = manifest["inputs"]
    if inputs and inputs["file"]:
        count, failing = len(inputs["rows"]), inputs["failing"]
        lines.append(f"  {inputs['file']}: {count} of {failing} samples that it loses on, with their labels")
    if manifest["data"]:
        lines.append(f"  {manifest['data']}: the whole evaluation data (--onnxlite-bundle-data)")
    else:
        lines.append("  No other data of yours: where inputs are needed, they are made from the seed in bundle.json.")
    lines.append(f"  {MANIFEST}: the verdicts, what was measured, limits, versions, machine, seed")
    return _README.format(
        test=manifest["test"],
        model=manifest["model"],
        variant=manifest["variant"],
        checks=", ".join(dict.fromkeys(f"{v['check']} ({v['outcome']})" for v in red)),
        message="\n\n".join(dict.fromkeys(v["message"] for v in red)),
        contents="\n".join(lines) + "\n",
        version=manifest["environment"].get("pytest-onnxlite", "?"),
        onnxruntime=manifest["environment"].get("onnxruntime", "?"),
    )
