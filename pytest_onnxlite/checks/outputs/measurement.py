"""How outputs differ; what a baseline keeps of them, and a verdict's evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

from pytest_onnxlite.baseline.fingerprint import Machine
from pytest_onnxlite.baseline.record import KeptFile, Positive
from pytest_onnxlite.text import percent

# What two equal columns have: no figure in a file is infinite.
EQUAL = 150.0


@dataclass(frozen=True)
class Column:
    """A column of an output, or the output as a whole.

    Attributes:
        axis: the axis whose index it is; -1 for the output as a whole.
        index: which.
        sqnr: its signal-to-noise ratio, in dB.
        constant: whether it is constant where the reference is not.
        holds: the column of the reference that it holds instead of its own; None for none.
    """

    axis: int
    index: int
    sqnr: float
    constant: bool = False
    holds: int | None = None

    @property
    def text(self) -> str:
        """What to call it in a message."""
        return "the whole" if self.axis < 0 else f"column {self.index} of axis {self.axis}"


@dataclass(frozen=True)
class Difference:
    """How one output differs from the reference's.

    Attributes:
        output: its name.
        labels: whether it holds labels and no numbers.
        sqnr: the signal-to-noise ratio of the output as a whole, in dB.
        columns: the worst that are not within the tolerance, the lowest first.
        below: how many columns are below the limit, of `of`.
        of: how many columns there are.
        largest: the largest absolute difference.
        p999: the 99.9th percentile of them.
        beyond: the share of elements that differ by more than the tolerance; of labels, that differ.
        broken: elements that are NaN or infinite in one of both alone.
        misshapen: the share of samples whose output has another shape.
        misfit: why the two cannot be compared, or not in part; empty if they can.
        cause: what explains the difference; empty if nothing that is known does.
    """

    output: str
    labels: bool = False
    sqnr: float = EQUAL
    columns: tuple[Column, ...] = ()
    below: int = 0
    of: int = 0
    largest: float = 0.0
    p999: float = 0.0
    beyond: float = 0.0
    broken: int = 0
    misshapen: float = 0.0
    misfit: str = ""
    cause: str = ""

    @property
    def lowest(self) -> float:
        """The lowest signal-to-noise ratio of a column, in dB."""
        return self.columns[0].sqnr if self.columns else EQUAL


@dataclass(frozen=True)
class Comparison:
    """All outputs next to others on the same samples.

    Attributes:
        samples: how many.
        differences: by output, in the model's order.
        problem: why outputs cannot be paired; empty if they can.
        skipped: outputs that the marker leaves out.
        paired: by what outputs were paired that are called otherwise: `by position`; empty by their names.
    """

    samples: int
    differences: tuple[Difference, ...] = ()
    problem: str = ""
    skipped: tuple[str, ...] = ()
    paired: str = ""

    @property
    def lowest(self) -> float | None:
        """The lowest signal-to-noise ratio, in dB; None if no output holds numbers."""
        return min((one.lowest for one in self.differences if not one.labels), default=None)

    @property
    def figure(self) -> str:
        """That as a person reads it; of labels, the share that is equal."""
        if self.problem or any(one.misfit for one in self.differences):
            return "not alike"
        if self.lowest is not None:
            return decibel_text(self.lowest)
        shares = [one.beyond for one in self.differences]
        return f"{percent(1 - max(shares))} equal" if shares else "nothing compared"


def decibel_text(value: float) -> str:
    """Return a signal-to-noise ratio as a person reads it."""
    return "equal" if value >= EQUAL else f"{value:.1f} dB"


@dataclass(frozen=True)
class Recording:
    """A sample of the candidate's outputs, to be kept with the baseline.

    Attributes:
        file: the data file.
        path: where it is.
        samples: how many samples it holds.
        machine: where they were answered.
        sqnr: the lowest ratio against what the candidate was made from, for the trend.
    """

    file: KeptFile
    path: str
    samples: int
    machine: Machine
    sqnr: float | None


@dataclass(frozen=True)
class Found:
    """What was found of a candidate's outputs.

    Attributes:
        total: samples.
        batch_size: samples per inference.
        data_sha256: the hash of the evaluation data.
        outputs: the outputs' names, in the model's order.
        recording: what the next release is compared with.
        made_from: the kind of the variant that they are compared with; empty for none.
        reference: how they differ from that one's.
        last: how they differ from what the last release answered when it was saved; None if it did not record, or where
            the candidate is that file.
        runtime: how the last release's own file answers today, next to what it answered then.
        incomparable: why what the last release recorded is no reference; empty if it is one.
        here: this machine.
        there: the machine that the last release's outputs were recorded on.
    """

    total: int
    batch_size: int
    data_sha256: str
    outputs: tuple[str, ...]
    recording: Recording
    made_from: str = ""
    reference: Comparison | None = None
    last: Comparison | None = None
    runtime: Comparison | None = None
    incomparable: str = ""
    here: Machine | None = None
    there: Machine | None = None

    @property
    def figure(self) -> str:
        """What it comes to, in a few words."""
        shown = self.reference or self.last or self.runtime
        return shown.figure if shown is not None else "repeatable"


class OutputsSection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a baseline keeps.

    Attributes:
        recorded: the data file with a sample of the outputs.
        samples: how many samples it holds.
        total: samples of the evaluation data.
        batch_size: samples per inference.
        data_sha256: the hash of the evaluation data.
        outputs: the outputs' names, in the model's order.
        machine: where they were recorded.
        sqnr: the lowest signal-to-noise ratio against what it was made from, in dB; None without such a reference.
    """

    recorded: KeptFile
    samples: Positive
    total: Positive
    batch_size: Positive
    data_sha256: str
    outputs: tuple[str, ...]
    machine: Machine
    sqnr: Annotated[float, msgspec.Meta(ge=-1000, le=1000)] | None = None


class OutputsEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The numbers behind a verdict.

    Attributes:
        sqnr: the lowest signal-to-noise ratio, in dB.
        min_sqnr: the lowest that is allowed.
        outputs: the outputs that break their limit.
        runtime: what the last release's own file came to today, if that is not what it answered when it was saved.
    """

    sqnr: float | None = None
    min_sqnr: float | None = None
    outputs: tuple[str, ...] = ()
    runtime: str = ""
