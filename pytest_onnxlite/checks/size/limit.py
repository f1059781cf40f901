"""What `onnxlite_size` asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_onnxlite.checks.limit import GROWTH, Limit, number

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class SizeLimit(Limit):
    """`onnxlite_size`: bytes, as a ratio of the variant it was made from and against the baseline.

    Attributes:
        ratio: the share of the float model's bytes that is expected.
        tolerance: how far, relatively, the ratio may be exceeded, and the baseline's bytes be outgrown.
    """

    check = "size"
    rules: ClassVar[dict[str, Any]] = {
        "ratio": number(0.001, 10.0, "a number from 0.001 to 10"),
        "tolerance": GROWTH,
    }

    ratio: float | None = None
    tolerance: float = 0.05

    # What quantization to 8 of 32 bits leaves; a conversion to ONNX must not make a model larger.
    default_ratios: ClassVar[dict[str, float]] = {"int8": 0.25, "onnx": 1.0, "tflite": 1.0, "tflite_int8": 0.25}
