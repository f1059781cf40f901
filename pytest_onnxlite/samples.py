"""What inputs look like, without holding them; and inputs that are made up to look the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pytest_onnxlite.spec.dataset import Inputs
from pytest_onnxlite.spec.model import ModelSpec
from pytest_onnxlite.spec.scenarios import Scenario
from pytest_onnxlite.variants.running import rows_to_run

# The fewest samples on which a file is run for the first time.
FEWEST = 2


@dataclass(frozen=True)
class Sample:
    """An input's dtype, and the shape of one sample."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class LikeScenario:
    """A scenario, its own inputs by what they look like; see `Scenario`."""

    length: int | None = None
    batch_size: int | None = None
    inputs: Mapping[str, Sample] = field(default_factory=dict)


def describe(x: Inputs) -> dict[str, Sample]:
    """Return what inputs look like, by name."""
    # Of samples of different lengths the longest stands for all: it is what decides time and memory most often.
    row = rows_to_run(x, 1)[0][0]
    longest = {name: array[row] for name, array in (x if isinstance(x, Mapping) else {"": x}).items()}
    return {name: Sample(str(sample.dtype), tuple(sample.shape)) for name, sample in longest.items()}


def make_up(samples: Mapping[str, Sample], count: int, seed: int) -> Inputs:
    """Return inputs that look like these."""
    rng, made = np.random.default_rng(seed), {}
    for name, sample in samples.items():
        shape, dtype = (count, *sample.shape), np.dtype(sample.dtype)
        # Whole numbers may be indices: 0 is one everywhere.
        made[name] = rng.normal(size=shape).astype(dtype) if dtype.kind == "f" else np.zeros(shape, dtype)
    return made[""] if set(made) == {""} else made


def describe_scenarios(spec: ModelSpec, names: Iterable[str]) -> dict[str, LikeScenario]:
    """Return what those scenarios of a model look like that have these names."""
    return {
        name: LikeScenario(found.length, found.batch_size, {} if found.inputs is None else describe(found.inputs))
        for name in names
        if (found := spec.scenarios.get(name)) is not None
    }


def make_up_scenarios(scenarios: Mapping[str, LikeScenario], count: int, seed: int) -> dict[str, Scenario]:
    """Return scenarios that look like these."""
    return {
        name: Scenario(
            like.length,
            like.batch_size,
            make_up(like.inputs, max(count, like.batch_size or 1), seed) if like.inputs else None,
        )
        for name, like in scenarios.items()
    }
