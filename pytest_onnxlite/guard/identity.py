"""Whether a variant is the one that the test's own model names: the same model, runtime and file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.kinds import CHOSEN
from pytest_onnxlite.spec.dataset import hash_inputs
from pytest_onnxlite.spec.model import ModelSpec
from pytest_onnxlite.variants import called, trained
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.external import files_of, hash_model
from pytest_onnxlite.variants.variant import RuntimeVariant, Variant

# By file, its time of change, size and number.
State = dict[Path, tuple[int, ...]]


def require_own(variant: object, kind: str, builder: Builder) -> Variant:
    """Check that what a fixture gave is the spec's own variant, whoever kept or made it.

    Args:
        variant: what the fixture gave.
        kind: the kind that it stands for.
        builder: of the test's own model.

    Raises:
        OnnxliteError: it is no variant, another model's, another file, or runs otherwise; the text names both.
    """
    fixture = f"onnxlite_{CHOSEN if kind in builder.spec.variants else kind}"
    if not isinstance(variant, Variant):
        raise OnnxliteError(f"the fixture {fixture} returned a {type(variant).__name__}; expected a Variant.")
    own = builder.variant(kind)
    if variant is own:
        return own
    differ = [what for what, one, other in _compared(variant, own) if one != other] or _files_differ(variant, own)
    if not differ:
        return variant
    if variant.model != own.model:
        advice = (
            f"A fixture kept it from a test of {variant.model}, or an override gives it whatever model the test has. "
            f"Let that fixture take onnxlite_model as an argument, or ask for {fixture} itself."
        )
    else:
        advice = (
            f"Do not override onnxlite_{kind}: give the file as ModelSpec({kind}=...), and how it runs as "
            "ModelSpec(runtime=..., batched=...)."
            if kind in ("onnx", "int8")
            else f"Do not override {fixture}, or return what {fixture} itself gives."
        )
    raise OnnxliteError(
        f"the fixture {fixture} gave {_described(variant)}, and the test's own onnxlite_model names "
        f"{_described(own)}: they differ in {' and '.join(differ)}. Nothing was judged. {advice}"
    )


def _compared(one: Variant, other: Variant) -> list[tuple[str, object, object]]:
    def runtime(variant: Variant) -> tuple[object, ...]:
        return type(variant), variant.runtime if isinstance(variant, RuntimeVariant) else None, variant.batched

    return [
        ("model", one.model, other.model),
        ("kind", one.kind, other.kind),
        ("how they are run", runtime(one), runtime(other)),
    ]


def _files_differ(one: Variant, other: Variant) -> list[str]:
    """Compare the files of two variants; what has none cannot be told apart, and counts as another."""
    if not (one.has_file and other.has_file):
        return ["what is called"]
    return [] if hash_model(one.path) == hash_model(other.path) else ["file"]


def _described(variant: Variant) -> str:
    runtime = f", {variant.runtime.describe()}" if isinstance(variant, RuntimeVariant) else ""
    where = (
        f"{variant.path}, SHA-256 {hash_model(variant.path)[:12]}…" if variant.has_file else "something that is called"
    )
    return f"{variant.model} {variant.kind} ({where}{runtime})"


def state_of(variant: Variant) -> State:
    """Return what tells whether somebody writes to a variant's files; reads no weights.

    Raises:
        OnnxliteError: one is missing.
    """
    if not variant.has_file:
        return {}
    path = variant.path
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else files_of(path)
    return {file: _stat(file) for file in files}


def _stat(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def require_unchanged(variant: Variant, before: State) -> None:
    """Check that a variant's files are those that the fixture gave.

    Raises:
        OnnxliteError: somebody wrote to one, or one is missing.
    """
    changed = next((file for file, stat in before.items() if _stat(file) != stat), None)
    if changed is not None:
        raise OnnxliteError(
            f"{variant.model} {variant.kind}: {changed} was written to or removed after the fixture "
            f"onnxlite_{variant.kind} gave it, so that nobody can tell which content would be judged. Nothing was judged. "
            "Write model files before pytest runs, or in the fixture onnxlite_model."
        )


def is_same(one: ModelSpec, other: ModelSpec) -> bool:
    """Tell whether two specs describe one model: a fixture that runs twice makes two of them."""
    return one is other or (_same_trained(one, other) and _content(one) == _content(other))


def _same_trained(one: ModelSpec, other: ModelSpec) -> bool:
    if one.trained is other.trained or isinstance(one.trained, Path) or isinstance(other.trained, Path):
        return bool(one.trained == other.trained)
    if one.trained is None or other.trained is None:
        return False
    if called.is_foreign(one.trained) or called.is_foreign(other.trained):
        return False
    return trained.identify(one) == trained.identify(other)


def _content(spec: ModelSpec) -> tuple[Any, ...]:
    data = spec.evaluation.sha256 if spec.evaluation else None
    calibration = hash_inputs(spec.calibration) if spec.calibration is not None else None
    scenarios = [
        (name, found.length, found.batch_size, hash_inputs(found.inputs) if found.inputs is not None else None)
        for name, found in sorted(spec.scenarios.items())
    ]
    files = spec.onnx, spec.int8, tuple(spec.variants.items()), spec.recipe, calibration, data
    how = spec.batch_size, spec.runtime, spec.batched, spec.output, spec.rating
    return *files, *how, scenarios, spec.stateful
