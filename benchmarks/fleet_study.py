"""Five hundred models: seconds to collect them, the size of the reports, and the lines in the terminal.

    python benchmarks/fleet_study.py [--models 500] [--write FOLDER]

The models are declared in a pyproject.toml and collected by a real pytest. The reports are made from the records of a real run, which
`tests/data` has, one for each model; one in ten is red.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from pytest_onnxlite.checks.verdict import Outcome
from pytest_onnxlite.records import Record
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.report import document, html, markdown, terminal

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "data" / "report-0.1.0-before-msgspec.json"


def fleet(records: tuple[Record, ...], models: int, red: int = 10) -> tuple[Record, ...]:
    """Return records of so many models, of which one in `red` fails its size."""
    made = []
    for number in range(models):
        record = replace(
            records[number % len(records)], model=f"m{number:03}", test=f"tests/test_fleet.py::m{number:03}"
        )
        if number % red == 0:
            verdicts = [
                replace(v, outcome=Outcome.FAIL, red=True, message="size: 3.0 MiB, 2.0 MiB is allowed")
                if v.check == "size"
                else v
                for v in record.verdicts
            ]
            record = replace(record, verdicts=tuple(verdicts))
        made.append(record)
    return tuple(made)


def _children() -> float:
    """Return the processor time of the processes that have ended: what others do on the machine is not in it."""
    times = os.times()
    return times.children_user + times.children_system


def seconds_to_collect(models: int) -> tuple[float, float]:
    """Return the seconds of processor time that pytest takes to collect so many declared models, and one, the best of three runs each."""
    found = []
    for count in (models, 1):
        with tempfile.TemporaryDirectory() as folder:
            tables = [
                f'[tool.onnxlite.models.m{number}]\nint8 = "m{number}.onnx"\ndata = "data.npz"\nsize = {{max = "1 MB"}}'
                for number in range(count)
            ]
            (Path(folder) / "pyproject.toml").write_text("\n".join(["[tool.pytest.ini_options]", *tables]))
            command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
            best = float("inf")
            for _ in range(3):
                began = _children()
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
                best = min(best, _children() - began)
            tests = sum("::" in line for line in done.stdout.splitlines())
            assert tests == count, done.stdout + done.stderr
            found.append(best)
    return found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    checks = Registry.load().checks
    sample = document.load(SAMPLE, checks)
    records = fleet(sample.records, arguments.models)
    whole = replace(sample, records=records, verdict="fail")
    many, one = seconds_to_collect(arguments.models)
    print(
        f"collecting {arguments.models} declared models: {many:.2f} s, one: {one:.2f} s, the difference: {many - one:.2f} s"
    )
    for name, render in (("HTML", html.render), ("Markdown", markdown.render)):
        began = time.perf_counter()
        text = render(whole, checks)
        print(f"{name}: {len(text.encode()) / 1e6:.2f} MB in {time.perf_counter() - began:.1f} s")
        if arguments.write is not None:
            (arguments.write / f"fleet.{name.lower()}").write_text(text, encoding="utf-8")
    print(
        f"table: {len(terminal.table(records, checks, everything=False))} lines, with -v {len(terminal.table(records, checks))}"
    )
    print(f"remarks below it: {len(terminal.notes(records, checks, 0))} lines")


if __name__ == "__main__":
    main()
