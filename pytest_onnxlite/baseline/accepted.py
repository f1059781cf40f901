"""What a release was accepted with although it broke limits: kept in its baseline, so that a review shows it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pytest_onnxlite.text import shown

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

    @property
    def text(self) -> str:
        """The figures in a line: `latency 1.02 ms → 1.31 ms (up 5.0 % at most allowed)`."""
        figures = f"{self.before} → {self.after}" if self.before else self.after
        allowed = f" ({self.allowed} allowed)" if self.allowed else ""
        return shown(f"{self.check} {figures}{allowed}")


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
    def text(self) -> str:
        """What was accepted and why, in a line."""
        return f"{'; '.join(limit.text for limit in self.limits)}: {shown(self.reason) or 'no reason given'}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the checks that the release is worse by."""
        return tuple(dict.fromkeys(limit.check for limit in self.limits if limit.outcome != DROPPED))
