"""The inputs and outputs of a model, as records; needs no onnx-ir, since baselines are read with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_onnxlite.lint.finding import GraphError

Dim = int | str | None


@dataclass(frozen=True)
class TensorSignature:
    """An input or output.

    Attributes:
        name: its name.
        dtype: `FLOAT`, `INT64`, ...; empty where the model does not say.
        shape: a number, a symbol, or None for each dim; None where the model gives no shape at all.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None

    def __str__(self) -> str:
        """Return it as a person writes it: `x: FLOAT[N, 3, 224, 224]`."""
        shape = "[...]" if self.shape is None else f"[{', '.join('?' if d is None else str(d) for d in self.shape)}]"
        return f"{self.name}: {self.dtype or 'untyped'}{shape}"


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a model, in order."""

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, ready for JSON."""
        return {
            side: [
                {"name": t.name, "dtype": t.dtype, "shape": None if t.shape is None else list(t.shape)} for t in tensors
            ]
            for side, tensors in (("inputs", self.inputs), ("outputs", self.outputs))
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Signature:
        """Return the signature that `as_dict` gave.

        Raises:
            GraphError: the data has another form.
        """
        try:
            sides = [tuple(_tensor(item) for item in data[side]) for side in ("inputs", "outputs")]
        except (KeyError, TypeError) as error:
            raise GraphError(
                f"expected a signature with inputs and outputs of name, dtype and shape, found {data!r} "
                f"({error}). Save it again."
            ) from None
        return cls(*sides)


def _tensor(item: Mapping[str, Any]) -> TensorSignature:
    shape = item["shape"]
    return TensorSignature(str(item["name"]), str(item["dtype"]), None if shape is None else tuple(shape))
