"""From a test's limits to its verdicts: builds, measures and judges, and keeps a record of all of it.

Everything heavy is imported here, when the first guarded test asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from pytest_onnxlite.baseline.fingerprint import describe_machine, fingerprint
from pytest_onnxlite.baseline.record import Baseline, BrokenBaseline
from pytest_onnxlite.baseline.store import BaselineStore, NoArtefact
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.explain.budget import Budget
from pytest_onnxlite.explain.case import Case
from pytest_onnxlite.explain.explainer import explain, suspect_operators, suspects
from pytest_onnxlite.explain.saturation import forecast
from pytest_onnxlite.explain.suggest import Judged, search
from pytest_onnxlite.judge import limits as rules
from pytest_onnxlite.judge.processors import judge_processor
from pytest_onnxlite.judge.scores import judge_score
from pytest_onnxlite.judge.verdict import BASELINE, Outcome, Verdict
from pytest_onnxlite.limits import (
    AccuracyLimit,
    GraphLimit,
    LatencyLimit,
    Limit,
    MemoryLimit,
    SizeLimit,
)
from pytest_onnxlite.measure import accuracy, latency, memory, processors, size, structure
from pytest_onnxlite.measure.measurement import Score
from pytest_onnxlite.measure.standin import StandIn
from pytest_onnxlite.settings import PROCESSORS, Settings
from pytest_onnxlite.spec import Array, ModelSpec, count_samples, hash_inputs, take
from pytest_onnxlite.text import first_line, size_text
from pytest_onnxlite.variants.builder import Builder, Progress
from pytest_onnxlite.variants.cache import Cache
from pytest_onnxlite.variants.deadline import time_limit
from pytest_onnxlite.variants.external import hash_model
from pytest_onnxlite.variants.variant import OnnxVariant, RuntimeVariant, Variant

# No ratio is too large where it is only to be stored.
_ANY_RATIO = 1e6


@dataclass
class Record:
    """What was measured and decided about one variant by one test; plain data, so that workers can send it.

    Attributes:
        test: the test's id.
        model: the model's name.
        variant: the variant's kind.
        artefact: `path`, `sha256` and `bytes` of the file that was judged.
        conditions: what the spec says about how it is judged: batch size, threads, metric, samples.
        limits: by check, the marker's arguments.
        baseline: what the last accepted release measured, on a machine like this where it depends on it, and the
            first accepted figures; None where there is none to look at.
        measured: by check, the measurement.
        verdicts: the verdicts, as data, each with `red`: whether its test fails of it; and `xfail`: the reason where it
            is as pytest was told to expect (`report.failure.expect`), else None.
        broken_baseline: why the baseline there is cannot be read; it is then not overwritten.
        recipe: how the variant was quantized here, and why so where the user did not say.
        forecast: what may differ on other processors; None where nothing may.
        suggestion: a recipe that passes where this one fails, or that none was found; None where none was looked for.
    """

    test: str
    model: str
    variant: str
    artefact: dict[str, Any]
    conditions: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] | None = None
    measured: dict[str, Any] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    broken_baseline: str | None = None
    recipe: str = ""
    forecast: dict[str, Any] | None = None
    suggestion: dict[str, Any] | None = None


@dataclass(frozen=True)
class Clock:
    """pytest-benchmark's fixture for a test, or why there is none to time with."""

    benchmark: Any = None
    missing: str = ""


@dataclass(frozen=True)
class _Sentence:
    """A verdict where it was recorded, with what it was judged by."""

    record: Record
    position: int
    verdict: Verdict
    limit: Limit
    variant: Variant
    reference: rules.Reference


class Guardian:
    """What a run knows: its settings, its baselines, and the builders of the models met so far."""

    def __init__(self, settings: Settings, cache: Cache, progress: Progress) -> None:
        self._settings = settings
        self._cache = cache
        self._progress = progress
        self._store = BaselineStore(settings.baseline_dir, settings.artefact_dir)
        self._builders: dict[str, Builder] = {}
        self._artefacts: dict[Variant, dict[str, Any]] = {}
        self._suggestions: dict[tuple[str, tuple[Limit, ...]], dict[str, Any]] = {}

    def variant(self, spec: object, kind: str) -> Variant:
        """Build a variant, for a fixture.

        Raises:
            OnnxliteError: the spec is none, or the variant cannot be built.
        """
        return self._builder(spec).variant(kind)

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
        known = self._builders.get(spec.name)
        if known is None:
            known = self._builders[spec.name] = Builder(spec, self._cache, self._progress)
        elif not _is_same(known.spec, spec):
            raise OnnxliteError(
                f"two different models are called {spec.name!r} in this run; they would share one baseline. "
                "Give each ModelSpec a name of its own."
            )
        return known

    def judge(
        self,
        test: str,
        spec: object,
        variants: Mapping[str, Any],
        limits: tuple[tuple[str, Limit], ...],
        clock: Clock,
        beside: tuple[tuple[str, Limit], ...] = (),
        declared_in: str = "",
    ) -> list[Record]:
        """Judge every limit of a test; a limit that cannot be measured is a failed one, and the others go on.

        Args:
            test: the test's id.
            spec: what the fixture `onnxlite_model` returned.
            variants: what the test's variant fixtures returned, by kind.
            limits: the kind each limit judges, and the limit.
            clock: what times.
            beside: limits that other tests judge, and that a suggestion must keep as well.
            declared_in: the table of pyproject.toml that declares the model; empty where a fixture does.

        Raises:
            OnnxliteError: a fixture that the user overrode returned no variant.
        """
        builder = self._builder(spec)
        limits, beside = (tuple((k, self._widened(k, limit)) for k, limit in pairs) for pairs in (limits, beside))
        records: dict[str, Record] = {}
        sentences: list[_Sentence] = []
        for kind, limit in limits:
            variant = variants[kind]
            if not isinstance(variant, Variant):
                raise OnnxliteError(
                    f"the fixture onnxlite_{kind} returned a {type(variant).__name__}; expected a Variant."
                )
            if kind not in records:
                records[kind] = self._start_record(test, builder, kind, variant)
            sentences += self._judge_limit(records[kind], builder, kind, variant, limit, clock)
        # Afterwards, so that nothing of it stands beside a measurement.
        self._explain(builder, sentences)
        for kind, record in records.items():
            self._look_ahead(builder, record, variants[kind])
            kept = [limit for other, limit in (*limits, *beside) if other == kind]
            self._suggest(builder, record, kept, declared_in)
        return list(records.values())

    def _widened(self, kind: str, limit: Limit) -> Limit:
        """Return a limit with the processors that the run asks for, where it is one that can be judged on them."""
        if not isinstance(limit, AccuracyLimit) or kind not in limit.processor_kinds:
            return limit
        return replace(limit, processors=tuple(sorted({*limit.processors, *self._settings.processors})))

    def bundle(self, records: list[dict[str, Any]], spec: object, variants: Mapping[str, Any]) -> str:
        """Write a folder for each variant that a test failed for; returns what to say about them, or why it could not."""
        from pytest_onnxlite import bundle

        assert self._settings.bundle is not None
        text = ""
        for record in records:
            if not any(verdict["red"] for verdict in record["verdicts"]):
                continue
            self._progress(f"bundling the failure of {record['model']} {record['variant']}")
            try:
                path = bundle.write(
                    self._settings.bundle,
                    record,
                    self._builder(spec),
                    variants[record["variant"]],
                    self._store,
                    mode=self._settings.mode,
                    all_data=self._settings.bundle_data,
                )
                name = f'"{path}"' if " " in str(path) else path
                text += f"\nReplay it elsewhere: python -m pytest_onnxlite replay {name}"
            except OnnxliteError as error:
                text += f"\n{error}"
        return text

    def _start_record(self, test: str, builder: Builder, kind: str, variant: Variant) -> Record:
        # Hashed once, however many tests judge it.
        if variant not in self._artefacts:
            self._artefacts[variant] = {"path": "", "sha256": "", "bytes": 0}
            if variant.has_file:
                found = {"path": str(variant.path), "sha256": hash_model(variant.path), "bytes": variant.size}
                self._artefacts[variant] = found
        spec = builder.spec
        conditions = {
            "batch_size": spec.batch_size,
            "batched": spec.batched,
            "threads": spec.threads,
            "metric": spec.rating.name,
            "samples": len(spec.evaluation) if spec.evaluation else None,
            "output": spec.output,
        }
        return Record(test, spec.name, kind, self._artefacts[variant], conditions, recipe=builder.recipe_text(kind))

    def _judge_limit(
        self, record: Record, builder: Builder, kind: str, variant: Variant, limit: Limit, clock: Clock
    ) -> list[_Sentence]:
        record.limits[limit.check] = asdict(limit)
        reference = self._reference(record, builder.spec.name, kind)
        try:
            verdicts = self._verdicts(record, builder, kind, variant, limit, reference, clock)
        except OnnxliteError as error:
            verdicts = [Verdict(limit.check, "limit", Outcome.FAIL, "not measured", str(error))]
        sentences = []
        for verdict in verdicts:
            sentences.append(_Sentence(record, len(record.verdicts), verdict, limit, variant, reference))
            data = {"red": self._is_red(verdict), "xfail": None, "explanation": None}
            record.verdicts.append({**verdict.as_dict(), **data})
        return sentences

    def _is_red(self, verdict: Verdict) -> bool:
        return verdict.is_red(self._settings.mode, self._settings.accept)

    def _explain(self, builder: Builder, sentences: Sequence[_Sentence]) -> None:
        """Say why, for each verdict that is red, or for all where that was asked for."""
        done = set()
        for sentence in sentences:
            verdict, record = sentence.verdict, sentence.record
            if not (self._is_red(verdict) or self._settings.explain):
                continue
            is_elsewhere = verdict.against in PROCESSORS
            # The layers that lose answers against the float model are those that lose them against the last release.
            if verdict.check == "accuracy" and not is_elsewhere and (record.variant, verdict.check) in done:
                continue
            artefact, _ = self._artefact(sentence.reference)
            case = Case(
                builder=builder,
                variant=sentence.variant,
                limit=sentence.limit,
                verdict=verdict,
                measured=record.measured.get(verdict.check, {}),
                previous=artefact,
                budget=Budget(self._settings.explain_time),
                progress=self._progress,
            )
            found = explain(case)
            if found is not None:
                if not is_elsewhere:
                    done.add((record.variant, verdict.check))
                record.verdicts[sentence.position]["explanation"] = found

    def _look_ahead(self, builder: Builder, record: Record, variant: Variant) -> None:
        """Say what may differ on other processors; a remark, never a verdict."""
        if not isinstance(variant, OnnxVariant):
            if self._settings.processors and "accuracy" in record.measured and record.variant != "trained":
                names = ", ".join(self._settings.processors)
                text = f"not counted on {names}: only ONNX files are run on other processors, and this is none."
                record.forecast = {"share": None, "text": text}
            return
        was_counted = any(v["against"] == "avx2" and v["outcome"] in ("pass", "fail") for v in record.verdicts)
        if was_counted or not {"accuracy", "graph"} & set(record.measured):
            return
        trying = self._settings.explain or self._settings.suggest
        try:
            with time_limit(self._settings.explain_time):
                record.forecast = forecast(builder, variant, builder.spec.batch_size, trying, self._progress)
        except Exception as error:  # whatever is wrong with it, the verdicts stand
            text = f"whether products saturate elsewhere could not be said: {type(error).__name__}: {first_line(error)}"
            record.forecast = {"share": None, "text": text}

    def _suggest(self, builder: Builder, record: Record, limits: Sequence[Limit], declared_in: str) -> None:
        """Search for a recipe that keeps every limit, where that was asked for and the INT8 variant keeps not all."""
        if not self._settings.suggest or record.variant != "int8" or not any(v["red"] for v in record.verdicts):
            return
        if builder.made_from("int8") is None:
            text = "No recipe was tried: there is no float model to quantize."
            record.suggestion = {"recipe": None, "tried": [], "text": text}
            return
        order = ("size", "accuracy", "graph", "memory", "latency")
        ordered = sorted(limits, key=lambda limit: order.index(limit.check))
        key = builder.spec.name, tuple(ordered)
        if key in self._suggestions:  # of a test with the same limits
            record.suggestion = self._suggestions[key]
            return
        try:
            record.suggestion = self._suggestions[key] = search(
                builder,
                lambda other, budget: self._judge_trial(other, ordered, budget),
                suspects(record.verdicts),
                suspect_operators(record.verdicts),
                Budget(self._settings.suggest_time),
                self._progress,
                declared_in,
            )
        except Exception as error:  # whatever is wrong with it, the verdicts stand
            text = f"The search for a recipe failed: {type(error).__name__}: {first_line(error)}"
            record.suggestion = {"recipe": None, "tried": [], "text": text}

    def _judge_trial(self, builder: Builder, limits: Sequence[Limit], budget: Budget) -> Judged:
        """Judge a builder's INT8 variant as a test would, and stop at the first limit that is broken."""
        variant = builder.int8
        trial = self._start_record("", builder, "int8", variant)
        stopped = message = ""
        figures: dict[str, str] = {}
        for limit in limits:
            if isinstance(limit, LatencyLimit):
                limit = replace(limit, max_time=max(0.5, min(limit.max_time, budget.left)))
            reference = self._reference(trial, builder.spec.name, "int8")
            verdicts = self._verdicts(trial, builder, "int8", variant, limit, reference, Clock(StandIn()))
            figures[limit.check] = verdicts[-1].figure
            broken = next((verdict for verdict in verdicts if self._is_red(verdict)), None)
            if broken is not None:
                stopped, message = broken.check, broken.message
                break
        rated = trial.measured.get("accuracy", {})
        value = rated.get(
            "value", rated["correct"] / rated["total"] if rated.get("total") and "correct" in rated else None
        )
        higher = rated.get("higher_is_better", True)
        made_from = builder.made_from("int8")
        assert made_from is not None
        figures["size"] = f"{size_text(variant.size)} ({variant.size / made_from.size:.3f} of {made_from.kind})"
        if not stopped:
            figures["time"] = f"{self._ratio_to(builder, made_from):.2f}x of {made_from.kind}"
        return Judged(stopped, message, figures, value if value is None or higher else -value, variant.size)

    def _ratio_to(self, builder: Builder, other: Variant) -> float:
        """Return the time of the INT8 variant as a ratio of another's."""
        variant, spec = builder.int8, builder.spec
        feeds = self._one_batch(builder, variant, spec.batch_size)
        builder.release()
        references = {"float": latency.Reference(other.kind, other.path, _ANY_RATIO)}
        found = latency.measure(
            StandIn(),
            variant.path,
            references,
            feeds,
            batch_size=spec.batch_size,
            threads=spec.threads,
            resolution=1.0,
            max_time=1.0,
        )
        return median(found.comparisons["float"].first)

    def _reference(self, record: Record, model: str, kind: str) -> rules.Reference:
        if self._settings.mode == "plain":
            return rules.Absent(Outcome.NOT_COMPARED, "baselines are looked at under: pytest --onnxlite-baseline")
        try:
            baseline = self._store.load(model, kind)
        except BrokenBaseline as error:
            record.broken_baseline = str(error)
            return rules.Absent(Outcome.NOT_COMPARABLE, str(error))
        if baseline is None:
            return rules.Absent(
                Outcome.MISSING,
                f"there is no baseline {self._store.path(model, kind)}. Save one of a release that is good with: "
                f"{rules.SAVE}",
            )
        record.baseline = baseline.figures(fingerprint(describe_machine()))
        return baseline

    def _verdicts(
        self,
        record: Record,
        builder: Builder,
        kind: str,
        variant: Variant,
        limit: Limit,
        reference: rules.Reference,
        clock: Clock,
    ) -> list[Verdict]:
        spec = builder.spec
        name = f"{spec.name} {kind}"
        if isinstance(limit, AccuracyLimit):
            self._progress(f"counting the right answers of {name}")
            batch_size = limit.batch_size or spec.batch_size
            read = accuracy.reader(builder, batch_size)
            right = accuracy.measure(builder, variant, batch_size, read)
            record.measured["accuracy"] = right.as_dict()
            judge: Any = judge_score if isinstance(right, Score) else rules.judge_accuracy
            *before, last = judge(limit, right, reference)
            # The one against the baseline stays the last, whose figure stands for the check.
            return [*before, *self._elsewhere(record, builder, variant, limit, read), last]
        if isinstance(limit, SizeLimit):
            counted = size.measure(builder, variant)
            record.measured["size"] = counted.as_dict()
            return rules.judge_size(limit, kind, counted, reference)
        if isinstance(limit, GraphLimit):
            self._progress(f"checking the graph of {name}")
            graph = structure.measure(builder, variant, limit.ignore)
            record.measured["graph"] = graph.as_dict()
            saved = reference.graph if isinstance(reference, Baseline) else None
            changes = structure.changes(saved, graph) if saved else None
            return rules.judge_graph(limit, graph, changes, reference)
        assert isinstance(variant, RuntimeVariant)
        if isinstance(limit, MemoryLimit):
            return self._judge_memory(record, builder, variant, limit, reference)
        assert isinstance(limit, LatencyLimit)
        return self._judge_latency(record, builder, variant, limit, reference, clock)

    def _elsewhere(
        self, record: Record, builder: Builder, variant: Variant, limit: AccuracyLimit, read: accuracy.Read
    ) -> list[Verdict]:
        """Judge accuracy on other processors, where that was asked for."""
        verdicts = []
        if limit.processors and not isinstance(variant, OnnxVariant):
            raise OnnxliteError(
                f"{variant.model} {variant.kind}: processors={list(limit.processors)} runs an ONNX file on other processors, "
                f"and the fixture onnxlite_{record.variant} returned a {type(variant).__name__}."
            )
        for name in limit.processors:
            assert isinstance(variant, OnnxVariant)
            self._progress(f"counting the right answers of {variant.model} {variant.kind} on {name}")
            batch_size = limit.batch_size or builder.spec.batch_size
            found = processors.measure(builder, variant, name, batch_size, self._settings.processor_time, read)
            record.measured["accuracy"].setdefault("processors", {})[name] = found.as_dict()
            verdicts.append(judge_processor(limit, found))
        return verdicts

    def _artefact(self, reference: rules.Reference) -> tuple[Path | None, rules.Reference]:
        """Return the previous release's file, or the reason why it cannot be measured again."""
        if isinstance(reference, rules.Absent):
            return None, reference
        try:
            return self._store.artefact(reference), reference
        except (BrokenBaseline, NoArtefact) as error:
            return None, rules.Absent(Outcome.NOT_COMPARABLE, str(error))

    def _judge_memory(
        self, record: Record, builder: Builder, variant: RuntimeVariant, limit: MemoryLimit, reference: rules.Reference
    ) -> list[Verdict]:
        artefact, reference = self._artefact(reference)
        if isinstance(reference, rules.Absent) and self._settings.mode != "save":
            return [Verdict("memory", BASELINE, reference.outcome, "not measured", reference.reason)]
        batch_size, threads, feeds = self._conditions(builder, variant, limit)
        self._progress(f"measuring the memory of {variant.model} {variant.kind}")
        peaks = memory.measure(variant.path, artefact, feeds, batch_size, threads)
        record.measured["memory"] = peaks.as_dict()
        return rules.judge_memory(limit, peaks, reference)

    def _judge_latency(
        self,
        record: Record,
        builder: Builder,
        variant: RuntimeVariant,
        limit: LatencyLimit,
        reference: rules.Reference,
        clock: Clock,
    ) -> list[Verdict]:
        references: dict[str, latency.Reference] = {}
        sibling = builder.made_from(variant.kind) if variant.kind in ("int8", "tflite_int8") else None
        if limit.max_ratio is not None:
            if sibling is None:
                raise OnnxliteError(
                    f"max_ratio={limit.max_ratio:g} compares with the float model, and ModelSpec({variant.model!r}) "
                    "gives none: give onnx= or trained=."
                )
            references["float"] = latency.Reference(sibling.kind, sibling.path, limit.max_ratio)
        elif sibling is not None and self._settings.mode == "save":
            # Only to be stored, as what a machine like this can go by where the artefact is not kept.
            references["sibling"] = latency.Reference(sibling.kind, sibling.path, _ANY_RATIO)
        here = self._saved_latency(builder, limit, reference)
        beside, reference = self._best_reference(limit, reference, here, sibling)
        if beside is not None:
            references[BASELINE] = beside
        if isinstance(reference, rules.Absent) and limit.max_ratio is None and self._settings.mode != "save":
            return [Verdict("latency", BASELINE, reference.outcome, "not measured", reference.reason)]
        if clock.missing:
            return [Verdict("latency", BASELINE, Outcome.NOT_MEASURED, "not measured", clock.missing)]
        batch_size, threads, feeds = self._conditions(builder, variant, limit)
        self._progress(f"timing {variant.model} {variant.kind}" + (" beside its reference" if references else ""))
        times = latency.measure(
            clock.benchmark,
            variant.path,
            references,
            feeds,
            batch_size=batch_size,
            threads=threads,
            resolution=limit.max_slowdown,
            max_time=limit.max_time,
        )
        record.measured["latency"] = times.as_dict()
        return rules.judge_latency(limit, times, reference, here)

    def _best_reference(
        self,
        limit: LatencyLimit,
        reference: rules.Reference,
        here: Mapping[str, Any] | None,
        sibling: Variant | None,
    ) -> tuple[latency.Reference | None, rules.Reference]:
        """Return what to time beside the candidate: the previous artefact, else a sibling with a saved ratio.

        Nothing where saved seconds must do; and the reason where there is nothing to compare with at all.
        """
        artefact, found = self._artefact(reference)
        most = 1 + limit.max_slowdown
        if artefact is not None:
            return latency.Reference(rules.PREVIOUS, artefact, most), found
        if isinstance(reference, rules.Absent) or reference.artefact.kept:
            return None, found  # what should be there and is not has no substitute
        if here is not None and sibling is not None and here.get("sibling_ratio"):
            return latency.Reference(sibling.kind, sibling.path, here["sibling_ratio"] * most), reference
        if here is not None and limit.absolute:
            return None, reference
        assert isinstance(found, rules.Absent)
        instead = (
            "Nothing saved on a machine like this, at this batch size and thread count, can stand in for it."
            if here is None
            else "The seconds saved on a machine like this can stand in for it: ask with absolute=True."
        )
        return None, rules.Absent(found.outcome, f"{found.reason} {instead}")

    def _saved_latency(
        self, builder: Builder, limit: LatencyLimit, reference: rules.Reference
    ) -> Mapping[str, Any] | None:
        """Return the latency that was saved on a machine like this under the same conditions."""
        if isinstance(reference, rules.Absent):
            return None
        saved = reference.machines.get(fingerprint(describe_machine()), {}).get("latency")
        wanted = limit.batch_size or builder.spec.batch_size, limit.threads or builder.spec.threads
        if not isinstance(saved, dict) or (saved.get("batch_size"), saved.get("threads")) != wanted:
            return None
        return saved

    def _conditions(
        self, builder: Builder, variant: RuntimeVariant, limit: LatencyLimit | MemoryLimit
    ) -> tuple[int, int, dict[str, Array]]:
        """Return batch size, threads and one batch, and close every session, so that none stands beside."""
        batch_size = limit.batch_size or builder.spec.batch_size
        feeds = self._one_batch(builder, variant, batch_size)
        builder.release()
        variant.release()
        return batch_size, limit.threads or builder.spec.threads, feeds

    def _one_batch(self, builder: Builder, variant: RuntimeVariant, batch_size: int) -> dict[str, Array]:
        data = builder.evaluation.x
        if count_samples(data) < batch_size:
            raise OnnxliteError(
                f"{variant.model} {variant.kind}: a batch of {batch_size} needs as many evaluation samples; there are "
                f"{count_samples(data)}."
            )
        return variant.feeds(take(data, slice(batch_size)))


def _is_same(one: ModelSpec, other: ModelSpec) -> bool:
    if one is other:
        return True

    def content(spec: ModelSpec) -> tuple[Any, ...]:
        data = spec.evaluation.sha256 if spec.evaluation else None
        calibration = hash_inputs(spec.calibration) if spec.calibration is not None else None
        files = spec.onnx, spec.int8, spec.recipe, calibration, data
        return *files, spec.batch_size, spec.threads, spec.batched, spec.output, spec.rating

    return one.trained == other.trained and content(one) == content(other)


def make_guardian(settings: Settings, cache_dir: Path, progress: Progress) -> Guardian:
    """Make the run's guardian."""
    return Guardian(settings, Cache(cache_dir), progress)
