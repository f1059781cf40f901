"""How a variant is made: what a user may ask for, and what is chosen if nothing is asked."""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from pytest_onnxlite.errors import OnnxliteError, hide_mistakes
from pytest_onnxlite.text import listed

if TYPE_CHECKING:
    from pytest_onnxlite.spec.runtimes import Runtime

__tracebackhide__ = hide_mistakes

Calibration = Literal["minmax", "entropy", "percentile", "distribution"]
Format = Literal["qdq", "qoperator"]
Integer = Literal["uint8", "int8"]

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
# Counts changes of what is made from one and the same recipe: an INT8 file that was cached before one is not today's.
_EDITION = 3


def require_switch(name: str, value: object) -> None:
    """Check that a value is True or False: a word would count as True, whatever it says.

    Raises:
        OnnxliteError: it is something else.
    """
    if not isinstance(value, bool):
        raise OnnxliteError(f"{name}={reprlib.repr(value)}: expected True or False.")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        listed = ", ".join(map(repr, choices[:-1])) + f" or {choices[-1]!r}"
        raise OnnxliteError(f"{name}={value!r}: expected {listed}.")


def _check_globs(name: str, globs: object) -> tuple[str, ...]:
    if isinstance(globs, str) or not isinstance(globs, Sequence) or not all(isinstance(g, str) for g in globs):
        raise OnnxliteError(f"{name}={globs!r}: expected a list of globs.")
    return tuple(globs)


@dataclass(frozen=True)
class DynamicInt8:
    """Dynamic INT8 quantization with ONNX Runtime: weights ahead of time, activations at run time.

    Args:
        weight_type: `uint8`, `int8`, or `auto`: what gives the same answers on every processor, which is `uint8`, or
            with `reduce_range` `int8` where the graph has no convolution. `int8` of 8 bits gives other answers on x86
            processors without VNNI, whose sums of products saturate, and makes convolutions several times slower.
        per_channel: one scale for each output channel instead of one for the tensor.
        reduce_range: weights of 7 bits, whose products saturate nowhere. Less precise than `uint8`, and a little faster
            on x86 processors without VNNI.
        exclude: globs over node names or operator types that stay in float. One that matches nothing is
            an error.

    Raises:
        OnnxliteError: a value that is none of these.
    """

    weight_type: Literal["auto", "uint8", "int8"] = "auto"
    per_channel: bool = False
    reduce_range: bool = False
    exclude: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_choice("weight_type", self.weight_type, ("auto", *get_args(Integer)))
        require_switch("per_channel", self.per_channel)
        require_switch("reduce_range", self.reduce_range)
        object.__setattr__(self, "exclude", _check_globs("exclude", self.exclude))


@dataclass(frozen=True)
class StaticInt8:
    """Static INT8 quantization with ONNX Runtime: activations too have their scales ahead of time, from calibration data.

    Args:
        method: how a tensor's range follows from the calibration data: its extremes (`minmax`), or less, so that
            what is frequent is finer (`entropy`, `percentile`, `distribution`).
        format: `qdq`, QuantizeLinear and DequantizeLinear around float operators, which ONNX Runtime fuses as it
            loads; or `qoperator`, with its own QLinear operators in the file.
        per_channel: one weight scale for each output channel instead of one for the tensor.
        weight_type: `int8`, `uint8`, or `auto`: `int8` of 7 bits, which give the same answers on every processor.
            `int8` of 8 bits gives other answers on x86 processors without VNNI, whose sums of products saturate; with
            `uint8` convolutions take half as long again, or more.
        activation_type: of the activations.
        reduce_range: weights of 7 bits, whose products saturate nowhere; `auto` has them anyway.
        exclude: globs over node names or operator types that stay in float. One that matches nothing is
            an error.

    Raises:
        OnnxliteError: a value that is none of these.
    """

    method: Calibration = "minmax"
    format: Format = "qdq"
    per_channel: bool = True
    weight_type: Literal["auto", "uint8", "int8"] = "auto"
    activation_type: Integer = "uint8"
    reduce_range: bool = False
    exclude: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_choice("method", self.method, get_args(Calibration))
        _check_choice("format", self.format, get_args(Format))
        _check_choice("weight_type", self.weight_type, ("auto", *get_args(Integer)))
        _check_choice("activation_type", self.activation_type, get_args(Integer))
        require_switch("per_channel", self.per_channel)
        require_switch("reduce_range", self.reduce_range)
        if self.activation_type == "int8" and self.weight_type == "uint8":
            raise OnnxliteError(
                "activation_type='int8' with weight_type='uint8': ONNX Runtime has no kernels for that pair. "
                "Use weight_type='int8'."
            )
        object.__setattr__(self, "exclude", _check_globs("exclude", self.exclude))


@dataclass(frozen=True)
class Float16:
    """Half precision, by ONNX Runtime's converter: weights and computations in float16, inputs and outputs as they were.

    Args:
        keep: globs over node names or operator types that stay in float32, with a Cast in front and behind. One that
            matches nothing is an error.

    Raises:
        OnnxliteError: a value that is none of these.
    """

    keep: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", _check_globs("keep", self.keep))


@dataclass(frozen=True)
class WeightOnly:
    """Weights of 4 or 8 bits in blocks, by ONNX Runtime's MatMulNBits quantizer; activations stay in float.

    Args:
        bits: of each weight.
        block_size: weights that share a scale, along the input channels: 16, 32, 64, 128 or 256.
        symmetric: without zero points.
        exclude: globs over node names or operator types that stay in float. One that matches nothing is an error.

    Raises:
        OnnxliteError: a value that is none of these.
    """

    bits: int = 4
    block_size: int = 32
    symmetric: bool = False
    exclude: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, sizes in (("bits", (4, 8)), ("block_size", (16, 32, 64, 128, 256))):
            value = getattr(self, name)
            if isinstance(value, bool) or value not in sizes:
                raise OnnxliteError(f"{name}={value!r}: expected {listed(map(str, sizes), 'or')}.")
        require_switch("symmetric", self.symmetric)
        object.__setattr__(self, "exclude", _check_globs("exclude", self.exclude))


@dataclass(frozen=True)
class OtherRuntime:
    """The file of another variant, run otherwise: what `Variant("onnx", runtime=Runtime(...))` in a spec stands for.

    Args:
        of: a kind (`onnx`, `int8`), the name of another variant of the spec, or the path of an `.onnx` or `.tflite` file.
        runtime: how it is run, all of it: nothing of the spec's own is taken over.

    Raises:
        OnnxliteError: a value that is none of these.
    """

    of: str | Path
    runtime: Runtime

    def __post_init__(self) -> None:
        from pytest_onnxlite.spec.runtimes import Runtime

        if not isinstance(self.of, (str, os.PathLike)) or not str(self.of):
            raise OnnxliteError(
                f"Variant({self.of!r}): expected a kind, the name of another variant, or an .onnx file."
            )
        if not isinstance(self.runtime, Runtime):
            raise OnnxliteError(f"Variant({str(self.of)!r}, runtime={self.runtime!r}): expected Runtime(...).")


# What makes an INT8 model, what makes any, and all that a variant with a name can be.
Recipe = DynamicInt8 | StaticInt8
AnyRecipe = Recipe | Float16 | WeightOnly
Made = AnyRecipe | Path | OtherRuntime


def left_in_float(recipe: AnyRecipe) -> tuple[str, ...]:
    """Return the globs of what a recipe leaves in float."""
    return tuple(recipe.keep if isinstance(recipe, Float16) else recipe.exclude)


def leaving(recipe: AnyRecipe, globs: Sequence[str]) -> AnyRecipe:
    """Return a recipe that leaves some more in float."""
    more = (*left_in_float(recipe), *globs)
    return replace(recipe, keep=more) if isinstance(recipe, Float16) else replace(recipe, exclude=more)


def blocks_share(bits: int, block_size: int, *, symmetric: bool) -> float:
    """Return the share of its float32 bytes that a weight in blocks takes, its scales and zero points included."""
    return bits / 32 + 1 / block_size * (1 if symmetric else 1 + bits / 32)


@dataclass(frozen=True)
class Weights:
    """How weights are stored.

    Attributes:
        type: of the integers.
        reduced: whether they use 7 of their 8 bits.
    """

    type: Integer
    reduced: bool

    def __str__(self) -> str:
        """Say it, as in `int8 weights of 7 bits`."""
        return f"{self.type} weights{' of 7 bits' if self.reduced else ''}"


def choose_weights(recipe: Recipe, operators: Collection[str]) -> Weights:
    """Choose how weights are stored: as the recipe names it, else so that answers are the same on every processor.

    x86 processors with AVX2 or AVX-512 but without VNNI add two products of a uint8 and an int8 in 16 bits, and cut off what
    is larger: no sum of two int8 of 7 bits is, and uint8 weights go through kernels of 32 bits. Which of the two is chosen
    goes by what they cost (python benchmarks/processors.py). Dynamic quantization has one scale for a whole tensor, where
    the eighth bit is worth most, and its convolutions are several times faster with uint8. Static quantization has a scale
    for each channel, which makes up for the bit, and its convolutions are slower with uint8.

    Args:
        recipe: what the user asks for.
        operators: the operator types of the prepared model, those in branches and loop bodies included.
    """
    if recipe.weight_type != "auto":
        return Weights(recipe.weight_type, recipe.reduce_range)
    if isinstance(recipe, StaticInt8):
        return Weights("int8", True)
    unsigned = not recipe.reduce_range or "Conv" in operators
    return Weights("uint8" if unsigned else "int8", recipe.reduce_range)


def _given(recipe: AnyRecipe) -> dict[str, object]:
    """Return what differs from the default."""
    default = type(recipe)()
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(recipe).items()
        if value != getattr(default, name)
    }


def recipe_text(recipe: AnyRecipe) -> str:
    """Return a recipe as code to paste, with what differs from the default alone."""
    return f"{type(recipe).__name__}({', '.join(f'{name}={value!r}' for name, value in _given(recipe).items())})"


def recipe_toml(recipe: AnyRecipe) -> str:
    """Return a recipe as pyproject.toml has it, with what differs from the default alone."""
    # Strings, lists and booleans are written in TOML as they are in JSON.
    entries = {"kind": type(recipe).__name__, **_given(recipe)}
    return f"{{{', '.join(f'{name} = {json.dumps(value)}' for name, value in entries.items())}}}"


def recipe_key(recipe: AnyRecipe) -> dict[str, object]:
    """Return a recipe as data to name a cache entry by."""
    entries = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(recipe).items()}
    return {"kind": type(recipe).__name__, "edition": _EDITION, **entries}


def choose_recipe(operators: Collection[str], calibrated: bool) -> tuple[Recipe, str]:
    """Choose a recipe for a model whose user named none.

    Args:
        operators: the operator types of the float model, without those in branches and loop bodies, which static
            quantization leaves in float.
        calibrated: whether there is calibration data.

    Returns:
        The recipe, and why.
    """
    if {"If", "Loop", "Scan"} & set(operators) and not _CONVOLUTIONS & set(operators):
        return DynamicInt8(), "the model computes in branches or loop bodies, which static quantization leaves in float"
    if not _CONVOLUTIONS & set(operators):
        return DynamicInt8(), "the model has no convolution, and dynamic quantization needs no calibration"
    if calibrated:
        return StaticInt8(), "the model has convolutions, which dynamic quantization makes slower than float"
    return (
        DynamicInt8(),
        "no calibration= is given; with it the model's convolutions would be quantized statically, which is faster",
    )
