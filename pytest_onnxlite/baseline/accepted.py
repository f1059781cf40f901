"""What a release was accepted with although it broke limits: kept in its baseline, so that a review shows it."""

from __future__ import annotations

from typing import Annotated

import msgspec

# Older ones are in the history of the file.
MOST_KEPT = 50
# The outcome of a check that no test asks for any more.
DROPPED = "dropped"


class Overridden(msgspec.Struct, frozen=True, omit_defaults=True):
    """A limit that was overridden, in the words of the run that did it.

    Attributes:
        check: the check's name.
        against: what it was compared with.
        outcome: what came of it.
        before: the last release's figure.
        after: the accepted one.
        allowed: what the limit allows.
        message: what the verdict said, its first line.
    """

    check: str
    against: str
    outcome: str
    before: str = ""
    after: str = ""
    allowed: str = ""
    message: str = ""


class Acceptance(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one save accepted.

    Attributes:
        date: the day, in UTC.
        file: the first 16 digits of the SHA-256 of the file that was accepted.
        limits: what was overridden.
        reason: what `--onnxlite-reason` said.
    """

    date: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    file: str
    limits: tuple[Overridden, ...]
    reason: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the checks that the release is worse by."""
        return tuple(dict.fromkeys(limit.check for limit in self.limits if limit.outcome != DROPPED))
