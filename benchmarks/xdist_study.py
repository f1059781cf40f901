"""Latency under pytest-xdist: are the verdicts those of a run without workers?

A project with ten models, five of them as they were released, in other bytes, and five slower, is judged ten times each, next to tests that keep a
processor busy: in one process, and with workers. Prints how many checks passed, how many were red and why, and what they took.

    nice python benchmarks/xdist_study.py --workers 2 --layers 5
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from onnx_models import dense, in_other_bytes

LAYERS = 4
CONFTEST = """
import numpy as np
import pytest
from pytest_onnxlite import Dataset, ModelSpec

@pytest.fixture(scope="session", params=[f"{kind}{n}" for kind in ("same", "slower") for n in range(MODELS)])
def onnxlite_model(request):
    return ModelSpec(request.param, onnx=f"{request.param}.onnx", evaluation=Dataset(np.load("data.npz")["x"]))
"""
TESTS = """
import time
import pytest

@pytest.mark.parametrize("number", range(TIMES))
@pytest.mark.onnxlite_latency(max_slowdown=0.1, max_time=20)
def test_latency(onnxlite_onnx, number):
    pass

@pytest.mark.parametrize("number", range(40))
def test_busy(number):
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        pass
"""


def judged(folder: Path, *arguments: str) -> tuple[dict[str, list[dict[str, object]]], float]:
    """Run the project; returns its verdicts against the last release by the kind of model, and the seconds it took."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    began = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--onnxlite-explain-time=0"]
    done = subprocess.run(
        [*command, f"--onnxlite-report={report}", *arguments], cwd=folder, capture_output=True, text=True
    )
    took = time.perf_counter() - began
    if not report.exists():
        raise SystemExit(done.stdout + done.stderr)
    found: dict[str, list[dict[str, object]]] = {"same": [], "slower": []}
    for record in json.loads(report.read_text())["records"]:
        kind = record["model"].rstrip("0123456789")
        found[kind] += [v for v in record["verdicts"] if v["check"] == "latency" and v["against"] == "baseline"]
    return found, took


def main() -> None:
    """Run the study, and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--models", type=int, default=5, help="of each kind")
    parser.add_argument("--times", type=int, default=10, help="checks of each model")
    parser.add_argument("--layers", type=int, default=LAYERS + 1, help=f"of the slower ones; the others have {LAYERS}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = [f"{kind}{n}" for kind in ("same", "slower") for n in range(arguments.models)]
        for name in names:
            dense(folder / f"{name}.onnx", LAYERS)
        np.savez(folder / "data.npz", x=np.ones((4, 256), np.float32))
        (folder / "conftest.py").write_text(CONFTEST.replace("MODELS", str(arguments.models)))
        (folder / "test_release.py").write_text(TESTS.replace("TIMES", str(arguments.times)))
        judged(folder, "--onnxlite-save-baseline", "-n0", "-k", "test_latency and 0")
        for name in names:
            path = folder / f"{name}.onnx"
            if name.startswith("slower"):
                dense(path, arguments.layers)
            else:
                in_other_bytes(path, path)
        print(
            f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; the slower ones have {arguments.layers}/{LAYERS} of the layers.\n"
        )
        print("| run | models | checks | pass | fail | inconclusive | other | seconds in all |")
        print("|---|---|---|---|---|---|---|---|")
        for workers in (0, arguments.workers):
            found, took = judged(folder, "--onnxlite-baseline", f"-n{workers}")
            for kind, verdicts in found.items():
                counts = Counter(str(v["outcome"]) for v in verdicts)
                passed = counts.pop("pass", 0) + counts.pop("improved", 0)
                failed, unsure = counts.pop("fail", 0), counts.pop("inconclusive", 0)
                rest = sum(counts.values())
                print(
                    f"| -n {workers} | {kind} | {len(verdicts)} | {passed} | {failed} | {unsure} | {rest} | {took:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
