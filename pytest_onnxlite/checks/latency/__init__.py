"""The check of latency: time per inference, in turns with the last release's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from pytest_onnxlite.baseline.record import Baseline, Factor
from pytest_onnxlite.checks.blocks import Block
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.figures import NONE, Figure, History, Trend
from pytest_onnxlite.checks.last_file import not_measured
from pytest_onnxlite.checks.last_runtime import LastRuntime, last_runtime
from pytest_onnxlite.checks.latency.drawn import evidence_of, ratio_plots
from pytest_onnxlite.checks.latency.judge import (
    FIRST_KEY,
    LOOK_SECONDS,
    NAME,
    SINCE_SAVED,
    judge_latency,
    ratio_since_saved,
)
from pytest_onnxlite.checks.latency.judge_total import against_last, judge_total
from pytest_onnxlite.checks.latency.limit import LatencyLimit
from pytest_onnxlite.checks.latency.measurement import SIBLING, Latency, LatencyEvidence, LatencySection, section_of
from pytest_onnxlite.checks.latency.reasons import LatencyReasons, blocks
from pytest_onnxlite.checks.ratios import factor_trend, ratio_drift, sections_text
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.scenario import changed_scenario
from pytest_onnxlite.checks.since_saved import SinceSaved, runtime_text
from pytest_onnxlite.checks.task import Case, Judged, Task
from pytest_onnxlite.checks.turns.comparison import is_last_release
from pytest_onnxlite.checks.turns.judge import why_it_passes
from pytest_onnxlite.checks.verdict import BASELINE, FIRST, LIMIT, RUNTIME, Explanation, Outcome, Verdict
from pytest_onnxlite.kinds import Kind
from pytest_onnxlite.text import Shapes, at_most, percent, shapes_text, time_text

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_onnxlite.checks.latency.measure import Reference
    from pytest_onnxlite.spec.dataset import Array


class LatencyCheck(Check[LatencyLimit, Latency]):
    """Time per inference."""

    name = NAME
    limit = LatencyLimit
    found = Latency
    section = LatencySection
    first = Factor
    first_key = FIRST_KEY
    multiplies = True
    evidence = LatencyEvidence
    reasons = LatencyReasons
    per_machine = True
    conditions = ("batch_size", "threads", "shapes", "phase", "percentile")
    timed = True
    needs_quiet = True
    order = 50

    def supports(self, kind: Kind) -> bool:
        """What its own library calls is not timed."""
        return bool(kind.runtime)

    def judge(self, task: Task[LatencyLimit]) -> Judged[Latency]:
        """Time the candidate in turns with what it is compared with, at each shape that counts."""
        from pytest_onnxlite.checks.last_inputs import with_last_that_runs
        from pytest_onnxlite.checks.latency.budget import judged_by_budget
        from pytest_onnxlite.checks.latency.cold import judge_cold
        from pytest_onnxlite.checks.latency.cure import cure_for
        from pytest_onnxlite.checks.latency.references import best_reference, saved_at, siblings_of, slower_since_saved
        from pytest_onnxlite.checks.latency.tail import judge_tail
        from pytest_onnxlite.variants.running import batches, shapes_of

        if task.limit.phase:
            return judge_cold(task)
        if task.limit.percentile is not None:
            return judge_tail(task)
        last = last_runtime(task)
        if isinstance(last, Absent):
            task, last = replace(task, reference=last, last_file=None), None
        limit, siblings = task.limit, siblings_of(task)
        needs_baseline = limit.max_ratio is None and limit.max is None and task.mode != "save"
        # A scenario that the model cannot take is told wherever it is named.
        if isinstance(task.reference, Absent) and needs_baseline and not task.scenario_name:
            return not_measured(NAME, task.reference)
        variant, found = batches(
            task.builder, task.variant, task.batch_size, task.scenario_name, sequence=limit.is_per_sequence
        )
        if isinstance(task.reference, Absent) and needs_baseline:
            return not_measured(NAME, task.reference)
        changed = changed_scenario(task, LatencySection, list(map(shapes_of, found)))
        if changed is not None:
            if needs_baseline:
                return not_measured(NAME, changed)
            task, last = replace(task, reference=changed, last_file=None), None
        task = task if last is not None else with_last_that_runs(task, found)
        saved = [saved_at(task, shapes_of(feeds), alone=len(found) == 1) for feeds in found]
        beside, references = zip(*(best_reference(task, at) for at in saved), strict=True)
        if last is not None:
            beside = (None,) * len(found)  # it runs in processes of its own
        reference = next((one for one in references if isinstance(one, Absent)), references[0])
        if isinstance(reference, Absent) and needs_baseline:
            return not_measured(NAME, reference)
        if task.clock.missing:
            return not_measured(NAME, Absent(Outcome.NOT_MEASURED, task.clock.missing))
        task.progress(f"timing {task.name}" + (" in turns with its reference" if siblings or beside[0] else ""))
        times = _time(
            task, last, variant.path, found, [{**siblings, **({BASELINE: one} if one else {})} for one in beside]
        )
        latency = replace(times[0], others=tuple(times[1:]))
        slower = slower_since_saved(task, latency.pace)
        verdicts = judge_latency(limit, latency, reference, saved, partial(cure_for, task), task.sha256, slower)
        totals = [] if isinstance(reference, Absent) else judge_total(limit, latency, reference, task.sha256)
        return Judged(
            latency,
            [
                *judged_by_budget(task, latency, variant.path, found),
                *totals,
                *verdicts,
                *self._judge_runtime(task, latency, verdicts[-1].figure, found),
            ],
        )

    def _judge_runtime(
        self, task: Task[LatencyLimit], latency: Latency, figure: str, feeds: Sequence[Mapping[str, Array]]
    ) -> list[Verdict]:
        """Hold the last release's own times against the saved ones, at each shape; the worst decides."""
        from pytest_onnxlite.checks.latency import measure as timing
        from pytest_onnxlite.checks.latency.references import saved_alike

        beside = latency.comparisons.get(BASELINE)
        if task.last_file is None or not isinstance(task.reference, Baseline) or beside is None or beside.runtime:
            return []
        rule = SinceSaved(NAME, figure, "time per inference", time_text, _slower, SINCE_SAVED)
        runtime, found = runtime_text(task), []
        for one, batch in zip(latency.each, feeds, strict=True):
            fastest = one.comparisons[BASELINE].fastest
            seconds, saved_pace = saved_alike(task, one.shapes, alone=not latency.others)
            if fastest is None or seconds is None:
                continue
            # What a slower machine would take for what was saved; a faster one is not expected to be so.
            expected = fastest / ratio_since_saved(fastest, seconds, one.pace, saved_pace)
            if fastest > SINCE_SAVED * expected:
                task.progress(f"timing the last release of {task.name} for longer")
                longest = min(LOOK_SECONDS, task.limit.max_time)
                again = timing.look_longer(task.last_file, batch, task.runtime, SINCE_SAVED * expected, longest)
                fastest = min(fastest, again)
            ratio = fastest / expected
            evidence = LatencyEvidence(
                reference="saved", saved=seconds, ratio_since_saved=ratio, most=SINCE_SAVED, shapes=one.shapes
            )
            where = f" at {shapes_text(one.shapes)}" if latency.others else ""
            found.append((ratio, rule.judge(seconds, fastest, ratio, where, runtime, evidence)))
        return [max(found, key=lambda pair: pair[0])[1] if found else rule.nothing_saved()]

    def explain(self, case: Case[Latency]) -> Explanation | None:
        """Say which operators and nodes take longer; what the runtime did, or a number allows, is in no node's time."""
        if case.verdict.against in (FIRST, RUNTIME, LIMIT) or case.found.phase or case.found.percentile is not None:
            return None
        from pytest_onnxlite.checks.latency.explain import explain_latency

        return explain_latency(case)

    def save(self, found: Latency) -> LatencySection:
        """Keep the seconds, and the ratio to the float model."""
        return section_of(found)

    def save_first(self, kept: float | None, found: Latency, same: bool) -> float:
        """Multiply up how much slower each release was than the one before."""
        beside = found.comparisons.get(BASELINE)
        moved = median(beside.first) if beside is not None and beside.is_last_release and not same else 1.0
        return round((kept or 1.0) * moved, 4)

    def notes(self, found: Latency, verdicts: Sequence[Verdict]) -> list[str]:
        """Return the ratio to the last release and to the float model, at the shape that decided."""
        parts = [found.per] if found.percentile is not None else []
        for purpose in found.comparisons:
            evidence = evidence_of(purpose, found, verdicts)
            bounds = evidence.first if evidence else None
            if purpose != SIBLING and evidence is not None and bounds is not None:
                comparison = found.at(evidence.shapes).comparisons[purpose]
                name = "last" if comparison.is_last_release else comparison.reference
                name += f" ({comparison.runtime})" if comparison.runtime else ""
                spread = (bounds.upper - bounds.lower) / 2 / bounds.median
                where = f" at {shapes_text(evidence.shapes)}" if found.others else ""
                why = why_it_passes(comparison)
                # What was saved of the last release is a coarse bound: nobody should take it for the limit.
                is_coarse = purpose == BASELINE and not comparison.is_last_release
                most = f", at most {comparison.most:.2f}x by what was saved" if is_coarse else ""
                if comparison.same:
                    parts.append(f"{bounds.median:.2f}x {name}, the same file{where}")
                else:
                    why = f", {why}" if why else ""
                    parts.append(f"{bounds.median:.2f}x {name} ±{percent(spread)}{where}{most}{why}")
        return parts

    def shapes(self, found: Latency) -> Sequence[Shapes]:
        """Return what was timed."""
        return [one.shapes for one in found.each if one.shapes]

    def against(self, verdict: Verdict) -> str:
        """Say so where the float model, or saved seconds, stood in for the last release's file."""
        evidence, text = verdict.evidence, super().against(verdict)
        if verdict.against != BASELINE or not isinstance(evidence, LatencyEvidence):
            return text
        return text if is_last_release(evidence.reference) else f"{text}, by {evidence.reference}"

    def drift(self, verdict: Verdict) -> str:
        """Say how much slower it became since the first release."""
        evidence = verdict.evidence
        return ratio_drift(NAME, evidence.ratio_since_first) if isinstance(evidence, LatencyEvidence) else ""

    def history(
        self, found: Latency, section: LatencySection | None, first: float | None, limit: LatencyLimit | None
    ) -> History:
        """Return the times; the last release's by the ratio and not by what was saved, since both ran today."""
        beside = found.comparisons.get(BASELINE)
        last = start = change = NONE
        if beside is not None and beside.is_last_release:
            ratio = median(beside.first)
            last, change = time_text(found.seconds / ratio), f"{ratio:.2f}×"
            if first:
                start = time_text(found.seconds / ratio / first)
        elif section is not None:
            last, change = time_text(section.seconds), f"{found.seconds / section.seconds:.2f}×"
        return History(start, last, time_text(found.seconds), change, at_most(limit.max_slowdown if limit else None))

    def details(self, found: Latency, verdicts: Sequence[Verdict], kind: str) -> list[Block]:
        """Return each set of paired ratios."""
        return ratio_plots(found, verdicts)

    def drawn(self, explanation: Explanation, kind: str) -> list[Block]:
        """Return operators and nodes."""
        return blocks(explanation.figures) if isinstance(explanation.figures, LatencyReasons) else []

    def figures(self, found: Latency, kind: str) -> list[Figure]:
        """Return this kind's time, and by its ratio the float model's."""
        figures = [Figure(kind, found.seconds, time_text(found.seconds))]
        for comparison in found.comparisons.values():
            if not comparison.is_last_release:
                seconds = found.seconds / median(comparison.first)
                remark = f"by its ratio to {kind}"
                figures.append(Figure(comparison.reference, seconds, time_text(seconds), remark))
        return figures

    def trend(self, section: LatencySection | None, first: float | None) -> Trend | None:
        """Return the factor since the first release: unlike seconds, it can be compared from machine to machine."""
        return None if first is None else factor_trend(NAME, first)

    def trend_today(self, found: Latency, first: float | None) -> Trend | None:
        """Return today's factor."""
        beside = found.comparisons.get(BASELINE)
        if beside is None or not beside.is_last_release or not first:
            return None
        return factor_trend(NAME, first * median(beside.first))

    def saved_text(self, sections: Sequence[LatencySection]) -> str:
        """Return the saved times."""
        return sections_text([section.seconds for section in sections], time_text)

    def shorten(self, limit: LatencyLimit, seconds: float) -> LatencyLimit:
        """Return the limit with less time to measure in."""
        return replace(limit, max_time=max(0.5, min(limit.max_time, seconds)))


def _time(
    task: Task[LatencyLimit],
    last: LastRuntime | None,
    path: Path,
    each: Sequence[dict[str, Array]],
    references: Sequence[Mapping[str, Reference]],
) -> list[Latency]:
    """Return the times at each shape, in turns with its references."""
    from pytest_onnxlite.checks.latency import measure as timing
    from pytest_onnxlite.checks.latency.apart import with_last_release
    from pytest_onnxlite.checks.latency.timer import Timer

    # pytest-benchmark times a test once, and its table is for the longest shape of the first marker.
    unused = task.clock.benchmark.stats is None
    times = [
        timing.measure(
            task.clock.benchmark if unused and not number else Timer(),
            path,
            references[number],
            feeds,
            batch_size=task.batch_size,
            runtime=task.runtime,
            resolution=task.limit.max_slowdown,
            max_time=task.limit.max_time,
        )
        for number, feeds in enumerate(each)
    ]
    if last is not None:
        times = [with_last_release(task, last, one, feeds) for one, feeds in zip(times, each, strict=True)]
    return [against_last(task.limit, one) for one in times]


def _slower(ratio: float) -> str:
    return f"{ratio:.1f} times slower"


CHECK = LatencyCheck()
