"""What a page shows, worked out from the JSON document: words, figures and places, no markup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from pytest_onnxlite.judge.limits import PREVIOUS
from pytest_onnxlite.report import terminal
from pytest_onnxlite.report.course import ThenNow, TrendPart, history, trend_part
from pytest_onnxlite.report.failure import explanation_lines, suggestion_lines
from pytest_onnxlite.report.marks import (
    PASS,
    Data,
    Mark,
    accuracy_of,
    anchor,
    mark_of,
    measured_of,
    peak_of,
    verdicts_of,
    worst,
)
from pytest_onnxlite.report.plots import Strip, strip
from pytest_onnxlite.settings import PROCESSORS
from pytest_onnxlite.text import size_text, time_text

CHECKS = ("accuracy", "size", "latency", "memory", "graph")
_KINDS = ("trained", "onnx", "int8", "tflite", "tflite_int8")


@dataclass(frozen=True)
class Cell:
    """A figure in a table: what it is, what it is beside, its state, and its share of the column's largest."""

    text: str
    notes: tuple[str, ...] = ()
    mark: Mark | None = None
    share: float | None = None


@dataclass(frozen=True)
class SummaryRow:
    """One model and variant in the summary."""

    model: str
    variant: str
    anchor: str
    cells: tuple[Cell | None, ...]
    mark: Mark
    word: str


@dataclass(frozen=True)
class Problem:
    """A red verdict, or whatever else made the run fail: what, why, where."""

    title: str
    against: str
    mark: Mark
    message: str
    explanation: tuple[str, ...] = ()
    test: str = ""
    place: str = ""
    anchor: str = ""
    badge: str = ""


@dataclass(frozen=True)
class OperatorRow:
    """How often an operator occurs in the float model and in the quantized one."""

    name: str
    before: int
    after: int
    share: float

    @property
    def change(self) -> str:
        """The difference with its sign."""
        return f"{self.after - self.before:+d}".replace("-", "−")


@dataclass(frozen=True)
class Share:
    """A part of a whole: a name, a text, a share of 1."""

    name: str
    text: str
    share: float


@dataclass(frozen=True)
class VerdictRow:
    """One limit: what was judged, against what, and what came of it."""

    check: str
    against: str
    figure: str
    mark: Mark
    message: str
    explanation: tuple[str, ...]


@dataclass(frozen=True)
class VariantPart:
    """Everything about one variant."""

    name: str
    kind: str
    anchor: str
    mark: Mark
    word: str
    tests: tuple[tuple[str, str], ...]
    verdicts: tuple[VerdictRow, ...]
    history: tuple[ThenNow, ...]
    strips: tuple[Strip, ...]
    operators: tuple[OperatorRow, ...]
    unchanged: str
    operator_changes: str
    weights: tuple[Share, ...]
    float_left: tuple[tuple[str, str, str], ...]
    nodes: tuple[Share, ...]
    node_total: str
    figures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class VariantRow:
    """One variant of a model, judged or only compared with."""

    kind: str
    role: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class ModelPart:
    """Everything about one model."""

    name: str
    anchor: str
    conditions: str
    rows: tuple[VariantRow, ...]
    parts: tuple[VariantPart, ...]


@dataclass(frozen=True)
class Page:
    """The whole report."""

    mark: Mark
    headline: str
    intro: str
    summary: tuple[SummaryRow, ...]
    columns: tuple[str, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]
    models: tuple[ModelPart, ...]
    trend: tuple[TrendPart, ...]
    machine: str
    run: tuple[tuple[str, str], ...]
    saved: tuple[tuple[str, str], ...] = field(default=())


def build(document: Data) -> Page:
    """Work out what a page shows of a document."""
    records = document["records"]
    groups: dict[tuple[str, str], list[Data]] = {}
    for record in records:
        groups.setdefault((record["model"], record["variant"]), []).append(record)
    problems = _problems(document)
    return Page(
        mark=Mark("fail", "✗", "fail") if document["verdict"] == "fail" else PASS,
        headline=_headline(document, len(problems)),
        intro=_intro(document, groups),
        summary=tuple(_summary_row(key, group) for key, group in groups.items()),
        columns=tuple(c for c in CHECKS if any(v["check"] == c for r in records for v in r["verdicts"])),
        problems=problems,
        remarks=(*document["remarks"], *terminal.notes(records)),
        models=tuple(_model_part(name, groups) for name in dict.fromkeys(model for model, _ in groups)),
        trend=tuple(trend_part(entry, groups) for entry in document.get("trend", ())),
        machine=_machine(document["machine"]),
        run=tuple(
            flatten(
                {
                    "mode": document["mode"],
                    "verdict": document["verdict"],
                    "schema": document["schema"],
                    "machine": document["machine"],
                    "environment": document["environment"],
                }
            )
        ),
        saved=tuple(
            (f"{s['model']} {s['variant']}", f"{s['outcome']}{': ' + s['reason'] if s['reason'] else ''} ({s['path']})")
            for s in document["saved"]
        ),
    )


def _headline(document: Data, problems: int) -> str:
    if document["verdict"] == "fail":
        return f"{problems} problem{'s' if problems != 1 else ''} to look at"
    expected = sum(v.get("xfail") is not None for record in document["records"] for v in record["verdicts"])
    if expected:
        return f"{expected} limit{'s are' if expected != 1 else ' is'} broken as expected (xfail); every other holds"
    return {
        "compare": "Every limit holds, compared with the last release",
        "save": "Every limit holds, baselines saved",
    }.get(document["mode"], "Every limit that needs no baseline holds; nothing was compared with a baseline")


def _intro(document: Data, groups: Mapping[tuple[str, str], Sequence[Data]]) -> str:
    models = len({model for model, _ in groups})
    judged = [v for group in groups.values() for r in group for v in r["verdicts"] if v["outcome"] != "not compared"]
    parts = [
        f"{models} model{'s' if models != 1 else ''}",
        f"{len(groups)} variant{'s' if len(groups) != 1 else ''}",
        f"{len(judged)} limit{'s' if len(judged) != 1 else ''} judged",
    ]
    mode = {"compare": "compared with baselines", "save": "saving baselines"}.get(
        document["mode"], "not compared with baselines"
    )
    return f"{', '.join(parts)}, {mode}."


def _machine(machine: Data) -> str:
    cpus = machine["cpus"]
    count = f"{cpus:g} CPU{'s' if cpus != 1 else ''}"
    return (
        f"{machine['cpu']}, {count}, {machine['os']} {machine['architecture']}, ONNX Runtime {machine['onnxruntime']}"
    )


def _summary_row(key: tuple[str, str], group: Sequence[Data]) -> SummaryRow:
    verdicts, measured = verdicts_of(group), measured_of(group)
    cells = []
    for check in CHECKS:
        own = [v for v in verdicts if v["check"] == check]
        cells.append(
            Cell(own[-1]["figure"], tuple(terminal.beside(check, own, measured.get(check))), worst(own))
            if own
            else None
        )
    mark = worst(verdicts)
    word = terminal.overall({terminal.state_of(v) for v in verdicts}, any(v["red"] for v in verdicts))
    return SummaryRow(*key, anchor("variant", *key), tuple(cells), mark, word)


def _evidence(explanation: Data) -> dict[str, Any]:
    """Return the figures of an explanation, without its words."""
    return {key: value for key, value in explanation.items() if key not in ("why", "lines")}


def _explanation(verdict: Data) -> tuple[str, ...]:
    return tuple(explanation_lines(verdict))


# -- what failed ---------------------------------------------------------------------------------------------


def _problems(document: Data) -> tuple[Problem, ...]:
    found: dict[tuple[str, str, str, str], list[Problem]] = {}
    for record in document["records"]:
        # Once, with the first that failed.
        way_out = suggestion_lines(record)
        if way_out:
            way_out = ["A way out:", *(f"  {line}" for line in way_out)]
        for verdict in record["verdicts"]:
            if verdict["red"]:
                name = f"{record['model']} {record['variant']}"
                problem = Problem(
                    f"{name}: {verdict['check']}",
                    _beside(verdict),
                    mark_of(verdict),
                    verdict["message"],
                    (*_explanation(verdict), *way_out),
                    record["test"],
                    f"{record['file']}:{record['line']}",
                    anchor("variant", record["model"], record["variant"]),
                    verdict["outcome"],
                )
                # Checks that fail for one reason, such as a baseline that is missing, give it once.
                found.setdefault((name, record["test"], verdict["outcome"], verdict["message"]), []).append(problem)
                way_out = []
    problems = []
    for (name, *_), same in found.items():
        checks = ", ".join(dict.fromkeys(p.title.split(": ")[1] for p in same))
        problems.append(Problem(**{**vars(same[0]), "title": f"{name}: {checks}"}))
    for entry in document["unjudged"]:
        problems.append(
            Problem(
                entry["what"],
                "",
                Mark("fail", "✗", "fail"),
                entry["reason"] or "pytest shows why.",
                test=entry["test"],
                place=f"{entry['file']}:{entry['line']}",
                badge="not judged",
            )
        )
    problems += [Problem("the run", "", Mark("fail", "✗", "fail"), text, badge="fail") for text in document["session"]]
    return tuple(problems)


# -- a model -------------------------------------------------------------------------------------------------


def _model_part(name: str, groups: Mapping[tuple[str, str], Sequence[Data]]) -> ModelPart:
    own = {variant: group for (model, variant), group in groups.items() if model == name}
    conditions = next(iter(own.values()))[0]["conditions"]
    texts = [f"batch size {conditions['batch_size']}", f"{conditions['threads']} thread(s)"]
    if conditions["samples"]:
        texts.append(f"{conditions['samples']:,} evaluation samples")
    texts.append(f"metric {conditions['metric']}")
    texts += [text for text in dict.fromkeys(r["recipe"] for group in own.values() for r in group) if text]
    return ModelPart(
        name,
        anchor("model", name),
        ", ".join(texts).replace("1 thread(s)", "1 thread").replace("thread(s)", "threads"),
        _variant_rows(own),
        tuple(_variant_part(name, variant, group) for variant, group in own.items()),
    )


def _variant_rows(own: Mapping[str, Sequence[Data]]) -> tuple[VariantRow, ...]:
    """Return a row for each variant of which a figure is known, judged or measured beside a judged one."""
    figures: dict[str, dict[str, tuple[float, str, str]]] = {}

    def note(kind: str, check: str, value: float, text: str, remark: str = "") -> None:
        figures.setdefault(kind, {}).setdefault(check, (value, text, remark))

    for kind, group in own.items():
        measured = measured_of(group)
        figures.setdefault(kind, {})
        if "accuracy" in measured:
            found = measured["accuracy"]
            note(kind, "accuracy", *accuracy_of(found))
        if "size" in measured:
            note(kind, "size", measured["size"]["bytes"], size_text(measured["size"]["bytes"]))
        if "latency" in measured:
            note(kind, "latency", measured["latency"]["seconds"], time_text(measured["latency"]["seconds"]))
        if "memory" in measured:
            peak = peak_of(measured["memory"]["candidate"])
            note(kind, "memory", peak, size_text(peak))
    for kind, group in own.items():
        measured = measured_of(group)
        accuracy, size = measured.get("accuracy"), measured.get("size")
        latency = measured.get("latency", {"comparisons": {}})
        if accuracy and accuracy["reference"]:
            beside = (
                {**accuracy, "correct": accuracy["reference_correct"]}
                if "correct" in accuracy
                else {"value": accuracy["reference_value"]}
            )
            note(accuracy["reference"], "accuracy", *accuracy_of(beside))
        if size and size["reference"]:
            note(size["reference"], "size", size["reference_bytes"], size_text(size["reference_bytes"]))
        for comparison in latency["comparisons"].values():
            if comparison["reference"] != PREVIOUS:
                seconds = latency["seconds"] / median(comparison["first"])
                note(comparison["reference"], "latency", seconds, time_text(seconds), f"by its ratio to {kind}")
    largest = {check: max((f[check][0] for f in figures.values() if check in f), default=0.0) for check in CHECKS}
    rows = []
    for kind in sorted(figures, key=lambda k: (_KINDS.index(k) if k in _KINDS else len(_KINDS), k)):
        cells: list[Cell | None] = []
        for check in CHECKS[:-1]:
            if check not in figures[kind]:
                cells.append(None)
                continue
            value, text, remark = figures[kind][check]
            cells.append(Cell(text, (remark,) if remark else (), None, value / largest[check] if largest[check] else 0))
        rows.append(VariantRow(kind, "judged" if kind in own else "compared with", tuple(cells)))
    return tuple(rows)


def _variant_part(model: str, kind: str, group: Sequence[Data]) -> VariantPart:
    verdicts, measured = verdicts_of(group), measured_of(group)
    summary = _summary_row((model, kind), group)
    operators, unchanged = _operators(measured.get("graph"))
    contents = measured.get("size", {}).get("contents", {})
    changes = dict.fromkeys(v["evidence"].get("operator_changes") for v in verdicts)
    peaks = measured.get("memory", {}).get("candidate", {})
    total = peaks.get("node_bytes") or 0
    return VariantPart(
        f"{model} {kind}",
        kind,
        summary.anchor,
        summary.mark,
        summary.word,
        tuple((r["test"], f"{r['file']}:{r['line']}") for r in group),
        tuple(
            VerdictRow(v["check"], _against(v), v["figure"], mark_of(v), v["message"], _explanation(v))
            for v in verdicts
        ),
        history(group),
        tuple(_strips(f"{model} {kind}", measured.get("latency"), verdicts)),
        operators,
        unchanged,
        next((text for text in changes if text), ""),
        _shares(contents.get("weight_bytes", {})),
        tuple(
            (t["tensor"], size_text(t["bytes"]), f"{t['node']}: {t['reason']}") for t in contents.get("float_left", ())
        ),
        tuple(Share(name, size_text(size), size / total if total else 0) for name, size in peaks.get("nodes", ())),
        size_text(total) if total else "",
        tuple(line for record in group for line in flatten(_plain(record))),
    )


def _beside(verdict: Data) -> str:
    """Say what a verdict is against, where that is not the limit alone or a baseline that is not there."""
    uncertain = verdict["outcome"] in ("missing", "not measured")
    return "" if uncertain or verdict["against"] == "limit" else f"against {_against(verdict)}"


def _against(verdict: Data) -> str:
    if verdict["against"] in PROCESSORS:
        emulated = " (emulated)" if verdict["evidence"].get("emulated") else ""
        return f"the limit on the processor {verdict['against']}{emulated}"
    if verdict["against"] != "baseline":
        return {"limit": "its own limit"}.get(verdict["against"], f"the {verdict['against']} variant")
    reference = verdict["evidence"].get("reference", PREVIOUS)
    if not isinstance(reference, str) or reference == PREVIOUS:
        return "the last release"
    return f"the last release, by {reference}"


def _plain(record: Data) -> dict[str, Any]:
    """Return a record's figures; what the verdicts say in words is shown elsewhere."""
    return {
        "artefact": record["artefact"],
        "conditions": {**record["conditions"], "recipe": record["recipe"]},
        "limits": record["limits"],
        "baseline": record["baseline"],
        "measured": record["measured"],
        "forecast": {k: v for k, v in (record.get("forecast") or {}).items() if k != "text"},
        "suggestion": {k: v for k, v in (record.get("suggestion") or {}).items() if k != "text"},
        "evidence": {
            f"{v['check']} against {v['against']}": {
                **v["evidence"],
                **({"explanation": _evidence(v["explanation"])} if v.get("explanation") else {}),
            }
            for v in record["verdicts"]
        },
    }


def flatten(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """Return every figure of JSON data with its path; a list of plain values in one line."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{path} › {key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(inner, (list, Mapping)) for inner in value):
        for number, inner in enumerate(value):
            yield from flatten(inner, f"{path} › {number}")
    elif isinstance(value, list):
        if value:
            yield path, ", ".join(plain_text(inner) for inner in value)
    elif value is not None:
        yield path, plain_text(value)


def plain_text(value: Any) -> str:
    """Return a value of JSON as it stands there; a text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def _shares(by_kind: Mapping[str, int]) -> tuple[Share, ...]:
    total = sum(by_kind.values())
    ordered = sorted(by_kind.items(), key=lambda entry: -entry[1])
    return tuple(Share(kind, size_text(size), size / total if total else 0) for kind, size in ordered)


def _operators(graph: Data | None) -> tuple[tuple[OperatorRow, ...], str]:
    """Return the operators whose number quantization changed, and a text of those it left alone."""
    change = (graph or {}).get("quantization") or {}
    if graph is None or not change:
        return (), ""
    added, removed, now = change["added"], change["removed"], graph["operators"]
    rows = [
        (name, now.get(name, 0) - added.get(name, 0) + removed.get(name, 0), now.get(name, 0))
        for name in {*added, *removed}
    ]
    rows.sort(key=lambda row: (row[2] - row[1], row[0]))
    most = max((abs(after - before) for _, before, after in rows), default=1)
    same = ", ".join(
        f"{count} {name}" for name, count in sorted(now.items()) if name not in added and name not in removed
    )
    return tuple(OperatorRow(n, b, a, (a - b) / most) for n, b, a in rows), same


# -- paired ratios -------------------------------------------------------------------------------------------

_SETS = {
    "first": "First set",
    "second": "Independent second set",
    "self_check": "Self-check: the reference against itself",
}


def _strips(name: str, latency: Data | None, verdicts: Sequence[Data]) -> Iterable[Strip]:
    for purpose, comparison in (latency or {"comparisons": {}})["comparisons"].items():
        verdict = next(
            (v for v in verdicts if v["check"] == "latency" and terminal.is_of(v, purpose, comparison)),
            None,
        )
        reference = (
            "the last release" if comparison["reference"] == PREVIOUS else f"the {comparison['reference']} variant"
        )
        yield strip(
            f"{name} against {reference}",
            anchor("strip", *name.split(), purpose),
            [
                (label, comparison[key], verdict["evidence"].get(key) if verdict else None)
                for key, label in _SETS.items()
                if comparison[key]
            ],
            comparison["most"] if verdict else None,
        )
