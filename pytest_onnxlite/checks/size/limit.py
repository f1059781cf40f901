"""What `onnxlite_size` asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pytest_onnxlite.checks.limit import GROWTH, TOTAL, Argument, Limit, number
from pytest_onnxlite.checks.quantity import BYTES


@dataclass(frozen=True)
class SizeLimit(Limit):
    """`onnxlite_size`: bytes, as a ratio of the variant it was made from and against the baseline.

    More: docs/explanations.md#what-quantization-can-reach.

    Attributes:
        ratio: the share of the float model's bytes that is expected; where None what quantization can reach, and no less than
            0.25 for INT8.
        tolerance: how far, relatively, the ratio may be exceeded, and the baseline's bytes be outgrown.
        max_growth_total: how far, relatively, the first release's bytes may be outgrown.
        max: the most bytes it may have, such as `"2 MB"`; needs nothing to compare with.
    """

    arguments: ClassVar[Mapping[str, Argument]] = {
        "ratio": number(0.001, 10.0, "a number from 0.001 to 10"),
        "tolerance": GROWTH,
        "max_growth_total": TOTAL,
        "max": BYTES,
    }

    ratio: float | None = None
    tolerance: float = 0.05
    max_growth_total: float | None = None
    max: float | None = None
