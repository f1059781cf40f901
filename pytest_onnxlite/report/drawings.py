"""What a page draws: the checks' blocks, and paired ratios with their places."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from pytest_onnxlite.checks.blocks import Bars, Block, Compared, Counts, Grid, Images, Ranges, Ratios, Table
from pytest_onnxlite.labels import labelled
from pytest_onnxlite.report.plots import Strip, strip
from pytest_onnxlite.report.status import anchor


@dataclass(frozen=True)
class RatioPlot:
    """Paired ratios, placed."""

    form: ClassVar[str] = "ratios"
    title: str
    strip: Strip


# What a page knows how to draw.
Drawing = Bars | Table | Counts | Compared | Ranges | Grid | Images | RatioPlot


def placed(block: Block, model: str, kind: str, label: str = "") -> Drawing:
    """Return a block with the places of its marks, and the label of the marker that it is of in its title."""
    title = f"{block.title} ({label})" if label else block.title
    if not isinstance(block, Ratios):
        return replace(block, title=title)
    title = f"{model} {kind} {title}"
    place = anchor("strip", model, kind, labelled(block.key, label))
    return RatioPlot(title, strip(title, place, block.sets, block.most))
