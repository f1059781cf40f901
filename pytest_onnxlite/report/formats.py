"""The files that a report can be written as: what stands in the list is an option of a run, of `report` and of `merge`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_onnxlite.records import Checks
from pytest_onnxlite.report import document, markdown, model_card
from pytest_onnxlite.report.annotations import as_code_quality, as_sarif
from pytest_onnxlite.report.document import Document

# Returns the content of the file at a path, with what leads from the repository's root to pytest's root folder.
Format = Callable[[Document, Checks, str, Path], str]


def _html(content: Document, checks: Checks, prefix: str, path: Path) -> str:
    from pytest_onnxlite.report import html

    return html.render(content, checks)


FORMATS: Mapping[str, Format] = {
    "report": lambda content, checks, prefix, path: document.as_text(content),
    "markdown": lambda content, checks, prefix, path: markdown.render(content, checks),
    "sarif": lambda content, checks, prefix, path: as_sarif(content, checks, prefix),
    "code-quality": lambda content, checks, prefix, path: as_code_quality(content, checks, prefix),
    "html": _html,
    "model-card": lambda content, checks, prefix, path: model_card.render(content, checks, path),
}
