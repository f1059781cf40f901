"""What is said about a model with a state: which of its outputs is which of its inputs at the next step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_onnxlite.errors import OnnxliteError


@dataclass(frozen=True)
class Stateful:
    """A model that is run step by step, such as an LSTM with its state as input and output, or a decoder with a cache.

    The evaluation data has a sequence for each sample: its second axis counts the steps, `(N, steps, ...)`.

    Args:
        state: by the name of an input, the output that it is fed with at the next step.
        grows: inputs that hold all steps so far, such as a decoder's mask: their data is `(N, steps, ...)` too, and the model
            is fed with the first step of it, then with the first two, and so on.
        reset: `sample`: each sample begins with a state of zeros, and with an empty cache.

    Raises:
        OnnxliteError: no state, an output that feeds two inputs, or another reset.
    """

    state: Mapping[str, str]
    reset: str = "sample"
    grows: Sequence[str] = ()

    def __post_init__(self) -> None:
        pairs = self.state
        if not isinstance(pairs, Mapping) or not pairs or not all(isinstance(n, str) for p in pairs.items() for n in p):
            raise OnnxliteError(
                f'Stateful(state={pairs!r}): expected the names of outputs by those of inputs, such as {{"h_in": "h_out"}}.'
            )
        twice = sorted({name for name in pairs.values() if list(pairs.values()).count(name) > 1})
        if twice:
            raise OnnxliteError(f"Stateful(state=...): the output {twice[0]!r} feeds two inputs; name one for each.")
        if not isinstance(self.grows, (list, tuple)) or not all(isinstance(name, str) for name in self.grows):
            raise OnnxliteError(f'Stateful(grows={self.grows!r}): expected the names of inputs, such as ["mask"].')
        object.__setattr__(self, "grows", tuple(self.grows))
        both = [name for name in self.grows if name in pairs]
        if both:
            raise OnnxliteError(f"Stateful(grows=...): {both[0]!r} is a state; a cache grows by itself.")
        if self.reset != "sample":
            raise OnnxliteError(f"Stateful(reset={self.reset!r}): expected 'sample'.")
