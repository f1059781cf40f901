"""What `onnxlite_accuracy` asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pytest_onnxlite.checks.limit import FLAG, Argument, Limit, number, whole
from pytest_onnxlite.kinds import ONNX_RUNTIME, Kind
from pytest_onnxlite.settings import PROCESSORS


@dataclass(frozen=True)
class AccuracyLimit(Limit):
    """`onnxlite_accuracy`: right answers, against the trained variant and against the baseline.

    Attributes:
        max_drop: how much worse the metric may be, inclusive: points as a share of 1 (of an error or a score, in its own
            unit), or a share of the reference's value where `relative`.
        max_drop_total: how much worse than the first release's the metric may be, in the same unit.
        relative: see `max_drop`.
        confidence: where given, the upper end of the drop's interval must be within the limit too.
        batch_size: samples per inference; the spec's where None.
        processors: other processors that it is counted on and judged by as well, emulated where this is another.
        min: the least that the metric may be, such as 0.95 of the answers right; needs nothing to compare with.
        max: for an error, the most that it may be.
        max_flips: the most samples that the reference has right and the candidate wrong, whatever was won elsewhere.
        slices: judge each slice of the evaluation data (`Dataset(x, y, slices=...)`) as well.
        per_class: judge each class as well.
        min_samples: the fewest samples that a slice is judged by; smaller ones are named.
        max_slice_drop: `max_drop` for a slice; `max_drop` itself where None.
        chance_ok: right answers may be no more than always giving the commonest label has, and the labels doubtful.
    """

    arguments: ClassVar[Mapping[str, Argument]] = {
        "max_drop": number(0.0, 1e12, "a number from 0 (0.01 is one point)"),
        "max_drop_total": number(0.0, 1e12, "a number from 0 (0.01 is one point)"),
        "relative": FLAG,
        "confidence": number(0.5, 0.9999, "a number from 0.5 to 0.9999"),
        "batch_size": whole(1),
        "processors": Argument(tuple, "a list of processors, such as ['avx2', 'sse4']", choices=PROCESSORS),
        "min": number(-1e12, 1e12, "a number (0.95 is 95 % of the answers)"),
        "max": number(0.0, 1e12, "a number from 0"),
        "max_flips": whole(0),
        "slices": FLAG,
        "per_class": FLAG,
        "min_samples": whole(2),
        "max_slice_drop": number(0.0, 1e12, "a number from 0 (0.01 is one point)"),
        "chance_ok": FLAG,
    }

    max_drop: float = 0.01
    max_drop_total: float | None = None
    relative: bool = False
    confidence: float | None = None
    batch_size: int | None = None
    processors: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    max_flips: int | None = None
    slices: bool = False
    per_class: bool = False
    min_samples: int = 30
    max_slice_drop: float | None = None
    chance_ok: bool = False

    def misfit(self, kind: Kind) -> str:
        """Only what ONNX Runtime runs is counted on other processors."""
        if not self.processors or kind.runtime == ONNX_RUNTIME:
            return ""
        return (
            f"processors={list(self.processors)} does not support {kind.name}: only what ONNX Runtime runs, such as onnx and "
            "int8, is counted on other processors. Leave processors= out."
        )
