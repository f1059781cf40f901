"""When peak memory is within its limit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from pytest_onnxlite.checks.memory.limit import MemoryLimit
from pytest_onnxlite.checks.memory.measurement import Memory, MemoryEvidence, Peak, Soak
from pytest_onnxlite.checks.reference import Absent, Reference, absent, together
from pytest_onnxlite.checks.since_first import Total, sum_since_first
from pytest_onnxlite.checks.verdict import BASELINE, LIMIT, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT, SAVE
from pytest_onnxlite.text import percent, shapes_text, size_text

NAME = "memory"
UNSETTLED = (
    "the peak did not settle: repeated measurements of the same file differ by more than 1 %. Run it on a machine with "
    "free memory, while nothing else runs."
)
FIRST_KEY = "memory_ratio"
# Growth below this is not told apart from the allocator's granularity, whatever share of a small peak it is.
MEMORY_FLOOR = 1 << 20
# Growth over many runs below this is the allocator's: a sound model added less than 0.2 MiB over 1,000 shapes.
GROWS_FLOOR = 1 << 19


# How many times as much memory as when it was saved, on a machine of the same kind, the last release may need, and a
# difference that is none. Measured by benchmarks/runtime_study.py.
SINCE_SAVED, SINCE_SAVED_FLOOR = 1.25, 4 << 20
# The worst first: where a model is run at several shapes, the worst decides.
_WORST_FIRST = (Outcome.FAIL, Outcome.NOT_COMPARABLE, Outcome.INCONCLUSIVE, Outcome.PASS, Outcome.IMPROVED)


def judge_memory(limit: MemoryLimit, found: Memory, reference: Reference, file: str = "") -> list[Verdict]:
    """Judge the peaks of loading and of running, each against the last release's, at each shape; the worst decides."""
    verdicts = [] if limit.max is None else [_judge_budget(limit.max, found)]
    if found.soak is not None:
        verdicts.append(_judge_soak(found, found.soak))
    if isinstance(reference, Absent):
        return [*verdicts, absent(NAME, size_text(found.candidate.highest), reference)]
    since = sum_since_first(reference, FIRST_KEY, file, _ratio(found))
    judged = [(one, _judge_one(limit, one, since)) for one in found.each]
    worst = max(judged, key=lambda pair: (-_WORST_FIRST.index(pair[1].outcome), _ratio(pair[0])))
    if limit.max_growth_total is not None:
        verdicts.append(_judge_total(limit.max_growth_total, found, since, worst[1]))
    return [*verdicts, worst[1]]


def _judge_soak(found: Memory, soak: Soak) -> Verdict:
    """Judge what many runs in one session do: memory that never stops growing is a leak."""
    figure = size_text(found.candidate.highest)
    parts = [
        (
            "run",
            soak.runs,
            soak.repeats,
            "run",
            "Look for what keeps a reference or a copy: an operator of your own, or a state.",
        ),
        (
            "shape",
            soak.shapes,
            soak.kinds,
            "new shape, the longest first,",
            "What the runtime plans for a shape is kept. Pad to a few lengths, or switch the plans off (enable_mem_pattern).",
        ),
    ]
    for name, marks, times, each, advice in parts:
        if not _keeps_growing(marks):
            continue
        grown = marks[-1] - marks[0]
        evidence = MemoryEvidence(grown=grown, runs=times, shapes=found.shapes)
        message = (
            f"memory grows with each {each} of {times} in one session: {size_text(grown)} more at the end than at the start of "
            f"them, {size_text(grown // times)} a {name}, and none of their quarters without growth (runs=). "
            f"A service that goes on like this runs out of memory. {advice}"
        )
        return Verdict(NAME, LIMIT, Outcome.FAIL, figure, message, evidence)
    return Verdict(
        NAME, LIMIT, Outcome.PASS, figure, "", MemoryEvidence(grown=soak.runs[-1] - soak.runs[0], runs=soak.repeats)
    )


def _keeps_growing(marks: Sequence[int]) -> bool:
    """Whether every part of the runs added a good deal of memory: what is planned once stops growing."""
    steps = [after - before for before, after in itertools.pairwise(marks)]
    return bool(steps) and len(steps) * min(steps) >= GROWS_FLOOR


def _judge_total(most: float, found: Memory, since: float | None, against_last: Verdict) -> Verdict:
    """Judge the highest peak at the longest shape against the first release's, each release's growth multiplied."""
    peak = found.candidate.highest
    total = Total(NAME, "max_growth_total", size_text(peak))
    if against_last.outcome in (Outcome.NOT_COMPARABLE, Outcome.INCONCLUSIVE):
        return total.unknown(against_last.outcome, "nor can the peak be compared with the last release's.")
    if since is None:
        return total.nothing_kept()
    first = peak / since
    text = (
        f"peak {size_text(peak)}, which is {percent(since - 1)} more than the first release needed; at most {percent(most)} "
        f"allowed (max_growth_total={most:g})"
    )
    is_too_much = since > 1 + most and peak - first > MEMORY_FLOOR
    return total.judge(text, is_too_much, MemoryEvidence(ratio_since_first=since, shapes=found.shapes))


def _judge_budget(most: float, found: Memory) -> Verdict:
    """Judge the highest peak, at whichever shape it is, by the marker's own number."""
    one = max(found.each, key=lambda at: at.candidate.highest)
    peak = one.candidate
    figure = size_text(peak.highest)
    evidence = MemoryEvidence(load=peak.load, run=peak.run, shapes=one.shapes, budget=int(most))
    if not all(at.candidate.settled for at in found.each):
        return Verdict(NAME, LIMIT, Outcome.INCONCLUSIVE, figure, UNSETTLED, evidence)
    if peak.highest <= most:
        return Verdict(NAME, LIMIT, Outcome.PASS, figure, "", evidence)
    shapes = f"{shapes_text(one.shapes)}, " if one.shapes else ""
    message = (
        f"peak {figure} ({size_text(peak.load)} after loading, {size_text(peak.run)} while running), at most "
        f"{size_text(int(most))} allowed (max=): {size_text(int(peak.highest - most))} too much ({shapes}batch size "
        f"{one.batch_size}, read by {one.method}).\n{_most_by(peak)}"
        "What loading takes are the weights: quantize them. What running adds are activations: a smaller batch, or "
        "narrower layers."
    )
    return Verdict(NAME, LIMIT, Outcome.FAIL, figure, message, evidence)


def _ratio(found: Memory) -> float:
    assert found.reference is not None
    return found.candidate.highest / max(found.reference.highest, 1)


def _judge_one(limit: MemoryLimit, found: Memory, since: float | None) -> Verdict:
    """Judge the peaks at one shape."""
    assert found.reference is not None
    figure = size_text(found.candidate.highest)
    was, now = found.reference.highest, found.candidate.highest
    evidence = MemoryEvidence(
        load=found.candidate.load,
        run=found.candidate.run,
        reference_load=found.reference.load,
        reference_run=found.reference.run,
        ratio_since_first=since,
        shapes=found.shapes,
        runtime=found.runtime,
    )

    def verdict(outcome: Outcome, message: str = "") -> Verdict:
        keep = SAVE if outcome is Outcome.IMPROVED else ""
        return Verdict(NAME, BASELINE, outcome, figure, message, evidence, keep=keep)

    if found.method != found.reference_method:
        return verdict(
            Outcome.NOT_COMPARABLE,
            f"the candidate's peak was read by {found.method} and the last release's by {found.reference_method}, "
            "which do not measure the same. Run again.",
        )
    if not (found.candidate.settled and found.reference.settled):
        return verdict(Outcome.INCONCLUSIVE, UNSETTLED)
    grown = [
        text
        for phase in ("load", "run")
        if (text := _growth(phase, found.candidate, found.reference, limit.max_growth)) is not None
    ]
    if grown:
        shapes = f"{shapes_text(found.shapes)}, " if found.shapes else ""
        return verdict(
            Outcome.FAIL,
            f"needs more memory than the last release{f' in {found.runtime}' if found.runtime else ''}: {'; '.join(grown)}; at most {percent(limit.max_growth)} "
            f"allowed (max_growth={limit.max_growth}, {shapes}batch size {found.batch_size}, read by {found.method}).\n"
            f"{_node_bytes(found.candidate, found.reference)}{together(found.runtime)}"
            "Growth while loading comes from weights, growth while running from activations: look for wider layers, "
            f"a larger batch, or operators that keep copies. If it is meant, accept it with: {ACCEPT}",
        )
    if was - now > max(limit.max_growth * was, MEMORY_FLOOR):
        return verdict(Outcome.IMPROVED, f"{size_text(was - now)} less than the last release.")
    return verdict(Outcome.PASS)


def _node_bytes(candidate: Peak, reference: Peak) -> str:
    """Say what ONNX Runtime itself counted, where it did and where that grew too."""
    if candidate.node_bytes is None or reference.node_bytes is None or candidate.node_bytes <= reference.node_bytes:
        return ""
    was = f", was {size_text(reference.node_bytes)}"
    return _most_by(candidate, was)


def _most_by(peak: Peak, was: str = "") -> str:
    """Say which nodes allocate most."""
    if peak.node_bytes is None:
        return ""
    most = ", ".join(f"{name} ({size_text(count)})" for name, count in peak.nodes[:3])
    return f"Allocated by nodes in one run: {size_text(peak.node_bytes)}{was}; most by {most}.\n"


def _growth(phase: str, candidate: Peak, reference: Peak, max_growth: float) -> str | None:
    now, was = getattr(candidate, phase), getattr(reference, phase)
    if now - was <= max(max_growth * was, MEMORY_FLOOR):
        return None
    doing = {"load": "loading", "run": "running"}[phase]
    return f"peak while {doing} {size_text(now)}, was {size_text(was)} ({percent(now / max(was, 1) - 1)} more)"
