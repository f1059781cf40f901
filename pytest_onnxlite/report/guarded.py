"""What is guarded: the saved baselines, as lines."""

from __future__ import annotations

from pathlib import Path

from pytest_onnxlite.baseline.fingerprint import describe_machine
from pytest_onnxlite.baseline.record import Baseline, BrokenBaseline
from pytest_onnxlite.baseline.store import BaselineStore, NoArtefact
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.records import Checks
from pytest_onnxlite.text import aligned, size_text


def describe(folder: Path, checks: Checks, artefact_dir: Path | None = None) -> tuple[list[str], bool]:
    """Return a table of the baselines in a folder, what is broken, and whether all is sound.

    Raises:
        OnnxliteError: there is no such folder, or no baseline in it.
    """
    if not folder.is_dir():
        raise OnnxliteError(f"there is no folder {folder}. Name the folder of the baselines, or save some first.")
    store = BaselineStore(folder, checks, artefact_dir)
    saved = store.saved()
    if not saved:
        raise OnnxliteError(f"{folder} holds no baseline. Save one with: pytest --onnxlite-save-baseline")
    rows, broken = [["model", "variant", *checks, "file"]], []
    for model, variant in saved:
        try:
            baseline = store.load(model, variant)
        except BrokenBaseline as error:
            broken.append(f"broken: {error}")
            rows.append([model, variant, "broken", *("-" for _ in checks)])
            continue
        assert baseline is not None
        artefact = size_text(baseline.artefact.bytes)
        try:
            store.artefact(baseline)
        except NoArtefact:
            artefact += " (not kept)"
        except BrokenBaseline as error:
            artefact += " (broken)"
            broken.append(f"broken: {error}")
        rows.append([model, variant, *_figures(baseline, checks), artefact])
    lines = aligned(rows)
    models, kept = len({model for model, _ in saved}), len(saved)
    lines.append(f"{models} model{'s' if models > 1 else ''}, {kept} variant{'s' if kept > 1 else ''} in {folder}")
    lines.append(f"machines like this one: {describe_machine().kind}")
    return [*lines, *broken], not broken


def _figures(baseline: Baseline, checks: Checks) -> list[str]:
    texts = []
    for name, check in checks.items():
        sections = [baseline.sections[name]] if name in baseline.sections else []
        sections += [machine.sections[name] for machine in baseline.machines.values() if name in machine.sections]
        texts.append(check.saved_text(sections))
    return texts
