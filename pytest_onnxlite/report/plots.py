"""Where the marks of a plot lie: across in per cent of its width, so that text keeps its size on every screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10

from pytest_onnxlite.checks.blocks import Bounds

# Heights in pixels.
_HEAD = 40
_ROW = 62
_AXIS = 24
_DOTS_TOP, _DOTS_HIGH = 16, 26
# What the eye cannot make a pattern of: multiples of the golden ratio fall evenly and in no order.
_GOLDEN = 0.618034
_SPARK_HIGH, _SPARK_EDGE = 56.0, 8.0
_LEAST_SPREAD = 0.1


@dataclass(frozen=True)
class Label:
    """A text at a place; `anchor` keeps it inside where the place is near an edge."""

    x: float
    text: str
    anchor: str


@dataclass(frozen=True)
class StripRow:
    """One set of ratios as dots, with their median and its bounds."""

    name: str
    text: str
    y: float
    dots: tuple[tuple[float, float], ...]
    lower: float
    upper: float
    median: float
    middle: float


@dataclass(frozen=True)
class Strip:
    """Sets of ratios on one axis, with the ratio of equals and the limit."""

    title: str
    anchor: str
    description: str
    height: float
    plot_top: float
    plot_bottom: float
    rows: tuple[StripRow, ...]
    equal: Label
    limit: Label | None
    ticks: tuple[Label, ...]


def _label(x: float, text: str) -> Label:
    return Label(round(x, 2), text, "start" if x < 18 else "end" if x > 82 else "middle")


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers within a range, at most `most` of them."""
    base = 10.0 ** floor(log10((high - low) / most))
    ticks: list[float] = []
    for step in (base * factor for factor in (1, 2, 5, 10, 20)):
        finer, ticks = ticks, [round(i * step, 12) for i in range(ceil(low / step), floor(high / step) + 1)]
        if len(ticks) <= most:
            # The next round step may jump over a range that lies between two of its multiples.
            return ticks or finer[:most]
    return ticks[:most]


def strip(
    title: str, anchor: str, sets: Sequence[tuple[str, Sequence[float], Bounds | None]], most: float | None
) -> Strip:
    """Place sets of ratios.

    Args:
        title: what is compared with what.
        anchor: a name for the plot, unique in its page.
        sets: a name, the ratios, and `median`, `lower` and `upper` of each; without bounds those of the ratios.
        most: the ratio that is allowed; None if there is no limit.
    """
    values = [value for _, ratios, _ in sets for value in ratios] + [1.0] + ([most] if most is not None else [])
    low, high = min(values), max(values)
    pad = max((high - low) * 0.08, 0.004)
    low, high = low - pad, high + pad

    def x(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    rows, texts = [], []
    for number, (name, ratios, bounds) in enumerate(sets):
        top = _HEAD + number * _ROW
        ordered = sorted(ratios)
        middle = bounds.median if bounds else ordered[len(ordered) // 2]
        lower, upper = (bounds.lower, bounds.upper) if bounds else (ordered[0], ordered[-1])
        text = f"{name}: {middle:.3f}× ({lower:.3f} to {upper:.3f}), {len(ratios)} replicates"
        dots = tuple(
            (x(ratio), round(top + _DOTS_TOP + 4 + ((i * _GOLDEN) % 1) * (_DOTS_HIGH - 8), 1))
            for i, ratio in enumerate(ratios)
        )
        rows.append(
            StripRow(
                name.split(":")[0],
                text,
                top + 12,
                dots,
                x(lower),
                x(upper),
                x(middle),
                top + _DOTS_TOP + _DOTS_HIGH + 6,
            )
        )
        texts.append(text)
    bottom = _HEAD + len(sets) * _ROW
    allowed = "" if most is None else f" At most {most:.3g}× is allowed."
    return Strip(
        title,
        anchor,
        f"{'. '.join(texts)}.{allowed}",
        bottom + _AXIS,
        _HEAD - 6,
        bottom,
        tuple(rows),
        _label(x(1.0), "1× as fast"),
        None if most is None else _label(x(most), f"limit {most:.3g}×"),
        tuple(_label(x(tick), f"{tick:g}×") for tick in nice_ticks(low, high, 4)),
    )


@dataclass(frozen=True)
class SparkDot:
    """A release on a line: across in per cent, down in pixels, what it is, and whether a loss was accepted with it."""

    x: float
    y: float
    text: str
    accepted: bool = False


@dataclass(frozen=True)
class Spark:
    """A small line of a figure over releases: segments across in per cent, down in pixels.

    Attributes:
        low: the value at the lower end, as text.
        high: the value at the upper end.
        top: where the upper end is, in pixels.
        bottom: where the lower end is.
        first: what the first release is called.
        last: what the last one is called.
    """

    title: str
    anchor: str
    description: str
    height: float
    segments: tuple[tuple[float, float, float, float], ...]
    dots: tuple[SparkDot, ...]
    low: str
    high: str
    top: float
    bottom: float
    first: str
    last: str


@dataclass(frozen=True)
class SparkPoint:
    """A figure in a release: its value, None if it is not known, what the release is called, and whether a loss was accepted."""

    value: float | None
    name: str = ""
    accepted: bool = False


def spark(
    title: str,
    description: str,
    anchor: str,
    points: Sequence[SparkPoint],
    text: Callable[[float], str],
    most: float | None = None,
) -> Spark:
    """Place a figure's values in the order of the releases; one that is not known leaves a gap.

    Args:
        title: what it is of.
        description: it in words.
        anchor: a name for the plot, unique in its page.
        points: the releases.
        text: how values are written.
        most: the largest value that there can be; None for none.
    """
    known = [point.value for point in points if point.value is not None]
    low, high = min(known), max(known)
    # A change of a per cent must not look like one of a half.
    spread = _LEAST_SPREAD * max(abs(low), abs(high)) - (high - low)
    if spread > 0:
        low, high = low - spread / 2, high + spread / 2
        if most is not None and high > most:
            low, high = low - (high - most), most
    last = max(len(points) - 1, 1)
    places: list[SparkDot | None] = []
    for number, point in enumerate(points):
        if point.value is None:
            places.append(None)
            continue
        # A figure that was always 0 runs through the middle.
        down = 0.5 if high == low else (high - point.value) / (high - low)
        y = round(_SPARK_EDGE + down * (_SPARK_HIGH - 2 * _SPARK_EDGE), 2)
        told = f"{point.name}: {text(point.value)}{', a loss was accepted' if point.accepted else ''}"
        places.append(SparkDot(round(4 + 92 * number / last, 2), y, told, point.accepted))
    segments = tuple((a.x, a.y, b.x, b.y) for a, b in pairwise(places) if a is not None and b is not None)
    dots = tuple(place for place in places if place is not None)
    ends = text(low), text(high), _SPARK_EDGE, _SPARK_HIGH - _SPARK_EDGE
    return Spark(title, anchor, description, _SPARK_HIGH, segments, dots, *ends, points[0].name, points[-1].name)
