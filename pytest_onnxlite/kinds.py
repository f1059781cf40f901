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

    Attributes:
        form: the name of its row; of a variant that a spec gives a name to, `name` is that name.
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
        self.name = self.form = name
        self.says = says
        self.runtime = runtime
        self.made_from = made_from
        self.quantized = quantized
        self.size_ratio = size_ratio
        self.build = build

    @property
    def has_float_model(self) -> bool:
        """Whether it stands next to a float model, whose time its own is a ratio of."""
        return self.quantized or self.form in ("file", "tflite_file")

    def called(self, name: str, *, size_ratio: float | None = None) -> Kind:
        """Return the row for a variant that a spec gives a name to.

        Args:
            name: the variant's name.
            size_ratio: its share of bytes, where that depends on how it is made; None for the row's own.
        """
        ratio = self.size_ratio if size_ratio is None else size_ratio
        kind = Kind(
            name, self.says, runtime=self.runtime, made_from=self.made_from, quantized=self.quantized, size_ratio=ratio
        )
        kind.form = self.form
        return kind


# What quantization to 8 of 32 bits leaves is a quarter; a conversion must not make a model larger.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("trained", "The trained model, as its own library runs it.", runtime=""),
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

# The fixture of a variant that is chosen by its name is `onnxlite_variant`, and this is what a marker calls it.
CHOSEN = "variant"
# How a test takes one.
PARAMETRIZE = 'Name variants of the spec: @pytest.mark.parametrize("onnxlite_variant", ["fp16"], indirect=True).'

# Forms of the variants that a spec gives names to. They have no fixture of their own.
FORMS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        KINDS["int8"],
        Kind(
            "float16",
            "An ONNX model in half precision, made from the float one.",
            made_from="onnx",
            quantized=True,
            size_ratio=0.5,
        ),
        # What it weighs follows from bits and block size.
        Kind("blocks", "An ONNX model with weights of few bits in blocks.", made_from="onnx", quantized=True),
        Kind("file", "An ONNX file, of which nobody knows how it was made.", made_from="onnx"),
        Kind("tflite_file", "A TFLite file, of which nobody knows how it was made.", runtime=LITERT, made_from="onnx"),
    )
}


def stand_in(name: str) -> Kind:
    """Return what stands for a named variant until its spec is known: of it all can be asked."""
    return FORMS["float16"].called(name)
