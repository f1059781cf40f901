"""What a whole run concludes: which baselines nobody looked at, and whether anything was guarded at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_onnxlite.records import Record
    from pytest_onnxlite.saving import Saved


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
        deselected: whether tests were left out by an option.
        findings: what is wrong with the run as a whole, which no single test can say.
        remarks: what is worth knowing about the run and not wrong.
        saved: what became of the baselines to be saved.
        annotations: lines that a CI service turns into notes at the tests' places.
    """

    records: dict[str, list[Record]] = field(default_factory=dict)
    unjudged: dict[str, Unjudged] = field(default_factory=dict)
    deselected: bool = False
    findings: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    annotations: list[str] = field(default_factory=list)

    def note(self, test: str, failed: bool, records: list[Record] | None, report: Any = None) -> None:
        """Take what the report of one phase of a guarded test says."""
        if records is not None:
            self.records[test] = records
            self.unjudged.pop(test, None)
        known = self.records.get(test, ())
        if not failed or any(record.is_red for record in known):
            return
        path, line, _ = getattr(report, "location", ("", None, ""))
        reason = str(getattr(report, "longreprtext", "")).strip()
        # A teardown fails after the limits were judged, and so does a strict xfail whose test passes.
        what = "failed although its limits hold" if known else "failed before its limits were judged"
        self.unjudged[test] = Unjudged(test, Path(path).as_posix(), (line or 0) + 1, reason, what)

    def all_records(self) -> list[Record]:
        """Return every record, in the order of the tests."""
        return [record for records in self.records.values() for record in records]


def covers_all(
    arguments: Sequence[str], invocation: Path, root: Path, testpaths: Sequence[str], declaring: Sequence[Path] = ()
) -> bool:
    """Tell whether a run's arguments reach every test of the project: each of its test paths, or its root.

    Args:
        arguments: files, folders and test ids, as pytest was given them or chose them itself.
        invocation: the folder that relative arguments start from.
        root: the project's root folder.
        testpaths: the ini option `testpaths`.
        declaring: the files that declare models.
    """
    if any("::" in argument for argument in arguments):
        return False
    given = [Path(invocation, argument).resolve() for argument in arguments] or [invocation.resolve()]
    wanted = [path.resolve() for pattern in testpaths for path in root.glob(pattern)] or [root.resolve()]
    wanted += [path.resolve() for path in declaring]
    return all(any(path == folder or folder in path.parents for folder in given) for path in wanted)


def baseline_findings(
    records: Iterable[Record],
    unjudged: Sequence[str],
    saved: Mapping[tuple[str, str], Collection[str]],
    full: bool,
) -> tuple[list[str], list[str]]:
    """Judge the run as a whole under `--onnxlite-baseline`.

    Args:
        records: what the guarded tests recorded.
        unjudged: guarded tests that failed without a red verdict.
        saved: the checks that each baseline there is holds figures of, by model and variant.
        full: whether the run reached every test.

    Returns:
        What is wrong, and what is only worth knowing.
    """
    looked: dict[tuple[str, str], set[str]] = {}
    for record in records:
        looked.setdefault((record.model, record.variant), set()).update(record.limits)
    if not looked and not unjudged:
        return [
            "nothing was guarded: no test of this run judged a model. Mark a test that takes a variant, such as "
            "@pytest.mark.onnxlite_accuracy on a test with the argument onnxlite_int8, and check that it is not "
            "skipped or deselected."
        ], []
    orphans = [f"{model}/{variant}.json" for model, variant in sorted(set(saved) - set(looked))]
    # Of a baseline that was looked at, what was guarded once and no marker asks for any more.
    dropped = {
        f"{model}/{variant}.json": [check for check in saved[model, variant] if check not in asked]
        for (model, variant), asked in sorted(looked.items())
        if (model, variant) in saved
    }
    unasked = [f"{', '.join(checks)} of {name}" for name, checks in dropped.items() if checks]
    if not full or unjudged:
        remarks = [f"baselines not looked at in this run: {', '.join(orphans)}"] if orphans else []
        return [], [*remarks, *([f"saved and not looked at in this run: {'; '.join(unasked)}"] if unasked else [])]
    findings = []
    if orphans:
        findings.append(
            f"no test looked at the baseline{'s' if len(orphans) > 1 else ''} {', '.join(orphans)}: whatever was guarded "
            "by it is no longer. Bring back its test or its model, or delete the file if the model is retired."
        )
    if unasked:
        findings.append(
            f"the baseline holds what no test asked for: {'; '.join(unasked)}. It was guarded and is no longer. Bring "
            "back its marker, or, if it is meant, save anew without it: pytest --onnxlite-save-baseline"
        )
    return findings, []


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
        "@pytest.mark.onnxlite_accuracy."
    )
    return ([text], []) if full else ([], [text])
