"""What releases lost one after the other, as a sum since the first: small steps that were each accepted add up."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_onnxlite.baseline.record import Baseline
from pytest_onnxlite.checks.verdict import FIRST, Outcome, Verdict
from pytest_onnxlite.commands import SAVE


def sum_since_first(baseline: Baseline, key: str, file: str, ratio: float | None) -> float | None:
    """Return how many times the first release's figure a candidate has; None if that is not known.

    Args:
        baseline: the last release's.
        key: where it keeps the product of what each release had of the one before.
        file: the SHA-256 of the candidate. One that was released before has the sum that it had then: measured anew it
            would be another by chance, and chance would be multiplied up.
        ratio: how many times the last release's figure it has; None if that was not measured.
    """
    known = baseline.sum_of(key, file)
    if known is not None:
        return known
    kept = baseline.first_of(key, float)
    return None if kept is None or ratio is None else round(kept * ratio, 4)


@dataclass(frozen=True)
class Total:
    """A limit on the sum since the first release.

    Attributes:
        check: the check's name.
        argument: the marker's, such as `max_growth_total`.
        figure: what the candidate has, for the table.
    """

    check: str
    argument: str
    figure: str

    def judge(self, text: str, is_too_much: bool, evidence: object) -> Verdict:
        """Judge a sum that is known.

        Args:
            text: what it is, and what is allowed, without a full stop.
            is_too_much: whether it exceeds what is allowed.
            evidence: the numbers.
        """
        if not is_too_much:
            return Verdict(self.check, FIRST, Outcome.PASS, self.figure, "", evidence)
        message = (
            f"{text}. It is the sum of what each release lost, which may each have been within its limit or accepted; "
            f"--onnxlite-accept does not accept it. Mend the model, or raise {self.argument}= if the sum is meant."
        )
        return Verdict(self.check, FIRST, Outcome.FAIL, self.figure, message, evidence)

    def unknown(self, outcome: Outcome, reason: str) -> Verdict:
        """Return the verdict if the sum is not known, or cannot be."""
        return Verdict(self.check, FIRST, outcome, self.figure, f"{self.argument}= cannot be judged: {reason}")

    def nothing_kept(self) -> Verdict:
        """Return the verdict if the baseline keeps nothing of the first release to compare with."""
        reason = f"the baseline keeps nothing of the first release that is comparable. Save anew with: {SAVE}"
        return self.unknown(Outcome.MISSING, reason)
