"""Are the times that we report true? They stand against a bare loop; memory_study.py does the same for memory.

python benchmarks/truth_study.py      two minutes on two cores; prints a table
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def times(folder: Path) -> str:
    """Return the table of reported and bare times."""
    command = [sys.executable, "-m", "pytest", str(HERE / "truth_checks.py"), "-q", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(folder), "-c", os.devnull]
    (folder / "truth.jsonl").unlink(missing_ok=True)
    subprocess.run(command, env={**os.environ, "ONNXLITE_STUDY": str(folder)}, check=True, capture_output=True)
    lines = ["| model | reported | bare loop | difference |", "|---|---|---|---|"]
    for line in (folder / "truth.jsonl").read_text().splitlines():
        row = json.loads(line)
        difference = row["reported"] / row["bare"] - 1
        lines.append(
            f"| {row['model']} | {row['reported'] * 1e6:,.1f} µs | {row['bare'] * 1e6:,.1f} µs | {difference:+.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(times(Path(folder)))


if __name__ == "__main__":
    main()
