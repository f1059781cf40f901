"""What a check says: one fault at one place, for a person who reads it once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint.rules import RULES
from pytest_onnxlite.text import shown

# A place or what is there is cut beyond.
_MOST_LETTERS = 300
Severity = Literal["error", "warning", "info"]


class GraphError(OnnxliteError, ValueError):
    """A model that cannot be read at all, so that nothing can be said about its graph."""


@dataclass(frozen=True)
class Finding:
    """One fault in a graph.

    Attributes:
        code: stable, such as `OLX301`; `RULES[code]` describes the rule.
        severity: `error` for a graph that is wrong or not what it claims to be, `warning` for one that works
            with a loss or elsewhere does not, `info` for what is worth knowing.
        where: the node or tensor, behind the path of the subgraph it lies in: `If_3/then_branch/MatMul_1`.
        expected: what a sound graph has there.
        found: what this one has.
        why: why it matters.
        hint: what to do.
    """

    code: str
    severity: Severity
    where: str
    expected: str
    found: str
    why: str
    hint: str

    def render(self) -> str:
        """Return the finding in three lines: what and where, why, what to do."""
        return (
            f"{self.code} {self.severity}: {self.where}: expected {self.expected}, found {self.found}\n"
            f"    why: {self.why}\n"
            f"    do: {self.hint}"
        )

    def __str__(self) -> str:
        """Return the same as `render()`."""
        return self.render()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain data, ready for JSON."""
        return asdict(self)


def report(
    code: str,
    where: str,
    expected: str,
    found: str,
    *,
    severity: Severity | None = None,
    hint: str | None = None,
) -> Finding:
    """Make a finding of a rule, which gives what is not said here.

    Raises:
        KeyError: no rule has this code.
    """
    rule = RULES[code]
    # Names out of a model may hold line ends, and escape sequences.
    where, expected, found, hint = (shown(text, _MOST_LETTERS) for text in (where, expected, found, hint or rule.hint))
    return Finding(code, severity or rule.severity, where, expected, found, rule.why, hint)
