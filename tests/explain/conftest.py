"""Projects whose failures are read from the JSON report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from projects import Digits, Project


class Explained:
    """A run's records, read from its report."""

    def __init__(self, project: Project, result: pytest.RunResult) -> None:
        self.result = result
        self.text = result.stdout.str()
        self.report: dict[str, Any] = json.loads((project.path / "report.json").read_text())

    @property
    def record(self) -> dict[str, Any]:
        (record,) = self.report["records"]
        found: dict[str, Any] = record
        return found

    def explanation(self, check: str) -> dict[str, Any]:
        """The explanation of a check's first red verdict."""
        found: dict[str, Any] = next(
            v["explanation"] for v in self.record["verdicts"] if v["check"] == check and v["red"]
        )
        return found


@pytest.fixture
def explain(project: Project) -> Callable[..., Explained]:
    """Run a project, and read what it says."""

    def run(*arguments: str) -> Explained:
        return Explained(project, project.run("--onnxlite-report=report.json", *arguments))

    return run


@pytest.fixture(scope="session")
def calibration(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training digits to calibrate with: a random choice, and ones alone."""
    from digits import load_digits

    (x, y), _ = load_digits()
    path = tmp_path_factory.mktemp("calibration") / "calibration.npz"
    np.savez(path, mixed=x[:64], ones=x[y == 1][:64])
    return path
