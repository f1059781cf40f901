"""From a test's limits to its verdicts: builds, measures and judges, and keeps a record of all of it.

Everything heavy is imported here, when the first guarded test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_onnxlite.baseline.fingerprint import describe_machine, fingerprint
from pytest_onnxlite.baseline.record import Baseline, BrokenBaseline
from pytest_onnxlite.baseline.store import BaselineStore, NoArtefact
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.judge import limits as rules
from pytest_onnxlite.judge.verdict import BASELINE, Mode, Outcome, Verdict
from pytest_onnxlite.measure import accuracy, latency, memory, size, structure
from pytest_onnxlite.settings import (
    AccuracyLimit,
    GraphLimit,
    LatencyLimit,
    Limit,
    MemoryLimit,
    Settings,
    SizeLimit,
)
from pytest_onnxlite.spec import Array, ModelSpec, count_samples, take
from pytest_onnxlite.variants.builder import Builder, Progress
from pytest_onnxlite.variants.cache import Cache, hash_tree
from pytest_onnxlite.variants.variant import OnnxVariant, Variant

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
        measured: by check, the measurement.
        verdicts: the verdicts, as data, each with `red`.
        broken_baseline: why the baseline there is cannot be read; it is then not overwritten.
    """

    test: str
    model: str
    variant: str
    artefact: dict[str, Any]
    measured: dict[str, Any] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    broken_baseline: str | None = None


@dataclass(frozen=True)
class Clock:
    """pytest-benchmark's fixture for a test, or why there is none to time with."""

    benchmark: Any = None
    missing: str = ""


class Guardian:
    """What a run knows: its settings, its baselines, and the builders of the models met so far."""

    def __init__(self, settings: Settings, cache: Cache, progress: Progress) -> None:
        self._settings = settings
        self._cache = cache
        self._progress = progress
        self._store = BaselineStore(settings.baseline_dir, settings.artefact_dir)
        self._builders: dict[str, Builder] = {}

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
    ) -> list[Record]:
        """Judge every limit of a test; a limit that cannot be measured is a failed one, and the others go on.

        Args:
            test: the test's id.
            spec: what the fixture `onnxlite_model` returned.
            variants: what the test's variant fixtures returned, by kind.
            limits: the kind each limit judges, and the limit.
            clock: what times.

        Raises:
            OnnxliteError: a fixture that the user overrode returned no variant.
        """
        builder = self._builder(spec)
        records: dict[str, Record] = {}
        for kind, limit in limits:
            variant = variants[kind]
            if not isinstance(variant, Variant):
                raise OnnxliteError(
                    f"the fixture onnxlite_{kind} returned a {type(variant).__name__}; expected a Variant."
                )
            if kind not in records:
                records[kind] = self._start_record(test, builder, kind, variant)
            self._judge_limit(records[kind], builder, kind, variant, limit, clock)
        return list(records.values())

    def _start_record(self, test: str, builder: Builder, kind: str, variant: Variant) -> Record:
        artefact = {"path": str(variant.path), "sha256": hash_tree(variant.path), "bytes": variant.size}
        return Record(test, builder.spec.name, kind, artefact)

    def _judge_limit(
        self, record: Record, builder: Builder, kind: str, variant: Variant, limit: Limit, clock: Clock
    ) -> None:
        reference = self._reference(record, builder.spec.name, kind)
        try:
            verdicts = self._verdicts(record, builder, kind, variant, limit, reference, clock)
        except OnnxliteError as error:
            verdicts = [Verdict(limit.check, "limit", Outcome.FAIL, "not measured", str(error))]
        for verdict in verdicts:
            red = verdict.is_red(self._settings.mode, self._settings.accept)
            record.verdicts.append({**verdict.as_dict(), "red": red})

    def _reference(self, record: Record, model: str, kind: str) -> rules.Reference:
        if self._settings.mode is Mode.PLAIN:
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
            right = accuracy.measure(builder, variant, limit.batch_size or spec.batch_size)
            record.measured["accuracy"] = {**right.as_dict(), "metric": spec.metric}
            return rules.judge_accuracy(limit, right, spec.metric, reference)
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
        assert isinstance(variant, OnnxVariant)
        if isinstance(limit, MemoryLimit):
            return self._judge_memory(record, builder, variant, limit, reference)
        assert isinstance(limit, LatencyLimit)
        return self._judge_latency(record, builder, variant, limit, reference, clock)

    def _artefact(self, reference: rules.Reference) -> tuple[Path | None, rules.Reference]:
        """Return the previous release's file, or the reason why it cannot be measured again."""
        if isinstance(reference, rules.Absent):
            return None, reference
        try:
            return self._store.artefact(reference), reference
        except (BrokenBaseline, NoArtefact) as error:
            return None, rules.Absent(Outcome.NOT_COMPARABLE, str(error))

    def _judge_memory(
        self, record: Record, builder: Builder, variant: OnnxVariant, limit: MemoryLimit, reference: rules.Reference
    ) -> list[Verdict]:
        artefact, reference = self._artefact(reference)
        if isinstance(reference, rules.Absent) and self._settings.mode is not Mode.SAVE:
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
        variant: OnnxVariant,
        limit: LatencyLimit,
        reference: rules.Reference,
        clock: Clock,
    ) -> list[Verdict]:
        references: dict[str, latency.Reference] = {}
        sibling = builder.size_reference(variant.kind) if variant.kind == "int8" else None
        if limit.max_ratio is not None:
            if sibling is None:
                raise OnnxliteError(
                    f"max_ratio={limit.max_ratio:g} compares with the float ONNX model, and ModelSpec({variant.model!r}) "
                    "gives none: give onnx= or trained=."
                )
            references["onnx"] = latency.Reference("onnx", sibling.path, limit.max_ratio)
        elif sibling is not None and self._settings.mode is Mode.SAVE:
            # Only to be stored, as what a machine like this can go by where the artefact is not kept.
            references["sibling"] = latency.Reference("onnx", sibling.path, _ANY_RATIO)
        here = self._saved_latency(builder, limit, reference)
        beside, reference = self._best_reference(limit, reference, here, sibling)
        if beside is not None:
            references[BASELINE] = beside
        if isinstance(reference, rules.Absent) and limit.max_ratio is None and self._settings.mode is not Mode.SAVE:
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
            return latency.Reference("onnx", sibling.path, here["sibling_ratio"] * most), reference
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
        self, builder: Builder, variant: OnnxVariant, limit: LatencyLimit | MemoryLimit
    ) -> tuple[int, int, dict[str, Array]]:
        """Return batch size, threads and one batch, and close every session, so that none stands beside."""
        batch_size = limit.batch_size or builder.spec.batch_size
        feeds = self._one_batch(builder, variant, batch_size)
        builder.release()
        variant.release()
        return batch_size, limit.threads or builder.spec.threads, feeds

    def _one_batch(self, builder: Builder, variant: OnnxVariant, batch_size: int) -> dict[str, Array]:
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
        return spec.onnx, spec.int8, spec.recipe, spec.batch_size, spec.threads, data

    return one.trained == other.trained and content(one) == content(other)


def make_guardian(settings: Settings, cache_dir: Callable[[], Path], progress: Progress) -> Guardian:
    """Make the run's guardian; the cache folder is asked for only now that it is used."""
    return Guardian(settings, Cache(settings.cache_dir or cache_dir()), progress)
