"""Ratios of times that were taken in turns."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from pytest_onnxlite.baseline.record import Count

# The best reference: the file of the last release.
LAST_RELEASE = "last release"
# Older reports call it so.
_OLD_NAME = "previous artefact"


def is_last_release(reference: str) -> bool:
    """Tell whether a reference's name means the last release's file."""
    return reference in (LAST_RELEASE, _OLD_NAME)


@dataclass(frozen=True)
class Comparison:
    """Time ratios of a candidate to a reference that ran between its rounds.

    Attributes:
        reference: `last release`, or the kind of the float variant.
        most: the ratio that is allowed.
        first: the candidate / reference ratio of each replicate of the first set: of a pair of fresh sessions, or of
            two such pairs if it matters which session was created first; ones where nothing was timed, see `same`.
        second: the same of the independent second set; empty where the first raised no suspicion.
        self_check: the same of the reference against itself; empty if nothing hung on it.
        fastest: seconds per inference in the reference's fastest block; None in reports of versions that did not say.
        runtime: what the reference ran in, if that is not what the candidate ran in; empty if it is.
        typical: the ratio of the medians, where the ratios are of percentiles; None where they are of medians themselves.
        same: whether the reference is the candidate's file, byte for byte: nothing was timed, since all ratios are 1.
    """

    reference: str
    most: float
    first: tuple[float, ...]
    second: tuple[float, ...] = ()
    self_check: tuple[float, ...] = ()
    fastest: float | None = None
    runtime: str = ""
    typical: float | None = None
    same: bool = False

    @property
    def is_last_release(self) -> bool:
        """Whether the reference is the last release's file."""
        return is_last_release(self.reference)


class Interval(msgspec.Struct, frozen=True):
    """Bounds on a median ratio, each of which holds with the confidence given."""

    median: float
    lower: float
    upper: float
    confidence: float
    replicates: Count
