"""What a check shows of a variant in a page, as figures and words; how it looks is the report's affair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol


class Bounds(Protocol):
    """Bounds on a median."""

    @property
    def median(self) -> float:
        """The median."""

    @property
    def lower(self) -> float:
        """The lower bound."""

    @property
    def upper(self) -> float:
        """The upper bound."""


@dataclass(frozen=True)
class Bars:
    """Parts of a whole: a name, a text and a share of 1 each."""

    form: ClassVar[str] = "bars"
    title: str
    rows: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True)
class Table:
    """Rows of texts; `numbers` are the columns that are set as numbers."""

    form: ClassVar[str] = "table"
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Counts:
    """How often something occurs before and after: a name and two counts each; the note names the rest."""

    form: ClassVar[str] = "counts"
    title: str
    before: str
    after: str
    rows: tuple[tuple[str, int, int], ...]
    note: str = ""

    @staticmethod
    def change(before: int, after: int) -> str:
        """Return a difference with its sign."""
        return f"{after - before:+d}".replace("-", "−")

    def share(self, before: int, after: int) -> float:
        """Return a difference as a share of the largest in the table."""
        most = max((abs(now - was) for _, was, now in self.rows), default=0)
        return abs(after - before) / most if most else 0.0


@dataclass(frozen=True)
class Ratios:
    """Sets of paired ratios: a name, the ratios and their bounds each; `most` is what is allowed, None for no limit."""

    form: ClassVar[str] = "ratios"
    title: str
    key: str
    sets: tuple[tuple[str, tuple[float, ...], Bounds | None], ...]
    most: float | None = None


@dataclass(frozen=True)
class Mark:
    """A place on a bar: what it is of, the figure as text, and how far along it lies, 0 to 1."""

    label: str
    text: str
    share: float


@dataclass(frozen=True)
class ComparedRow:
    """A bar: a name, a remark on it, its figure as text and as a share of the axis, marks, and a word if it is bad."""

    name: str
    text: str
    share: float
    marks: tuple[Mark, ...] = ()
    note: str = ""
    bad: str = ""


@dataclass(frozen=True)
class Compared:
    """Bars on one axis, each with marks of what it is compared with; `limit` is a place on the axis that matters."""

    form: ClassVar[str] = "compared"
    title: str
    rows: tuple[ComparedRow, ...]
    note: str = ""
    limit: Mark | None = None


@dataclass(frozen=True)
class RangeRow:
    """A range that was fixed ahead, and the values that came: where they lie on an axis of their own, 0 to 1.

    Attributes:
        name: whose values.
        text: both in figures.
        low: where the range begins.
        high: where it ends.
        least: where the values begin.
        most: where they end.
        bad: a word if they do not fit.
    """

    name: str
    text: str
    low: float
    high: float
    least: float
    most: float
    bad: str = ""


@dataclass(frozen=True)
class Ranges:
    """Ranges and what came of values."""

    form: ClassVar[str] = "ranges"
    title: str
    rows: tuple[RangeRow, ...]
    note: str = ""


@dataclass(frozen=True)
class GridCell:
    """A cell: its text, a remark on it, how dark it is, 0 to 1, and whether it is where all should be."""

    text: str
    note: str = ""
    share: float = 0.0
    is_right: bool = False


@dataclass(frozen=True)
class Grid:
    """Counts by rows and columns: a name and the cells of each row."""

    form: ClassVar[str] = "grid"
    title: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[GridCell, ...]], ...]
    note: str = ""


@dataclass(frozen=True)
class Image:
    """A picture: PNG in base64, and a line that says what it shows."""

    png: str
    text: str


@dataclass(frozen=True)
class Images:
    """Small pictures."""

    form: ClassVar[str] = "images"
    title: str
    images: tuple[Image, ...]
    note: str = ""


Block = Bars | Table | Counts | Ratios | Compared | Ranges | Grid | Images


def bars(title: str, parts: Mapping[str, float], whole: float, texts: Mapping[str, str]) -> Bars:
    """Return parts of a whole, the largest first."""
    ordered = sorted(parts, key=lambda name: -parts[name])
    return Bars(title, tuple((name, texts[name], parts[name] / whole if whole else 0.0) for name in ordered))
