"""The check of memory: peaks of loading and of running, each in child processes, compared with the last release's file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from pytest_onnxlite.baseline.record import Baseline, Factor
from pytest_onnxlite.checks.blocks import Block, bars
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.figures import NONE, Figure, History, Trend
from pytest_onnxlite.checks.last_file import not_measured, with_file
from pytest_onnxlite.checks.last_runtime import last_runtime
from pytest_onnxlite.checks.memory.judge import FIRST_KEY, NAME, SINCE_SAVED, SINCE_SAVED_FLOOR, judge_memory
from pytest_onnxlite.checks.memory.limit import MemoryLimit
from pytest_onnxlite.checks.memory.measurement import Memory, MemoryEvidence, MemorySection, Soak
from pytest_onnxlite.checks.memory.reasons import MemoryReasons, blocks
from pytest_onnxlite.checks.ratios import factor_trend, ratio_drift, sections_text
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.scenario import changed_scenario
from pytest_onnxlite.checks.since_saved import SinceSaved, runtime_text
from pytest_onnxlite.checks.task import Case, Judged, Task
from pytest_onnxlite.checks.verdict import FIRST, LIMIT, RUNTIME, Explanation, Verdict
from pytest_onnxlite.commands import SAVE
from pytest_onnxlite.kinds import Kind
from pytest_onnxlite.text import Shapes, at_most, growth, shapes_text, size_text


class MemoryCheck(Check[MemoryLimit, Memory]):
    """Peak memory."""

    name = NAME
    limit = MemoryLimit
    found = Memory
    section = MemorySection
    first = Factor
    first_key = FIRST_KEY
    multiplies = True
    evidence = MemoryEvidence
    reasons = MemoryReasons
    per_machine = True
    conditions = ("batch_size", "threads", "shapes")
    # On Linux: 0 of 200 alarms at 3 % while four times as much wanted to run as there are processors.
    needs_quiet = not sys.platform.startswith("linux")
    order = 40

    def supports(self, kind: Kind) -> bool:
        """What its own library calls is not loaded by a child."""
        return bool(kind.runtime)

    def judge(self, task: Task[MemoryLimit]) -> Judged[Memory]:
        """Measure the candidate and the last release's file, at each shape that counts."""
        from pytest_onnxlite.checks.last_inputs import with_last_that_runs
        from pytest_onnxlite.checks.memory.measure import measure
        from pytest_onnxlite.variants.running import batches, shapes_of

        last = last_runtime(task)
        if isinstance(last, Absent):
            task, last = replace(task, reference=last, last_file=None), None
        alone = task.mode == "save" or task.limit.max is not None or task.limit.runs is not None
        # A scenario that the model cannot take is told wherever it is named.
        if isinstance(reference := with_file(task), Absent) and not alone and not task.scenario_name:
            return not_measured(NAME, reference)
        variant, shapes = batches(task.builder, task.variant, task.batch_size, task.scenario_name)
        changed = changed_scenario(task, MemorySection, list(map(shapes_of, shapes)))
        if changed is not None:
            task, last = replace(task, reference=changed, last_file=None), None
        if last is None:
            task = with_last_that_runs(task, shapes)
        if isinstance(reference := with_file(task), Absent) and not alone:
            return not_measured(NAME, reference)
        task.progress(f"measuring the memory of {task.name}")
        main, *others = (
            measure(
                variant.path,
                task.last_file,
                feeds,
                task.batch_size,
                task.runtime,
                last,
                same=last is None and task.is_unchanged,
            )
            for feeds in shapes
        )
        found = replace(main, others=tuple(others), soak=_soak(task))
        verdicts = judge_memory(task.limit, found, reference, task.sha256)
        return Judged(found, [*verdicts, *self._judge_runtime(task, found, verdicts[-1].figure)])

    def _judge_runtime(self, task: Task[MemoryLimit], found: Memory, figure: str) -> list[Verdict]:
        """Hold the last release's own peak against the saved one, at the longest shape."""
        if found.reference is None or not isinstance(task.reference, Baseline) or found.runtime:
            return []
        alike = [
            section
            for section in task.reference.sections_alike(MemorySection, task.here)
            if (section.batch_size, section.threads) == (found.batch_size, found.threads)
            and (section.shapes == found.shapes or (not section.shapes and not found.others))
        ]
        now = found.reference.highest
        rule = SinceSaved(NAME, figure, "peak memory", size_text, _hungrier, SINCE_SAVED, SINCE_SAVED_FLOOR)
        saved = [section.highest for section in alike if section.method == found.reference_method]
        if not saved:
            return [rule.nothing_saved(_read_otherwise(alike[0].method, found.method) if alike else "")]
        was = max(*saved, 1)
        evidence = MemoryEvidence(saved=was, ratio_since_saved=now / was, shapes=found.shapes)
        return [rule.judge(was, now, now / was, "", runtime_text(task), evidence)]

    def explain(self, case: Case[Memory]) -> Explanation | None:
        """Say which nodes and weights take more than in the last release; what the runtime did is in none of them."""
        if case.verdict.against in (FIRST, RUNTIME, LIMIT):
            return None
        from pytest_onnxlite.checks.memory.explain import explain_memory

        return explain_memory(case)

    def save(self, found: Memory) -> MemorySection:
        """Keep both peaks."""
        return MemorySection(
            load=found.candidate.load,
            run=found.candidate.run,
            method=found.method,
            batch_size=found.batch_size,
            threads=found.threads,
            shapes=found.shapes,
        )

    def is_outdated(self, section: MemorySection, found: Memory) -> bool:
        """Peaks that are read in another way are not compared."""
        return section.method != found.method

    def save_first(self, kept: float | None, found: Memory, same: bool) -> float:
        """Multiply up how much more each release needed than the one before."""
        moved = found.candidate.highest / max(found.reference.highest, 1) if found.reference and not same else 1.0
        return round((kept or 1.0) * moved, 4)

    def notes(self, found: Memory, verdicts: Sequence[Verdict]) -> list[str]:
        """Return the ratio to the last release, at the shape that decided."""
        evidence = next((v.evidence for v in verdicts if isinstance(v.evidence, MemoryEvidence)), MemoryEvidence())
        one = found.at(evidence.shapes)
        if one.reference is None:
            return []
        where = f" at {shapes_text(one.shapes)}" if found.others else ""
        name = f"last ({one.runtime})" if one.runtime else "last"
        return [f"{one.candidate.highest / max(one.reference.highest, 1):.2f}x {name}{where}"]

    def shapes(self, found: Memory) -> Sequence[Shapes]:
        """Return what was run."""
        return [one.shapes for one in found.each if one.shapes]

    def drift(self, verdict: Verdict) -> str:
        """Say how much more it needs since the first release."""
        evidence = verdict.evidence
        return ratio_drift(NAME, evidence.ratio_since_first) if isinstance(evidence, MemoryEvidence) else ""

    def history(
        self, found: Memory, section: MemorySection | None, first: float | None, limit: MemoryLimit | None
    ) -> History:
        """Return the peaks; the last release's as it was measured today, where it was."""
        saved = found.reference.highest if found.reference else section.highest if section else None
        start = saved / first if saved and first else None
        texts = [NONE if count is None else size_text(count) for count in (start, saved)]
        peak = found.candidate.highest
        return History(
            texts[0], texts[1], size_text(peak), growth(peak, saved), at_most(limit.max_growth if limit else None)
        )

    def details(self, found: Memory, verdicts: Sequence[Verdict], kind: str) -> list[Block]:
        """Return the nodes that allocate most."""
        nodes, total = dict(found.candidate.nodes), found.candidate.node_bytes
        if not nodes:
            return []
        title = "Nodes that allocate most in one run" + (f" ({size_text(total)} in all)" if total else "")
        return [bars(title, nodes, total or 0, {name: size_text(count) for name, count in nodes.items()})]

    def drawn(self, explanation: Explanation, kind: str) -> list[Block]:
        """Return peaks and nodes."""
        return blocks(explanation.figures) if isinstance(explanation.figures, MemoryReasons) else []

    def figures(self, found: Memory, kind: str) -> list[Figure]:
        """Return this kind's peak."""
        return [Figure(kind, found.candidate.highest, size_text(found.candidate.highest))]

    def trend(self, section: MemorySection | None, first: float | None) -> Trend | None:
        """Return the factor since the first release."""
        return None if first is None else factor_trend(NAME, first)

    def trend_today(self, found: Memory, first: float | None) -> Trend | None:
        """Return today's factor."""
        if found.reference is None or not first:
            return None
        return factor_trend(NAME, first * found.candidate.highest / max(found.reference.highest, 1))

    def saved_text(self, sections: Sequence[MemorySection]) -> str:
        """Return the saved peaks."""
        return sections_text([section.highest for section in sections], size_text)


def _soak(task: Task[MemoryLimit]) -> Soak | None:
    """Run the candidate as often as is asked for."""
    if task.limit.runs is None:
        return None
    from pytest_onnxlite.checks.memory.soak import run_often
    from pytest_onnxlite.variants.running import batches

    variant, feeds = batches(task.builder, task.variant, task.batch_size, task.scenario_name, every_shape=True)
    task.progress(f"running {task.name} {task.limit.runs} times")
    return run_often(variant.path, feeds, task.runtime, task.limit.runs)


def _read_otherwise(before: str, now: str) -> str:
    return f"that peak was read by {before}, and today's is read by {now}, which do not measure the same. Keep today's with: {SAVE}."


def _hungrier(ratio: float) -> str:
    return f"{ratio:.1f} times hungrier"


CHECK = MemoryCheck()
