"""A variant with a state, which is run over sequences."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.runtime.sequences import as_sequence, first_state, require_outputs, steps_of
from pytest_onnxlite.runtime.sessions import TensorInfo, session_inputs, session_outputs
from pytest_onnxlite.runtime.values import as_arrays
from pytest_onnxlite.spec.dataset import Array, Inputs
from pytest_onnxlite.spec.model import ModelSpec
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.spec.stateful import Stateful
from pytest_onnxlite.text import first_line, listed
from pytest_onnxlite.variants.variant import OnnxVariant, Outputs


def open_onnx(spec: ModelSpec, kind: str, path: Path) -> OnnxVariant:
    """Return the variant of an ONNX file."""
    runtime = spec.runtime_of(kind)
    if spec.stateful is None:
        return OnnxVariant(spec.name, kind, path, runtime, batched=spec.batched)
    return StatefulVariant(spec.name, kind, path, runtime, spec.stateful, batched=spec.batched)


class StatefulVariant(OnnxVariant):
    """A variant that ONNX Runtime runs step by step; its inputs and outputs are sequences, the state is among neither.

    Attributes:
        stateful: which output is which input at the next step.
    """

    def __init__(
        self, model: str, kind: str, path: Path, runtime: Runtime, stateful: Stateful, *, batched: bool = True
    ) -> None:
        super().__init__(model, kind, path, runtime, batched=batched)
        self.stateful = stateful

    def beside(self, path: Path) -> StatefulVariant:
        """Return another release of the same kind, with the same state."""
        other = StatefulVariant(self.model, self.kind, path, self.runtime, self.stateful, batched=self.batched)
        other._is_other_release = True
        return other

    @property
    def _axis(self) -> int:
        return 1 if self.batched else 0

    @property
    def inputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model is fed with, as sequences, without its state."""
        return sequence_inputs(session_inputs(self._session), self.stateful, batched=self.batched)

    @property
    def outputs_info(self) -> tuple[TensorInfo, ...]:
        """What the model gives back, as sequences, without its state."""
        found = session_outputs(self._session)
        state = set(self.stateful.state.values())
        return tuple(_as_sequence(info, self._axis) for info in found if info.name not in state)

    def _run_once(self, feeds: dict[str, Array]) -> Outputs:
        answers: dict[str, list[Array]] = {}
        for _, found in self._steps(feeds):
            for name, array in found.items():
                answers.setdefault(name, []).append(array)
        state = set(self.stateful.state.values())
        kept = {name: found for name, found in answers.items() if name not in state}
        if not kept:
            raise ValueError(
                "all its outputs are states, so that nothing is left to be judged; export an output of its own"
            )
        return {name: np.stack(found, min(self._axis, found[0].ndim)) for name, found in kept.items()}

    def _steps(self, feeds: dict[str, Array]) -> Iterator[tuple[dict[str, Array], Outputs]]:
        """Run sequences; yields what is fed at each step, and what comes of it."""
        names = [info.name for info in session_outputs(self._session)]
        require_outputs(names, self.stateful.state)
        state: dict[str, Array] = {}
        for number, step in enumerate(steps_of(feeds, self._axis, self.stateful.grows)):
            state = state or first_state(session_inputs(self._session), self.stateful.state, step)
            fed = {**step, **state}
            try:
                outputs, _ = as_arrays(names, self._session.run(names, fed, self._options))
            except Exception as error:
                hint = growing_hint(session_inputs(self._session), self.stateful)
                raise ValueError(f"step {number + 1}: {first_line(error)}{hint}") from None
            state = {name: outputs[output] for name, output in self.stateful.state.items()}
            yield fed, outputs

    def feeds(self, inputs: Inputs) -> dict[str, Array]:
        """Return what the model is fed with at the last step of all these samples, its state among it.

        Raises:
            OnnxliteError: the samples do not fit the model's inputs, or a step fails.
        """
        try:
            ((last, _),) = deque(self._steps(super().feeds(inputs)), maxlen=1)
        except ValueError as error:
            raise OnnxliteError(f"{self.model} {self.kind}: {error}.") from None
        return last

    def sequence_feeds(self, inputs: Inputs) -> dict[str, Array]:
        """Return what the model is fed with in all steps of these samples, for a runner that runs them in turn.

        Raises:
            OnnxliteError: the samples do not fit the model's inputs.
        """
        return as_sequence(super().feeds(inputs), self.stateful.state, self._axis, self.stateful.grows)


def sequence_inputs(infos: tuple[TensorInfo, ...], stateful: Stateful, *, batched: bool) -> tuple[TensorInfo, ...]:
    """Return the inputs of a model as sequences, without its state."""
    axis = 1 if batched else 0
    return tuple(
        _as_sequence(info, axis, grows=info.name in stateful.grows) for info in infos if info.name not in stateful.state
    )


def growing_hint(infos: Iterable[TensorInfo], stateful: Stateful | None) -> str:
    """Return what helps where an input was fed with one step at a time and should hold all steps so far; else empty."""
    if stateful is None:
        return ""
    open_dims = [
        info.name
        for info in infos
        if info.name not in (*stateful.state, *stateful.grows) and any(isinstance(dim, str) for dim in info.shape[1:])
    ]
    if not open_dims:
        return ""
    return f" If {listed(map(repr, open_dims), 'or')} holds all steps so far, as a mask does, name it in Stateful(grows=[...])."


def _as_sequence(info: TensorInfo, axis: int, *, grows: bool = False) -> TensorInfo:
    place = min(axis, len(info.shape))
    rest = info.shape[place + 1 :] if grows else info.shape[place:]
    return TensorInfo(info.name, info.dtype, (*info.shape[:place], "steps", *rest))
