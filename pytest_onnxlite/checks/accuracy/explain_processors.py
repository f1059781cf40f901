"""Why answers differ on processors that saturate: the weights whose products do not fit into 16 bits."""

from __future__ import annotations

from pytest_onnxlite.checks.accuracy.causes import PROCESSOR
from pytest_onnxlite.checks.accuracy.measurement import Accuracy, AccuracyEvidence, Score
from pytest_onnxlite.checks.accuracy.reasons import AccuracyReasons, Saturated
from pytest_onnxlite.checks.task import Case
from pytest_onnxlite.checks.verdict import Explanation, Outcome
from pytest_onnxlite.lint.saturation import count_saturation
from pytest_onnxlite.text import percent

_MOST_TENSORS = 5


def explain_processor(case: Case[Accuracy | Score]) -> Explanation | None:
    """Name the weights that can saturate, of a variant that lost answers where products are added in 16 bits.

    Args:
        case: a verdict against another processor.
    """
    evidence = case.verdict.evidence
    if (
        case.verdict.outcome is not Outcome.FAIL
        or not isinstance(evidence, AccuracyEvidence)
        or evidence.runs_on != "avx2"
    ):
        return None
    found = count_saturation(case.task.variant.path)
    if not found.hits:
        why = "no two neighbouring weights of it can saturate, so that the difference is one of floating-point sums."
        return Explanation(why)
    why = f"{percent(found.share)} of its {found.pairs:,} neighbouring weight pairs can saturate there:"
    tensors = tuple(Saturated(name, round(share, 6)) for name, share in found.tensors[:_MOST_TENSORS])
    lines = tuple(f"{one.tensor}: {percent(one.share)} of its pairs" for one in tensors)
    return Explanation(why, (), AccuracyReasons(share=round(found.share, 6), tensors=tensors), lines, PROCESSOR)
