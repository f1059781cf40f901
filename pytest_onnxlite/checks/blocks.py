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


Block = Bars | Table | Counts | Ratios


def bars(title: str, parts: Mapping[str, float], whole: float, texts: Mapping[str, str]) -> Bars:
    """Return parts of a whole, the largest first."""
    ordered = sorted(parts, key=lambda name: -parts[name])
    return Bars(title, tuple((name, texts[name], parts[name] / whole if whole else 0.0) for name in ordered))
