"""What a check is handed and hands back: the task, the case to explain, and what came of a limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pytest_onnxlite.baseline.fingerprint import Machine
from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.baseline.runtime import machine_here, runtime_here
from pytest_onnxlite.checks.limit import Limit
from pytest_onnxlite.checks.reference import Reference
from pytest_onnxlite.checks.verdict import Verdict
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.settings import Mode, Settings

if TYPE_CHECKING:
    from pytest_onnxlite.spec.runtimes import Runtime
    from pytest_onnxlite.variants.builder import Builder
    from pytest_onnxlite.variants.deadline import Budget
    from pytest_onnxlite.variants.variant import OnnxVariant, Variant

L = TypeVar("L", bound=Limit)
M = TypeVar("M")


@dataclass(frozen=True)
class Clock:
    """pytest-benchmark's fixture for a test, or why there is none to time with."""

    benchmark: Any = None
    missing: str = ""


@dataclass(frozen=True)
class Task(Generic[L]):
    """What a check is asked to judge.

    Attributes:
        builder: the model's variants.
        variant: the candidate.
        limit: what the marker asks.
        reference: the last release's baseline, or why there is none to compare with.
        last_file: the last release's file; None if there is none.
        no_last_file: why there is no such file although there is a baseline.
        last_data: by their names, the data files that checks kept of the last release (see `Check.kept`).
        keep: `(content, suffix) -> path`: writes a data file that outlives the test, to be kept with the baseline.
        cached: `(kind, inputs, build) -> folder`: an entry of the run's cache, see `Cache.entry`.
        machine: the fingerprint of this machine.
        settings: what the user asked of the run.
        clock: what times.
        progress: is told what begins.
        sha256: the hash of the candidate's file; empty if it is not known.
    """

    builder: Builder
    variant: Variant
    limit: L
    reference: Reference
    last_file: Path | None
    no_last_file: str
    last_data: Mapping[str, Path]
    keep: Callable[[bytes, str], Path]
    cached: Callable[[str, Mapping[str, object], Callable[[Path], None]], Path]
    machine: str
    settings: Settings
    clock: Clock
    progress: Callable[[str], None]
    sha256: str = ""

    @property
    def mode(self) -> Mode:
        """What the run is for."""
        return self.settings.mode

    @property
    def name(self) -> str:
        """Model and kind, for messages."""
        return f"{self.variant.model} {self.variant.kind}"

    @property
    def here(self) -> Machine:
        """What this machine is, for what runs the candidate."""
        return machine_here(
            runtime_here(self.builder.kind(self.variant.kind), self.builder.spec.runtime_of(self.variant.kind))
        )

    def last_variant(self) -> OnnxVariant | None:
        """Return the last release, to be run on the same samples; None where its file is not there or runs otherwise."""
        from pytest_onnxlite.variants.variant import OnnxVariant

        if self.last_file is None or not isinstance(self.variant, OnnxVariant):
            return None
        return self.variant.beside(self.last_file)

    @property
    def has_released_bytes(self) -> bool:
        """Whether the candidate is the file that was released, byte for byte; that may be gone."""
        return isinstance(self.reference, Baseline) and self.sha256 == self.reference.artefact.sha256 != ""

    @property
    def is_unchanged(self) -> bool:
        """Whether the last release's file is there, and is the candidate's, byte for byte."""
        return self.last_file is not None and self.has_released_bytes

    @property
    def scenario_name(self) -> str:
        """The scenario that the limit names; empty for none."""
        return self.limit.scenario_name

    @property
    def batch_size(self) -> int:
        """Samples per inference: the limit's, else its scenario's, else the spec's.

        Raises:
            OnnxliteError: the limit and its scenario both say one, or there is no such scenario.
        """
        own, spec = getattr(self.limit, "batch_size", None), self.builder.spec
        asked = spec.scenario(self.scenario_name).batch_size if self.scenario_name else None
        if own and asked:
            raise OnnxliteError(
                f"{self.name}: the marker says batch_size={own}, and its scenario {self.scenario_name!r} says {asked}; leave "
                "one of the two out."
            )
        return int(own or asked or spec.batch_size)

    @property
    def runtime(self) -> Runtime:
        """How the variant is run: as the spec says, with the limit's threads if it names any."""
        runtime = self.builder.spec.runtime_of(self.variant.kind)
        threads = getattr(self.limit, "threads", None)
        return runtime.with_threads(int(threads)) if threads else runtime


@dataclass(frozen=True)
class Case(Generic[M]):
    """A verdict to explain.

    Attributes:
        task: what was judged.
        verdict: what came of it.
        found: what was measured.
        budget: the seconds that explaining may take.
    """

    task: Task[Any]
    verdict: Verdict
    found: M
    budget: Budget


@dataclass(frozen=True)
class Judged(Generic[M]):
    """What came of a limit: the measurement, None if nothing was measured, and the verdicts."""

    found: M | None
    verdicts: Sequence[Verdict]
