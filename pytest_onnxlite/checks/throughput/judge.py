"""When the inferences per second of several callers are within their limit."""

from __future__ import annotations

from pytest_onnxlite.checks.reference import Absent, Reference, absent
from pytest_onnxlite.checks.since_first import sum_since_first
from pytest_onnxlite.checks.throughput.limit import ThroughputLimit
from pytest_onnxlite.checks.throughput.measurement import Throughput, ThroughputEvidence
from pytest_onnxlite.checks.turns.judge import bounds_of, judge_comparison, ratio_text
from pytest_onnxlite.checks.turns.ratios import CONFIDENCE
from pytest_onnxlite.checks.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT, SAVE
from pytest_onnxlite.statistics import median_interval
from pytest_onnxlite.text import counted, shapes_text

NAME = "throughput"
FIRST_KEY = "throughput_ratio"


def judge_throughput(limit: ThroughputLimit, found: Throughput, reference: Reference, file: str = "") -> list[Verdict]:
    """Judge the ratios of the time per inference to the last release's.

    Args:
        limit: the marker.
        found: what was measured.
        reference: the baseline, or why there is none to compare with.
        file: the SHA-256 of the candidate.
    """
    if isinstance(reference, Absent):
        return [absent(NAME, found.figure, reference)]
    comparison = found.comparison
    assert comparison is not None
    interval = median_interval(comparison.first, CONFIDENCE)
    evidence = ThroughputEvidence(
        most=comparison.most,
        clients=found.clients,
        first=bounds_of(comparison.first),
        second=bounds_of(comparison.second),
        self_check=bounds_of(comparison.self_check),
        ratio_since_first=sum_since_first(reference, FIRST_KEY, file, interval.median),
    )
    outcome, text = judge_comparison(limit, comparison, found.duration)
    if outcome is Outcome.FAIL:
        text = (
            f"{found.figure}: an inference takes {ratio_text(comparison)} when they all call at the same time; at most "
            f"{comparison.most:.2f}x allowed (max_slowdown={limit.max_slowdown:g}, {_conditions(found)}).\n{text}\n"
            "Look for operators that were added, that hold a lock, or that share the session's threads and so leave fewer cores "
            f"to the other callers; if the cost is meant, accept it with: {ACCEPT}"
        )
    elif outcome is Outcome.PASS and interval.upper < 1 - limit.max_slowdown:
        outcome, text = Outcome.IMPROVED, f"{ratio_text(comparison)}."
    keep = SAVE if outcome is Outcome.IMPROVED else ""
    return [Verdict(NAME, BASELINE, outcome, found.figure, text, evidence, keep=keep)]


def _conditions(found: Throughput) -> str:
    shapes = [shapes_text(found.shapes)] if found.shapes else []
    return ", ".join([*shapes, f"batch size {found.batch_size}, {counted(found.threads, 'thread')}"])


def why_slower(alone: float, together: float, most: float, clients: int) -> str:
    """Say whether the model itself got slower, or its callers get into each other's way.

    Args:
        alone: how many times the last release's time one caller takes, by itself.
        together: how many times they take when all call.
        most: how many times are allowed.
        clients: how many callers those are.
    """
    more = (alone - 1) / (together - 1) if together > 1 else 1.0
    found = f"one caller by itself takes {alone:.2f}x the time"
    if alone > most:
        rest = "" if more > 0.5 else " The rest is callers that get into each other's way."
        return f"{found} too: the model does more work, and onnxlite_latency names its operators.{rest}"
    if more > 0.5:
        return f"{found}: the most of it is more work, and onnxlite_latency names its operators."
    return (
        f"{found}: {clients} callers get into each other's way, by a lock in an operator, by the memory's bandwidth, or by threads "
        "of the session that one caller used before the others needed the cores."
    )
