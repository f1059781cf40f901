"""The graph checks as a linter: files and folders in, findings out, without pytest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint.checking import find
from pytest_onnxlite.lint.finding import Finding, GraphError
from pytest_onnxlite.lint.rules import RULES, Rule
from pytest_onnxlite.text import unknown


@dataclass(frozen=True)
class Linted:
    """What was found in one file.

    Attributes:
        path: the file.
        findings: those that were asked for.
        unreadable: why nothing can be said about it; empty if it was checked.
    """

    path: Path
    findings: tuple[Finding, ...] = ()
    unreadable: str = ""


@dataclass(frozen=True)
class Report:
    """What a run of the linter found.

    Attributes:
        files: in the order in which they were checked.
        strict: whether a warning fails the run too.
    """

    files: tuple[Linted, ...]
    strict: bool = False

    def count(self, severity: str) -> int:
        """Return how many findings are of a severity."""
        return sum(finding.severity == severity for file in self.files for finding in file.findings)

    @property
    def exit_code(self) -> int:
        """0; 1 for an error, or a warning if it is strict; 2 if a file could not be checked."""
        if any(file.unreadable for file in self.files):
            return 2
        return int(bool(self.count("error") or (self.strict and self.count("warning"))))


def lint(
    paths: Sequence[Path],
    *,
    source: Path | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    exclude: Sequence[str] = (),
    strict: bool = False,
) -> Report:
    """Check files.

    Args:
        paths: ONNX files, and folders whose ONNX files are checked, those in folders within too.
        source: the float model that the one file was made from.
        select: the codes that are looked for, or how they begin, such as `OLX3`; all if there are none.
        ignore: the codes that are left out of those, or how they begin.
        exclude: names, globs or operator types of nodes that stay in float on purpose.
        strict: whether a warning fails the run too.

    Raises:
        OnnxliteError: there is nothing to check, or an argument that means nothing.
    """
    for name, codes in (("--select", select), ("--ignore", ignore)):
        for code in codes:
            _require_rule(name, code)
    files = [file for path in paths for file in _files(path)]
    if source is not None and len(files) > 1:
        raise OnnxliteError(
            f"--source names the float model of one file, and {len(files)} are to be checked. Check them one by one."
        )
    return Report(tuple(_lint(file, source, tuple(select), tuple(ignore), exclude) for file in files), strict)


def rule(code: str) -> Rule:
    """Return a rule by its code.

    Raises:
        OnnxliteError: there is none.
    """
    _require_rule("explain", code)
    if code not in RULES:
        raise OnnxliteError(
            f"explain: {code} is how several codes begin: {', '.join(c for c in RULES if c.startswith(code))}."
        )
    return RULES[code]


def _require_rule(where: str, code: str) -> None:
    if not code or not any(known.startswith(code) for known in RULES):
        families = sorted({known[:4] for known in RULES})
        raise OnnxliteError(
            f"{where}: {unknown('code', code, [*RULES], 'Codes begin with ' + ', '.join(families) + '; there are')}"
        )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    # A link that leads nowhere is named too: it cannot be checked, and is told.
    found = sorted(file for file in path.rglob("*.onnx") if not file.is_dir())
    if not found:
        raise OnnxliteError(f"{path} holds no .onnx file: nothing would be checked. Name the files, or another folder.")
    return found


def _lint(
    file: Path, source: Path | None, select: tuple[str, ...], ignore: tuple[str, ...], exclude: Sequence[str]
) -> Linted:
    try:
        findings, stopped = find(file, source, tuple(exclude))
    except GraphError as error:
        return Linted(file, unreadable=str(error))
    kept = [
        finding
        for finding in findings
        if (not select or finding.code.startswith(select)) and not (ignore and finding.code.startswith(ignore))
    ]
    # A check that was stopped is told whatever was asked for: 0 is never said of what was not looked at.
    return Linted(file, (*kept, *stopped))
