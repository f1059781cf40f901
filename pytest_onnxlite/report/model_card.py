"""The figures that were judged as a section of a model card, and as the `model-index` that Hugging Face reads.

https://github.com/huggingface/hub-docs/blob/main/modelcard.md has the fields. What is a figure on evaluation data, such as
accuracy, stands there; every figure that was judged stands in a table of the section. A figure that was not judged is in neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from pytest_onnxlite.checks.verdict import Outcome, Verdict
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.records import Checks, Record
from pytest_onnxlite.report import view
from pytest_onnxlite.report.document import Document
from pytest_onnxlite.report.front_matter import KEY, MarkdownFile
from pytest_onnxlite.report.markdown import escape, table
from pytest_onnxlite.report.problems import against
from pytest_onnxlite.report.status import measured_of, verdicts_of, worst
from pytest_onnxlite.text import shown, size_text

_JUDGED = (Outcome.PASS, Outcome.IMPROVED, Outcome.FAIL)
# In a result's `dataset.args`: what tells ours from what somebody else wrote. Tools that write YAML anew drop comments.
_MARK, _OURS = "checked_by", "pytest-onnxlite"
# Of a red run, the reasons that no figure shows.
_MOST_REASONS = 20

Group = Sequence[Record]


def render(document: Document, checks: Checks, path: Path) -> str:
    """Return a model card's text with this report's section; what else the file holds stays.

    Args:
        document: the report.
        checks: the checks by name.
        path: the card, which need not exist.

    Raises:
        OnnxliteError: the file is there and cannot be read or understood.
    """
    card = MarkdownFile(path)
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in document.records:
        groups.setdefault((record.model, record.variant), []).append(record)
    tag = card.data.get("pipeline_tag")
    task = tag if isinstance(tag, str) else "other"
    results: dict[str, list[dict[str, Any]]] = {}
    for (model, variant), group in groups.items():
        for data_id, samples, metric in _metrics(variant, group, checks):
            of_model = results.setdefault(shown(model), [])
            same = [result for result in of_model if result["dataset"]["args"]["sha256"] == data_id]
            if not same:
                same = [_result(shown(model), task, data_id, samples)]
                of_model += same
            same[0]["metrics"].append(metric)
    entries = _merged(card.data.get(KEY) or [], results, path)
    return card.with_section(_section(document, groups, checks), entries)


def _result(model: str, task: str, data_id: str, samples: int | None) -> dict[str, Any]:
    """Return a result of `model-index`, with no metric so far."""
    size = f", {samples:,} samples" if samples else ""
    about = {_MARK: _OURS, "sha256": data_id, **({"samples": samples} if samples else {})}
    dataset = {"type": "custom", "name": f"evaluation data of {model}{size}", "args": about}
    return {"task": {"type": task}, "dataset": dataset, "metrics": []}


def _metrics(variant: str, group: Group, checks: Checks) -> Iterator[tuple[str, int | None, dict[str, object]]]:
    """Yield each judged figure on evaluation data: the data's hash, how many samples it has, and the metric's fields."""
    measured, verdicts = measured_of(group), verdicts_of(group)
    for name, check in checks.known(measured):
        own = [verdict for verdict in verdicts if verdict.check == name]
        data_id = check.data_id(measured[name])
        figure = next((one for one in check.figures(measured[name], variant) if one.kind == variant), None)
        if not _is_judged(own) or not data_id or figure is None or not isfinite(figure.value):
            continue
        state = worst(own)
        said = "" if state.key in ("pass", "improved", "none") else f" ({state.word})"
        sha256 = next((record.artefact.sha256 for record in group if name in record.measured), "")
        yield (
            data_id,
            group[-1].conditions.samples,
            {
                "type": figure.metric or name,
                "value": float(f"{figure.value:.6g}"),
                "name": f"{name} of {shown(variant)}{said}",
                "args": {"variant": shown(variant), **({"file_sha256": sha256} if sha256 else {})},
            },
        )


def _is_judged(verdicts: Sequence[Verdict]) -> bool:
    return any(verdict.outcome in _JUDGED for verdict in verdicts)


def _merged(held: Any, results: Mapping[str, Sequence[Any]], path: Path) -> list[dict[str, object]]:
    """Return the entries of `model-index`: those of others as they are, and ours in the place of those we wrote before."""
    sound = isinstance(held, list) and all(isinstance(entry, dict) for entry in held)
    if not sound or not all(isinstance(entry.get("results", []), list) for entry in held):
        raise OnnxliteError(f"{path} is left as it is: its {KEY} is no list of entries with name and results.")
    left = dict(results)
    entries = []
    for entry in held:
        others = [result for result in entry.get("results", []) if not _is_ours(result)]
        added = left.pop(entry.get("name"), ())
        if others or added or not entry.get("results"):
            entries.append({**entry, "results": [*others, *added]})
    return [*entries, *({"name": name, "results": list(added)} for name, added in left.items())]


def _is_ours(result: Any) -> bool:
    dataset = result.get("dataset") if isinstance(result, dict) else None
    arguments = dataset.get("args") if isinstance(dataset, dict) else None
    return isinstance(arguments, dict) and arguments.get(_MARK) == _OURS


def _section(document: Document, groups: Mapping[tuple[str, str], Group], checks: Checks) -> str:
    page = view.build(document, checks)
    rows = [row for key, group in groups.items() for row in _rows(*key, group, checks)]
    parts = ["## Release checks", f"{page.status.sign} **{escape(page.headline)}.** {escape(page.intro)}"]
    if not any(_is_judged(group_verdicts) for group_verdicts in map(verdicts_of, groups.values())):
        parts[1] = f"✗ **No figure was judged in this run.** {escape(page.intro)}"
    if rows:
        parts.append(table(["model", "variant", "check", "figure", "verdict", "against"], rows))
    reasons = [f"{problem.title}: {_line(problem.message)}" for problem in page.problems][:_MOST_REASONS]
    if reasons:
        parts.append("\n".join(f"- {escape(reason)}" for reason in reasons))
    files = [_file(*key, group) for key, group in groups.items()]
    if any(files):
        parts.append("\n".join(filter(None, files)))
    commit = f" of commit {document.commit[:12]}" if document.commit else ""
    parts.append(f"Measured{escape(commit)} on {escape(page.machine)}, by pytest-onnxlite {escape(document.version)}.")
    return "\n\n".join(parts)


def _rows(model: str, variant: str, group: Group, checks: Checks) -> Iterator[list[str]]:
    """Yield a row for each check of a variant; one that was not judged shows no figure."""
    verdicts = verdicts_of(group)
    for name in checks.in_order({verdict.check for verdict in verdicts}):
        own = [verdict for verdict in verdicts if verdict.check == name]
        state = worst(own)
        if not _is_judged(own):
            row = ["–", f"{state.sign} not judged: {state.word}", "–"]
        else:
            compared = dict.fromkeys(against(verdict, checks) for verdict in own if verdict.outcome in _JUDGED)
            word = f"**{state.word.upper()}**" if any(verdict.red for verdict in own) else state.word
            row = [escape(own[-1].figure), f"{state.sign} {word}", escape(", ".join(compared))]
        yield [escape(model), escape(variant), escape(name), *row]


def _file(model: str, variant: str, group: Group) -> str:
    found = next((record.artefact for record in group if record.artefact.sha256), None)
    if found is None:
        return ""
    return f"- {escape(f'{model} {variant}')}: {size_text(found.bytes)}, SHA-256 `{found.sha256}`"


def _line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "")
