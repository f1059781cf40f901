"""How figures and names are written: the same in failures, tables and reports. Imports nothing of ours."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

# A longer line is cut in its middle: a tensor's name may have any length.
MOST_LETTERS = 1000
# What CI services take for a command in a job's output: GitHub's `::error`, also behind spaces, and `##[error]`; Azure's
# `##vso[...]`, TeamCity's `##teamcity[...]`.
_COMMAND = re.compile(r"^(\s*)(?=::)|(?<=##)(?=\w*\[)")
# A sum of changes since the first release that is smaller is noise of the measurement.
NOISE = 0.03

# What a model is fed with in one run: by input, the shape.
Shapes = Mapping[str, tuple[int, ...]]


def shown(text: str, most: int = MOST_LETTERS) -> str:
    """Return text that may hold names out of a model, a label or a file, as one line that only shows.

    Letters that steer a terminal, end a line or turn the direction of writing are escaped (`\\n`, `\\x1b`), what a CI service
    would obey gets a backslash in front, and what is too long is cut in its middle. Shown again, it stays the same.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(text) > most:
        text = f"{text[: most * 2 // 3]}…{text[len(text) - most // 3 :]}"
    return _COMMAND.sub(r"\1\\", text)


def shown_lines(text: str, most: int = MOST_LETTERS) -> str:
    """Return text of several lines, each as `shown` returns it."""
    return "\n".join(shown(line, most) for line in text.replace("\r\n", "\n").split("\n"))


def percent(share: float, *, sign: bool = False) -> str:
    """Return a share of 1 as a percentage with one digit."""
    return f"{100 * share:{'+' if sign else ''}.1f} %"


def size_text(count: float) -> str:
    """Return bytes in the unit that a person would use."""
    for unit in ("B", "KiB", "MiB"):
        if round(abs(count), 2) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def time_text(seconds: float) -> str:
    """Return seconds in the unit that a person would use, with three digits."""
    seconds = float(f"{seconds:.3g}")  # 999.9 µs are 1 ms, and not 1e+03 µs
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:g} {unit}"
    return f"{seconds * 1e9:g} ns"


def score_text(value: float, metric: str) -> str:
    """Return a metric's value as a person reads it: `0.0213 mae`."""
    return f"{value:.4g} {metric}"


def shapes_text(shapes: Shapes) -> str:
    """Return shapes as a person reads them, inputs of one shape together: `ids, mask (1, 800), image (1, 3, 64, 64)`."""
    names: dict[tuple[int, ...], list[str]] = {}
    for name, shape in shapes.items():
        # A name out of a model may hold anything, line ends too.
        names.setdefault(tuple(shape), []).append(name if name.isprintable() else repr(name))
    return ", ".join(f"{', '.join(same)} ({', '.join(map(str, shape))})" for shape, same in names.items())


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def listed(names: Iterable[str], last: str = "and") -> str:
    """Return names as a sentence lists them; `none` of none."""
    *others, end = [*names] or ["none"]
    return f"{', '.join(others)} {last} {end}" if others else end


def counted(count: int, what: str) -> str:
    """Return a number of things, in the plural unless it is one."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def shortened(names: Sequence[str], between: str = ", ", most: int = 10) -> str:
    """Return names as a list that a person can read at a glance: the first ones, and how many more there are."""
    more = f"{between}and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def unknown(what: str, name: str, names: Collection[str], there: str = "It takes") -> str:
    """Say that a name is unknown, which known one is nearest, and which there are."""
    import difflib

    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    return f"unknown {what} {name!r}{hint} {there} {', '.join(names)}."


def twin(name: str, names: Iterable[str]) -> str | None:
    """Return the one of several names that differs from a name by case alone; None if none does."""
    return next((other for other in names if other != name and other.lower() == name.lower()), None)


def spelled_otherwise(name: str, names: Iterable[str]) -> str | None:
    """Return the one of several names that differs from a name in case, spaces or accents' encoding alone; None if none does."""
    found = (other for other in names if other != name and _letters(other) == _letters(name))
    return next(found, None)


def _letters(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, two spaces between columns, each as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def signed(text: str) -> str:
    """Return a change with a real minus sign, and with none if it rounds to nothing."""
    return text[1:] if text[1:] == "0" or text[1:].startswith("0.0 ") else text.replace("-", "−")


def points(lost: float) -> str:
    """Return a loss of percentage points as a change."""
    return signed(f"{-lost:+.1f} points")


def growth(now: float, before: float | None) -> str:
    """Return a change as a percentage; a dash if nothing was before."""
    return signed(percent(now / before - 1, sign=True)) if before else "–"


def at_most(share: float | None) -> str:
    """Say how much more is allowed; a dash where nothing says."""
    return "–" if share is None else f"up {percent(share)} at most"
