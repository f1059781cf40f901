"""How far do two processes of one file and one runtime differ? Prints the tables behind `runtime="last"`.

python benchmarks/last_runtime_study.py --rounds 3                     a few minutes
python benchmarks/last_runtime_study.py --rounds 0 --out rounds.jsonl  print the tables alone

Candidate and last release are the same file, in a process each. The last release's runtime is the installed one, and the
candidate's is either the same, where every red is a false alarm, or a copy of it that waits a share of each run's time
before it returns: a runtime that is so much slower, and a little more, which the ratios show. Each check is judged as the guard judges it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from study_models import feeds_of, make_models

from pytest_onnxlite.baseline.fingerprint import describe_machine
from pytest_onnxlite.baseline.record import Artefact, Baseline
from pytest_onnxlite.checks.last_runtime import LastRuntime
from pytest_onnxlite.checks.latency.apart import Side, compare
from pytest_onnxlite.checks.latency.judge import judge_latency
from pytest_onnxlite.checks.latency.limit import APART, LatencyLimit
from pytest_onnxlite.checks.latency.measurement import Latency
from pytest_onnxlite.checks.memory.measure import measure as measure_memory
from pytest_onnxlite.checks.turns.comparison import Comparison
from pytest_onnxlite.checks.verdict import BASELINE
from pytest_onnxlite.spec.runtimes import Runtime

_LIMIT = LatencyLimit(max_slowdown=APART, max_time=60.0)
SLOWDOWNS = (0.0, 0.15, 0.25)
_SLOW = """
from time import perf_counter as _now

_ran = InferenceSession.run


def _run(self, *arguments, **options):
    start = _now()
    found = _ran(self, *arguments, **options)
    end = _now()
    until = end + {share} * (end - start)
    while _now() < until:
        pass
    return found


InferenceSession.run = _run
"""


def slowed(folder: Path, share: float) -> Path:
    """Make a folder of packages with a copy of the installed ONNX Runtime that waits a share of each run's time."""
    found = importlib.util.find_spec("onnxruntime")
    assert found is not None
    assert found.origin is not None
    package = folder / "onnxruntime"
    package.mkdir(parents=True)
    for entry in Path(found.origin).parent.iterdir():
        if entry.name not in ("__init__.py", "__pycache__"):
            (package / entry.name).symlink_to(entry)
    text = Path(found.origin).read_text()
    (package / "__init__.py").write_text(text + (_SLOW.format(share=share) if share else ""))
    return folder


def judge(found: Comparison) -> tuple[str, float]:
    """Return the guard's outcome, and the median ratio of the first set."""
    latency = Latency(1.0, (1.0,), 1, 1, 1, 1, {BASELINE: found})
    baseline = Baseline("study", "onnx", Artefact("study.onnx", "0" * 64, 1, kept=True))
    (verdict,) = judge_latency(_LIMIT, latency, baseline)
    return str(verdict.outcome), median(found.first)


def measure(out: Path, rounds: int) -> None:
    """Measure every model with every runtime; appends, so that rounds add up."""
    with tempfile.TemporaryDirectory() as folder:
        # Both sides load a copy, so that a copy is no difference.
        runtimes = {share: slowed(Path(folder) / f"{share:g}", share) for share in SLOWDOWNS}
        models = [model for model in make_models(Path(folder)) if "batch" not in model.name]
        for _ in range(rounds):
            for model in models:
                for share, packages in runtimes.items():
                    candidate = Side(model.path, Runtime(), packages)
                    reference = Side(model.path, Runtime(), runtimes[0.0])
                    start = time.perf_counter()
                    found = compare(candidate, reference, "the study's", feeds_of(model), _LIMIT, 1 + APART)
                    outcome, ratio = judge(found)
                    row = {"kind": "time", "model": model.name, "slower": share, "outcome": outcome, "ratio": ratio}
                    row |= {"lowest": min(found.first), "highest": max(found.first), "pairs": len(found.first)}
                    write(out, {**row, "seconds": time.perf_counter() - start, "load": os.getloadavg()[0]})
                last = LastRuntime("the study's", runtimes[0.0], Runtime())
                memory = measure_memory(model.path, model.path, feeds_of(model), model.batch_size, Runtime(), last)
                assert memory.reference is not None
                one, other = memory.candidate.highest, memory.reference.highest
                write(out, {"kind": "memory", "model": model.name, "bytes": one, "reference": other})


def write(out: Path, row: dict[str, Any]) -> None:
    """Append a row."""
    with out.open("a") as file:
        file.write(json.dumps(row) + "\n")


def tables(rows: list[dict[str, Any]]) -> list[str]:
    """Return the study's tables as Markdown."""
    times = [row for row in rows if row["kind"] == "time"]
    loads = sorted(row["load"] for row in times)
    groups: dict[tuple[float, str], list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(times, key=lambda row: row["slower"]):
        groups[row["slower"], row["model"]].append(row)
        groups[row["slower"], "**all**"].append(row)
    lines = [
        f"Load average {loads[0]:.1f} to {loads[-1]:.1f}, {median(loads):.1f} in the median; limit {APART:.0%}.",
        "",
        "| candidate's runtime | model | checks | ratio of one pair of processes | median ratio of a check | red | inconclusive | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (slower, model), group in sorted(groups.items(), key=lambda pair: (pair[0][0], pair[0][1] == "**all**")):
        reds = sum(row["outcome"] == "fail" for row in group)
        unsure = sum(row["outcome"] == "inconclusive" for row in group)
        pairs = f"{min(row['lowest'] for row in group):.2f} to {max(row['highest'] for row in group):.2f}"
        checks = f"{min(row['ratio'] for row in group):.3f} to {max(row['ratio'] for row in group):.3f}"
        name = f"{slower:.0%} slower" if slower else "the same"
        lines.append(
            f"| {name} | {model} | {len(group)} | {pairs} | {checks} | {reds}/{len(group)} | {unsure} | "
            f"{median(row['seconds'] for row in group):.0f} |"
        )
    lines += ["", "| model | measurements | memory, largest difference |", "|---|---|---|"]
    peaks: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "memory":
            peaks[row["model"]].append(abs(row["bytes"] / row["reference"] - 1))
    lines += [f"| {model} | {len(found)} | {max(found):.2%} |" for model, found in peaks.items()]
    return lines


def main() -> None:
    """Measure the rounds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("last-runtime-study.jsonl"))
    args = parser.parse_args()
    measure(args.out, args.rounds)
    machine = describe_machine()
    print(
        f"{machine.cpu} ({', '.join(machine.isa)}), {machine.cpus:g} CPUs, {machine.os}, Python {platform.python_version()}, "
        f"onnxruntime {machine.onnxruntime}\n"
    )
    print("\n".join(tables([json.loads(line) for line in args.out.read_text().splitlines()])))


if __name__ == "__main__":
    main()
