"""Latency and memory: a figure that is said has the sign of the verdict, and advice is of the file's own operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cause import Cause

from pytest_onnxlite.checks.latency import explain as latency
from pytest_onnxlite.checks.latency.cure import cure_of
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import LatencyEvidence
from pytest_onnxlite.checks.memory.explain import explain_memory
from pytest_onnxlite.checks.memory.measurement import Memory, MemoryEvidence, Peak
from pytest_onnxlite.checks.task import Case
from pytest_onnxlite.checks.turns.comparison import Interval
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.variants.deadline import Budget

from onnx_models import dense

SLOWER = Cause(
    "red at 1.08x, and a profile that says faster",
    r"^the profile does not show it: no operator is to blame",
    (r"µs", r"takes noticeably longer", r"-\d"),
)
SLOWER_SOMEWHERE = Cause(
    "red at 1.08x, one operator slower and another faster",
    r"^Conv \+20 µs in 1 node",
    (r"Relu", r"-\d"),
)
NOT_ENOUGH = Cause(
    "faster than the float model, and not by as much as it has to be",
    r"^it is faster than the onnx variant, and not by as much as it has to be: MatMul takes 80\.0 % of it",
    (r"take longer", r"\+\d"),
)
CONVOLUTION = Cause(
    "a dynamic convolution, slower than float",
    r"^INT8 is not always faster: dynamic quantization slows convolutions down; .*exclude=\['Conv'\]",
)
BLOCKS = Cause("weights in blocks of 4 bits, without a convolution", r"^Weights in blocks", (r"Conv", r"exclude="))
DENSE = Cause("dynamic INT8 without a convolution", r"^INT8 is not always faster", (r"Conv", r"exclude="))
MEMORY = Cause(
    "memory that grew while loading, where running needs less",
    r"^no node allocates more than in the last release: look for what ONNX Runtime packs",
    (r"running", r"-\d+\.\d %", r"hold the peak"),
)
CAUSES = [SLOWER, SLOWER_SOMEWHERE, NOT_ENOUGH, CONVOLUTION, BLOCKS, DENSE, MEMORY]


class _Task:
    """What explaining reads of a task."""

    batch_size = 1
    runtime = Runtime()

    def __init__(self, path: Path) -> None:
        self.last_file = path
        self.variant = type("Variant", (), {"path": path})


def kernels(*entries: tuple[str, float, float]) -> tuple[list[latency.Kernel], list[latency.Kernel]]:
    """Return kernels of both models from operators with both times, in microseconds."""
    ours = [latency.Kernel(operator, operator, operator, now * 1e-6) for operator, now, _ in entries]
    return ours, [latency.Kernel(operator, operator, operator, was * 1e-6) for operator, _, was in entries]


@pytest.mark.parametrize(
    ("cause", "ratio", "entries"),
    [
        (SLOWER, 1.08, [("Conv", 100.0, 110.0), ("MatMul", 48.0, 57.0)]),
        # One is slower, and all together are not.
        (SLOWER, 1.08, [("Conv", 100.0, 130.0), ("MatMul", 48.0, 37.0)]),
        (SLOWER_SOMEWHERE, 1.08, [("Conv", 60.0, 40.0), ("Relu", 35.0, 40.0)]),
        (NOT_ENOUGH, 0.9, [("MatMul", 80.0, 95.0), ("Relu", 20.0, 18.0)]),
    ],
)
def test_a_profile_says_nothing_against_the_verdict(
    cause: Cause, ratio: float, entries: list[Any], tmp_path: Path
) -> None:
    evidence = LatencyEvidence(reference=BASELINE, most=1.05, first=Interval(ratio, ratio, ratio, 0.995, 24))
    verdict = Verdict("latency", BASELINE, Outcome.FAIL, f"{ratio}x", evidence=evidence)
    case: Any = Case(_Task(tmp_path / "a.onnx"), verdict, None, Budget(60))  # type: ignore[arg-type]
    name = "the onnx variant" if ratio < 1 else "the last release"
    found = latency.explain_profile(case, *kernels(*entries), name)
    cause.hold(found.why, "\n".join([found.why, *found.lines, *found.details]))


def test_a_verdict_that_is_not_red_shows_all_figures(tmp_path: Path) -> None:
    verdict = Verdict("latency", BASELINE, Outcome.PASS, "1.01x", evidence=LatencyEvidence(reference=BASELINE))
    case: Any = Case(_Task(tmp_path / "a.onnx"), verdict, LatencyLimit(), Budget(60))  # type: ignore[arg-type]
    found = latency.explain_profile(case, *kernels(("Conv", 60.0, 40.0), ("Relu", 35.0, 45.0)), "the last release")
    assert "Relu -10 µs" in "\n".join(found.details)


@pytest.mark.parametrize(
    ("cause", "operators"),
    [
        (CONVOLUTION, {"ConvInteger", "DynamicQuantizeLinear"}),
        (BLOCKS, {"MatMulNBits", "Relu"}),
        (DENSE, {"MatMulInteger", "DynamicQuantizeLinear"}),
    ],
)
def test_advice_against_slowness_is_of_the_files_own_operators(cause: Cause, operators: set[str]) -> None:
    text = cure_of(operators, by_recipe=True)
    cause.hold(text, text)
    assert "exclude=" not in cure_of(operators, by_recipe=False)


def test_a_peak_that_fell_is_not_shown_under_one_that_grew(tmp_path: Path) -> None:
    path = dense(tmp_path / "a.onnx", 1, width=8)
    ours = Peak(load=30 << 20, run=8 << 20, settled=True, node_bytes=1000, nodes=(("matmul0", 1000),))
    theirs = Peak(load=20 << 20, run=9 << 20, settled=True, node_bytes=2000, nodes=(("matmul0", 2000),))
    found = Memory(candidate=ours, reference=theirs, method="rss", reference_method="rss", batch_size=1, threads=1)
    verdict = Verdict("memory", BASELINE, Outcome.FAIL, "30 MiB", evidence=MemoryEvidence())
    case: Any = Case(_Task(path), verdict, found, Budget(60))  # type: ignore[arg-type]
    said = explain_memory(case)
    MEMORY.hold(said.why, "\n".join([said.why, *said.lines, *said.details]))
    assert "loading 30.00 MiB, was 20.00 MiB" in said.details[0]
