"""The report as one page that needs nothing else: no network, no script, no font of its own."""

from __future__ import annotations

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.records import Checks
from pytest_onnxlite.report import view
from pytest_onnxlite.report.document import Document
from pytest_onnxlite.settings import NO_JINJA
from pytest_onnxlite.text import shown_lines


def render(document: Document, checks: Checks) -> str:
    """Return the page.

    Raises:
        OnnxliteError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise OnnxliteError(NO_JINJA + ".") from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_onnxlite.report", "templates"),
        autoescape=True,
        finalize=lambda value: shown_lines(value) if type(value) is str else value,  # no markup, which is another type
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = view.build(document, checks)
    template = environment.get_template("page.html.j2")
    return template.render(page=page, version=document.version).lstrip()
