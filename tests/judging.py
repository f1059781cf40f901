"""What tests of the rules share: a baseline of 950 right answers of 1,000, and the one verdict against something."""

from __future__ import annotations

from typing import Any

from pytest_onnxlite.baseline.record import Artefact, Baseline
from pytest_onnxlite.checks.accuracy.measurement import AccuracySection
from pytest_onnxlite.checks.verdict import Verdict

SAVED = Baseline(
    "digits",
    "int8",
    Artefact("int8.onnx", "0" * 64, 1000, True),
    sections={"accuracy": AccuracySection(correct=950, total=1000, batch_size=1, metric="top1", data_sha256="d" * 64)},
    first={},
)


def only(verdicts: list[Verdict], against: str) -> Any:
    (verdict,) = (v for v in verdicts if v.against == against)
    return verdict
