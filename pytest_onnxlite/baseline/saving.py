"""From what a run measured to the baseline that is saved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from pytest_onnxlite.baseline.fingerprint import describe_machine, fingerprint
from pytest_onnxlite.baseline.record import Artefact, Baseline
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.checks.latency.judge import PREVIOUS
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.settings import Settings
from pytest_onnxlite.variants.external import files_of

_COUNTED = ("correct", "total", "batch_size", "data_sha256", "metric")
_SCORED = ("value", "total", "batch_size", "data_sha256", "metric", "higher_is_better")


@dataclass(frozen=True)
class Saved:
    """What became of one baseline: `saved`, `unchanged` or `refused`, and why."""

    model: str
    variant: str
    outcome: str
    path: str
    reason: str = ""


def merge(
    before: Baseline | None,
    artefact: Artefact,
    measured: Mapping[str, Any],
    machine: Mapping[str, Any],
    model: str,
    variant: str,
    asked: Collection[str] | None = None,
) -> Baseline:
    """Return the baseline of a measured artefact.

    Figures of another artefact are never kept. Those of the same artefact on the same machine are: what differs
    between two runs is noise, and a save that changes nothing must change no byte.

    Args:
        before: the baseline there was.
        artefact: the file that was measured.
        measured: by check, what was measured of it.
        machine: the machine it was measured on.
        model: the model's name.
        variant: the variant's kind.
        asked: the checks that any test of the project asks for; None where not all tests ran, and nobody knows.
    """
    same = before is not None and before.artefact.sha256 == artefact.sha256
    fresh = Baseline(model, variant, artefact)
    if before is not None and same:
        fresh = replace(before, artefact=artefact)
        if asked is not None:
            fresh = fresh.only(asked)
    if "accuracy" in measured:
        fresh = replace(fresh, accuracy=_accuracy(measured["accuracy"]))
    if "size" in measured:
        fresh = replace(fresh, size={"bytes": measured["size"]["bytes"]})
    if "graph" in measured:
        fresh = replace(
            fresh, graph={key: measured["graph"][key] for key in ("signature", "operators", "quantization")}
        )
    here = _machine_section(measured, machine)
    if here:
        key = fingerprint(dict(machine))
        known = fresh.machines.get(key, {})
        fresh = replace(fresh, machines={**fresh.machines, key: {**here, **known}})
    return replace(fresh, first=_first(before, fresh, measured, same))


def _accuracy(measured: Mapping[str, Any]) -> dict[str, Any]:
    if "correct" in measured:
        return {key: measured[key] for key in _COUNTED}
    return {key: measured[key] for key in _SCORED} | {"value": float(f"{measured['value']:.6g}")}


def _machine_section(measured: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, Any]:
    section: dict[str, Any] = {}
    if "latency" in measured:
        times = measured["latency"]
        section["latency"] = {
            "seconds": float(f"{times['seconds']:.3g}"),
            "batch_size": times["batch_size"],
            "threads": times["threads"],
        }
        sibling = times["comparisons"].get("float") or times["comparisons"].get("sibling")
        if sibling:
            section["latency"]["sibling_ratio"] = round(median(sibling["first"]), 4)
    if "memory" in measured:
        peaks = measured["memory"]
        section["memory"] = {
            "load": peaks["candidate"]["load"],
            "run": peaks["candidate"]["run"],
            "method": peaks["method"],
            "batch_size": peaks["batch_size"],
            "threads": peaks["threads"],
        }
    return {**section, "description": dict(machine)} if section else {}


def _first(before: Baseline | None, fresh: Baseline, measured: Mapping[str, Any], same: bool) -> dict[str, Any]:
    first = dict(before.first) if before else {}
    if fresh.accuracy is not None:
        kept = first.get("accuracy")
        # Answers on other data cannot be added up.
        comparable = isinstance(kept, dict) and kept.get("data_sha256") == fresh.accuracy["data_sha256"]
        if not comparable or ("value" in kept) != ("value" in fresh.accuracy):  # type: ignore[operator]
            keys = ("correct", "value", "total", "data_sha256")
            first["accuracy"] = {key: fresh.accuracy[key] for key in keys if key in fresh.accuracy}
    if fresh.size is not None:
        first.setdefault("size", dict(fresh.size))
    if "latency" in measured:
        beside = measured["latency"]["comparisons"].get("baseline", {})
        ratio = median(beside["first"]) if beside.get("reference") == PREVIOUS and not same else 1.0
        first["latency_ratio"] = round(first.get("latency_ratio", 1.0) * ratio, 4)
    if "memory" in measured:
        now, was = measured["memory"]["candidate"], measured["memory"]["reference"]
        ratio = _peak(now) / max(_peak(was), 1) if was and not same else 1.0
        first["memory_ratio"] = round(first.get("memory_ratio", 1.0) * ratio, 4)
    return first


def _peak(peaks: Mapping[str, Any]) -> float:
    return float(max(peaks["load"], peaks["run"]))


def save_all(
    records: Sequence[Mapping[str, Any]], unjudged: Sequence[str], settings: Settings, full: bool
) -> list[Saved]:
    """Save a baseline for each variant that was judged and that passes its limits.

    Args:
        records: what the guarded tests recorded, as data.
        unjudged: guarded tests that failed without a red verdict.
        settings: where to, and whether losses are accepted.
        full: whether the run reached every test, so that what none of them asks for is no longer guarded.
    """
    store = BaselineStore(settings.baseline_dir, settings.artefact_dir)
    machine = describe_machine()
    by_variant: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        by_variant.setdefault((record["model"], record["variant"]), []).append(record)
    return [
        _save_one(store, model, variant, group, unjudged, machine, settings, full and not unjudged)
        for (model, variant), group in sorted(by_variant.items())
    ]


def _save_one(
    store: BaselineStore,
    model: str,
    variant: str,
    records: Sequence[Mapping[str, Any]],
    unjudged: Sequence[str],
    machine: Mapping[str, Any],
    settings: Settings,
    full: bool,
) -> Saved:
    path = str(store.path(model, variant))
    refusal = _refusal(records, unjudged, settings.accept)
    if refusal:
        return Saved(model, variant, "refused", path, refusal)
    measured: dict[str, Any] = {}
    for record in records:
        measured.update(record["measured"])
    source = Path(records[-1]["artefact"]["path"])
    sha256 = records[-1]["artefact"]["sha256"]
    # The trained variant is never measured again beside a candidate, so its file is not kept twice.
    kept = settings.keep_artefact and variant != "trained"
    # A model of several files keeps their names, by which it knows them, in a folder of its own.
    files = files_of(source)
    suffix = "" if kept and len(files) > 1 else source.suffix
    artefact = Artefact(f"{variant}-{sha256[:16]}{suffix}", sha256, records[-1]["artefact"]["bytes"], kept)
    try:
        asked = {check for record in records for check in record["limits"]} if full else None
        baseline = merge(store.load(model, variant), artefact, measured, machine, model, variant, asked)
        changed = store.save(baseline, files)
    except OnnxliteError as error:
        return Saved(model, variant, "refused", path, str(error))
    return Saved(model, variant, "saved" if changed else "unchanged", path)


def _refusal(records: Sequence[Mapping[str, Any]], unjudged: Sequence[str], accept: bool) -> str:
    unreadable = next((r["broken_baseline"] for r in records if r["broken_baseline"]), None)
    if unreadable:
        return f"the baseline there is cannot be read, and is left as it is: {unreadable}"
    if len({record["artefact"]["sha256"] for record in records}) > 1:
        return "its tests judged different files; one baseline holds one artefact"
    if accept:
        return ""
    # A broken limit is one, whether or not its test was expected to fail.
    broken = sorted(
        {
            f"{v['check']} ({v['outcome']})"
            for r in records
            for v in r["verdicts"]
            if v["red"] or v.get("xfail") is not None
        }
    )
    if broken:
        return f"it fails its limits: {', '.join(broken)}. --onnxlite-accept saves it all the same"
    if unjudged:
        return f"{unjudged[0]} failed"
    return ""
