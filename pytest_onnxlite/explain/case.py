"""What an explainer is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_onnxlite.checks.limit import Limit
from pytest_onnxlite.checks.verdict import Verdict
from pytest_onnxlite.explain.budget import Budget
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.variant import Variant

NO_TIME = "there was no time to look further (--onnxlite-explain-time gives more)."


@dataclass(frozen=True)
class Case:
    """A verdict to explain.

    Attributes:
        builder: the model's variants.
        variant: the one that was judged.
        limit: what was asked.
        verdict: what came of it.
        measured: what was measured for it, as data.
        previous: the previous release's file, None where there is none.
        budget: the seconds that explaining may take.
        progress: is told what begins.
    """

    builder: Builder
    variant: Variant
    limit: Limit
    verdict: Verdict
    measured: dict[str, Any]
    previous: Path | None
    budget: Budget
    progress: Callable[[str], None]

    @property
    def batch_size(self) -> int:
        """Samples per inference that it was judged at."""
        return int(getattr(self.limit, "batch_size", None) or self.builder.spec.batch_size)

    @property
    def threads(self) -> int:
        """Threads that it was judged at."""
        return int(getattr(self.limit, "threads", None) or self.builder.spec.threads)


@dataclass
class Explanation:
    """Why a verdict is what it is.

    Attributes:
        why: the first cause, in a sentence.
        lines: the rest, for a person.
        data: all figures behind it, as JSON.
    """

    why: str
    lines: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON data."""
        return {"why": self.why, "lines": self.lines, **self.data}
