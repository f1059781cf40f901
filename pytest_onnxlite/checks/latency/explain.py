"""Where the time goes: ONNX Runtime's profile of candidate and reference, operator by operator and node by node."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_onnxlite.checks.latency.measurement import Latency, LatencyEvidence
from pytest_onnxlite.checks.latency.reasons import LatencyReasons, NodeDifference, OperatorDifference
from pytest_onnxlite.checks.suspects import float_operators
from pytest_onnxlite.checks.task import Case
from pytest_onnxlite.checks.verdict import BASELINE, Explanation, Outcome, Verdict
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.explain.provenance import Provenance
from pytest_onnxlite.runtime.sessions import open_session, session_runner
from pytest_onnxlite.spec.dataset import Array
from pytest_onnxlite.spec.runtimes import Runtime
from pytest_onnxlite.text import first_line, percent, time_text
from pytest_onnxlite.variants.deadline import Budget
from pytest_onnxlite.variants.running import batch_at
from pytest_onnxlite.variants.variant import OnnxVariant
from pytest_onnxlite.workspace import working_folder

# Sessions of each model, taken in turns, each profiled for so long and so often.
_TURNS = 3
_SECONDS = 0.3
_FEWEST_RUNS, _MOST_RUNS = 5, 1000
_WARMUPS = 3
# Runs that something else disturbed are left out: the slowest of a node.
_KEPT = 0.8
# Two profiles of one file differ by so much of the whole (up to 4 % seen, where runs take 0.1 ms).
_NOISE = 0.05
_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class Kernel:
    """A node as ONNX Runtime runs it.

    Attributes:
        name: its name there.
        origin: the node of the model's file that it computes, or helps to.
        operator: its operator there.
        seconds: per inference.
    """

    name: str
    origin: str
    operator: str
    seconds: float


def explain_latency(case: Case[Latency]) -> Explanation:
    """Explain an inference that takes longer than its reference's."""
    name, path = _reference(case)
    variant = case.task.variant
    if path is None or path.suffix != ".onnx" or not isinstance(variant, OnnxVariant):
        return Explanation("there is no ONNX file next to it to compare a profile with.")
    case.task.progress(f"profiling {variant.model} {variant.kind} and {name}")
    evidence = case.verdict.evidence
    shapes = evidence.shapes if isinstance(evidence, LatencyEvidence) else case.found.shapes
    task = case.task
    sequence = task.limit.is_per_sequence
    _, feeds = batch_at(task.builder, variant, task.batch_size, shapes, task.scenario_name, sequence=sequence)
    named = variant.kind == "int8" or variant.kind in case.task.builder.spec.variants
    made_from = case.task.builder.made_from(variant.kind) if named else None
    sources = [made_from.path] if made_from is not None else []
    return explain_profile(
        case, *profile_both(variant.path, path, feeds, case.task.runtime, case.budget, sources), name
    )


def explain_profile(case: Case[Latency], ours: Sequence[Kernel], theirs: Sequence[Kernel], name: str) -> Explanation:
    """Explain a verdict by the kernels of candidate and reference, which is called `name`."""
    operators, nodes = compare_operators(ours, theirs), compare_nodes(ours, theirs)
    total = sum(k.seconds for k in ours), sum(k.seconds for k in theirs)
    wanted = direction(case.verdict)
    reasons = LatencyReasons(
        reference=name,
        seconds=total[0],
        reference_seconds=total[1],
        operators=tuple(operators),
        nodes=tuple(nodes),
        wanted=wanted,
    )
    return Explanation(
        why_slower(operators, total, name, wanted),
        (),
        reasons,
        tuple(_details(case, reasons)),
        suspects=tuple(entry.node for entry in nodes if entry.change > 0),
        suspect_operators=float_operators(entry.operator for entry in operators),
    )


def direction(verdict: Verdict) -> int:
    """Return the sign that a red verdict's figures have: 1 for slower than the reference, -1 for faster but not by enough, and
    0 where any may be shown: it is not red, or nothing was timed in turns.
    """
    evidence = verdict.evidence
    if verdict.outcome is not Outcome.FAIL or not isinstance(evidence, LatencyEvidence) or evidence.first is None:
        return 0
    return 1 if evidence.first.median > 1 else -1


def _details(case: Case[Latency], reasons: LatencyReasons) -> list[str]:
    """Return the figures that agree with the verdict: a profile is coarser than what was timed, and may say otherwise."""
    if not reasons.agrees:
        return []
    threads = f"{case.task.runtime.threads} thread{'s' if case.task.runtime.threads > 1 else ''}"
    lines = [
        f"Time in operators (profiled, batch size {case.task.batch_size}, {threads}): {time_text(reasons.seconds)}, "
        f"{reasons.reference} {time_text(reasons.reference_seconds)}."
    ]
    lines += [f"  {operator_text(entry)}" for entry in reasons.shown_operators]
    if reasons.slower_nodes:
        lines.append("Nodes that take longer, with what surrounds them:")
        lines += [f"  {_node_text(entry)}" for entry in reasons.slower_nodes]
    return lines


def why_slower(operators: Sequence[OperatorDifference], total: tuple[float, float], name: str, wanted: int = 0) -> str:
    """Name the operator that takes longer, unless it is as little as profiles of one file differ by.

    Args:
        operators: the differences, the largest first.
        total: seconds per inference in all operators, the candidate's and the reference's.
        name: what the reference is called.
        wanted: the sign that figures must have to agree with the verdict, see `direction`.
    """
    if wanted > 0 and total[0] <= total[1]:
        return (
            f"the profile does not show it: no operator is to blame, and the operators together take no longer than in {name}. "
            "What was timed in turns counts; look between the operators, at what is fed, copied or given out."
        )
    if wanted < 0:
        held = max(operators, key=lambda entry: entry.seconds, default=None)
        where = (
            f": {held.operator} takes {percent(held.seconds / total[0])} of it" if held is not None and total[0] else ""
        )
        return f"it is faster than {name}, and not by as much as it has to be{where}."
    worst = next((entry for entry in operators if entry.change > 0), None)
    if worst is None:
        return f"no operator takes longer than in {name}."
    # Many small losses can make a large one.
    if max(worst.change, total[0] - total[1]) < _NOISE * total[1]:
        return f"no operator takes noticeably longer than in {name}; most so {operator_text(worst)}."
    return f"{operator_text(worst)}."


def _reference(case: Case[Latency]) -> tuple[str, Path | None]:
    if case.verdict.against == BASELINE and case.task.last_file is not None:
        evidence = case.verdict.evidence
        # Both are profiled in today's runtime: what only the runtime does shows in no node.
        apart = isinstance(evidence, LatencyEvidence) and evidence.runtime
        return f"the last release{' in the same runtime' if apart else ''}", case.task.last_file
    made_from = case.task.builder.made_from(case.task.variant.kind)
    return ("", None) if made_from is None else (f"the {made_from.kind} variant", made_from.path)


def profile_both(
    candidate: Path,
    reference: Path,
    feeds: Mapping[str, Array],
    runtime: Runtime,
    budget: Budget,
    sources: Sequence[Path] = (),
) -> tuple[list[Kernel], list[Kernel]]:
    """Profile two models in turns; each is run at least once, and no turn begins when the time is up.

    Args:
        candidate: the ONNX file.
        reference: the other one.
        feeds: one batch, by input name.
        runtime: how the models are run.
        budget: how long it may take.
        sources: files whose names may have been kept.

    Raises:
        OnnxliteError: one cannot be run.
    """
    times: tuple[dict[tuple[str, str], list[float]], ...] = (defaultdict(list), defaultdict(list))
    runs = [0, 0]
    for turn in range(_TURNS):
        if turn and budget.left <= 0:
            break
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        for position, which in enumerate(order):
            most = budget.left / (2 * (_TURNS - turn) - position)
            runs[which] += _profile((candidate, reference)[which], feeds, runtime, times[which], most)
    found = []
    for which, path in enumerate((candidate, reference)):
        provenance = Provenance(path, *sources)
        found.append(
            [
                # A node in a loop runs several times in an inference.
                Kernel(name, provenance.of(name), operator, _steady(seconds) * len(seconds) / runs[which])
                for (name, operator), seconds in times[which].items()
            ]
        )
    return found[0], found[1]


def _steady(seconds: Sequence[float]) -> float:
    kept = sorted(seconds)[: max(1, int(len(seconds) * _KEPT))]
    return sum(kept) / len(kept)


def _profile(
    path: Path, feeds: Mapping[str, Array], runtime: Runtime, times: dict[tuple[str, str], list[float]], most: float
) -> int:
    """Add the times of a fresh session's kernels, made in `most` seconds; returns how many inferences were made."""
    with working_folder() as folder:
        try:
            session = open_session(path, runtime, profile=folder / "profile")
            run = session_runner(session, feeds)
            begin = time.perf_counter()
            warmups = runs = 0
            while warmups == 0 or (warmups < _WARMUPS and time.perf_counter() - begin < most / 2):
                run()
                warmups += 1
            start = time.perf_counter()
            while runs == 0 or (
                time.perf_counter() - begin < most
                and (runs < _FEWEST_RUNS or (runs < _MOST_RUNS and time.perf_counter() - start < _SECONDS))
            ):
                run()
                runs += 1
            events = json.loads(Path(session.end_profiling()).read_text())
        except Exception as error:
            raise OnnxliteError(f"{path.name} cannot be profiled: {first_line(error)}") from None
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            key = event["name"].removesuffix(_KERNEL), event["args"].get("op_name", "")
            found[key].append(event["dur"] * 1e-6)
    for key, durations in found.items():
        # The warm-up's come first.
        times[key] += durations[len(durations) * warmups // (runs + warmups) :]
    return runs


def compare_operators(ours: Sequence[Kernel], theirs: Sequence[Kernel]) -> list[OperatorDifference]:
    """Return the difference of each operator, what takes longest more first."""
    at = defaultdict(list)
    for kernel in theirs:
        at[kernel.origin].append(kernel)
    found = []
    for operator in sorted({k.operator for k in (*ours, *theirs)}):
        own = [k for k in ours if k.operator == operator]
        other = [k for k in theirs if k.operator == operator]
        was: dict[str, int] = defaultdict(int)
        for kernel in own:
            before = max(at[kernel.origin], key=lambda k: k.seconds, default=None)
            if before is not None and before.operator != operator:
                was[before.operator] += 1
        found.append(
            OperatorDifference(
                operator, len(own), len(other), sum(k.seconds for k in own), sum(k.seconds for k in other), dict(was)
            )
        )
    return sorted(found, key=lambda entry: (-entry.change, entry.operator))


def compare_nodes(ours: Sequence[Kernel], theirs: Sequence[Kernel]) -> list[NodeDifference]:
    """Return the difference of each node of the file, what takes longest more first."""
    found = []
    for origin in sorted({k.origin for k in (*ours, *theirs)}):
        own = sorted((k for k in ours if k.origin == origin), key=lambda k: -k.seconds)
        other = sorted((k for k in theirs if k.origin == origin), key=lambda k: -k.seconds)
        found.append(
            NodeDifference(
                origin,
                tuple(k.operator for k in own),
                tuple(k.operator for k in other),
                sum(k.seconds for k in own),
                sum(k.seconds for k in other),
            )
        )
    return sorted(found, key=lambda entry: (-entry.change, entry.node))


def operator_text(entry: OperatorDifference) -> str:
    """Say what an operator takes more or less: `ConvInteger +212 µs in 4 nodes; it was Conv`."""
    sign = "+" if entry.change >= 0 else "-"
    count = entry.nodes or entry.reference_nodes
    text = f"{entry.operator} {sign}{time_text(abs(entry.change))} in {count} node{'s' if count != 1 else ''}"
    if not entry.nodes:
        return f"{text}, which are no longer there"
    if entry.was and not entry.reference_nodes:
        was = sorted(entry.was, key=lambda name: (-entry.was[name], name))
        return f"{text}; it was {' and '.join(was[:2])}"
    if not entry.reference_nodes:
        return f"{text}, which the reference has none of"
    if entry.nodes != entry.reference_nodes:
        return f"{text}, which were {entry.reference_nodes}"
    return text


def _node_text(entry: NodeDifference) -> str:
    sign = "+" if entry.change >= 0 else "-"
    now = ", ".join(dict.fromkeys(entry.operators)) or "nothing"
    was = ", ".join(dict.fromkeys(entry.reference_operators)) or "nothing"
    return f"{entry.node}: {sign}{time_text(abs(entry.change))}" + (f" ({was} → {now})" if now != was else f" ({now})")
