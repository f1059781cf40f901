"""Scenarios: named inputs at which latency and memory are judged, such as a sequence of 16 and one of 512."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.labels import LABEL, LABEL_SAYS
from pytest_onnxlite.text import unknown


@dataclass(frozen=True, eq=False)
class Scenario:
    """What a model is fed with where a marker says `scenario="..."`.

    Args:
        length: the length of each sample, along the axis that the model leaves open; the evaluation samples are cut or
            repeated to it.
        batch_size: samples per inference; the spec's if None. If there are fewer samples, they are repeated.
        inputs: samples of its own instead of the evaluation data: one array, the first axis counting samples, a list of
            arrays if they differ in length, or either by input name.

    Raises:
        OnnxliteError: nothing is given, a value is out of range, or two do not go together.
    """

    length: int | None = None
    batch_size: int | None = None
    inputs: Any = None

    def __post_init__(self) -> None:
        if self.length is None and self.batch_size is None and self.inputs is None:
            raise OnnxliteError("Scenario() says nothing: give length=, batch_size= or inputs=.")
        for key in ("length", "batch_size"):
            value = getattr(self, key)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise OnnxliteError(f"Scenario({key}={value!r}): expected a whole number from 1.")
        if self.length is not None and self.inputs is not None:
            raise OnnxliteError("Scenario(length=, inputs=): inputs have their own length; leave one of the two out.")

    @property
    def asks(self) -> str:
        """What it asks for: `length 512, batch size 32`."""
        parts = [
            f"length {self.length}" if self.length is not None else "",
            f"batch size {self.batch_size}" if self.batch_size is not None else "",
            "inputs of its own" if self.inputs is not None else "",
        ]
        return ", ".join(filter(None, parts))


def unknown_scenario(name: str, names: Collection[str]) -> str:
    """Say that there is no scenario of a name, and which there are."""
    if not names:
        return f"there is no scenario {name!r}: the model names none (scenarios=)."
    return unknown("scenario", name, names, "There are")


def as_scenarios(given: Any, where: str, batched: bool) -> Mapping[str, Scenario]:
    """Check the scenarios of a spec; their inputs are checked by the spec.

    Raises:
        OnnxliteError: they are none, or a name cannot be one.
    """
    if not isinstance(given, Mapping):
        raise OnnxliteError(f'{where}: scenarios={given!r}; expected Scenario(...) by name, such as {{"long": ...}}.')
    for name, scenario in given.items():
        if not isinstance(name, str) or not LABEL.fullmatch(name):
            raise OnnxliteError(f"{where}: a scenario is called {name!r}; expected {LABEL_SAYS}.")
        if not isinstance(scenario, Scenario):
            raise OnnxliteError(
                f"{where}: the scenario {name!r} is a {type(scenario).__name__}; expected Scenario(length=...), "
                "Scenario(batch_size=...) or Scenario(inputs=...)."
            )
        if not batched and scenario.batch_size not in (None, 1):
            raise OnnxliteError(
                f"{where}: batched=False is a model that takes one sample, and the scenario {name!r} asks for batch size "
                f"{scenario.batch_size}; leave one of the two out."
            )
    return dict(given)
