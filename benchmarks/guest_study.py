"""What the plugin costs: unused, cold and warm, for many declared models, and for each marker.

python benchmarks/guest_study.py      about five minutes on two cores; installs into a temporary folder, prints tables
python benchmarks/guest_study.py --write docs/guest.md      puts them there too
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
import venv
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from pytest_onnxlite.statistics import median_interval

REPOSITORY = Path(__file__).parents[1]
HEAVY = ("numpy", "onnx", "onnx_ir", "onnxruntime", "hypothesis", "sympy", "filelock", "keras", "tensorflow")
MODELS = 500
TESTS = 500
MARK = "<!-- measured -->"

# What pip installs into an environment of its own, call by call, by the name of the row. Without what the plugin needs
# where it is used: unused, it has to do without.
PYTEST = f"pytest=={version('pytest')}"
BENCHMARK = f"pytest-benchmark=={version('pytest-benchmark')}"
OURS = ["--no-deps", str(REPOSITORY)]
ALONE = "pytest alone"
# pytest reads the list of the files of each plugin that is installed.
UNLISTED = "with pytest-onnxlite, if it had one file"
START = {
    ALONE: ([PYTEST],),
    "with pytest-benchmark": ([PYTEST, BENCHMARK],),
    "with pytest-onnxlite": ([PYTEST], OURS),
    UNLISTED: ([PYTEST], OURS),
    "with both": ([PYTEST, BENCHMARK], OURS),
}

# Says at the end what was imported.
SPY = f"""
import json, os, sys

def pytest_unconfigure():
    with open(os.environ["ONNXLITE_STUDY"], "w") as file:
        json.dump([name for name in {HEAVY!r} if name in sys.modules], file)
"""


def child(
    folder: Path, *arguments: str, python: str | Path = sys.executable, **environment: str
) -> tuple[float, float, str]:
    """Run pytest; return its seconds by the clock, those of its processor time, and what it printed."""
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    # Python keeps what it compiled, as it does wherever nobody forbids it.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**inherited, **environment}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 5):
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, busy, done.stdout


def environments(folder: Path) -> dict[str, Path]:
    """Return the Python of each row of the start-up table, in an environment of its own, installed as users do it."""
    pythons = {}
    for number, (name, calls) in enumerate(START.items()):
        venv.create(folder / str(number), with_pip=True)
        python = folder / str(number) / "bin" / "python"
        for arguments in calls:
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
            subprocess.run(pip, check=True)
        if name == UNLISTED:
            (files,) = (folder / str(number)).rglob("pytest_onnxlite-*.dist-info/RECORD")
            files.write_text("pytest_onnxlite/__init__.py,,\n")
        pythons[name] = python
    return pythons


def start_up(folder: Path, rounds: int) -> str:
    """Return the table of start-up times: the rows take turns, in an order that changes.

    A row is compared with pytest alone in the same round, so that a machine that is slower for a while counts in both.
    """
    folder.mkdir()
    pythons = environments(folder)
    tests = folder / "tests"
    tests.mkdir()
    (tests / "test_other.py").write_text("def test_other(): pass\n")
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in START}
    order = np.random.default_rng(0)
    for number in range(rounds + 1):
        for name in order.permutation(list(START)):
            seconds, busy, _ = child(tests, "-q", python=pythons[name])
            if number:  # the first compiles
                measured[name].append((seconds * 1e3, busy * 1e3))
    lines = [
        f"| one empty test, {rounds} rounds | by the clock | more than alone | processor time | more than alone |",
        "|---|---|---|---|---|",
    ]
    for name, times in measured.items():
        cells = []
        for own, alone in zip(zip(*times, strict=True), zip(*measured[ALONE], strict=True), strict=True):
            more = median_interval([a - b for a, b in zip(own, alone, strict=True)], 0.975)  # 0.95 for both bounds
            beside = "" if name == ALONE else f"{more.median:+.1f} ms ({more.lower:+.1f} to {more.upper:+.1f})"
            cells.append(f"{median(own):.0f} ms | {beside}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spied(folder: Path) -> tuple[Path, dict[str, str]]:
    """Make a folder with the plugin that writes what was imported; returns where to, and the environment it needs."""
    folder.mkdir()
    (folder / "spy.py").write_text(SPY)
    said = folder / "imported.json"
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return said, {"PYTHONPATH": path, "ONNXLITE_STUDY": str(said)}


def guard(folder: Path) -> str:
    """Return the table of the guard on this repository's examples, without and with a cache."""
    said, environment = spied(folder)
    lines = ["| `pytest --onnxlite-baseline` on the two examples | by the clock | imported |", "|---|---|---|"]
    for name in ("cold", "warm", "warm again"):
        arguments = ("-p", "spy", "--onnxlite-baseline", f"--onnxlite-cache-dir={folder / 'cache'}", "-q")
        seconds, _, _ = child(REPOSITORY, *arguments, **environment)
        lines.append(f"| {name} | {seconds:.1f} s | {', '.join(json.loads(said.read_text()))} |")
    return "\n".join(lines)


def declared(folder: Path) -> str:
    """Return the table of collecting declared models."""
    said, environment = spied(folder)
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    lines = ["| declared in pyproject.toml | collected in | by the clock | imported |", "|---|---|---|---|"]
    for count in (1, MODELS):
        (folder / "pyproject.toml").write_text(
            "".join(
                f'[tool.onnxlite.models.model{i}]\nonnx = "model{i}.onnx"\ndata = "data.npz"\n'
                "accuracy = {max_drop = 0.01}\nsize = {ratio = 0.25}\nlatency = {}\nmemory = {}\ngraph = {}\n"
                for i in range(count)
            )
        )
        # Other plugins import what they like.
        options = ["-pspy", "-ppytest_benchmark.plugin", "-ppytest_onnxlite.plugin", "--collect-only", "-q"]
        runs = [child(folder, *options, **environment) for _ in range(3)]
        inside = median(float(re.findall(r"tests? collected in ([\d.]+)s", text)[0]) for _, _, text in runs)
        seconds = median(seconds for seconds, _, _ in runs)
        imported = json.loads(said.read_text())
        lines.append(
            f"| {count} model{'s' * (count > 1)}, five limits each | {inside:.2f} s | {seconds:.2f} s | "
            f"{', '.join(imported) or 'nothing heavy'} |"
        )
    return "\n".join(lines)


def marker(folder: Path, rounds: int = 5) -> str:
    """Return the table of what a marker costs if nothing is measured: the test's baseline is not looked at."""
    folder.mkdir()
    weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64])],
        [weight],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    (folder / "conftest.py").write_text(
        "import numpy as np, pytest\nfrom pytest_onnxlite import Dataset, ModelSpec\n"
        '@pytest.fixture(scope="session")\ndef onnxlite_model():\n'
        '    return ModelSpec("m", onnx="model.onnx", evaluation=Dataset(np.ones((8, 64), np.float32)))\n'
    )
    forms = {
        "no marker": ("", "onnxlite_onnx"),
        "one marker": ("@pytest.mark.onnxlite_memory\n", "onnxlite_onnx"),
        "two markers": ("@pytest.mark.onnxlite_memory\n@pytest.mark.onnxlite_latency\n", "onnxlite_onnx"),
    }
    measured: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, (marks, fixture) in forms.items():
            skip = "" if marks else 'pytest.skip("as the others are")'
            (folder / "test_many.py").write_text(
                f'import pytest\n{marks}@pytest.mark.parametrize("n", range({TESTS}))\n'
                f"def test_many({fixture}, n): {skip or 'pass'}\n"
            )
            _, busy, _ = child(folder, "-q", "--no-header", f"--onnxlite-cache-dir={folder / 'cache'}")
            measured[name].append(busy)
    lines = [f"| {TESTS} tests that are skipped | processor time | more for each test |", "|---|---|---|"]
    for name, values in measured.items():
        more = (median(values) - median(measured["no marker"])) / TESTS
        lines.append(f"| {name} | {median(values):.2f} s | {more * 1e6:+.0f} µs |")
    return "\n".join(lines)


def machine() -> str:
    """Say where and with what this was measured."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    names = ("pytest", "pytest-benchmark", "numpy", "onnx", "onnxruntime", "tensorflow")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"Measured on {found[1] if found else platform.processor()}, {os.cpu_count()} processors{load}; "
        f"Python {platform.python_version()}, {versions}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="rounds of the start-up table")
    parser.add_argument("--write", type=Path, help="a Markdown file whose measured part is replaced")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users' plugins are compiled once
    here = machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [
            start_up(folder / "start", options.rounds),
            guard(folder / "guard"),
            declared(folder / "declared"),
            marker(folder / "marker"),
        ]
    text = "\n\n".join([*parts, here])
    print(text)
    if options.write:
        before, _, after = options.write.read_text().split(MARK)
        options.write.write_text(f"{before}{MARK}\n{text}\n{MARK}{after}")


if __name__ == "__main__":
    main()
