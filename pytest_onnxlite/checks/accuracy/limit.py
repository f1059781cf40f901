"""What `onnxlite_accuracy` asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pytest_onnxlite.checks.limit import FLAG, Argument, Arguments, Limit, number, whole
from pytest_onnxlite.kinds import ONNX_RUNTIME, Kind
from pytest_onnxlite.labels import LABEL
from pytest_onnxlite.settings import PROCESSORS, UsageMistake


@dataclass(frozen=True)
class AccuracyLimit(Limit):
    """`onnxlite_accuracy`: right answers, against the trained variant and against the baseline.

    Counted in answers, so that of 1,000 samples `max_drop=0.01` lets 10 go and not 11. More: docs/models.md#metrics,
    docs/models.md#several-metrics-several-outputs, docs/models.md#slices, docs/models.md#labels-that-do-not-belong-to-the-data,
    docs/processors.md.

    Attributes:
        max_drop: how much worse the metric may be, inclusive: points as a share of 1 (of an error or a score, in its own
            unit), or a share of the reference's value where `relative`.
        max_drop_total: how much worse than the first release's the metric may be, in the same unit.
        relative: see `max_drop`.
        confidence: where given, the upper end of the drop's interval must be within the limit too.
        batch_size: samples per inference; the spec's where None.
        metric: the metric that it judges by, by its name or `package.module:function`; the spec's where None. Several, each
            with what it may drop, in the marker: `metric={"top1": 0.01, "top5": 0.005}`.
        output: the output that the metric reads; the spec's where None.
        labels: which of the evaluation data's labels it compares with: those of `Dataset(labels={...})` by name; where None
            those that are called as the output, else `y`.
        processors: other processors that it is counted on and judged by as well, emulated where this is another.
        min: the least that the metric may be, such as 0.95 of the answers right; needs nothing to compare with.
        max: for an error, the most that it may be.
        max_flips: the most samples that the reference has right and the candidate wrong, whatever was won elsewhere.
        slices: judge each slice of the evaluation data (`Dataset(x, y, slices=...)`) as well.
        per_class: judge each class as well.
        min_samples: the fewest samples that a slice is judged by; smaller ones are named.
        max_slice_drop: `max_drop` for a slice; `max_drop` itself where None.
        chance_ok: right answers may be no more than always giving the commonest label has, and the labels doubtful.
    """

    arguments: ClassVar[Mapping[str, Argument]] = {
        "max_drop": number(0.0, 1e12, "a number from 0 (0.01 is one point)"),
        "max_drop_total": number(0.0, 1e12, "a number from 0 (0.01 is one point)"),
        "relative": FLAG,
        "confidence": number(0.5, 0.9999, "a number from 0.5 to 0.9999"),
        "batch_size": whole(1),
        "metric": Argument(
            str, "a metric's name, such as 'top5', 'package.module:function', or a table of such with max_drop of each"
        ),
        "output": Argument(str, "the name of an output"),
        "labels": Argument(str, "the name of labels in Dataset(labels=...)"),
        "processors": Argument(tuple, "a list of processors, such as ['avx2', 'sse4']", choices=PROCESSORS),
        "min": number(-1e12, 1e12, "a number (0.95 is 95 % of the answers)"),
        "max": number(0.0, 1e12, "a number from 0"),
        "max_flips": whole(0),
        "slices": FLAG,
        "per_class": FLAG,
        "min_samples": whole(2),
        "max_slice_drop": number(0.0, 1e12, "a number from 0 (0.01 is one point)"),
        "chance_ok": FLAG,
    }

    max_drop: float = 0.01
    max_drop_total: float | None = None
    relative: bool = False
    confidence: float | None = None
    batch_size: int | None = None
    metric: str | None = None
    output: str | None = None
    labels: str | None = None
    processors: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    max_flips: int | None = None
    slices: bool = False
    per_class: bool = False
    min_samples: int = 30
    max_slice_drop: float | None = None
    chance_ok: bool = False

    @property
    def has_own_metric(self) -> bool:
        """Whether it names a metric, an output or labels of its own."""
        return any(own is not None for own in (self.metric, self.output, self.labels))

    @classmethod
    def spread(cls, values: Arguments, where: str) -> Sequence[Arguments]:
        """Return the arguments for each of several metrics; each metric of its own has a label, and so its own baseline.

        Raises:
            UsageMistake: several metrics with one `max_drop`, or a metric or output whose name cannot be a label.
        """
        metric = values.get("metric")
        if not isinstance(metric, Mapping):
            return [_labelled(values, where)]
        if not metric or "max_drop" in values:
            raise UsageMistake(
                f"{where}: metric={dict(metric)!r} says for each metric what it may drop; give at least one, and no max_drop=."
            )
        each = [{**values, "metric": name, "max_drop": drop} for name, drop in metric.items()]
        return [_labelled(one, where, values.get("label") or "") for one in each]

    def misfit(self, kind: Kind) -> str:
        """Only what ONNX Runtime runs is counted on other processors."""
        if not self.processors or kind.runtime == ONNX_RUNTIME:
            return ""
        return (
            f"processors={list(self.processors)} does not support {kind.name}: only what ONNX Runtime runs, such as onnx and "
            "int8, is counted on other processors. Leave processors= out."
        )


def _labelled(values: Arguments, where: str, prefix: str | None = None) -> Arguments:
    """Return arguments with a label, if they name a metric or an output of their own.

    Args:
        values: the arguments.
        where: where they are written.
        prefix: the label of several metrics together; None where there is one.
    """
    own = [values[name] for name in ("metric", "output") if isinstance(values.get(name), str)]
    if not own or (prefix is None and values.get("label") is not None):
        return values
    label = ":".join([*([prefix] if prefix else []), *own])
    if not LABEL.fullmatch(label):
        raise UsageMistake(
            f"{where}: metric and output of a limit are its label, and {label!r} cannot be one. Give label= a name of letters and "
            "digits."
        )
    return {**values, "label": label}
