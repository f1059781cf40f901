"""What a page shows, worked out from the document: words, figures and places, no markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_onnxlite.checks.figures import Figure
from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.kinds import KINDS
from pytest_onnxlite.labels import label_of
from pytest_onnxlite.records import Checks, Record, to_data
from pytest_onnxlite.report import terminal
from pytest_onnxlite.report.document import Document, as_data, flatten, rounded
from pytest_onnxlite.report.drawings import Drawing, placed
from pytest_onnxlite.report.failure import explanation_lines, told
from pytest_onnxlite.report.history_view import HistoryRow, TrendPart, history_rows, trend_part
from pytest_onnxlite.report.problems import Problem, against, problems_of
from pytest_onnxlite.report.status import (
    FAIL,
    PASS,
    Status,
    anchor,
    measured_of,
    remarks_of,
    status_of,
    verdicts_of,
    worst,
)
from pytest_onnxlite.text import counted

Groups = Mapping[tuple[str, str], Sequence[Record]]


@dataclass(frozen=True)
class Cell:
    """A figure in a table: what it is, what it is compared with, its state, and its share of the column's largest."""

    text: str
    notes: tuple[str, ...] = ()
    status: Status | None = None
    share: float | None = None


@dataclass(frozen=True)
class SummaryRow:
    """One model and variant in the summary."""

    model: str
    variant: str
    anchor: str
    cells: tuple[Cell | None, ...]
    status: Status
    word: str


@dataclass(frozen=True)
class VerdictRow:
    """One limit: what was judged, against what, and what came of it."""

    check: str
    against: str
    figure: str
    status: Status
    message: str
    explanation: tuple[str, ...]


@dataclass(frozen=True)
class VariantPart:
    """Everything about one variant."""

    name: str
    kind: str
    anchor: str
    status: Status
    word: str
    tests: tuple[tuple[str, str], ...]
    verdicts: tuple[VerdictRow, ...]
    history: tuple[HistoryRow, ...]
    blocks: tuple[Drawing, ...]
    measured_at: tuple[str, ...]
    remarks: tuple[str, ...]
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
    columns: tuple[str, ...]
    rows: tuple[VariantRow, ...]
    parts: tuple[VariantPart, ...]


@dataclass(frozen=True)
class Page:
    """The whole report."""

    status: Status
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


def build(document: Document, checks: Checks) -> Page:
    """Work out what a page shows of a document."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in document.records:
        groups.setdefault((record.model, record.variant), []).append(record)
    full = _in_full(groups)
    places = {anchor("variant", *key) for key in full}
    problems = problems_of(document, checks)
    problems = tuple(one if one.anchor in places else replace(one, anchor="") for one in problems)
    names = checks.in_order({verdict.check for record in document.records for verdict in record.verdicts})
    plain = {name: value for name, value in as_data(document).items() if name in _ABOUT_THE_RUN}
    return Page(
        status=FAIL if document.verdict == "fail" else PASS,
        headline=_headline(document, len(problems)),
        intro=_intro(document, groups),
        summary=tuple(
            row if key in full else replace(row, anchor="")
            for key, row in ((key, _summary_row(key, group, names, checks)) for key, group in groups.items())
        ),
        columns=tuple(names),
        problems=problems,
        remarks=(*document.remarks, *_left_out(len(groups) - len(full)), *terminal.notes(document.records, checks)),
        models=tuple(_model_part(name, full, checks) for name in dict.fromkeys(model for model, _ in full)),
        trend=tuple(trend_part(series, groups, checks) for series in document.trend),
        machine=_machine(document),
        run=tuple(flatten(plain)),
        saved=tuple(
            (f"{s.model} {s.variant}", f"{s.outcome}{': ' + s.details if s.details else ''} ({s.path})")
            for s in document.saved
        ),
    )


# Of so many variants a page has every figure: a page of hundreds would be too large to open.
_MOST_IN_FULL = 40


def _in_full(groups: Mapping[tuple[str, str], list[Record]]) -> dict[tuple[str, str], list[Record]]:
    """Return the variants that are shown with all their figures: of many, the first of those that do not simply pass."""
    if len(groups) <= _MOST_IN_FULL:
        return dict(groups)
    states = {key: worst(verdicts_of(group)) for key, group in groups.items()}
    noted = [key for key in groups if states[key].key not in (PASS.key, "none")]
    return {key: groups[key] for key in noted[:_MOST_IN_FULL]}


def _left_out(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"{counted(count, 'variant')} of this run {'has' if count == 1 else 'have'} a row in the summary alone: what passes, "
        f"and what comes after the first {_MOST_IN_FULL} of the rest. The JSON report has every figure."
    ]


_ABOUT_THE_RUN = ("mode", "verdict", "schema", "machine", "environment")


def _headline(document: Document, problems: int) -> str:
    if document.verdict == "fail":
        return f"{problems} problem{'s' if problems != 1 else ''} to look at"
    expected = sum(verdict.xfail is not None for record in document.records for verdict in record.verdicts)
    if expected:
        return f"{expected} limit{'s are' if expected != 1 else ' is'} broken as expected (xfail); every other holds"
    partial = document.coverage.if_partial if document.coverage is not None else ""
    return {
        "compare": "Every limit holds, compared with the last release"
        if not partial
        else f"Every limit holds, {partial}",
        "save": "Every limit holds, baselines saved",
    }.get(document.mode, "Every limit that needs no baseline holds; nothing was compared with a baseline")


def _intro(document: Document, groups: Groups) -> str:
    models = len({model for model, _ in groups})
    verdicts = [verdict for group in groups.values() for verdict in verdicts_of(group)]
    judged = [verdict for verdict in verdicts if verdict.outcome is not Outcome.NOT_COMPARED]
    parts = [
        f"{models} model{'s' if models != 1 else ''}",
        f"{len(groups)} variant{'s' if len(groups) != 1 else ''}",
        f"{len(judged)} limit{'s' if len(judged) != 1 else ''} judged",
    ]
    mode = {"compare": "compared with baselines", "save": "saving baselines"}.get(
        document.mode, "not compared with baselines"
    )
    mode += f" of {document.against.text}" if document.against is not None else ""
    looked = f": {document.coverage.text}" if document.coverage is not None else ""
    on = f", on the runtime {document.runtime}" if document.runtime else ""
    return f"{', '.join(parts)}, {mode}{looked}{on}."


def _machine(document: Document) -> str:
    machine = document.machine
    count = f"{machine.cpus:g} CPU{'s' if machine.cpus != 1 else ''}"
    return f"{machine.cpu}, {count}, {machine.os} {machine.architecture}, ONNX Runtime {machine.onnxruntime}"


def _summary_row(key: tuple[str, str], group: Sequence[Record], names: Sequence[str], checks: Checks) -> SummaryRow:
    verdicts, measured = verdicts_of(group), measured_of(group)
    cells = []
    for name in names:
        own = [verdict for verdict in verdicts if verdict.check == name]
        notes = tuple(terminal.notes_of(name, own, measured.get(name), checks))
        cells.append(Cell(own[-1].figure, notes, worst(own)) if own else None)
    word = terminal.overall(terminal.states_of(verdicts), any(r.is_red for r in group))
    return SummaryRow(*key, anchor("variant", *key), tuple(cells), worst(verdicts), word)


# -- a model -------------------------------------------------------------------------------------------------


def _model_part(name: str, groups: Groups, checks: Checks) -> ModelPart:
    own = {variant: group for (model, variant), group in groups.items() if model == name}
    conditions = next(iter(own.values()))[0].conditions
    threads = f"{conditions.threads} thread{'s' if conditions.threads != 1 else ''}"
    runtimes = [r.runtime.told for group in own.values() for r in group if r.runtime is not None]
    texts = [f"batch size {conditions.batch_size}", threads, *dict.fromkeys(text for told in runtimes for text in told)]
    if conditions.samples:
        texts.append(f"{conditions.samples:,} evaluation samples")
    texts.append(f"metric {conditions.metric}")
    texts += [text for text in dict.fromkeys(r.recipe for group in own.values() for r in group) if text]
    columns, rows = _variant_rows(own, checks)
    parts = tuple(_variant_part(name, variant, group, checks) for variant, group in own.items())
    return ModelPart(name, anchor("model", name), ", ".join(texts), columns, rows, parts)


def _variant_rows(
    own: Mapping[str, Sequence[Record]], checks: Checks
) -> tuple[tuple[str, ...], tuple[VariantRow, ...]]:
    """Return a row for each kind of which a figure is known, judged or measured along with a judged one."""
    figures: dict[str, dict[str, Figure]] = {kind: {} for kind in own}
    all_figures = [
        (name, figure)
        for kind, group in own.items()
        for name, check in checks.known(measured_of(group))
        for figure in check.figures(measured_of(group)[name], kind)
    ]
    # What was measured of a kind goes before what is known of it along with another.
    for name, figure in sorted(all_figures, key=lambda entry: entry[1].kind not in own):
        figures.setdefault(figure.kind, {}).setdefault(name, figure)
    columns = tuple(name for name, _ in checks.known({name for found in figures.values() for name in found}))
    largest = {name: max(found[name].value for found in figures.values() if name in found) for name in columns}
    order = list(KINDS)
    rows = []
    for kind in sorted(figures, key=lambda k: (order.index(k) if k in order else len(order), k)):
        cells = tuple(_figure_cell(figures[kind].get(name), largest[name]) for name in columns)
        rows.append(VariantRow(kind, "judged" if kind in own else "compared with", cells))
    return columns, tuple(rows)


def _figure_cell(figure: Figure | None, largest: float) -> Cell | None:
    if figure is None:
        return None
    share = figure.value / largest if largest > 0 else 0.0
    return Cell(figure.text, (figure.remark,) if figure.remark else (), None, share)


def _variant_part(model: str, kind: str, group: Sequence[Record], checks: Checks) -> VariantPart:
    verdicts, measured = verdicts_of(group), measured_of(group)
    summary = _summary_row((model, kind), group, (), checks)
    blocks = [
        placed(block, model, kind, label_of(name))
        for name, check in checks.known(measured)
        for block in check.details(measured[name], [v for v in verdicts if v.check == name], kind)
    ]
    red = any(record.is_red for record in group)
    remarks = [remark for verdict in verdicts for remark in remarks_of(verdict, checks)]
    return VariantPart(
        f"{model} {kind}",
        kind,
        summary.anchor,
        summary.status,
        summary.word,
        tuple((record.test, f"{record.file}:{record.line}") for record in group),
        tuple(
            VerdictRow(v.check, against(v, checks), v.figure, status_of(v), told(v, red), tuple(explanation_lines(v)))
            for v in verdicts
        ),
        history_rows(group, checks),
        tuple(blocks),
        (*terminal.measured_at(measured, checks), *terminal.since_saved(verdicts)),
        tuple(dict.fromkeys(remarks)),
        tuple(line for record in group for line in flatten(_plain(record))),
    )


# Of an explanation, what a page says in words or shows as pictures.
_SHOWN = ("why", "lines", "details", "pictures")


def _plain(record: Record) -> dict[str, Any]:
    """Return a record's figures; what the verdicts say in words is shown elsewhere."""
    data: dict[str, Any] = rounded(to_data(record))
    kept = {name: data[name] for name in ("artefact", "limits", "baseline", "measured", "runtime")}
    return {
        **kept,
        "conditions": {**data["conditions"], "recipe": record.recipe},
        "forecast": {k: v for k, v in (data["forecast"] or {}).items() if k != "text"},
        "suggestion": {k: v for k, v in (data["suggestion"] or {}).items() if k != "text"},
        "evidence": {
            f"{v['check']} against {v['against']}": {
                **v["evidence"],
                "explanation": {k: e for k, e in (v["explanation"] or {}).items() if k not in _SHOWN},
            }
            for v in data["verdicts"]
        },
    }
