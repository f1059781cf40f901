"""From a verdict to its explanation: one function for each check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytest_onnxlite.explain.accuracy import explain_accuracy
from pytest_onnxlite.explain.case import NO_TIME, Case, Explanation
from pytest_onnxlite.explain.latency import explain_latency
from pytest_onnxlite.explain.memory import explain_memory
from pytest_onnxlite.explain.processors import explain_processor
from pytest_onnxlite.explain.size import explain_size
from pytest_onnxlite.judge.verdict import Outcome
from pytest_onnxlite.settings import PROCESSORS
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.deadline import OutOfTime, time_limit

_EXPLAINERS: dict[str, Callable[[Case], Explanation]] = {
    "accuracy": explain_accuracy,
    "size": explain_size,
    "latency": explain_latency,
    "memory": explain_memory,
}
# By what they became; leaving out every product leaves nothing to quantize.
_FLOAT_OPS = {
    "Conv": "Conv",
    "ConvInteger": "Conv",
    "DynamicQuantizeLSTM": "LSTM",
    "LSTM": "LSTM",
    "QLinearConv": "Conv",
}
# What there are figures for; of the rest the verdict's own message says all there is.
_MEASURED = (Outcome.PASS, Outcome.IMPROVED, Outcome.FAIL, Outcome.INCONCLUSIVE)


def explain(case: Case) -> dict[str, Any] | None:
    """Explain a verdict; None where there is nothing to explain.

    Never raises: a failure that cannot be explained is still that failure.

    Returns:
        `why`, the first cause; `lines`, for a person; and the figures behind them.
    """
    verdict = case.verdict
    explainer: Callable[[Case], Explanation | None] | None = _EXPLAINERS.get(verdict.check)
    if verdict.against in PROCESSORS:
        explainer = explain_processor
    changed_data = verdict.check == "accuracy" and verdict.outcome is Outcome.NOT_COMPARABLE and case.measured
    if explainer is None or not (verdict.outcome in _MEASURED or changed_data) or case.budget.seconds <= 0:
        return None
    if not case.measured or not verdict.evidence:
        return None
    try:
        with time_limit(case.budget.left):
            found = explainer(case)
            return None if found is None else found.as_dict()
    except OutOfTime:
        return Explanation(NO_TIME).as_dict()
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        return Explanation(f"it could not be explained ({reason}).").as_dict()


def suspects(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the nodes that explanations named, those that leaving in float may help first."""
    nodes: list[str] = []
    for verdict in verdicts:
        explanation = verdict.get("explanation") or {}
        nodes += [trial["node"] for trial in explanation.get("left_in_float", ()) if trial["gain"] > 0]
        quantized = [layer for layer in explanation.get("layers", ()) if layer["quantized"]]
        nodes += [layer["node"] for layer in sorted(quantized, key=lambda entry: min(entry["own"], entry["channel"]))]
        if verdict["check"] == "latency":
            nodes += [
                node["node"] for node in explanation.get("nodes", ()) if node["seconds"] > node["reference_seconds"]
            ]
    return list(dict.fromkeys(nodes))


def suspect_operators(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the float operators that the named nodes were, of those that a model has several of."""
    found: list[str] = []
    for verdict in verdicts:
        explanation = verdict.get("explanation") or {}
        for layer in explanation.get("layers", ()):
            found += [_FLOAT_OPS[op] for op in layer["quantized"] if op in _FLOAT_OPS]
        if verdict["check"] == "latency":
            found += [
                _FLOAT_OPS[e["operator"]] for e in explanation.get("operators", ()) if e["operator"] in _FLOAT_OPS
            ]
    return sorted(set(found), reverse=True)
