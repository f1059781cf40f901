"""What `onnxlite_latency` asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pytest_onnxlite.checks.limit import (
    FLAG,
    RUNTIME,
    SCENARIO,
    SEQUENCE,
    TOTAL,
    Argument,
    Arguments,
    Limit,
    number,
    whole,
)
from pytest_onnxlite.checks.quantity import SECONDS
from pytest_onnxlite.kinds import Kind

# What `max_slowdown` is where each side has a process and a runtime of its own. Measured by benchmarks/runtime_study.py.
APART = 0.1
# What it is where each start has a process of its own, and each pair of starts is one ratio: chosen wider, and not yet counted on
# a quiet machine (benchmarks/cold_start_study.py counts).
COLD = 0.15
# What it is for a percentile: the slow runs of one file and another differ by more than their medians. Measured by
# benchmarks/tail_study.py.
TAIL = 0.25


@dataclass(frozen=True)
class LatencyLimit(Limit):
    """`onnxlite_latency`: time per inference, against the last release's file, run between the rounds.

    More: docs/latency.md, docs/latency.md#at-which-shapes, docs/latency.md#a-time-of-your-own, docs/latency.md#cold-start,
    docs/latency.md#model-and-runtime-together, docs/models.md#scenarios, docs/models.md#models-with-a-state.

    Attributes:
        max_slowdown: how much slower it may be, relatively.
        max_slowdown_total: how much slower than the first release it may be, relatively, each release's slowdown multiplied.
        max_ratio: where given, its time may be at most this share of the float model's, in this run; this
            needs no baseline.
        absolute: if the last release's file was not kept, and no float model can stand in, compare with the
            saved seconds, on a machine of the same fingerprint.
        phase: what is timed instead of an inference, each time in a fresh process: `load`, creating a session, or `first`, its
            first run; `max_slowdown` is 0.15 then, if it is not given.
        percentile: judge the slow runs: the time that so many per cent of single inferences do not exceed, such as 99, over
            batches of all evaluation data; `max_slowdown` is 0.25 then, if it is not given.
        scenario: what the model is fed with, of `ModelSpec(scenarios=...)`; its evaluation data where empty.
        per: of a model with a state, whether the last step is timed, or `sequence`: all of them.
        batch_size: samples per inference; the spec's where None.
        threads: intra-op threads; the spec's where None.
        max_time: seconds after which a set of measurements gets no more, at each shape; a red verdict takes three sets.
        max: the longest that one inference may take, such as `"10 ms"`: the upper bound of its median counts. It needs nothing to
            compare with.
        budget_machine: the machine that `max` was written for: the kind that `python -m pytest_onnxlite show` prints, or a
            name that CI gives its machines in the environment variable ONNXLITE_MACHINE. On others `max` is not judged.
        runtime: `last`: judge model and runtime together, the last release in its own runtime, in another process;
            `max_slowdown` is 0.1 then, if it is not given.
    """

    arguments: ClassVar[Mapping[str, Argument]] = {
        "max_slowdown": number(0.005, 1.0, "a number from 0.005 to 1 (0.05 is 5 %)"),
        "max_slowdown_total": TOTAL,
        "max_ratio": number(0.001, 1000.0, "a number from 0.001 (1.0: no slower than the float model)"),
        "absolute": FLAG,
        "phase": Argument(str, "'load' or 'first'", choices=("load", "first")),
        "percentile": number(
            50.0, 99.99, "a number from 50 to 99.99 (99 is the time that 99 of 100 inferences do not exceed)"
        ),
        "scenario": SCENARIO,
        "per": Argument(str, "'step' or 'sequence'", choices=("step", SEQUENCE)),
        "batch_size": whole(1),
        "threads": whole(1),
        "max_time": number(0.5, 3600.0, "seconds, from 0.5 to 3600"),
        "max": SECONDS,
        "budget_machine": Argument(str, "the name of a machine"),
        "runtime": RUNTIME,
    }

    max_slowdown: float = 0.05
    max_slowdown_total: float | None = None
    max_ratio: float | None = None
    absolute: bool = False
    phase: str = ""
    percentile: float | None = None
    scenario: str = ""
    per: str = "step"
    batch_size: int | None = None
    threads: int | None = None
    max_time: float = 120.0
    max: float | None = None
    budget_machine: str | None = None
    runtime: str = ""

    @property
    def is_per_sequence(self) -> bool:
        """Whether all steps of a model with a state are timed."""
        return self.per == SEQUENCE

    @classmethod
    def filled(cls, values: Arguments) -> Arguments:
        """Two processes differ by more than two sessions of one: see docs/latency.md."""
        wider = {"phase": COLD, "percentile": TAIL, "runtime": APART}
        default = next((most for name, most in wider.items() if values.get(name)), None)
        return values if default is None else {"max_slowdown": default, **values}

    @classmethod
    def spread(cls, values: Arguments, where: str) -> Sequence[Arguments]:
        """A phase or a percentile is the label, so that it stands next to the median and has its own baseline."""
        percentile, scenario = values.get("percentile"), values.get("scenario")
        own = values.get("phase") or (f"p{percentile}".removesuffix(".0") if percentile is not None else "")
        if not own or values.get("label") is not None:
            return [values]
        return [{**values, "label": ":".join(str(part) for part in (own, scenario) if part)}]

    def misfit(self, kind: Kind) -> str:
        """A float model has no float model to compare with, and a machine is named for a time."""
        if self.budget_machine is not None and self.max is None:
            return f"budget_machine={self.budget_machine!r} names the machine that max= is for: give max= too."
        others = [name for name in ("max", "max_ratio", "absolute", "runtime", "percentile") if getattr(self, name)]
        if self.phase and others:
            return (
                f"phase={self.phase!r} is compared with the last release's alone, and {others[0]}= is not judged by it."
            )
        others = [name for name in ("absolute", "runtime") if getattr(self, name)]
        others += ["per"] if self.is_per_sequence else []
        if self.percentile is not None and others:
            return (
                f"percentile={self.percentile:g} is of single inferences in today's runtime, in turns with the last release's file, and "
                f"{others[0]}= is not judged by it."
            )
        if self.max_ratio is None or kind.has_float_model or kind.build is not None:
            return ""
        return f"max_ratio= compares with the {kind.name} variant, and that is the one it judges here."
