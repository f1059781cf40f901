"""Judges a failure again from the folder that `--onnxlite-bundle` wrote, by the code that judged it first."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pytest_onnxlite import bundle
from pytest_onnxlite.baseline.fingerprint import describe_machine, fingerprint
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.guard import Clock, Guardian
from pytest_onnxlite.limits import LIMITS, Limit
from pytest_onnxlite.measure import accuracy
from pytest_onnxlite.measure.standin import StandIn
from pytest_onnxlite.report.document import environment
from pytest_onnxlite.report.failure import failure_text
from pytest_onnxlite.settings import PROCESSORS, Settings
from pytest_onnxlite.spec import Array, Dataset, Inputs, ModelSpec, count_samples
from pytest_onnxlite.variants import arrays
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.variants.external import hash_model
from pytest_onnxlite.variants.variant import Variant

# The fewest samples on which a file is run for the first time.
_FEWEST = 2


def replay(folder: Path, say: Callable[[str], None]) -> int:
    """Judge again what can be, and say for each red verdict what became of it.

    Args:
        folder: what `--onnxlite-bundle` wrote.
        say: is told a text at a time.

    Returns:
        1 where something is red again, or could not be judged again; 0 where everything passes here.

    Raises:
        OnnxliteError: the folder is no bundle, or a file in it is not what it was.
    """
    manifest = _load(folder)
    kind = manifest["variant"]
    name = f"{manifest['model']} {kind}"
    red = [verdict for verdict in manifest["verdicts"] if verdict["red"]]
    say(f"{manifest['test']} failed for {name}: {', '.join(dict.fromkeys(v['check'] for v in red))}")
    for line in _differences(manifest):
        say(line)
    with tempfile.TemporaryDirectory(prefix="onnxlite-replay-") as cache:
        found, reason = _judge(folder, manifest, red, Path(cache), say)
    text = failure_text([{"model": manifest["model"], "variant": kind, "verdicts": found}])
    if text:
        say(text)
    states = {(verdict["check"], verdict["against"]): verdict for verdict in found}
    still_red = bool(text)
    for verdict in red:
        again = states.get((verdict["check"], verdict["against"]))
        what = f"{verdict['check']} against {verdict['against']}"
        if again is None:
            still_red = True
            say(f"not replayed: {what}: {reason.get(verdict['check'], _NOT_HERE)} It said:\n  {_indented(verdict)}")
        else:
            say(f"{'red again' if again['red'] else 'passes here'}: {what} ({again['outcome']})")
    return 1 if still_red else 0


_NO_SAMPLES = "its samples are not in the bundle (--onnxlite-bundle-data puts them in)."
_NOT_HERE = "what it was compared with is not in the bundle."


def _indented(verdict: Mapping[str, Any]) -> str:
    return str(verdict["message"]).replace("\n", "\n  ")


def _load(folder: Path) -> dict[str, Any]:
    path = folder / bundle.MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OnnxliteError(
            f"{folder} is no bundle: {path} cannot be read ({error.strerror}). Name a folder that "
            "pytest --onnxlite-bundle=DIR wrote: one of those in DIR."
        ) from None
    except ValueError as error:
        raise OnnxliteError(f"{path} is not JSON ({error}): the bundle was not copied whole.") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != bundle.SCHEMA:
        raise OnnxliteError(f"{path} is of another version of pytest-onnxlite; replay it with the one that wrote it.")
    for name, found in manifest["files"].items():
        file = folder / found["file"] if found["file"] else None
        if file is not None and _hash(file) != found["sha256"]:
            raise OnnxliteError(
                f"{file} is not the file that was judged ({name}: expected SHA-256 {found['sha256'][:12]}…): "
                "the bundle was changed, or not copied whole."
            )
    return manifest


def _hash(file: Path) -> str:
    try:
        return hash_model(file)
    except Exception:
        return ""  # not there, or so broken that its external data cannot be looked for


def _differences(manifest: Mapping[str, Any]) -> list[str]:
    """Say what is another version or machine here."""
    here, there = environment(), manifest["environment"]
    # What runs the models decides what they answer and how fast; the rest does not.
    lines = [
        f"{tool} is {here.get(tool, 'absent')} here and was {there[tool]} there"
        for tool in ("onnxruntime", "pytest-onnxlite", "numpy")
        if tool in there and here.get(tool) != there[tool]
    ]
    if fingerprint(describe_machine()) != manifest["machine"]["fingerprint"]:
        machine = manifest["machine"]
        lines.append(f"another machine: it was {machine['cpu']}, {machine['cpus']:g} CPUs, {', '.join(machine['isa'])}")
    return lines


def _judge(
    folder: Path, manifest: Mapping[str, Any], red: list[dict[str, Any]], cache: Path, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the verdicts of the checks that were red, and by check why there is none."""
    kind, files = manifest["variant"], manifest["files"]
    checks = list(dict.fromkeys(verdict["check"] for verdict in red))
    candidate = files[bundle.CANDIDATE]
    if candidate["file"] is None:
        why = candidate.get("reason") or f"it was too large for the bundle (SHA-256 {candidate['sha256']})"
        missing = f"the candidate is not here: {why}."
        return [], dict.fromkeys(checks, missing)
    if kind not in ("onnx", "int8"):
        return [], dict.fromkeys(checks, f"the {kind} variant cannot be run from a bundle.")
    spec = _spec(folder, manifest)
    settings = Settings(
        mode="plain" if manifest["mode"] == "plain" else "compare",
        accept=False,
        baseline_dir=folder / "baselines",
        artefact_dir=None,
        keep_artefact=True,
        cache_dir=cache,
    )
    guardian = Guardian(settings, Cache(cache), lambda text: say(f"... {text}"))
    variant = guardian.variant(spec, kind)
    found: list[dict[str, Any]] = []
    reasons: dict[str, str] = {}
    limits: list[tuple[str, Limit]] = []
    for check in checks:
        if check == "accuracy" and not manifest["metric_is_built_in"]:
            reasons[check] = f"its metric, {manifest['conditions']['metric']}, is code of the project's."
            continue
        if check == "accuracy" and manifest["data"] is None:
            verdict = _judge_samples(folder, manifest, spec, variant, Builder(spec, Cache(cache), lambda _: None))
            if verdict is None:
                reasons[check] = _NO_SAMPLES
            else:
                # Their answers here say nothing about those on another processor.
                same = [v for v in red if v["check"] == check and v["against"] not in PROCESSORS]
                found += [{**verdict, "against": v["against"]} for v in same]
                reasons[check] = _NO_SAMPLES
            continue
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in manifest["limits"][check].items()
        }
        limits.append((kind, LIMITS[f"onnxlite_{check}"](**values)))
    if limits:
        records = guardian.judge(manifest["test"], spec, {kind: variant}, tuple(limits), Clock(StandIn()))
        found += [verdict for record in records for verdict in record.verdicts]
    wanted = {(verdict["check"], verdict["against"]) for verdict in red}
    return [verdict for verdict in found if (verdict["check"], verdict["against"]) in wanted or verdict["red"]], reasons


def _spec(folder: Path, manifest: Mapping[str, Any]) -> ModelSpec:
    conditions, files, kind = manifest["conditions"], manifest["files"], manifest["variant"]
    sources: dict[str, Path] = {kind: folder / files[bundle.CANDIDATE]["file"]}
    if kind == "int8" and files.get(bundle.FLOAT, {}).get("file"):
        sources["onnx"] = folder / files[bundle.FLOAT]["file"]
    batch_size = max(
        [conditions["batch_size"], *(limit.get("batch_size") or 1 for limit in manifest["limits"].values())]
    )
    return ModelSpec(
        manifest["model"],
        evaluation=_data(folder, manifest, batch_size),
        batch_size=conditions["batch_size"],
        batched=conditions["batched"],
        threads=conditions["threads"],
        metric=conditions["metric"] if manifest["metric_is_built_in"] else "top1",
        output=conditions["output"],
        **sources,  # type: ignore[arg-type]
    )


def _data(folder: Path, manifest: Mapping[str, Any], batch_size: int) -> Dataset:
    """Return the evaluation data where it is there; else the failing samples; else made-up ones."""
    if manifest["data"]:
        x, y = _read(folder / bundle.DATA)
        return Dataset(x, y)
    fewest = max(batch_size, _FEWEST)
    if manifest["inputs"] and manifest["inputs"]["file"]:
        x, y = _read(folder / bundle.INPUTS)
        return (
            Dataset(x, y)
            if count_samples(x) >= fewest
            else Dataset(_repeat(x, fewest), None if y is None else _repeat(y, fewest))
        )
    rng = np.random.default_rng(manifest["seed"])
    made = {}
    for name, sample in manifest["sample"].items():
        shape, dtype = (fewest, *sample["shape"]), np.dtype(sample["dtype"])
        # Whole numbers may be indices: 0 is one everywhere.
        made[name] = rng.normal(size=shape).astype(dtype) if dtype.kind == "f" else np.zeros(shape, dtype)
    return Dataset(made[""] if set(made) == {""} else made)


def _read(path: Path) -> tuple[Inputs, Any]:
    found = arrays.load(path)
    x = {name[2:]: array for name, array in found.items() if name.startswith("x.")}
    return (x[""] if set(x) == {""} else x), found.get("y")


def _repeat(values: Any, count: int) -> Any:
    if isinstance(values, Mapping):
        return {name: _repeat(array, count) for name, array in values.items()}
    array: Array = values
    return array[np.arange(count) % len(array)]


def _judge_samples(
    folder: Path, manifest: Mapping[str, Any], spec: ModelSpec, variant: Variant, builder: Builder
) -> dict[str, Any] | None:
    """Ask for the answers to the failing samples again."""
    inputs = manifest["inputs"]
    if not inputs or not inputs["file"]:
        return None
    batch_size = manifest["limits"]["accuracy"].get("batch_size") or spec.batch_size
    rows = inputs["rows"]
    own = accuracy.rate(builder, variant, batch_size)[: len(rows)]
    if own.dtype.kind == "b":
        lost = [row for row, is_right in zip(rows, own, strict=True) if not is_right]
        what = "answered wrong again"
    else:
        lost, what = _lost(own, manifest, builder, batch_size)
    shown = ", ".join(map(str, lost[:10])) + (" ..." if len(lost) > 10 else "")
    text = f"{len(lost)} of the {len(rows)} failing samples are {what}: rows {shown} of the evaluation data."
    return {
        "check": "accuracy",
        "outcome": "fail" if lost else "pass",
        "red": bool(lost),
        "figure": f"{len(lost)} of {len(rows)} again",
        "message": text if lost else "",
    }


def _lost(own: Array, manifest: Mapping[str, Any], builder: Builder, batch_size: int) -> tuple[list[int], str]:
    """Return the samples on which the candidate is still worse than the float model, where that is here."""
    rows = manifest["inputs"]["rows"]
    reference = builder.accuracy_reference()
    if reference is None:
        return rows, "rated, but there is no float model here to compare with"
    other = accuracy.rate(builder, reference, batch_size)[: len(rows)]
    loss = builder.spec.rating.loss(own, other)
    return [row for row, worse in zip(rows, loss, strict=True) if worse > 0], "worse than the float model's again"
