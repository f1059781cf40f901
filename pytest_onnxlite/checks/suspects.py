"""Which float operators may be left out of quantization as a whole, by what they became."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_onnxlite.lint.operators import QUANTIZED

# Leaving out every matrix product leaves nothing to quantize.
_WHOLE = frozenset({"Conv", "LSTM"})
NO_TIME = "there was no time to look further (--onnxlite-explain-time gives more)."


def float_operators(names: Iterable[str]) -> tuple[str, ...]:
    """Return the float operators that these operators are or stand for, of those that may be left out as a whole."""
    found = {QUANTIZED[name].float_op if name in QUANTIZED else name for name in names}
    return tuple(sorted(found & _WHOLE, reverse=True))
