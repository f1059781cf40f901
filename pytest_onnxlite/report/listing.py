"""What is guarded: the saved baselines, as lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pytest_onnxlite import commands
from pytest_onnxlite.addresses import Address
from pytest_onnxlite.baseline import released, unfinished, writing
from pytest_onnxlite.baseline.fingerprint import describe_machine
from pytest_onnxlite.baseline.places.choosing import place_at
from pytest_onnxlite.baseline.record import Baseline, BrokenBaseline
from pytest_onnxlite.baseline.runtime import shipped_with
from pytest_onnxlite.baseline.store import BaselineStore, NoArtefact
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.kinds import KINDS
from pytest_onnxlite.records import Checks
from pytest_onnxlite.text import aligned, size_text


def describe(
    folder: Path,
    checks: Checks,
    artefact_dir: Path | Address | None = None,
    *,
    prune: bool = False,
    seconds: float = 60.0,
) -> tuple[list[str], bool]:
    """Return a table of the baselines in a folder, what is broken, and whether all is sound.

    Args:
        folder: holds the baselines.
        checks: the checks by name.
        artefact_dir: where the released files are, if elsewhere.
        seconds: how long nothing may be heard of a server that they are on.
        prune: whether released files that no baseline names are removed.

    Raises:
        OnnxliteError: there is no such folder, or no baseline in it; another process is saving there, or files cannot be removed.
    """
    if not folder.is_dir():
        raise OnnxliteError(f"there is no folder {folder}. Name the folder of the baselines, or save some first.")
    store = BaselineStore(folder, checks, place_at(artefact_dir, folder, seconds))
    saved = store.saved()
    if not saved:
        raise OnnxliteError(f"{folder} holds no baseline. Save one with: {commands.SAVE}")
    rows: list[_Row] = []
    broken: list[str] = []
    for model, variant in saved:
        row, wrong = store.steady(
            model, variant, partial(_row, store, model, variant, checks), lambda found: bool(found[1])
        )
        rows.append(row)
        broken += wrong
    names = [name for name, _ in checks.known({*checks, *(name for row in rows for name in row.figures)})]
    lines = aligned(
        [
            ["model", "variant", *names, "file", "runtime"],
            *([*row.of, *(row.figures.get(name, "-") for name in names), row.file, row.runtime] for row in rows),
        ]
    )
    models, kept = len({model for model, _ in saved}), len(saved)
    lines.append(f"{models} model{'s' if models > 1 else ''}, {kept} variant{'s' if kept > 1 else ''} in {folder}")
    lines.append(f"machines like this one: {describe_machine().kind}")
    left = unfinished.describe(folder)
    broken += [f"unfinished: {left}"] if left else []
    if prune:
        lines += [f"removed: {path.relative_to(folder).as_posix()}" for path in writing.prune(store)]
    else:
        lines += [released.remark(folder, paths) for paths in [released.unnamed(store)] if paths]
    return [*lines, *broken], not broken


@dataclass(frozen=True)
class _Row:
    """A baseline in the table: model and variant, figures by check, the file's size, and the runtime."""

    of: tuple[str, str]
    figures: Mapping[str, str]
    file: str = "-"
    runtime: str = "-"


def _row(store: BaselineStore, model: str, variant: str, checks: Checks) -> tuple[_Row, list[str]]:
    """Return the row of a baseline, and what is broken of it."""
    of, first = (model, variant), next(iter(checks))
    try:
        baseline = store.load(model, variant)
    except BrokenBaseline as error:
        return _Row(of, {first: "broken"}), [f"broken: {error}"]
    if baseline is None:
        return _Row(of, {first: "gone"}), [f"broken: {store.path(model, variant)} is gone."]
    artefact, broken = size_text(baseline.artefact.bytes), []
    try:
        store.artefact(baseline)
    except NoArtefact:
        artefact += " (not kept)"
    except BrokenBaseline as error:
        artefact += " (broken)"
        broken = [f"broken: {error}"]
    return _Row(of, _figures(baseline, checks), artefact, _runtime(baseline)), broken


def _runtime(baseline: Baseline) -> str:
    """Return what the release ships with, as far as its baseline says."""
    # A kind of a project's own is not known here; what it was saved with is.
    found = shipped_with(baseline, KINDS.get(baseline.variant, KINDS["onnx"]))
    if found is None:
        return "-"
    return ", ".join([found.package, *found.told])


def _figures(baseline: Baseline, checks: Checks) -> dict[str, str]:
    found: dict[str, list[object]] = {}
    for name, section in baseline.all_sections():
        found.setdefault(name, []).append(section)
    return {name: check.saved_text(found.get(name, [])) for name, check in checks.known({*checks, *found})}
