"""What a run of many small models costs: seconds per check, warm.

python benchmarks/warm_study.py                      40 declared models with five limits each, and the two examples
python benchmarks/warm_study.py --models 4 --profile  where the time of a run goes, by function

A run is warm: models are built, baselines saved, and Python may keep its bytecode, without which each process compiles pytest's plugins
anew (PYTHONDONTWRITEBYTECODE is left out). Figures are worth something only where nothing else is at work.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, save

REPOSITORY = Path(__file__).parents[1]
LIMITS = "accuracy = {}\nsize = {}\ngraph = {}\nlatency = {max_slowdown = 0.1}\nmemory = {max_growth = 0.1}\n"
WIDTH, SAMPLES = 64, 200


def write_model(path: Path, seed: int) -> None:
    """Save a tiny model, two dense layers, and its evaluation data with the labels that it gives itself."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(size=(WIDTH, WIDTH)).astype(np.float32) for name in ("w0", "w1")}
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w1"], ["y"], name="second"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH]) for name in ("x", "y"))
    graph = helper.make_graph(
        nodes, "tiny", [x], [y], [numpy_helper.from_array(value, name) for name, value in weights.items()]
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    inputs = rng.normal(size=(SAMPLES, WIDTH)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.savez(path.with_suffix(".npz"), x=inputs, y=np.asarray(session.run(None, {"x": inputs})[0]).argmax(axis=1))


def write_project(folder: Path, models: int) -> None:
    """Write a project that declares so many models."""
    tables = []
    for number in range(models):
        write_model(folder / f"m{number}.onnx", number)
        tables.append(
            f'[tool.onnxlite.models.m{number}]\nonnx = "m{number}.onnx"\ndata = "m{number}.npz"\nvariants = ["onnx"]\n{LIMITS}'
        )
    (folder / "pyproject.toml").write_text("\n".join(tables))


def run(folder: Path, *arguments: str, profile: Path | None = None) -> tuple[float, dict[str, list[float]], int]:
    """Run pytest there; return its seconds, those of its tests by check, and how it ended."""
    with tempfile.TemporaryDirectory() as work:
        junit = Path(work, "junit.xml")
        command = [sys.executable, *(["-m", "cProfile", "-o", str(profile)] if profile else []), "-m", "pytest", "-q"]
        start = time.monotonic()
        done = subprocess.run(
            [*command, "-p", "no:randomly", f"--junitxml={junit}", *arguments],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - start
        if not junit.is_file():
            raise SystemExit(done.stdout + done.stderr)
        checks: dict[str, list[float]] = defaultdict(list)
        for case in ElementTree.parse(junit).iterfind(".//testcase"):
            checks[str(case.get("name")).rpartition("::")[2]].append(float(case.get("time", 0)))
    return seconds, checks, done.returncode


def table(title: str, runs: list[tuple[float, dict[str, list[float]], int]]) -> None:
    """Print the seconds of a run, and of each check, as the median of the runs."""
    print(f"\n{title}: {np.median([seconds for seconds, _, _ in runs]):.1f} s a run, median of {len(runs)}")
    red = sum(code != 0 for _, _, code in runs)
    print(f"{red} of {len(runs)} runs were not green")
    print("| check | tests | seconds each | seconds in all |\n|---|---|---|---|")
    for check in sorted({name for _, checks, _ in runs for name in checks}):
        totals = [sum(checks.get(check, ())) for _, checks, _ in runs]
        count = len(runs[0][1].get(check, ()))
        print(f"| {check} | {count} | {np.median(totals) / max(count, 1):.2f} | {np.median(totals):.1f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="profile one run, in place of the tables")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="warm-") as name:
        folder = Path(name)
        write_project(folder, asked.models)
        _, _, code = run(folder, "--onnxlite-save-baseline")
        print(f"saved {asked.models} models, {'all of them' if code == 0 else 'not all of them'}")
        if asked.profile:
            import pstats

            kept = folder / "profile"
            run(folder, "--onnxlite-baseline", profile=kept)
            pstats.Stats(str(kept)).sort_stats("cumulative").print_stats(60)
            return
        table(
            f"{asked.models} tiny models, five limits each",
            [run(folder, "--onnxlite-baseline") for _ in range(asked.runs)],
        )
    run(REPOSITORY, "examples", "--onnxlite-baseline")  # builds what is not in the cache yet
    table("The two examples", [run(REPOSITORY, "examples", "--onnxlite-baseline") for _ in range(asked.runs)])


if __name__ == "__main__":
    main()
