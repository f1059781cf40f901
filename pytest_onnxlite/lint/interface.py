"""The inputs and outputs of a model, as records; needs no onnx-ir, since baselines are read with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

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
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    @classmethod
    def from_dict(cls, data: object) -> Signature:
        """Return the signature that `as_dict` gave.

        Raises:
            GraphError: the data has another form.
        """
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise GraphError(
                f"expected a signature with inputs and outputs of name, dtype and shape, found {data!r} "
                f"({error}). Save it again."
            ) from None
