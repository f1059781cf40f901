"""The pages hang together: each can be reached, each link leads somewhere, and the reference is what the code says."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

import pytest

from projects import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "benchmarks"))

import reference_pages

INDEX = REPOSITORY / "docs" / "index.md"
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`|<!--.*?-->", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)|(?:src|srcset|href)=\"([^\"]+)\"")


def links(text: str) -> list[str]:
    """Return where the links, pictures and sources of a page lead, but for the network."""
    # Code may stand within a link's text.
    bare = _CODE.sub(lambda found: "" if found[0].startswith(("```", "~~~", "<!--")) else "code", text)
    found = [first or second for first, second in _LINK.findall(bare)]
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors that GitHub, and the site as well, give to a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    seen: dict[str, int] = {}
    found = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for title in re.findall(r"^#{1,6} (.*?)\s*$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        count = seen[slug] = seen.get(slug, -1) + 1
        found.add(f"{slug}-{count}" if count else slug)
    return frozenset(found)


def broken(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead nowhere."""
    wrong = []
    for link in links(text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(REPOSITORY).as_posix() for path in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    text = "[a](models.md#metrics) [b](models.md#nothing) [`c`](gone.md) ![d](images/none.png) [e](https://example.org)"
    assert broken(INDEX, text) == ["models.md#nothing", "gone.md", "images/none.png"]


def test_every_page_stands_in_the_index_once() -> None:
    listed = re.findall(r"^- \[[^]]+\]\(([^)]+\.md)\)", INDEX.read_text(encoding="utf-8"), re.MULTILINE)
    listed += re.findall(r", and \[[^]]+\]\(([^)]+\.md)\)", INDEX.read_text(encoding="utf-8"))
    assert sorted([INDEX, *((INDEX.parent / path).resolve() for path in listed)]) == PAGES


@pytest.mark.parametrize("name", reference_pages.PAGES)
def test_the_reference_is_what_the_code_says(name: str) -> None:
    kept = (reference_pages.FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert kept == reference_pages.PAGES[name](), "run python benchmarks/reference_pages.py"
