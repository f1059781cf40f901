"""The kinds of variant: one row for each, and all that is known about it. Imports nothing of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_onnxlite.variants.builder import Builder

ONNX_RUNTIME = "onnxruntime"
LITERT = "litert"


class Kind:  # no dataclass: defining one costs each run of everybody's tests
    """A form that a model can take.

    Args:
        name: what it is called; its fixture is `onnxlite_<name>`.
        says: what its fixture gives, for `pytest --fixtures`.
        runtime: what runs its file: `onnxruntime` or `litert`; empty for one that its own library calls.
        made_from: the kind that it is made from, whose size and time its own are ratios of; empty for none.
        quantized: whether quantization made it.
        size_ratio: the share of the bytes of what it is made from that is expected; None if nothing is.
        build: for a kind of a project's own: writes it into a folder, from the builder of the model's other variants, and
            returns the file, which ends in `.onnx` or `.tflite`; None for ours, which `variants.builder` builds.
    """

    def __init__(
        self,
        name: str,
        says: str = "",
        *,
        runtime: str = ONNX_RUNTIME,
        made_from: str = "",
        quantized: bool = False,
        size_ratio: float | None = None,
        build: Callable[[Builder, Path], Path] | None = None,
    ) -> None:
        self.name = name
        self.says = says
        self.runtime = runtime
        self.made_from = made_from
        self.quantized = quantized
        self.size_ratio = size_ratio
        self.build = build


# What quantization to 8 of 32 bits leaves is a quarter; a conversion must not make a model larger.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("trained", "The trained model, as Keras runs it.", runtime=""),
        Kind(
            "onnx",
            "The float ONNX model: the spec's file, or converted from the trained model.",
            made_from="trained",
            size_ratio=1.0,
        ),
        Kind(
            "int8",
            "The INT8 ONNX model: the spec's file, or quantized from the float one by the spec's recipe.",
            made_from="onnx",
            quantized=True,
            size_ratio=0.25,
        ),
        Kind(
            "tflite",
            "The float TFLite model, converted from the trained model.",
            runtime=LITERT,
            made_from="trained",
            size_ratio=1.0,
        ),
        Kind(
            "tflite_int8",
            "The INT8 TFLite model, converted from the trained model; calibrated where the spec has calibration data.",
            runtime=LITERT,
            made_from="tflite",
            quantized=True,
            size_ratio=0.25,
        ),
    )
}
