"""The last release's own figures of today, held against those that were saved: what the runtime did to it since.

Candidate and last release run in one runtime, so that whatever it does to both cancels out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.baseline.runtime import runtime_change, runtime_here, shipped_with
from pytest_onnxlite.checks.task import Task
from pytest_onnxlite.checks.verdict import RUNTIME, Outcome, Verdict
from pytest_onnxlite.commands import ACCEPT


@dataclass(frozen=True)
class SinceSaved:
    """How a figure of the last release is held against the saved one.

    Attributes:
        check: the check's name.
        figure: what the candidate has, for the table.
        what: the figure, such as `time per inference`.
        text: how the figure is written.
        worse: how a ratio is told, such as `5.4 times slower`.
        most: the ratio that is allowed.
        trifle: a difference that is none, whatever its ratio.
    """

    check: str
    figure: str
    what: str
    text: Callable[[float], str]
    worse: Callable[[float], str]
    most: float
    trifle: float = 0.0

    def judge(self, saved: float, now: float, ratio: float, where: str, runtime: str, evidence: object) -> Verdict:
        """Judge the last release's figure of today.

        Args:
            saved: the figure that was saved.
            now: today's.
            ratio: how much worse that is, where the machine itself is not what it was: beyond that.
            where: the shapes, if there are several.
            runtime: what is known of the runtime since then, as a sentence.
            evidence: the numbers.
        """
        figures = f"{self.text(now)}{where}, {self.text(saved)} were saved on a machine like this"
        if ratio <= self.most or now - saved <= self.trifle:
            message = f"the last release's own {self.what}: {figures} ({ratio:.2f}x; at most {self.most:g}x allowed)."
            return Verdict(self.check, RUNTIME, Outcome.PASS, self.figure, message, evidence)
        message = (
            f"the runtime made the last release {self.worse(ratio)} than when it was saved. Its own {self.what}: {figures}; at "
            f"most {self.most:g}x allowed. The candidate runs in the same runtime, so that their ratio does not show it.\n"
            f"{runtime} If it is meant, or this machine is another than it says, accept it with: {ACCEPT}"
        )
        return Verdict(self.check, RUNTIME, Outcome.FAIL, self.figure, message, evidence)

    def nothing_saved(self, why: str = "") -> Verdict:
        """Return the verdict where nothing was saved to hold it against.

        Args:
            why: what is known of it, as a sentence.
        """
        message = (
            f"the last release's own {self.what} is not held against what it was when it was saved: "
            f"{why or 'nothing was saved on a machine like this under these conditions.'} What the runtime did to it since is not "
            "known here."
        )
        return Verdict(self.check, RUNTIME, Outcome.NOT_COMPARED, self.figure, message)


def runtime_text(task: Task[Any]) -> str:
    """Say what is known of the runtime since the last release, as a sentence."""
    kind = task.builder.kind(task.variant.kind)
    now = runtime_here(kind, task.builder.spec.runtime_of(kind.name))
    before = shipped_with(task.reference, kind) if isinstance(task.reference, Baseline) else None
    change = runtime_change(before, now)
    if change:
        return f"Runtime changed {change}: ship the one that the release had, or find out what it does more."
    version = now.package if now else "unknown"
    return (
        f"The runtime is {version}{', as it was' if before else ''}: look for another build of it, a patch, or a setting of "
        "its environment."
    )
