"""The report as one page that needs nothing else: no network, no script, no font of its own."""

from __future__ import annotations

import re

from pytest_onnxlite.commands import install
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
        import markupsafe
    except ImportError:
        raise OnnxliteError(f"{NO_JINJA}: {install('html')}.") from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_onnxlite.report", "templates"),
        autoescape=True,
        finalize=lambda value: shown_lines(value) if type(value) is str else value,  # no markup, which is another type
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Neither cut nor shown as text, and nothing but what base64 has.
    environment.filters["base64"] = lambda text: markupsafe.Markup(re.sub(r"[^A-Za-z0-9+/=]", "", text))
    page = view.build(document, checks)
    template = environment.get_template("page.html.j2")
    return template.render(page=page, version=document.version).lstrip()
