"""The check of accuracy: right answers, or a metric's value, compared with those of the float model and the last release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.accuracy.judge import NAME, judge_accuracy
from pytest_onnxlite.checks.accuracy.judge_labels import misfit_message, needs_last_release
from pytest_onnxlite.checks.accuracy.limit import AccuracyLimit
from pytest_onnxlite.checks.accuracy.measurement import (
    Accuracy,
    AccuracyEvidence,
    AccuracySection,
    Elsewhere,
    FirstAccuracy,
    Score,
    read,
)
from pytest_onnxlite.checks.accuracy.reasons import AccuracyReasons
from pytest_onnxlite.checks.blocks import Block
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.figures import NONE, Figure, History, Trend
from pytest_onnxlite.checks.task import Case, Judged, Task
from pytest_onnxlite.checks.verdict import BASELINE, FIRST, LIMIT, Explanation, Verdict
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.kinds import ONNX_RUNTIME, Kind
from pytest_onnxlite.settings import PROCESSORS, Settings
from pytest_onnxlite.text import NOISE, percent, points, signed

if TYPE_CHECKING:
    from pytest_onnxlite.checks.accuracy.classes import Read
    from pytest_onnxlite.variants.variant import Variant

Found = Accuracy | Score


class AccuracyCheck(Check[AccuracyLimit, Found]):
    """Right answers, or a metric's value."""

    name = NAME
    limit = AccuracyLimit
    found = Accuracy
    section = AccuracySection
    first = FirstAccuracy
    first_key = NAME
    evidence = AccuracyEvidence
    reasons = AccuracyReasons
    order = 20
    concerns_answers = True
    by_machine = ("correct", "value")

    def judge(self, task: Task[AccuracyLimit]) -> Judged[Found]:
        """Rate the outputs, the last release's too where a loss is to be told from chance or from the machine."""
        from pytest_onnxlite.checks.accuracy.judge_processors import judge_processor
        from pytest_onnxlite.checks.accuracy.measure import measure, reader
        from pytest_onnxlite.checks.accuracy.own_metric import seen_by
        from pytest_onnxlite.checks.accuracy.slices import slices_of
        from pytest_onnxlite.checks.determinism import require_repeatable
        from pytest_onnxlite.checks.last_inputs import runs_today

        task = replace(task, builder=seen_by(task.limit, task.builder))
        slices = slices_of(task.builder.spec, task.limit)
        saved = task.reference.section(AccuracySection) if isinstance(task.reference, Baseline) else None
        last = task.last_variant() if saved is not None else None

        def wanted(found: Found) -> Variant | None:
            asked = task.limit.confidence is not None or task.limit.max_flips is not None or slices
            tells = saved is not None and (asked or _is_worse(found, saved) or needs_last_release(task.limit, found))
            return last if tells and last is not None and runs_today(task, last) else None

        task.progress(f"counting the right answers of {task.name}")
        read = reader(task.builder, task.batch_size)
        found = measure(task.builder, task.variant, task.batch_size, read, last=wanted, slices=slices)
        require_repeatable(task.builder, task.variant, task.batch_size)
        if last is not None:
            last.release()
        *before, against_last = judge_accuracy(task.limit, found, task.reference, partial(_advice, task))
        there = self._elsewhere(task, read)
        found = replace(found, processors={one.processor: one for one in there})
        # The one against the baseline stays the last, whose figure stands for the check.
        return Judged(found, [*before, *(judge_processor(task.limit, one) for one in there), against_last])

    def _elsewhere(self, task: Task[AccuracyLimit], read: Read) -> list[Elsewhere]:
        """Count on other processors, if that was asked for."""
        from pytest_onnxlite.checks.accuracy.processors import measure
        from pytest_onnxlite.variants.variant import OnnxVariant

        found = []
        for name in task.limit.processors:
            if not isinstance(task.variant, OnnxVariant):
                raise OnnxliteError(
                    f"{task.name}: processors={list(task.limit.processors)} runs an ONNX file on other processors, and the "
                    f"fixture onnxlite_{task.variant.kind} returned a {type(task.variant).__name__}."
                )
            task.progress(f"counting the right answers of {task.name} on {name}")
            seconds = task.settings.processor_time
            found.append(measure(task.builder, task.variant, name, task.batch_size, seconds, read))
        return found

    def widen(self, limit: AccuracyLimit, kind: Kind, settings: Settings) -> AccuracyLimit:
        """Add the processors that the run asks for, where it is a limit that can be judged on them."""
        if kind.runtime != ONNX_RUNTIME:
            return limit
        return replace(limit, processors=tuple(sorted({*limit.processors, *settings.processors})))

    def reason_key(self, verdict: Verdict) -> str:
        """The layers that lose answers against the float model are those that lose them against the last release."""
        return verdict.against if verdict.against in (*PROCESSORS, FIRST, LIMIT) else ""

    def explain(self, case: Case[Found]) -> Explanation | None:
        """Say which classes, layers and samples were lost; on another processor, which weights saturate there."""
        from pytest_onnxlite.checks.accuracy.own_metric import seen_by

        case = replace(case, task=replace(case.task, builder=seen_by(case.task.limit, case.task.builder)))
        if case.verdict.against in PROCESSORS:
            from pytest_onnxlite.checks.accuracy.explain_processors import explain_processor

            return explain_processor(case)
        if case.verdict.against in (FIRST, LIMIT):
            return None
        from pytest_onnxlite.checks.accuracy.explain import explain_accuracy

        return explain_accuracy(case)

    def rank(self, found: Found) -> float:
        """Return the share of right answers, or the value."""
        return _value(found) if isinstance(found, Accuracy) or found.higher_is_better else -found.value

    def futile(self, limit: AccuracyLimit, found: Found) -> str:
        """Labels that do not fit the data say nothing about any recipe."""
        return misfit_message(limit, found).split("\n", 1)[0]

    def save(self, found: Found) -> AccuracySection:
        """Keep the figure with its conditions."""
        return AccuracySection(
            total=found.total,
            batch_size=found.batch_size,
            data_sha256=found.data_sha256,
            metric=found.metric,
            output=found.output,
            correct=found.correct if isinstance(found, Accuracy) else None,
            value=None if isinstance(found, Accuracy) else float(f"{found.value:.6g}"),
            higher_is_better=None if isinstance(found, Accuracy) else found.higher_is_better,
        )

    def save_first(self, kept: FirstAccuracy | None, found: Found, same: bool) -> FirstAccuracy:
        """Keep the first figure; answers on other data, or of another kind, cannot be added up."""
        now = self.save(found)
        comparable = kept is not None and kept.data_sha256 == now.data_sha256
        if kept is not None and comparable and (kept.value is None) == (now.value is None):
            return kept
        return FirstAccuracy(total=now.total, data_sha256=now.data_sha256, correct=now.correct, value=now.value)

    @property
    def forms(self) -> tuple[Any, ...]:
        """Counted answers, or a metric's value."""
        return (Accuracy, Score)

    def read_found(self, content: Any) -> Found:
        """Return counts or a score from JSON data."""
        return read(content)

    def notes(self, found: Found, verdicts: Sequence[Verdict]) -> list[str]:
        """Return the reference's figure and the last release's."""
        parts = []
        if found.reference:
            other = (
                percent(found.reference_correct / found.total)
                if isinstance(found, Accuracy)
                else f"{found.reference_value:.4g}"
            )
            parts.append(f"{found.reference} {other}")
        for verdict in verdicts:
            if verdict.against in PROCESSORS:
                parts.append(f"{verdict.against} {verdict.figure}{'!' if verdict.red else ''}")
        saved = next(
            (v.evidence.saved for v in verdicts if isinstance(v.evidence, AccuracyEvidence) and v.evidence.saved), None
        )
        return [*parts, f"last {saved.text}"] if saved is not None else parts

    def against(self, verdict: Verdict) -> str:
        """Say so where it is against its limit on another processor."""
        if verdict.against not in PROCESSORS:
            return super().against(verdict)
        emulated = isinstance(verdict.evidence, AccuracyEvidence) and verdict.evidence.emulated
        return f"the limit on the processor {verdict.against}{' (emulated)' if emulated else ''}"

    def drift(self, verdict: Verdict) -> str:
        """Say what was lost since the first release."""
        evidence = verdict.evidence
        if not isinstance(evidence, AccuracyEvidence) or not evidence.lost_since_first or evidence.saved is None:
            return ""
        lost, saved = evidence.lost_since_first, evidence.saved
        if saved.correct is not None:
            return f"accuracy {-100 * lost / saved.total:+.1f} points"
        return f"{saved.metric} {lost:+.3g} worse" if abs(lost) > NOISE * abs(saved.value or 0.0) else ""

    def history(
        self, found: Found, section: AccuracySection | None, first: FirstAccuracy | None, limit: AccuracyLimit | None
    ) -> History:
        """Return the figure first, last and today; what another kind of metric saved is no figure to compare with this one."""
        counted = isinstance(found, Accuracy)
        start, saved = (
            part if part is not None and (part.correct is not None) == counted else None for part in (first, section)
        )
        now = _value(found)
        change = NONE
        if saved is not None:
            change = points(100 * (saved.share - now)) if counted else signed(f"{now - saved.share:+.3g}")
        allowed = NONE
        if limit is not None:
            amount = percent(limit.max_drop) if limit.relative else f"{limit.max_drop:.4g}"
            if counted and not limit.relative:
                amount = f"{100 * limit.max_drop:.1f} points"
            allowed = f"{amount}{' relative' if limit.relative else ''} worse at most"
        texts = [NONE if part is None else part.text for part in (start, saved)]
        return History(texts[0], texts[1], found.figure, change, allowed)

    def details(self, found: Found, verdicts: Sequence[Verdict], kind: str) -> list[Block]:
        """Return what each slice has."""
        from pytest_onnxlite.checks.accuracy.drawn import slice_bars

        lost = {
            (verdict.against == BASELINE, name)
            for verdict in verdicts
            if isinstance(verdict.evidence, AccuracyEvidence)
            for name in verdict.evidence.lost_slices
        }
        found_bars = slice_bars(found.slices, lost, kind)
        return [] if found_bars is None else [found_bars]

    def drawn(self, explanation: Explanation, kind: str) -> list[Block]:
        """Return classes, samples, ranges and layers, and what was tried."""
        from pytest_onnxlite.checks.accuracy.drawn import blocks

        figures = explanation.figures
        return blocks(figures, kind, explanation.kind) if isinstance(figures, AccuracyReasons) else []

    def figures(self, found: Found, kind: str) -> list[Figure]:
        """Return this kind's figure and the reference's."""
        if isinstance(found, Accuracy):
            name = "accuracy" if found.metric == "top1" else found.metric
            own = Figure(kind, found.share, found.figure, metric=name)
            other = found.reference_correct / found.total
            return [own, *([Figure(found.reference, other, percent(other))] if found.reference else [])]
        own = Figure(kind, found.value, f"{found.value:.4g}", metric=found.metric)
        value = found.reference_value
        return [own] if value is None else [own, Figure(found.reference, value, f"{value:.4g}")]

    def trend(self, section: AccuracySection, first: Any) -> Trend:
        """Return the saved share of right answers, or the value."""
        return _trend(section.share, section.correct is not None)

    def trend_today(self, found: Found, first: Any) -> Trend:
        """Return today's."""
        return _trend(_value(found), isinstance(found, Accuracy))

    def saved_text(self, sections: Sequence[AccuracySection]) -> str:
        """Return the saved figure."""
        return sections[0].text if sections else "-"

    def data_id(self, found_or_section: Found | AccuracySection) -> str:
        """Return the hash of the evaluation data."""
        return found_or_section.data_sha256


def _advice(task: Task[AccuracyLimit]) -> str:
    """Say what may give back what is lost, by how the variant was made."""
    from pytest_onnxlite.checks.accuracy.advice import Made, advise
    from pytest_onnxlite.lint.protobuf import operators

    builder, variant = task.builder, task.variant
    kind, spec = builder.kind(variant.kind), builder.spec
    recipe = builder.recipe_of(variant.kind)
    is_onnx = recipe is None and variant.has_file and variant.path.suffix == ".onnx"
    found = operators(variant.path) if is_onnx else ()
    return advise(Made(kind, recipe, spec.calibration is not None, found, spec.file_of(variant.kind)))


def _value(found: Found) -> float:
    return found.share if isinstance(found, Accuracy) else found.value


def _is_worse(found: Found, saved: AccuracySection) -> bool:
    if isinstance(found, Accuracy):
        return saved.correct is not None and found.correct < saved.correct
    return saved.value is not None and found.loss(saved.value) > 0


def _trend(value: float, counted: bool) -> Trend:
    if counted:
        return Trend(NAME, NAME, value, percent)
    return Trend("score", "score", value, lambda figure: f"{figure:.4g}")


CHECK = AccuracyCheck()
