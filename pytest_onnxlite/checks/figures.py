"""Figures of a check as reports show them: as they went from the first release to today, and of each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pytest_onnxlite.labels import labelled

# A figure that is not there, in a table.
NONE = "–"


@dataclass(frozen=True)
class History:
    """A figure as texts: in the first release, in the last release, today, how it changed, and what is allowed."""

    first: str
    last: str
    today: str
    change: str
    allowed: str


@dataclass(frozen=True)
class Figure:
    """A figure of one kind of variant, measured or known along with a measured one.

    Attributes:
        kind: the variant's.
        value: the figure.
        text: it, as a person reads it.
        remark: how it came to be known, if not measured.
        metric: what others call figures of this kind, such as `accuracy`; empty for what its check is called.
    """

    kind: str
    value: float
    text: str
    remark: str = ""
    metric: str = ""


@dataclass(frozen=True)
class Trend:
    """A figure over the releases: a key, what it is called, its value, and how values are written."""

    key: str
    label: str
    value: float
    text: Callable[[float], str]

    def with_label(self, label: str) -> Trend:
        """Return it as the figure of a marker with a label."""
        return replace(self, key=labelled(self.key, label), label=labelled(self.label, label))
