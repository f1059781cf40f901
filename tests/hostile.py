"""A project with everything that a guard reads, and the entries by which it is read: what became of a hostile file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from mutations import SAMPLES

from pytest_onnxlite.__main__ import main
from pytest_onnxlite.baseline.record import BrokenBaseline
from pytest_onnxlite.baseline.store import BaselineStore
from pytest_onnxlite.declared.datafile import DataFile, read_arrays
from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint import check_graph, signature, summarize
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.spec.dataset import Dataset

from onnx_models import lookup

# Says that our code, or pytest around it, met what it did not expect.
_TRACEBACK = re.compile(r"Traceback \(most recent|INTERNALERROR|^E?\s*[\w./-]*pytest_onnxlite/[\w/]+\.py:\d+:", re.M)
_MODEL = """
[tool.onnxlite.models.{name}]
onnx = "{name}/onnx.onnx"
int8 = "{name}/int8.onnx"
data = "{name}/data.npz"
accuracy = {{max_drop = 0.01}}
size = {{ratio = 1.0}}
outputs = {{}}
graph = {{}}
"""
# What latency and memory keep of a machine.
_TIMED = {
    "description": {"os": "linux", "architecture": "x86_64", "cpu": "a processor", "cpus": 2, "isa": ["avx2"]},
    "latency": {
        "batch_size": 1, "fast": 7.78e-06, "pace": 0.000209, "seconds": 1.38e-05, "shapes": {"index": [1, 1]},
        "sibling_ratio": 1.0683, "threads": 1,
    },
    "memory": {
        "batch_size": 1, "load": 10096640, "method": "VmHWM", "run": 10276864, "shapes": {"index": [1, 1]}, "threads": 1,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Tried:
    """What became of one entry: whether it went through, how it was refused, and the traceback if there was one."""

    passed: bool
    text: str
    crashed: bool = False


def attempt(entry: Callable[[], object]) -> Tried:
    """Call an entry; only a user's mistake may be raised."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = entry()
    except OnnxliteError as error:
        text = str(error)
        return Tried(False, text, crashed=not text or _TRACEBACK.search(text) is not None)
    except Exception:
        return Tried(False, traceback.format_exc(), crashed=True)
    return Tried(code in (0, None), said.getvalue(), crashed=_TRACEBACK.search(said.getvalue()) is not None)


def command(*arguments: object) -> Tried:
    """Run `python -m pytest_onnxlite` in this process."""
    return attempt(lambda: main([str(argument) for argument in arguments]))


def read_graph(path: Path, reference: Path | None = None) -> Tried:
    """Ask all that `lint` tells about a model."""

    def entry() -> int:
        findings = check_graph(path, reference)
        summarize(path)
        signature(path)
        return 1 if any(finding.severity == "error" for finding in findings) else 0

    return attempt(entry)


def read_data(path: Path) -> Tried:
    """Read evaluation data as a declared model does."""
    return attempt(lambda: Dataset(*read_arrays(DataFile(path), "data", labelled=True)) and None)


@dataclass
class Run:
    """What a run of pytest came to.

    Attributes:
        code: its exit code.
        text: what it printed.
        outcomes: by the model's name, whether each of its tests passed.
    """

    code: int
    text: str
    outcomes: dict[str, list[bool]] = field(default_factory=dict)

    @property
    def crashed(self) -> bool:
        """Whether it ended otherwise than by judging, or shows a traceback."""
        return self.code not in (0, 1, 4) or _TRACEBACK.search(self.text) is not None

    def is_green(self, model: str) -> bool:
        """Whether every test of a model passed, and there is one."""
        return bool(self.outcomes.get(model)) and all(self.outcomes[model])


class _Outcomes:
    """A pytest plugin that keeps what became of each test."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, bool]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        tests = self.found.setdefault(report.nodeid.split("::")[1], {})
        tests[report.nodeid] = tests.get(report.nodeid, True) and (
            report.passed if report.when == "call" else not report.failed
        )


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def digests(folder: Path) -> dict[Path, str]:
    """Return the hash of each file below a folder."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def lose(folder: Path) -> None:
    """Let a model of a fortress answer a tenth of the samples wrong."""
    answers = np.load(folder / "data.npz")["y"]
    lookup(folder / "int8.onnx", (answers + (np.arange(SAMPLES) < SAMPLES // 10)) % 10, int8=True)


def with_figures_of_a_machine(baseline: bytes) -> bytes:
    """Return a baseline with what latency and memory keep, which take seconds to measure."""
    content = json.loads(baseline)
    content["machines"]["linux-x86_64-2cpu-000000000000"] = _TIMED
    content["first"] |= {"latency_ratio": 1.1, "memory_ratio": 1.0}
    return json.dumps(content).encode()


class Fortress:
    """A project of many declared models, all alike, each with files and a baseline of its own."""

    def __init__(self, folder: Path, models: int) -> None:
        self.folder = folder
        self.names = [f"m{number:03}" for number in range(models)]
        answers = np.random.default_rng(0).integers(0, 10, SAMPLES)
        first = folder / "files"
        first.mkdir(parents=True)
        lookup(first / "onnx.onnx", answers)
        lookup(first / "int8.onnx", answers, int8=True)
        np.savez(first / "data.npz", x=np.arange(SAMPLES).reshape(-1, 1), y=answers)
        for name in self.names:
            shutil.copytree(first, folder / name)
        self.declare(self.names)

    def declare(self, names: list[str]) -> None:
        """Declare some of the models."""
        text = "".join(_MODEL.format(name=name) for name in names)
        (self.folder / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\n{text}")

    def run(self, *arguments: str) -> Run:
        """Run pytest there, in this process."""
        outcomes, said = _Outcomes(), io.StringIO()
        fixed = ["-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", "--onnxlite-cache-dir=cache"]
        with _inside(self.folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = pytest.main([*fixed, *arguments], plugins=[outcomes])
        return Run(int(code), said.getvalue(), {name: list(tests.values()) for name, tests in outcomes.found.items()})

    def baseline(self, name: str) -> Path:
        """Return the place of a model's baseline."""
        return self.folder / "baselines" / name / "int8.json"

    def broken(self) -> set[Path]:
        """Return the baselines that cannot be read: no save may change them."""
        store, found = BaselineStore(self.folder / "baselines", Registry.load().checks), set()
        for model, variant in store.saved():
            try:
                store.load(model, variant)
            except BrokenBaseline:
                found.add(store.path(model, variant))
        return found


def red_project(folder: Path, *arguments: str) -> Path:
    """Return a project whose one model got worse since its baseline was saved, with red.json and bundles of that.

    One that is there already is taken as it is.
    """
    if not folder.exists():
        fortress = Fortress(folder, 1)
        assert fortress.run("--onnxlite-save-baseline").code == 0
        path = fortress.baseline("m000")
        path.write_bytes(with_figures_of_a_machine(path.read_bytes()))
        lose(folder / "m000")
        asked = ("--onnxlite-report=red.json", "--onnxlite-bundle=bundles", "--onnxlite-bundle-data")
        assert fortress.run("--onnxlite-baseline", *asked, *arguments).code == 1
    return folder
