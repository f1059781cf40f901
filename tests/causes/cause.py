"""One seeded failure: what is broken, the cause that must be said first, and what must not be said at all."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A row of the table of causes.

    Args:
        broken: what is broken, in a few words.
        first: a regular expression for the first line of the cause that a reader meets.
        never: regular expressions for what is wrong here, and must stand nowhere.
    """

    broken: str
    first: str
    never: tuple[str, ...] = ()

    def hold(self, first: str, text: str) -> None:
        """Assert that the first line names the cause, and that nothing false stands in the text.

        Args:
            first: the first line of the cause, as a reader meets it.
            text: all that the run said.
        """
        assert re.search(self.first, first), f"{self.broken}: expected {self.first!r} first, got: {first}"
        for wrong in self.never:
            assert not re.search(wrong, text), f"{self.broken}: {wrong!r} is not true here, but stands in:\n{text}"
