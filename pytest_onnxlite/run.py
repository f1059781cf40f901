"""What is known about the guarded tests of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_onnxlite.topics import PROCESSORS, see

if TYPE_CHECKING:
    from pytest_onnxlite.coverage.wording import Coverage
    from pytest_onnxlite.records import Record
    from pytest_onnxlite.saving import Saved


_FAILED_BESIDE = "failed although its limits hold"


@dataclass(frozen=True)
class Unjudged:
    """A guarded test that failed although no verdict of its is red: where it is, why, and what became of its limits."""

    test: str
    file: str
    line: int
    reason: str
    what: str


@dataclass
class Run:
    """What is known about the guarded tests of a run; on the controller, where tests run in workers.

    Attributes:
        records: by test, what its guard recorded; the last attempt counts.
        unjudged: by test, those that failed although no verdict of theirs is red.
        started: the tests that were started.
        skipped: by test, why it was skipped before it was judged.
        coverage: how much of what is guarded they looked at; None if nothing was compared or saved.
        findings: what is wrong with the run as a whole, which no single test can say.
        remarks: what is worth knowing about the run and not wrong.
        saved: what became of the baselines to be saved.
        annotations: lines that a CI service turns into notes at the tests' places.
        repeated: options that a suggested command needs to mean what this run does.
    """

    records: dict[str, list[Record]] = field(default_factory=dict)
    unjudged: dict[str, Unjudged] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    coverage: Coverage | None = None
    findings: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    annotations: list[str] = field(default_factory=list)
    repeated: tuple[str, ...] = ()

    def note(self, test: str, failed: bool, records: list[Record] | None, report: Any = None) -> None:
        """Take what the report of one phase of a guarded test says."""
        self.started.add(test)
        if getattr(report, "when", None) == "setup":
            # A new attempt; the last one counts. Within one, a subtest that failed makes its test a failed one.
            self.records.pop(test, None)
            self.unjudged.pop(test, None)
            self.skipped.pop(test, None)
        if getattr(report, "skipped", False) and records is None:
            self.skipped[test] = _reason_of(report)
        if records is not None:
            self.records[test] = records
            # What failed within its body before, such as a subtest, did not keep its limits from being judged.
            before = self.unjudged.pop(test, None)
            if before is not None and not any(record.is_red for record in records):
                self.unjudged[test] = replace(before, what=_FAILED_BESIDE)
        known = self.records.get(test, ())
        if not failed or test in self.unjudged or any(record.is_red for record in known):
            return
        path, line, _ = getattr(report, "location", ("", None, ""))
        reason = str(getattr(report, "longreprtext", "")).strip()
        # A teardown fails after the limits were judged, and so does a strict xfail whose test passes.
        what = _FAILED_BESIDE if known else "failed before its limits were judged"
        self.unjudged[test] = Unjudged(test, Path(path).as_posix(), (line or 0) + 1, reason, what)

    @property
    def is_red(self) -> bool:
        """Whether anything of it is red."""
        return bool(self.findings or self.unjudged or any(record.is_red for record in self.all_records()))

    def all_records(self) -> list[Record]:
        """Return every record, in the order of the tests."""
        return [record for records in self.records.values() for record in records]


def _reason_of(report: Any) -> str:
    """Return why a test was skipped, as pytest tells it: a file, a line, and a text."""
    said = getattr(report, "longrepr", None)
    return str(said[-1]).removeprefix("Skipped: ") if isinstance(said, tuple) else ""


def processor_findings(records: Iterable[Record], processors: Sequence[str], full: bool) -> tuple[list[str], list[str]]:
    """Say so where the run asks for processors, and no limit was there to be judged on them.

    Args:
        records: what the guarded tests recorded.
        processors: those that the run asks for, whatever the markers say.
        full: whether the run reached every test.

    Returns:
        What is wrong, and what is only worth knowing.
    """
    limits = [limit for record in records for limit in record.limits.values()]
    asked = {name for limit in limits for name in getattr(limit, "processors", ())}
    if not set(processors) - asked:
        return [], []
    text = (
        f"--onnxlite-processors={','.join(processors)} was asked for, and no test judged the accuracy of an ONNX variant: "
        "nothing was counted on another processor. Mark a test that takes onnxlite_onnx or onnxlite_int8 with "
        f"@pytest.mark.onnxlite_accuracy. {see(PROCESSORS)}"
    )
    return ([text], []) if full else ([], [text])
