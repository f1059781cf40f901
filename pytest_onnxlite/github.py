"""The form of the notes that GitHub Actions reads from a job's output.

Percent signs and line ends, and in properties also colons and commas, are percent escapes, so that no name out of a model
can begin a command of its own.
"""

from __future__ import annotations

from pytest_onnxlite.text import shown, shown_lines

# A verdict's explanation may be long, and a note at a line of code is read at a glance.
_MOST_LINES = 12


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def note(text: str, title: str, file: str = "", line: int = 0, level: str = "error") -> str:
    """Return a note: `::error file=F,line=L,title=T::message`, which names a place if there is one.

    Args:
        text: the message; of more lines than are read at a glance the first.
        title: above it.
        file: from the repository's root.
        line: in the file, from 1.
        level: `error`, `warning` or `notice`.
    """
    lines, title = shown_lines(text).split("\n"), shown(title)
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], "..."]
    place = f"file={_property(file)},line={line}," if file else ""
    return f"::{level} {place}title={_property(title)}::{_message(chr(10).join(lines))}"
