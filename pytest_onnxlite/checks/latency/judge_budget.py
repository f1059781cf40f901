"""When a time per inference is within the marker's own number, `max=`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pytest_onnxlite.checks.latency.judge import NAME, load_text
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import Latency, LatencyEvidence
from pytest_onnxlite.checks.turns.ratios import CONFIDENCE
from pytest_onnxlite.checks.verdict import LIMIT, Outcome, Verdict
from pytest_onnxlite.statistics import LOADGEN_CONFIDENCE, median_interval
from pytest_onnxlite.text import percent, shapes_text, time_text

# The worst first: where a model is timed at several shapes, the worst decides.
_WORST_FIRST = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)


@dataclass(frozen=True)
class AgainstBudget:
    """The times at one shape, and the number that is allowed.

    Attributes:
        first: the times.
        again: of an independent second set of sessions, seconds for each; empty where the first set passes.
        fastest: seconds of one inference in the fastest block of all; None where nobody looked.
    """

    first: Latency
    again: tuple[float, ...] = ()
    fastest: float | None = None


def elsewhere(limit: LatencyLimit, figure: str, names: Collection[str]) -> Verdict | None:
    """Return the verdict on a machine for which the number was not written; None if it is judged here.

    Args:
        limit: the marker.
        figure: what was measured, in a few words.
        names: what this machine is called: its kind, and the name that it was given.
    """
    if limit.budget_machine is None or limit.budget_machine in names:
        return None
    return Verdict(
        NAME,
        LIMIT,
        Outcome.NOT_COMPARED,
        figure,
        f"max= is for the machine {limit.budget_machine!r} (budget_machine=), and this one is {' or '.join(sorted(names))}.",
    )


def judge_budget(most: float, found: Sequence[AgainstBudget]) -> Verdict:
    """Judge the times at each shape; the worst decides.

    Args:
        most: seconds that are allowed for one inference.
        found: the times at each shape.
    """
    verdicts = [_judge(most, one, where=len(found) > 1) for one in found]
    return min(verdicts, key=lambda verdict: _WORST_FIRST.index(verdict.outcome))


def _judge(most: float, found: AgainstBudget, where: bool) -> Verdict:
    decided = found.again or found.first.sessions
    bounds = median_interval(decided, CONFIDENCE)
    figure = time_text(found.first.seconds)
    evidence = LatencyEvidence(
        reference="budget", budget=most, lower=bounds.lower, upper=bounds.upper, shapes=found.first.shapes
    )

    def verdict(outcome: Outcome, message: str = "") -> Verdict:
        return Verdict(NAME, LIMIT, outcome, figure, message, evidence)

    if bounds.upper <= most:
        return verdict(Outcome.PASS)
    at = f" at {shapes_text(found.first.shapes)}" if where else ""
    text = (
        f"{time_text(bounds.median)} per inference{at} ({percent(CONFIDENCE)} ≥ {time_text(bounds.lower)}, "
        f"{percent(CONFIDENCE)} ≤ {time_text(bounds.upper)}, {load_text(found.first)}); at most {time_text(most)} allowed "
        "(max=)."
    )
    first = median_interval(found.first.sessions, CONFIDENCE)
    fastest = found.fastest if found.fastest is not None else 0.0
    if bounds.lower > most and first.lower > most and fastest > most:
        return verdict(
            Outcome.FAIL,
            f"{text}\nEven its fastest block took {time_text(fastest)}. Make the model faster, or raise max= if the time is "
            "meant.",
        )
    return verdict(
        Outcome.INCONCLUSIVE,
        f"{text}\nIts fastest block took {time_text(fastest)}: whether it holds cannot be told here. Run it while nothing "
        "else runs, or leave more room in max=.",
    )


def judge_tail_budget(most: float, first: Latency, again: Latency | None = None) -> Verdict:
    """Judge a percentile of single inferences.

    Args:
        most: seconds that are allowed for it.
        first: the times.
        again: of an independent second set of sessions; None where the first set passes.
    """
    decided = again or first
    assert first.lower is not None
    assert decided.lower is not None
    assert decided.upper is not None
    evidence = LatencyEvidence(
        reference="budget",
        budget=most,
        lower=decided.lower,
        upper=decided.upper,
        shapes=decided.shapes,
        percentile=decided.percentile,
        queries=decided.rounds,
        typical=decided.typical,
    )

    def verdict(outcome: Outcome, message: str = "") -> Verdict:
        return Verdict(NAME, LIMIT, outcome, time_text(first.seconds), message, evidence)

    if decided.upper <= most:
        return verdict(Outcome.PASS)
    sure = percent(LOADGEN_CONFIDENCE)
    text = (
        f"{time_text(decided.seconds)} {decided.per} ({sure} ≥ {time_text(decided.lower)}, {sure} ≤ {time_text(decided.upper)}, "
        f"{load_text(decided)}, median {time_text(decided.typical or 0.0)}); at most {time_text(most)} allowed (max=)."
    )
    best = min(*first.sessions, *decided.sessions)
    if min(first.lower, decided.lower, best) > most:
        text += (
            f"\nEven in the best of {len(first.sessions) + len(decided.sessions)} sessions it was {time_text(best)}."
        )
        return verdict(Outcome.FAIL, f"{text} Make its slow runs faster, or raise max= if the time is meant.")
    return verdict(
        Outcome.INCONCLUSIVE,
        f"{text}\nIn the best session it was {time_text(best)}: whether it holds cannot be told here. Run it while nothing "
        "else runs, or leave more room in max=.",
    )
