"""How the documentation is built as a site: `.ci/docs`.

The source folder is the repository, so that the README and CONTRIBUTING.md are pages of it and every link is the one that GitHub
follows. What stands where in the navigation is read from the lists of docs/index.md.
"""

from __future__ import annotations

import re
import shutil
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

project = "pytest-onnxlite"
version = release = installed("pytest-onnxlite")
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}

html_theme = "furo"
html_title = project
html_copy_source = False
html_show_copyright = False

# Anchors as GitHub makes them.
myst_heading_anchors = 4
# Names of types in signatures, such as `bytes`, which a record has a field of as well.
suppress_warnings = ["ref.python"]
# In docstrings as in Markdown: `code`.
default_role = "literal"
autodoc_default_options = {"members": True}
toc_object_entries = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_use_ivar = True


def _navigation(text: str) -> str:
    """Return the index with a table of contents for each of its lists, which a reader does not see twice."""
    head, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    parts = [head]
    for section in sections:
        pages = [f"{title} <{page}>" for title, page in re.findall(r"\[([^]]+)\]\(([^)]+)\.md\)", section)]
        tree = "\n".join(["```{toctree}", ":hidden:", f":caption: {section.splitlines()[0]}", "", *pages, "```"])
        parts.append(f"## {section.rstrip()}\n\n{tree}\n\n")
    return "".join(parts)


def _read(_: Any, name: str, source: list[str]) -> None:
    if name == root_doc:
        source[0] = _navigation(source[0])


def _finish(app: Any, error: Exception | None) -> None:
    """Let the site's own address lead to the index, and put the pictures where pages name them that Sphinx does not read."""
    if error is None:
        shutil.copytree(Path(__file__).parent / "images", Path(app.outdir, "docs", "images"), dirs_exist_ok=True)
        text = f'<!doctype html><meta http-equiv="refresh" content="0; url={root_doc}.html"><title>{project}</title>\n'
        Path(app.outdir, "index.html").write_text(text, encoding="utf-8")


def setup(app: Any) -> None:
    """Let the index be read so."""
    app.connect("source-read", _read)
    app.connect("build-finished", _finish)
