"""What a whole run concludes: which baselines nobody looked at, and whether anything was guarded at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Run:
    """What is known about the guarded tests of a run; on the controller, where tests run in workers.

    Attributes:
        records: by test, what its guard recorded; the last attempt counts.
        unjudged: guarded tests that ended badly before their limits were judged.
        deselected: whether tests were left out by an option.
        findings: what is wrong with the run as a whole, which no single test can say.
        remarks: what is worth knowing about the run and not wrong.
        saved: what became of the baselines to be saved.
    """

    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    unjudged: dict[str, bool] = field(default_factory=dict)
    deselected: bool = False
    findings: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    saved: list[Any] = field(default_factory=list)

    def note(self, test: str, failed: bool, records: list[dict[str, Any]] | None) -> None:
        """Take what the report of one phase of a guarded test says."""
        if records is not None:
            self.records[test] = records
            self.unjudged.pop(test, None)
        elif failed and test not in self.records:
            self.unjudged[test] = True

    def all_records(self) -> list[dict[str, Any]]:
        """Return every record, in the order of the tests."""
        return [record for records in self.records.values() for record in records]


def covers_all(arguments: Sequence[str], invocation: Path, root: Path, testpaths: Sequence[str]) -> bool:
    """Tell whether a run's arguments reach every test of the project: each of its test paths, or its root.

    Args:
        arguments: files, folders and test ids, as pytest was given them or chose them itself.
        invocation: the folder that relative arguments start from.
        root: the project's root folder.
        testpaths: the ini option `testpaths`.
    """
    if any("::" in argument for argument in arguments):
        return False
    given = [Path(invocation, argument).resolve() for argument in arguments] or [invocation.resolve()]
    wanted = [path.resolve() for pattern in testpaths for path in root.glob(pattern)] or [root.resolve()]
    return all(any(path == folder or folder in path.parents for folder in given) for path in wanted)


def baseline_findings(
    records: Iterable[Mapping[str, Any]],
    unjudged: Sequence[str],
    saved: Iterable[tuple[str, str]],
    full: bool,
) -> tuple[list[str], list[str]]:
    """Judge the run as a whole under `--onnxlite-baseline`.

    Args:
        records: what the guarded tests recorded.
        unjudged: guarded tests that failed on their own before their limits were judged.
        saved: model and variant of each baseline there is.
        full: whether the run reached every test.

    Returns:
        What is wrong, and what is only worth knowing.
    """
    looked = {(record["model"], record["variant"]) for record in records}
    if not looked and not unjudged:
        return [
            "nothing was guarded: no test of this run judged a model. Mark a test that takes a variant, such as "
            "@pytest.mark.onnxlite_accuracy on a test with the argument onnxlite_int8, and check that it is not "
            "skipped or deselected."
        ], []
    orphans = sorted(set(saved) - looked)
    if not orphans:
        return [], []
    names = ", ".join(f"{model}/{variant}.json" for model, variant in orphans)
    if not full or unjudged:
        return [], [f"baselines not looked at in this run: {names}"]
    return [
        f"no test looked at the baseline{'s' if len(orphans) > 1 else ''} {names}: whatever was guarded by it is no "
        "longer. Bring back its test or its model, or delete the file if the model is retired."
    ], []
