"""The report as Markdown, for a job summary or a comment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pytest_onnxlite.checks.blocks import Compared, Counts
from pytest_onnxlite.records import Checks
from pytest_onnxlite.report import view
from pytest_onnxlite.report.document import Document
from pytest_onnxlite.report.drawings import RatioPlot
from pytest_onnxlite.report.history_view import TrendPart
from pytest_onnxlite.report.problems import Problem
from pytest_onnxlite.report.status import Status
from pytest_onnxlite.text import shown, shown_lines

# A job summary of GitHub holds 1 MiB; what is longer is not shown at all.
_MOST_BYTES = 900_000
_CUT = "\n\n*The report is longer than a job summary may be; the rest is in the HTML page and the JSON.*\n"


def render(document: Document, checks: Checks) -> str:
    """Return the report; ends with a line end."""
    page = view.build(document, checks)
    parts = [f"## {page.status.sign} Release guard: {escape(page.headline)}", escape(page.intro)]
    if page.summary:
        parts.append(_summary(page))
    if page.remarks:
        parts.append("\n".join(f"- {escape(line)}" for line in page.remarks))
    if page.problems:
        parts.append("### What failed and why")
        parts += [_problem(problem) for problem in page.problems]
    for model in page.models:
        parts.append(f"### {escape(model.name)}")
        parts.append(escape(model.conditions))
        parts += [text for part in model.parts for text in _variant(part)]
    if page.trend:
        parts.append("### Trend over the saved baselines")
        parts += [text for part in page.trend for text in _trend(part)]
    parts.append(f"{escape(page.machine)}. pytest-onnxlite {escape(document.version)}.")
    text = "\n\n".join(parts) + "\n"
    encoded = text.encode()
    if len(encoded) <= _MOST_BYTES:
        return text
    return encoded[:_MOST_BYTES].decode(errors="ignore").rsplit("\n\n", 1)[0] + _CUT


def escape(value: str) -> str:
    """Return text that Markdown shows as it is."""
    value = " ".join(map(shown, value.split("\n")))
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", value)


def block(lines: str) -> str:
    """Return lines in a code block, whose fence is longer than any in them."""
    lines = shown_lines(lines)
    longest = max((len(run) for run in re.findall(r"`+", lines)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{lines}\n{fence}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Return a table of escaped texts; `numbers` are the columns that hold figures."""
    rule = ["--:" if number in numbers else "---" for number in range(len(columns))]
    lines = [columns, rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _badge(status: Status, word: str = "") -> str:
    return f"{status.sign} {escape(word or status.word)}"


def _summary(page: view.Page) -> str:
    rows = []
    for row in page.summary:
        cells = [
            "–" if cell is None else f"{cell.status.sign if cell.status else ''} {escape(cell.text)}{_beside(cell)}"
            for cell in row.cells
        ]
        rows.append([escape(row.model), escape(row.variant), _badge(row.status, row.word.lower()), *cells])
    return table(["model", "variant", "verdict", *map(escape, page.columns)], rows)


def _beside(cell: view.Cell) -> str:
    return f" ({escape(', '.join(cell.notes))})" if cell.notes else ""


def _problem(problem: Problem) -> str:
    parts = [f"#### {_badge(problem.status, problem.badge)}: {escape(f'{problem.title} {problem.against}'.strip())}"]
    if problem.test:
        parts.append(f"{escape(problem.test)}, at {escape(problem.place)}")
    way_out = ["A way out:", *(f"  {line}" for line in problem.way_out)] if problem.way_out else []
    parts.append(block("\n".join([problem.message, *problem.explanation, *way_out])))
    return "\n\n".join(parts)


def _variant(part: view.VariantPart) -> Iterable[str]:
    if part.history:
        yield f"**{escape(part.name)}**"
        columns = ["figure", "first release", "last release", "today", "change", "allowed", "verdict"]
        rows = []
        for row in part.history:
            history = row.history
            texts = (history.first, history.last, f"**{history.today}**", history.change, history.allowed)
            rows.append([escape(row.name), *texts, _badge(row.status)])
        yield table(columns, rows, numbers=(1, 2, 3, 4))
    for line in part.measured_at:
        yield escape(f"{line[:1].upper()}{line[1:]}.")
    for block in part.blocks:
        if isinstance(block, RatioPlot):
            yield f"{escape(block.title)}: {escape(block.strip.description)}"
        elif isinstance(block, Counts):
            counts = [[escape(n), str(was), str(now), block.change(was, now)] for n, was, now in block.rows]
            yield escape(block.title)
            yield table(["name", block.before, escape(block.after), "change"], counts, numbers=(1, 2, 3))
        elif isinstance(block, Compared):
            yield from _compared(block)


def _compared(block: Compared) -> Iterable[str]:
    yield escape(block.title)
    marks = list(dict.fromkeys(mark.label for row in block.rows for mark in row.marks))
    rows = []
    for row in block.rows:
        texts = {mark.label: mark.text for mark in row.marks}
        name = escape(
            " ".join(filter(None, [row.name, f"({row.note})" if row.note else "", row.bad and f"✗ {row.bad}"]))
        )
        rows.append([name, escape(row.text), *(escape(texts.get(label, "–")) for label in marks)])
    yield table(["name", "figure", *map(escape, marks)], rows, numbers=range(1, 2 + len(marks)))


def _trend(part: TrendPart) -> Iterable[str]:
    yield f"**{escape(part.name)}**"
    accepted = [f"accepted: {line}" for row in part.rows for line in row.accepted]
    if accepted:
        yield "\n".join(f"- {escape(line)}" for line in dict.fromkeys(accepted))
    if part.remarks:
        yield "\n".join(f"- {escape(line)}" for line in part.remarks)
    if part.releases:
        yield table(
            ["date", "release", *map(escape, part.columns)], part.releases, numbers=range(2, 2 + len(part.columns))
        )
