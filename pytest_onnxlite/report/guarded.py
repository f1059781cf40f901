"""What is guarded: the saved baselines, as lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_onnxlite.baseline.record import Baseline, BrokenBaseline
from pytest_onnxlite.baseline.store import BaselineStore, NoArtefact
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.report.marks import accuracy_of
from pytest_onnxlite.text import aligned, size_text, time_text

_COLUMNS = ["model", "variant", "accuracy", "size", "latency", "memory", "graph", "artefact"]


def describe(folder: Path, artefact_dir: Path | None = None) -> tuple[list[str], bool]:
    """Return a table of the baselines in a folder, what is broken, and whether all is sound.

    Raises:
        OnnxliteError: there is no such folder, or no baseline in it.
    """
    if not folder.is_dir():
        raise OnnxliteError(f"there is no folder {folder}. Name the folder of the baselines, or save some first.")
    store = BaselineStore(folder, artefact_dir)
    saved = store.saved()
    if not saved:
        raise OnnxliteError(f"{folder} holds no baseline. Save one with: pytest --onnxlite-save-baseline")
    rows, broken = [_COLUMNS], []
    for model, variant in saved:
        try:
            baseline = store.load(model, variant)
        except BrokenBaseline as error:
            broken.append(f"broken: {error}")
            rows.append([model, variant, "broken", *("-" for _ in _COLUMNS[3:])])
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
        rows.append([model, variant, *_figures(baseline), artefact])
    lines = aligned(rows)
    models, kept = len({model for model, _ in saved}), len(saved)
    lines.append(f"{models} model{'s' if models > 1 else ''}, {kept} variant{'s' if kept > 1 else ''} in {folder}")
    return [*lines, *broken], not broken


def _figures(baseline: Baseline) -> list[str]:
    accuracy, size = baseline.accuracy, baseline.size
    return [
        accuracy_of(accuracy)[1] if accuracy else "-",
        size_text(size["bytes"]) if size else "-",
        _over_machines(baseline.machines, "latency", lambda found: found["seconds"], time_text),
        _over_machines(baseline.machines, "memory", lambda found: max(found["load"], found["run"]), size_text),
        f"{sum(baseline.graph['operators'].values())} nodes" if baseline.graph else "-",
    ]


def _over_machines(machines: Mapping[str, Any], check: str, value: Any, text: Any) -> str:
    """Return a figure of the machines that measured it, from the smallest to the largest."""
    found = sorted(value(section[check]) for section in machines.values() if isinstance(section.get(check), dict))
    if not found:
        return "-"
    return str(text(found[0])) if len(found) == 1 else f"{text(found[0])} to {text(found[-1])}"
