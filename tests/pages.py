"""What must hold of a report's page: the checks, as functions that return what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

_VOID = {"meta", "link", "br", "hr", "img", "input", "rect", "circle", "line", "path"}
# What makes a browser ask for something.
_REQUESTS = re.compile(
    r"""(?:src|srcset|poster|data|action)=|url\(|@import|<script|<iframe|<base|https?:|//\w""", re.IGNORECASE
)

_INLINE = re.compile(r'src="data:image/png;base64,[A-Za-z0-9+/=]*"')


class Outline(HTMLParser):
    """A page's structure: tags that do not close, headings, ids, tables, text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.words: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is never closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag not in _VOID:
            self._open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        self.references += given.get("aria-labelledby", "").split()
        if given.get("href", "").startswith("#"):
            self.references.append(given["href"][1:])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "th" and "scope" not in given:
            self.wrong.append("a <th> without scope")
        # Shown as cards, a table is none to a screen reader unless it says so.
        if tag in ("table", "thead", "tbody", "tr", "th", "td") and "role" not in given:
            self.wrong.append(f"a <{tag}> without role")
        if tag == "svg" and (given.get("role") != "img" or "aria-labelledby" not in given):
            self.wrong.append("an <svg> that says nothing to a screen reader")
        if tag == "img" and not given.get("alt"):
            self.wrong.append("an <img> that says nothing to a screen reader")
        if given.get("role") == "region" and given.get("tabindex") != "0":
            self.wrong.append("a region that scrolls and cannot be reached by keyboard")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if not self._open or self._open[-1] != tag:
            self.wrong.append(f"</{tag}> closes {self._open[-1:]}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """All text, a space for each break."""
        return " ".join(" ".join(self.words).split())


def structure_faults(page: str) -> list[str]:
    """Return what is wrong with a page's structure, for browsers and for screen readers."""
    outline = Outline(page)
    wrong = list(outline.wrong)
    wrong += [f"id {name!r} twice" for name in sorted({i for i in outline.ids if outline.ids.count(i) > 1})]
    wrong += [f"no id {name!r}" for name in sorted(set(outline.references) - set(outline.ids))]
    wrong += [f"no <{tag}>" for tag in ("header", "nav", "main", "footer", "title") if tag not in outline.tags]
    if outline.headings.count(1) != 1 or outline.headings[:1] != [1]:
        wrong.append(f"expected one <h1>, first: {outline.headings}")
    for one, other in zip(outline.headings, outline.headings[1:], strict=False):
        if other > one + 1:
            wrong.append(f"<h{other}> under <h{one}>")
    if not re.search(r'<html lang="[a-z]+"', page):
        wrong.append("no language")
    return wrong


def network_faults(page: str) -> list[str]:
    """Return what would make a browser ask for something; a picture within the page does not."""
    page = _INLINE.sub("", page.replace('href="data:,"', ""))
    return [page[max(m.start() - 20, 0) : m.end() + 40] for m in _REQUESTS.finditer(page)]


def numbers(value: Any) -> Iterator[str]:
    """Return every number of JSON data as it stands there."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield repr(value)


def missing_figures(document: Any, shown: str) -> list[str]:
    """Return the numbers of a document that a page's text does not have as whole words."""
    there = set(re.findall(r"-?\d[\d.]*(?:e[+-]?\d+)?", shown))
    there |= {word.rstrip(".") for word in there}
    return sorted({number for number in numbers(document) if number not in there})
