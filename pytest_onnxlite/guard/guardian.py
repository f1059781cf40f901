"""From a test's limits to its verdicts: builds, judges and explains, and keeps a record of all of it.

Knows no check by name. Everything heavy is imported here, when the first guarded test asks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_onnxlite.baseline.places.choosing import place_at
from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.baseline.runtime import machine_key, runtime_here
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.checks.check import Check
from pytest_onnxlite.checks.limit import Limit
from pytest_onnxlite.checks.reference import silent
from pytest_onnxlite.checks.suspects import NO_TIME
from pytest_onnxlite.checks.task import Case, Clock, Task
from pytest_onnxlite.checks.verdict import BASELINE, Explanation, Outcome, Verdict
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.guard.identity import State, is_same, require_own, require_unchanged, state_of
from pytest_onnxlite.guard.last_release import Last, changed_runtime, load_last
from pytest_onnxlite.labels import labelled
from pytest_onnxlite.markers import require_fit
from pytest_onnxlite.records import Conditions, JudgedFile, Record, Suggestion
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.runtime.interruption import limit_inferences
from pytest_onnxlite.settings import Settings
from pytest_onnxlite.spec.model import ModelSpec
from pytest_onnxlite.spec.runtimes import require_onnx_runtime
from pytest_onnxlite.text import first_line
from pytest_onnxlite.variants.builder import Builder, Progress
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.variants.deadline import Budget, OutOfTime, time_limit
from pytest_onnxlite.variants.external import hash_model
from pytest_onnxlite.variants.variant import Variant

Asked = tuple[str, str, Limit]  # the variant's kind or name, the check, the limit
# What there are figures for; of the rest the verdict's own message says all there is.
_MEASURED = (Outcome.PASS, Outcome.IMPROVED, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.NOT_COMPARABLE)


@dataclass(frozen=True)
class Failure:
    """A record with a red verdict, the model's variants, the candidate, the baselines, the last release."""

    record: Record
    builder: Builder
    variant: Variant
    store: BaselineStore
    last: Last

    @property
    def red(self) -> list[Verdict]:
        """The red verdicts."""
        return [verdict for verdict in self.record.verdicts if verdict.red]


@dataclass(frozen=True)
class _JudgedLimit:
    """A limit, with what it was judged by and what came of it; `position` is that of its first verdict."""

    check: Check[Any, Any]
    task: Task[Any]
    found: object
    position: int
    verdicts: tuple[Verdict, ...]


class Guardian:
    """What a run knows: its settings, its baselines, and the builders of the models met so far."""

    def __init__(
        self,
        settings: Settings,
        cache: Cache,
        progress: Progress,
        registry: Registry,
        runtime: Mapping[str, object] | None = None,
    ) -> None:
        self.registry = registry
        self._runtime = runtime  # the table of the one that every model is run with; None for each its own
        self._settings = settings
        self._cache = cache
        self._progress = progress
        place = place_at(settings.artefact_dir, settings.baseline_dir, settings.artefact_time, cache)
        self._store = BaselineStore(settings.baseline_dir, registry.checks, place, settings.compared_with)
        self._builders: dict[str, Builder] = {}
        self._given: dict[str, ModelSpec] = {}  # as the fixtures gave them, by name
        self._files: dict[Variant, JudgedFile] = {}
        self._states: dict[Variant, State] = {}
        self._last: dict[tuple[str, str], Last] = {}
        self._suggestions: dict[tuple[str, tuple[Limit, ...]], Suggestion] = {}

    def variant(self, spec: object, kind: str) -> Variant:
        """Build a variant, for a fixture.

        Raises:
            OnnxliteError: the spec is none, or the variant cannot be built.
        """
        found = self._builder(spec).variant(kind)
        self._state_of(found)
        return found

    def _state_of(self, variant: Variant) -> State:
        """Return the state of a variant's files when it was first met."""
        known = self._states.get(variant)
        return self._states.setdefault(variant, state_of(variant)) if known is None else known

    def _builder(self, spec: object) -> Builder:
        if spec is None:
            raise OnnxliteError(
                "the test's limits need the model's spec, and no fixture of the test depends on onnxlite_model, or it "
                "returned None. Let an overridden variant fixture take onnxlite_model, and let that return a "
                "pytest_onnxlite.ModelSpec."
            )
        if not isinstance(spec, ModelSpec):
            raise OnnxliteError(
                f"the fixture onnxlite_model returned a {type(spec).__name__}; expected a pytest_onnxlite.ModelSpec."
            )
        require_onnx_runtime()
        known = self._builders.get(spec.name)
        if known is None:
            self._store.require_own_name(spec.name, self._builders)
            own = spec if self._runtime is None else spec.run_with(self._runtime, self._settings.rootdir)
            known = self._builders[spec.name] = Builder(own, self._cache, self._progress, self.registry.kinds)
            self._given[spec.name] = spec
        elif not is_same(self._given[spec.name], spec):
            raise OnnxliteError(
                f"two different models are called {spec.name!r} in this run; they would share one baseline. "
                "Give each ModelSpec a name of its own."
            )
        return known

    def judge(
        self,
        test: str,
        spec: object,
        variants: Mapping[str, object],
        limits: Sequence[Asked],
        clock: Clock,
        other_limits: Sequence[Asked] = (),
        declared_in: str = "",
    ) -> list[Record]:
        """Judge every limit of a test; a limit that cannot be measured is a failed one, and the others go on.

        Args:
            test: the test's id.
            spec: what the fixture `onnxlite_model` returned.
            variants: what the test's variant fixtures returned, by kind.
            limits: the kind each limit judges, the check, and the limit.
            clock: what times.
            other_limits: limits that other tests judge, and that a suggestion must keep as well.
            declared_in: the table of pyproject.toml that declares the model; empty where a fixture does.

        Raises:
            OnnxliteError: a fixture that the user overrode returned no variant, or not the model's own.
        """
        from pytest_onnxlite.guard import forecast

        builder = self._builder(spec)
        limits, other_limits = self._widened(builder, limits), self._widened(builder, other_limits)
        records: dict[str, Record] = {}
        own: dict[str, Variant] = {}
        judged: dict[str, list[_JudgedLimit]] = {}
        with builder.shared.kept():  # several limits ask for the same outputs
            for kind, name, limit in limits:
                variant = own[kind] = require_own(variants[kind], kind, builder)
                require_unchanged(variant, self._state_of(variant))
                if kind not in records:
                    records[kind] = self._start_record(test, builder, variant)
                done = self._judge_limit(builder, variant, self.registry.checks[name], limit, clock, records[kind])
                judged.setdefault(kind, []).append(done)
                records[kind] = self._noted(records[kind], done)
            # Afterwards, so that nothing of it runs next to a measurement.
            for kind, record in records.items():
                record = self._explain(record, judged[kind])
                told = forecast.remark(builder, record, own[kind], self.registry.checks, self._settings, self._progress)
                record = replace(record, forecast=told)
                kept = [(name, limit) for other, name, limit in (*limits, *other_limits) if other == kind]
                records[kind] = replace(record, suggestion=self._suggest(builder, record, kept, declared_in))
        return list(records.values())

    def _widened(self, builder: Builder, limits: Sequence[Asked]) -> list[Asked]:
        """Return limits with what the run asks of each; one that cannot judge its variant is refused."""
        rows = [(builder.kind(kind), name, limit) for kind, name, limit in limits]
        checks = [require_fit(name, limit, row, self.registry) for row, name, limit in rows]
        widened = zip(checks, rows, strict=True)
        return [(row.name, name, check.widen(limit, row, self._settings)) for check, (row, name, limit) in widened]

    def failures(self, records: Sequence[Record], spec: object, variants: Mapping[str, Variant]) -> list[Failure]:
        """Return what is red of a test, with all that judging it again takes."""
        builder = self._builder(spec)
        return [
            Failure(record, builder, variants[record.variant], self._store, self._last_of(record.model, record.variant))
            for record in records
            if record.is_red
        ]

    # -- one limit ---------------------------------------------------------------------------------------

    def _start_record(self, test: str, builder: Builder, variant: Variant) -> Record:
        # Hashed once, however many tests judge it.
        if variant not in self._files:
            self._files[variant] = (
                JudgedFile(str(variant.path), hash_model(variant.path), variant.size)
                if variant.has_file
                else JudgedFile()
            )
        spec, kind = builder.spec, variant.kind
        conditions = Conditions(
            batch_size=spec.batch_size,
            batched=spec.batched,
            threads=spec.runtime_of(kind).threads,
            metric=spec.rating.name,
            samples=len(spec.evaluation) if spec.evaluation else None,
            output=spec.output,
            state=spec.stateful.state if spec.stateful is not None else {},
            grows=tuple(spec.stateful.grows) if spec.stateful is not None else (),
        )
        last = self._last_of(spec.name, kind)
        runtime = runtime_here(builder.kind(kind), spec.runtime_of(kind))
        record = Record(
            test,
            spec.name,
            kind,
            self._files[variant],
            conditions,
            baseline=last.recorded(builder.kind(kind), runtime),
            broken_baseline=last.broken,
            recipe=builder.recipe_text(kind),
            runtime=runtime,
        )
        if self._settings.runtime_change == "fail" and record.runtime_change:
            changed = changed_runtime(record)
            return replace(record, verdicts=(replace(changed, red=self._is_red(changed)),))
        return record

    def _judge_limit(
        self,
        builder: Builder,
        variant: Variant,
        check: Check[Any, Any],
        limit: Limit,
        clock: Clock,
        record: Record,
    ) -> _JudgedLimit:
        task = self._task(builder, variant, check, limit, clock)
        found: object = None
        try:
            judged = check.judge(task)
            found, verdicts = judged.found, list(judged.verdicts)
            if self._settings.mode == "compare" and not any(verdict.against == BASELINE for verdict in verdicts):
                verdicts.append(silent(check.name))
        except OnnxliteError as error:
            verdicts = [Verdict(check.name, "limit", Outcome.FAIL, "not measured", str(error))]
        marked = tuple(self._marked(verdict, limit) for verdict in verdicts)
        return _JudgedLimit(check, task, found, len(record.verdicts), marked)

    def _noted(self, record: Record, done: _JudgedLimit) -> Record:
        name = labelled(done.check.name, done.task.limit.label)
        measured = record.measured if done.found is None else {**record.measured, name: done.found}
        limits = {**record.limits, name: done.task.limit}
        return replace(record, limits=limits, measured=measured, verdicts=(*record.verdicts, *done.verdicts))

    def _keep(self, content: bytes, suffix: str) -> Path:
        # In the cache, which pytest-xdist's workers and the process that saves share.
        def write(folder: Path) -> None:
            (folder / f"data{suffix}").write_bytes(content)

        return self._cache.entry("kept", {"sha256": hashlib.sha256(content).hexdigest()}, write) / f"data{suffix}"

    def _task(
        self, builder: Builder, variant: Variant, check: Check[Any, Any], limit: Limit, clock: Clock
    ) -> Task[Any]:
        last = self._last_of(builder.spec.name, variant.kind)
        reference = last.reference
        if isinstance(reference, Baseline):
            reference = reference.of_label(check.name, check.first_key, limit.label)
        task = Task(
            builder=builder,
            variant=variant,
            limit=limit,
            reference=reference,
            last_file=last.file,
            no_last_file=last.no_file,
            last_data=last.data,
            keep=self._keep,
            cached=self._cache.entry,
            machine=machine_key(
                reference if isinstance(reference, Baseline) else None,
                runtime_here(builder.kind(variant.kind), builder.spec.runtime_of(variant.kind)),
            ),
            settings=self._settings,
            clock=clock,
            progress=self._progress,
            sha256=self._files.get(variant, JudgedFile()).sha256,
        )
        # Its file was not kept, on purpose: one with the bytes that were saved is as good.
        return replace(task, last_file=variant.path) if last.no_file and task.has_released_bytes else task

    def _is_red(self, verdict: Verdict) -> bool:
        return verdict.is_red(self._settings.mode, self._settings.accepts(verdict.check))

    def _marked(self, verdict: Verdict, limit: Limit) -> Verdict:
        """Return a verdict with its limit's label, and whether it is red."""
        named = replace(verdict, check=labelled(verdict.check, limit.label))
        return replace(named, red=self._is_red(named))

    def _last_of(self, model: str, kind: str) -> Last:
        key = model, kind
        if key not in self._last:
            self._last[key] = load_last(self._store, model, kind, self._settings.mode)
        return self._last[key]

    # -- why, and what to do -----------------------------------------------------------------------------

    def _explain(self, record: Record, judged: Sequence[_JudgedLimit]) -> Record:
        """Say why, for each verdict that is red, or for all if that was asked for."""
        verdicts = list(record.verdicts)
        for done in judged:
            explained: set[str] = set()
            for position, verdict in enumerate(done.verdicts, done.position):
                key = done.check.reason_key(verdict)
                if key not in explained and (verdict.red or self._settings.explain):
                    explanation = self._explanation(done, verdict)
                    explained |= {key} if explanation is not None else set()
                    verdicts[position] = replace(verdict, explanation=explanation)
        return replace(record, verdicts=tuple(verdicts))

    def _explanation(self, done: _JudgedLimit, verdict: Verdict) -> Explanation | None:
        """Explain a verdict; never raises: a failure that cannot be explained is still that failure."""
        budget = Budget(self._settings.explain_time)
        if budget.seconds <= 0 or done.found is None or verdict.evidence is None or verdict.outcome not in _MEASURED:
            return None
        try:
            with time_limit(budget.left):
                return done.check.explain(Case(done.task, verdict, done.found, budget))
        except OutOfTime:
            return Explanation(NO_TIME)
        except Exception as error:
            return Explanation(f"it could not be explained ({type(error).__name__}: {first_line(error)}).")

    def _suggest(
        self, builder: Builder, record: Record, limits: Sequence[tuple[str, Limit]], declared_in: str
    ) -> Suggestion | None:
        """Search for a recipe that keeps every limit, if that was asked for and the INT8 variant keeps not all."""
        if not self._settings.suggest or record.variant != "int8" or not record.is_red:
            return None
        if builder.made_from("int8") is None:
            return Suggestion("No recipe was tried: there is no float model to quantize.")
        from pytest_onnxlite.guard import suggest

        futile = suggest.futile(record, self.registry.checks)
        if futile:
            return Suggestion(f"No recipe was tried: {futile}")
        ordered = sorted(limits, key=lambda entry: self.registry.checks[entry[0]].order)
        key = builder.spec.name, tuple(limit for _, limit in ordered)
        if key in self._suggestions:  # of a test with the same limits
            return self._suggestions[key]
        reasons = [verdict.explanation for verdict in record.verdicts if verdict.explanation is not None]
        trials = suggest.Trials(self, ordered)
        try:
            self._suggestions[key] = suggest.search(
                builder,
                trials,
                list(dict.fromkeys(node for reason in reasons for node in reason.suspects)),
                list(dict.fromkeys(op for reason in reasons for op in reason.suspect_operators)),
                Budget(self._settings.suggest_time),
                self._progress,
                declared_in,
                reasons,
            )
        except Exception as error:  # whatever is wrong with it, the verdicts stand
            return Suggestion(f"The search for a recipe failed: {type(error).__name__}: {first_line(error)}")
        return self._suggestions[key]

    def judge_one(self, builder: Builder, check: str, limit: Limit, clock: Clock) -> tuple[object, Sequence[Verdict]]:
        """Judge one limit of a builder's INT8 variant, as a test would; returns the measurement and the verdicts."""
        found = self.registry.checks[check]
        judged = found.judge(self._task(builder, builder.int8, found, limit, clock))
        return judged.found, [self._marked(verdict, limit) for verdict in judged.verdicts]


def make_guardian(
    settings: Settings, cache_dir: Path, progress: Progress, registry: Registry, runtime: Mapping[str, object] | None
) -> Guardian:
    """Make the run's guardian."""
    limit_inferences(settings.inference_time)
    return Guardian(settings, Cache(cache_dir), progress, registry, runtime)
