"""The check of throughput: inferences per second with several callers of one session, in turns with the last release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from pytest_onnxlite.baseline.fingerprint import usable_cpus
from pytest_onnxlite.baseline.record import Factor
from pytest_onnxlite.checks.blocks import Block
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.figures import NONE, Figure, History, Trend
from pytest_onnxlite.checks.last_file import not_measured, with_file
from pytest_onnxlite.checks.ratios import factor_trend, ratio_drift, sections_text
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.scenario import changed_scenario
from pytest_onnxlite.checks.task import Case, Judged, Task
from pytest_onnxlite.checks.throughput.judge import FIRST_KEY, NAME, judge_throughput, why_slower
from pytest_onnxlite.checks.throughput.limit import ThroughputLimit
from pytest_onnxlite.checks.throughput.measurement import (
    Throughput,
    ThroughputEvidence,
    ThroughputSection,
    per_second_text,
)
from pytest_onnxlite.checks.turns.drawn import ratio_plot
from pytest_onnxlite.checks.turns.judge import bounds_of
from pytest_onnxlite.checks.verdict import BASELINE, Explanation, Outcome, Verdict
from pytest_onnxlite.kinds import ONNX_RUNTIME, Kind
from pytest_onnxlite.text import Shapes, at_most

if TYPE_CHECKING:
    from pytest_onnxlite.spec.dataset import Array


class ThroughputCheck(Check[ThroughputLimit, Throughput]):
    """Inferences per second with several callers."""

    name = NAME
    limit = ThroughputLimit
    found = Throughput
    section = ThroughputSection
    first = Factor
    first_key = FIRST_KEY
    multiplies = True
    evidence = ThroughputEvidence
    per_machine = True
    conditions = ("clients", "batch_size", "threads", "shapes")
    timed = True
    needs_quiet = True
    order = 55

    def supports(self, kind: Kind) -> bool:
        """An interpreter of LiteRT takes one caller."""
        return kind.runtime == ONNX_RUNTIME

    def judge(self, task: Task[ThroughputLimit]) -> Judged[Throughput]:
        """Time callers of the candidate in turns with callers of the last release, at the longest shape."""
        from pytest_onnxlite.checks.last_inputs import with_last_that_runs
        from pytest_onnxlite.variants.running import batches, shapes_of

        clients, saves = min(task.limit.clients, int(usable_cpus())), task.mode == "save"
        if isinstance(task.reference, Absent) and not saves and not task.scenario_name:
            return not_measured(NAME, task.reference)
        _, found = batches(task.builder, task.variant, task.batch_size, task.scenario_name)
        feeds, reference = found[0], task.reference
        reference = changed_scenario(task, ThroughputSection, [shapes_of(feeds)]) or reference
        if not isinstance(reference, Absent):
            task = with_last_that_runs(task, [feeds])
            reference = with_file(task)
        if isinstance(reference, Absent) and not saves:
            return not_measured(NAME, reference)
        lacking = task.clock.missing or _too_few(clients, task.limit.clients)
        if lacking:
            return not_measured(NAME, Absent(Outcome.NOT_MEASURED, lacking))
        task.progress(f"calling {task.name} from {clients} threads")
        result = _measure(replace(task, reference=reference), feeds, clients)
        return Judged(result, judge_throughput(task.limit, result, reference, task.sha256))

    def explain(self, case: Case[Throughput]) -> Explanation | None:
        """Say whether one caller is slower too, or only several are."""
        found, task = case.found.comparison, case.task
        if case.verdict.outcome is not Outcome.FAIL or found is None:
            return None
        from pytest_onnxlite.variants.running import batch_at

        task.progress(f"calling {task.name} from one thread")
        _, feeds = batch_at(task.builder, task.variant, task.batch_size, case.found.shapes, task.scenario_name)
        limit = replace(task.limit, max_time=max(0.5, case.budget.left / 4))
        alone = _measure(replace(task, limit=limit), feeds, 1).comparison
        assert alone is not None
        return Explanation(why_slower(median(alone.first), median(found.first), found.most, case.found.clients))

    def save(self, found: Throughput) -> ThroughputSection:
        """Keep three digits, and the conditions."""
        return ThroughputSection(
            per_second=float(f"{found.per_second:.3g}"),
            clients=found.clients,
            batch_size=found.batch_size,
            threads=found.threads,
            shapes=found.shapes,
        )

    def save_first(self, kept: float | None, found: Throughput, same: bool) -> float:
        """Multiply up how much more time an inference took in each release than in the one before."""
        moved = median(found.comparison.first) if found.comparison is not None and not same else 1.0
        return round((kept or 1.0) * moved, 4)

    def notes(self, found: Throughput, verdicts: Sequence[Verdict]) -> list[str]:
        """Return the ratio to the last release's time."""
        bounds = bounds_of(found.comparison.first) if found.comparison is not None else None
        if bounds is None or found.comparison is None:
            return []
        same = ", the same file" if found.comparison.same else ""
        return [f"{bounds.median:.2f}x the time of the last release{same}"]

    def shapes(self, found: Throughput) -> Sequence[Shapes]:
        """Return what it was fed with."""
        return [found.shapes] if found.shapes else []

    def drift(self, verdict: Verdict) -> str:
        """Say how much slower it became since the first release."""
        evidence = verdict.evidence
        return ratio_drift(NAME, evidence.ratio_since_first) if isinstance(evidence, ThroughputEvidence) else ""

    def history(
        self, found: Throughput, section: ThroughputSection | None, first: float | None, limit: ThroughputLimit | None
    ) -> History:
        """Return the figures; the last release's by the ratio and not by what was saved, since both ran today."""
        last = start = change = NONE
        if found.comparison is not None:
            ratio = median(found.comparison.first)
            last, change = per_second_text(found.per_second * ratio), f"{1 / ratio:.2f}×"
            start = per_second_text(found.per_second * ratio * first) if first else NONE
        elif section is not None:
            last, change = per_second_text(section.per_second), f"{found.per_second / section.per_second:.2f}×"
        allowed = f"time {at_most(limit.max_slowdown)}" if limit else NONE
        return History(start, last, per_second_text(found.per_second), change, allowed)

    def details(self, found: Throughput, verdicts: Sequence[Verdict], kind: str) -> list[Block]:
        """Return each set of paired ratios."""
        return ratio_plot(found.comparison, BASELINE, is_judged=True) if found.comparison is not None else []

    def figures(self, found: Throughput, kind: str) -> list[Figure]:
        """Return this kind's figure."""
        return [Figure(kind, found.per_second, per_second_text(found.per_second))]

    def trend(self, section: ThroughputSection | None, first: float | None) -> Trend | None:
        """Return the factor since the first release, which can be compared from machine to machine."""
        return None if first is None else factor_trend(f"{NAME}, time per inference", first)

    def trend_today(self, found: Throughput, first: float | None) -> Trend | None:
        """Return today's factor."""
        if found.comparison is None or not first:
            return None
        return factor_trend(f"{NAME}, time per inference", first * median(found.comparison.first))

    def saved_text(self, sections: Sequence[ThroughputSection]) -> str:
        """Return the saved figures."""
        return sections_text([section.per_second for section in sections], per_second_text)

    def shorten(self, limit: ThroughputLimit, seconds: float) -> ThroughputLimit:
        """Return the limit with less time to measure in."""
        return replace(limit, max_time=max(0.5, min(limit.max_time, seconds)))


def _measure(task: Task[ThroughputLimit], feeds: Mapping[str, Array], clients: int) -> Throughput:
    from pytest_onnxlite.checks.throughput.measure import measure

    return measure(
        task.variant.path,
        None if isinstance(task.reference, Absent) else task.last_file,
        feeds,
        same=task.is_unchanged,
        limit=task.limit,
        clients=clients,
        batch_size=task.batch_size,
        runtime=task.runtime,
    )


def _too_few(clients: int, asked: int) -> str:
    """Say why several callers cannot be measured on this machine; empty if they can."""
    if clients > 1:
        return ""
    return (
        f"clients={asked} call one session at the same time, and this machine has one core for them: they would take turns, "
        "whatever the model does. Run it on a machine with more cores."
    )


CHECK = ThroughputCheck()
