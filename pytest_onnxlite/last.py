"""The last release of a variant: its baseline and its file, or why there is none to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_onnxlite.baseline.record import BrokenBaseline
from pytest_onnxlite.baseline.store import BaselineStore, NoArtefact
from pytest_onnxlite.checks.reference import SAVE, Absent, Reference
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.settings import Mode


@dataclass(frozen=True)
class Last:
    """The last release of a variant: its baseline, or why there is none; its file, or why there is none.

    Attributes:
        broken: why the baseline there is cannot be read; None where it can, or there is none.
    """

    reference: Reference
    file: Path | None = None
    no_file: str = ""
    broken: str | None = None


def load_last(store: BaselineStore, mode: Mode, model: str, kind: str) -> Last:
    """Return the last release; its file is checked whatever is judged, so that no broken baseline passes."""
    if mode == "plain":
        return Last(Absent(Outcome.NOT_COMPARED, "baselines are looked at under: pytest --onnxlite-baseline"))
    try:
        baseline = store.load(model, kind)
    except BrokenBaseline as error:
        return Last(Absent(Outcome.NOT_COMPARABLE, str(error)), broken=str(error))
    if baseline is None:
        text = f"there is no baseline {store.path(model, kind)}. Save one of a release that is good with: {SAVE}"
        return Last(Absent(Outcome.MISSING, text))
    try:
        return Last(baseline, store.artefact(baseline))
    except NoArtefact as error:
        return Last(baseline, no_file=str(error))
    except BrokenBaseline as error:
        return Last(Absent(Outcome.NOT_COMPARABLE, str(error)))
