"""The last release of a variant: its baseline, its file, and the data files that checks kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_onnxlite.baseline.record import Baseline, BrokenBaseline
from pytest_onnxlite.baseline.runtime import machine_key, shipped_with
from pytest_onnxlite.baseline.shipped import ShippedRuntime
from pytest_onnxlite.baseline.store import BaselineStore, NoArtefact
from pytest_onnxlite.checks.reference import Absent, Reference
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT, COMPARE, SAVE
from pytest_onnxlite.kinds import Kind
from pytest_onnxlite.records import LastRelease, Record
from pytest_onnxlite.settings import Mode


@dataclass(frozen=True)
class Last:
    """The last release of a variant: its baseline, or why there is none; its file, or why there is none.

    Attributes:
        broken: why the baseline there is cannot be read; None if it can, or there is none.
        data: by their names, the data files that checks kept.
    """

    reference: Reference
    file: Path | None = None
    no_file: str = ""
    broken: str | None = None
    data: Mapping[str, Path] = field(default_factory=dict)

    def recorded(self, kind: Kind, runtime: ShippedRuntime | None) -> LastRelease | None:
        """Return what a record says of it, its figures being those of a machine like this; None if there is none."""
        if not isinstance(self.reference, Baseline):
            return None
        found = self.reference
        machine = machine_key(found, runtime)
        here = found.machines[machine].sections if machine in found.machines else {}
        return LastRelease(
            found.artefact, {**found.sections, **here}, found.first, shipped_with(found, kind), found.accepted
        )


def load_last(store: BaselineStore, model: str, kind: str, mode: Mode) -> Last:
    """Return the last release; its files are checked whatever is judged, so that no broken baseline passes."""
    if mode == "plain":
        return Last(Absent(Outcome.NOT_COMPARED, f"baselines are looked at under: {COMPARE}"))
    return store.steady(model, kind, lambda: _load(store, model, kind), lambda last: isinstance(last.reference, Absent))


def changed_runtime(record: Record) -> Verdict:
    """Return the verdict of a runtime that is not the last release's, for runs in which that is to be red."""
    message = (
        f"{record.runtime_change}: the last release was accepted with another runtime, and onnxlite_runtime_change = fail "
        f"makes that red. Install what it shipped with, or, if the change is meant, accept it with: {ACCEPT}"
    )
    return Verdict("runtime", BASELINE, Outcome.FAIL, "changed", message)


def _none(store: BaselineStore, model: str, kind: str) -> str:
    missing = f"there is no baseline {store.told(store.path(model, kind))}."
    if not store.source:
        return f"{missing} Save one of a release that is good with: {SAVE}"
    return (
        f"{missing} If the model or the variant is new, there is nothing to compare it with until a baseline is saved that a "
        f"review has seen: {SAVE}, and commit it; a folder of another checkout needs one there."
    )


def _load(store: BaselineStore, model: str, kind: str) -> Last:
    try:
        baseline = store.load(model, kind)
    except BrokenBaseline as error:
        return Last(Absent(Outcome.NOT_COMPARABLE, str(error)), broken=str(error))
    if baseline is None:
        return Last(Absent(Outcome.MISSING, _none(store, model, kind)))
    try:
        data = store.data(baseline)
        return Last(baseline, store.artefact(baseline), data=data)
    except NoArtefact as error:
        return Last(baseline, no_file=str(error), data=data)
    except BrokenBaseline as error:
        return Last(Absent(Outcome.NOT_COMPARABLE, str(error)))
