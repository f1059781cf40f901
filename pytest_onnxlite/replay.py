"""Judges a failure again from the folder that `--onnxlite-bundle` wrote, by the code that judged it first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pytest_onnxlite import bundle, commands, jsontext
from pytest_onnxlite.baseline.fingerprint import describe_machine, fingerprint
from pytest_onnxlite.baseline.shipped import ShippedRuntime
from pytest_onnxlite.bundle import Manifest
from pytest_onnxlite.checks.accuracy import measure as accuracy
from pytest_onnxlite.checks.latency.timer import Timer
from pytest_onnxlite.checks.limit import Limit
from pytest_onnxlite.checks.task import Clock
from pytest_onnxlite.checks.verdict import Outcome, Verdict
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.guard.guardian import Guardian
from pytest_onnxlite.kinds import KINDS
from pytest_onnxlite.labels import unlabelled
from pytest_onnxlite.records import JudgedFile, Record
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.report.document import environment
from pytest_onnxlite.report.failure import failure_text
from pytest_onnxlite.runtime import arrays
from pytest_onnxlite.samples import FEWEST, make_up, make_up_scenarios
from pytest_onnxlite.settings import PROCESSORS, Settings
from pytest_onnxlite.spec.dataset import Array, Dataset, Inputs, count_samples
from pytest_onnxlite.spec.model import ModelSpec
from pytest_onnxlite.spec.recipes import OtherRuntime
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.spec.stateful import Stateful
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.variants.external import hash_model
from pytest_onnxlite.variants.variant import Variant
from pytest_onnxlite.workspace import working_folder

_NO_SAMPLES = "its samples are not in the bundle (--onnxlite-bundle-data puts them in)."
_NOT_HERE = "what it was compared with is not in the bundle."


@dataclass
class _Again:
    """What came of judging again: the verdicts, and by check why there is none."""

    verdicts: list[Verdict] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Runtimes:
    """How the candidate is run, and how the model's other files are; None if they are run alike."""

    candidate: Runtime
    others: Runtime | None


def replay(folder: Path, say: Callable[[str], None], libraries: Sequence[str] = (), trusted: bool = False) -> int:
    """Judge again what can be, and say for each red verdict what became of it.

    Args:
        folder: what `--onnxlite-bundle` wrote.
        say: is told a text at a time.
        libraries: of custom operators, which no bundle holds.
        trusted: whether options of the runtime are taken from the bundle, which may name what is loaded.

    Returns:
        1 where something is red again, or could not be judged again; 0 where everything passes here.

    Raises:
        OnnxliteError: the folder is no bundle, or a file in it is not what it was.
    """
    manifest = _load(folder)
    say(f"{manifest.test} failed for {manifest.name}: {', '.join(dict.fromkeys(check for check, *_ in manifest.red))}")
    runtimes = _runtimes(manifest, libraries, trusted)
    for line in _differences(manifest):
        say(line)
    with working_folder() as cache:
        found = _judge(folder, manifest, runtimes, cache, say)
    shown = Record(
        manifest.test,
        manifest.model,
        manifest.variant,
        JudgedFile(),
        manifest.conditions,
        verdicts=tuple(found.verdicts),
    )
    text = failure_text([shown])
    if text:
        say(text)
    states = {(verdict.check, verdict.against): verdict for verdict in found.verdicts}
    still_red = bool(text)
    for check, against, message in manifest.red:
        again = states.get((check, against))
        what = f"{check} against {against}"
        if again is None:
            still_red = True
            said = message.replace("\n", "\n  ")
            say(f"not replayed: {what}: {found.reasons.get(check, _NOT_HERE)} It said:\n  {said}")
        else:
            say(f"{'red again' if again.red else 'passes here'}: {what} ({again.outcome})")
    return 1 if still_red else 0


def _load(folder: Path) -> Manifest:
    path = folder / bundle.MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OnnxliteError(
            f"{folder} is no bundle: {path} cannot be read ({error.strerror}). Name a folder that "
            f"{commands.BUNDLE} wrote: one of those in DIR."
        ) from None
    try:
        data = jsontext.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OnnxliteError(f"{path} is not JSON ({error}): the bundle was not copied whole.") from None
    if not isinstance(data, dict) or data.get("schema") != bundle.SCHEMA:
        raise OnnxliteError(f"{path} is of another version of pytest-onnxlite; replay it with the one that wrote it.")
    try:
        manifest = msgspec.convert(data, Manifest)
    except msgspec.ValidationError as error:
        raise OnnxliteError(
            f"{path} lacks what a bundle holds ({error}): it was changed, or not copied whole."
        ) from None
    for name, found in manifest.files.items():
        file = _inside(folder, found.file) if found.file else None
        if file is not None and _hash(file) != found.sha256:
            raise OnnxliteError(
                f"{file} is not the file that was judged ({name}: expected SHA-256 {found.sha256[:12]}…): "
                "the bundle was changed, or not copied whole."
            )
    _require_same(folder, manifest)
    return manifest


def _require_same(folder: Path, manifest: Manifest) -> None:
    """Refuse a bundle that is not as it was written: what is judged by another baseline, or other samples, is another case.

    Raises:
        OnnxliteError: a file in it is another, is gone, or is new.
    """
    try:
        found = bundle.contents(folder)
    except OSError as error:
        raise OnnxliteError(f"{folder} cannot be read whole: {error.strerror or error}. Copy it again.") from None
    names = sorted({*manifest.contents, *found})
    # A new file next to the folders, such as a file manager leaves, is read by nobody.
    odd = [
        name
        for name in names
        if manifest.contents.get(name) != found.get(name) and ("/" in name or name in manifest.contents)
    ]
    if odd:
        how = "is gone" if odd[0] not in found else "is new" if odd[0] not in manifest.contents else "is another"
        raise OnnxliteError(
            f"{folder} is not the bundle that was written: {folder / odd[0]} {how}. It was changed, or not copied whole; copy it "
            f"again from where {commands.BUNDLE} wrote it."
        )


def _inside(folder: Path, name: str) -> Path:
    """Return a file of the bundle.

    Raises:
        OnnxliteError: it lies elsewhere.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise OnnxliteError(f"{folder} names a file outside of itself, {name!r}: the bundle was changed.")
    return path


def _hash(file: Path) -> str:
    try:
        return hash_model(file)
    except Exception:
        return ""  # not there, or so broken that its external data cannot be looked for


def _differences(manifest: Manifest) -> list[str]:
    """Say what is another version or machine here."""
    here, there = environment(), manifest.environment
    # What runs the models decides what they answer and how fast; the rest does not.
    lines = [
        f"{tool} is {here.get(tool, 'absent')} here and was {there[tool]} there"
        for tool in ("onnxruntime", "pytest-onnxlite", "numpy")
        if tool in there and here.get(tool) != there[tool]
    ]
    if fingerprint(describe_machine()) != manifest.fingerprint:
        machine = manifest.machine
        lines.append(f"another machine: it was {machine.cpu}, {machine.cpus:g} CPUs, {', '.join(machine.isa)}")
    return lines


def _judge(folder: Path, manifest: Manifest, runtimes: _Runtimes, cache: Path, say: Callable[[str], None]) -> _Again:
    """Judge the checks that were red."""
    kind, registry = manifest.variant, Registry.load()
    checks = list(dict.fromkeys(check for check, *_ in manifest.red))
    candidate = manifest.files[bundle.CANDIDATE]
    if candidate.file is None:
        why = candidate.reason or f"it was too large for the bundle (SHA-256 {candidate.sha256})"
        return _Again(reasons=dict.fromkeys(checks, f"the candidate is not here: {why}."))
    if kind in KINDS and kind not in ("onnx", "int8"):
        return _Again(reasons=dict.fromkeys(checks, f"the {kind} variant cannot be run from a bundle."))
    spec = _spec(folder, manifest, runtimes)
    settings = Settings(
        mode="plain" if manifest.mode == "plain" else "compare",
        accept=False,
        baseline_dir=folder / "baselines",
        artefact_dir=None,
        keep_artefact=True,
        cache_dir=cache,
    )
    guardian = Guardian(settings, Cache(cache), lambda text: say(f"... {text}"), registry)
    variant = guardian.variant(spec, kind)
    again = _Again()
    limits: list[tuple[str, str, Limit]] = []
    for check in checks:
        if check == "runtime":
            again.reasons[check] = "it is about the version that was installed there."
        elif manifest.limits.get(check, {}).get("runtime"):
            again.reasons[check] = "it judges model and runtime together, and a bundle holds no runtime."
        elif check not in registry.checks:
            again.reasons[check] = "it is a check of the project's own."
        elif unlabelled(check) == "accuracy" and ":" in str(manifest.limits[check].get("metric")):
            again.reasons[check] = f"its metric, {manifest.limits[check]['metric']}, is code of the project's."
        elif _has_own_metric(manifest.limits[check]) and manifest.data is None:
            again.reasons[check] = _NO_SAMPLES
        elif unlabelled(check) == "accuracy" and not (
            manifest.metric_is_built_in or manifest.limits[check].get("metric")
        ):
            again.reasons[check] = f"its metric, {manifest.conditions.metric}, is code of the project's."
        elif unlabelled(check) == "accuracy" and manifest.data is None:
            _judge_samples(check, manifest, spec, variant, Builder(spec, Cache(cache), lambda _: None), again)
        else:
            found = registry.checks[check]
            limits.append((kind, found.name, _limit(manifest.limits[check], found.limit)))
    if limits:
        records = guardian.judge(manifest.test, spec, {kind: variant}, limits, Clock(Timer()))
        again.verdicts += [verdict for record in records for verdict in record.verdicts]
    wanted = {(check, against) for check, against, _ in manifest.red}
    again.verdicts = [v for v in again.verdicts if (v.check, v.against) in wanted or v.red]
    return again


def _has_own_metric(limit: Mapping[str, Any]) -> bool:
    return any(limit.get(name) is not None for name in ("metric", "output", "labels"))


def _limit(given: object, limit: type[Limit]) -> Limit:
    try:
        return msgspec.convert(given, limit)
    except msgspec.ValidationError as error:
        raise OnnxliteError(f"the bundle's limits make no sense ({error}): it was changed.") from None


def _runtimes(manifest: Manifest, libraries: Sequence[str], trusted: bool) -> _Runtimes:
    """Return how the files were run, as far as that can load no code that nobody here asked for.

    Raises:
        OnnxliteError: they need libraries that nobody named, or options that may name some.
    """
    try:
        shipped = msgspec.convert(manifest.record.get("runtime"), ShippedRuntime | None)
    except msgspec.ValidationError as error:
        raise OnnxliteError(f"the bundle's runtime makes no sense ({error}): it was changed.") from None
    candidate = _runtime(manifest, shipped, libraries, trusted)
    others = manifest.others
    return _Runtimes(candidate, None if others is None else _runtime(manifest, others, libraries, trusted))


def _runtime(manifest: Manifest, shipped: ShippedRuntime | None, libraries: Sequence[str], trusted: bool) -> Runtime:
    if shipped is None:
        return Runtime(threads=manifest.conditions.threads)
    if "custom_ops" in shipped.options and not libraries:
        raise OnnxliteError(
            f"{manifest.name} runs with libraries of custom operators ({shipped.options['custom_ops']}), and a bundle holds no "
            "code. Name yours: --custom-ops=FILE, or a module that has get_library_path()."
        )
    given = [f"{name}={value}" for name, value in shipped.options.items() if "." in name]
    if given and not trusted:
        raise OnnxliteError(
            f"{manifest.name} runs with options that ONNX Runtime and its providers read, and some of those name files that are "
            f"loaded: {', '.join(given)}. If they are well, replay with --trust-options."
        )
    try:
        return Runtime(custom_ops=libraries).restored(shipped.provider, shipped.options)
    except msgspec.ValidationError as error:
        raise OnnxliteError(f"the bundle's runtime makes no sense ({error}): it was changed.") from None


def _spec(folder: Path, manifest: Manifest, runtimes: _Runtimes) -> ModelSpec:
    conditions, kind = manifest.conditions, manifest.variant
    candidate = _inside(folder, manifest.files[bundle.CANDIDATE].file or "")
    made = candidate if runtimes.others is None else OtherRuntime(candidate, runtimes.candidate)
    sources: dict[str, Any] = {kind: candidate} if kind in KINDS else {"variants": {kind: made}}
    float_model = manifest.files.get(bundle.FLOAT)
    if kind != "onnx" and float_model is not None and float_model.file:
        sources["onnx"] = _inside(folder, float_model.file)
    sizes = [limit.get("batch_size") for limit in manifest.limits.values()]
    batch_size = max([conditions.batch_size, *(size for size in sizes if isinstance(size, int))])
    return ModelSpec(
        manifest.model,
        evaluation=_data(folder, manifest, batch_size),
        batch_size=conditions.batch_size,
        batched=conditions.batched,
        runtime=runtimes.others or runtimes.candidate,
        metric=conditions.metric if manifest.metric_is_built_in else "top1",
        output=conditions.output,
        stateful=Stateful(conditions.state, grows=conditions.grows) if conditions.state else None,
        scenarios=make_up_scenarios(manifest.scenarios, max(batch_size, FEWEST), manifest.seed),
        **sources,
    )


def _data(folder: Path, manifest: Manifest, batch_size: int) -> Dataset:
    """Return the evaluation data where it is there; else the failing samples; else made-up ones."""
    if manifest.data:
        return Dataset(*_read(_inside(folder, manifest.data)))
    fewest = max(batch_size, FEWEST)
    if manifest.inputs and manifest.inputs.file:
        x, y, *_ = _read(_inside(folder, manifest.inputs.file))
        if count_samples(x) >= fewest:
            return Dataset(x, y)
        return Dataset(_repeat(x, fewest), None if y is None else _repeat(y, fewest))
    return Dataset(make_up(manifest.sample, fewest, manifest.seed))


def _read(path: Path) -> tuple[Inputs, Any, dict[str, Array], dict[str, Array]]:
    """Return the inputs, the labels, the slices and more labels in a bundle's file of data."""
    found = arrays.load(path)
    x, slices, labels = (
        {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}
        for prefix in ("x.", bundle.SLICE, bundle.LABELS)
    )
    return (x[""] if set(x) == {""} else x), found.get("y"), slices, labels


def _repeat(values: Any, count: int) -> Any:
    if isinstance(values, Mapping):
        return {name: _repeat(array, count) for name, array in values.items()}
    array: Array = values
    return array[np.arange(count) % len(array)]


def _judge_samples(
    name: str, manifest: Manifest, spec: ModelSpec, variant: Variant, builder: Builder, again: _Again
) -> None:
    """Ask for the answers to the failing samples again, for a limit of accuracy."""
    inputs = manifest.inputs
    # Answers here say nothing about those on another processor.
    again.reasons[name] = _NO_SAMPLES
    if not inputs or not inputs.file:
        return
    given = manifest.limits[name].get("batch_size")
    batch_size = given if isinstance(given, int) else spec.batch_size
    rows = list(inputs.rows)
    own = accuracy.rate(builder, variant, batch_size)[: len(rows)]
    if own.dtype.kind == "b":
        lost = [row for row, is_right in zip(rows, own, strict=True) if not is_right]
        what = "answered wrong again"
    else:
        lost, what = _lost(own, rows, builder, batch_size)
    shown = ", ".join(map(str, lost[:10])) + (" ..." if len(lost) > 10 else "")
    text = f"{len(lost)} of the {len(rows)} failing samples are {what}: rows {shown} of the evaluation data."
    outcome, figure = Outcome.FAIL if lost else Outcome.PASS, f"{len(lost)} of {len(rows)} again"
    again.verdicts += [
        Verdict(name, against, outcome, figure, text if lost else "", red=bool(lost))
        for check, against, _ in manifest.red
        if check == name and against not in PROCESSORS
    ]


def _lost(own: Array, rows: list[int], builder: Builder, batch_size: int) -> tuple[list[int], str]:
    """Return the samples on which the candidate is still worse than the float model, where that is here."""
    reference = builder.accuracy_reference()
    if reference is None:
        return rows, "rated, but there is no float model here to compare with"
    other = accuracy.rate(builder, reference, batch_size)[: len(rows)]
    loss = builder.spec.rating.loss(own, other)
    return [row for row, worse in zip(rows, loss, strict=True) if worse > 0], "worse than the float model's again"
