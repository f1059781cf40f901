"""Seeded failures as one run: a project with a class for each, and what the run said of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_HEAD = """
import numpy as np
import pytest
from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, StaticInt8

def spec(name, arguments, recipe=None, metric="top1", batch_size=1):
    data = dict(np.load(name + ".npz", allow_pickle=False))
    given = {"calibration": data.pop("calibration")} if "calibration" in data else {}
    data = Dataset(data["x"], data.get("y"))
    return ModelSpec(name, evaluation=data, recipe=recipe, metric=metric, batch_size=batch_size, **given, **arguments)
"""
_CLASS = """
class Test_{name}:
    @pytest.fixture(scope="session")
    @classmethod
    def onnxlite_model(cls):
        return spec({name!r}, {files!r}, recipe={recipe}, metric={metric!r}, batch_size={batch_size})

    {marker}
    def test_it(self, onnxlite_{variant}):
        pass
"""


@dataclass(frozen=True)
class Seed:
    """A model in which something is broken.

    Args:
        files: by the spec's argument, the files.
        x: evaluation samples.
        y: their labels.
        calibration: calibration samples.
        recipe: as code.
        metric: the metric's name.
        batch_size: samples per inference.
        variant: the kind that is judged.
        marker: the limit.
    """

    files: Mapping[str, Path]
    x: Any
    y: Any = None
    calibration: Any = None
    recipe: str = "None"
    metric: str = "top1"
    batch_size: int = 1
    variant: str = "int8"
    marker: str = "@pytest.mark.onnxlite_accuracy(max_drop=0.01)"


@dataclass(frozen=True)
class Said:
    """What a run said of a model: the verdict's message and its explanation, each a text; and the figures."""

    message: str
    why: str
    text: str
    figures: Mapping[str, Any] = field(default_factory=dict)


def write(path: Path, seeds: Mapping[str, Seed]) -> None:
    """Write the project."""
    classes = [_HEAD]
    for name, seed in seeds.items():
        given = {"x": seed.x, "y": seed.y, "calibration": seed.calibration}
        np.savez(path / f"{name}.npz", **{key: value for key, value in given.items() if value is not None})
        options = {"recipe": seed.recipe, "metric": seed.metric, "batch_size": seed.batch_size, "variant": seed.variant}
        files = {kind: str(file) for kind, file in seed.files.items()}
        classes.append(_CLASS.format(name=name, files=files, marker=seed.marker, **options))
    (path / "test_seeds.py").write_text("\n".join(classes))


def read(result: pytest.RunResult, path: Path) -> dict[str, Said]:
    """Return what a run with `--onnxlite-report=report.json` said, by model."""
    records = json.loads((path / "report.json").read_text())["records"]
    found = {}
    for record in records:
        for verdict in record["verdicts"]:
            if not verdict["red"] or record["model"] in found:
                continue
            explanation = verdict["explanation"] or {"why": verdict["message"], "lines": []}
            text = "\n".join(
                [verdict["message"], explanation["why"], *explanation["lines"], *explanation.get("details", [])]
            )
            found[record["model"]] = Said(verdict["message"], explanation["why"], text, explanation)
    assert found, result.stdout.str()
    return found
