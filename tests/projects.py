"""A user's project to run pytest in, and the example model that most of them guard."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

REPOSITORY = Path(__file__).parents[1]
# For tests of what is red: to say why takes longer than to judge, and tests/explain shows it.
UNEXPLAINED = "--onnxlite-explain-time=0"


@dataclass(frozen=True)
class Digits:
    """The example CNN: its files, and the evaluation data of real digits."""

    trained: Path
    onnx: Path
    int8: Path
    x: Any
    y: Any


def once(place: Path, make: Callable[[], None]) -> None:
    """Make what lies at a place that all workers share, if no worker has made it."""
    made = Path(f"{place}.made")
    with FileLock(f"{place}.lock"):
        if not made.exists():
            make()
            made.touch()


def once_made(place: Path, make: Callable[[], Any]) -> Any:
    """Return what lies pickled at a place that all workers share, made by the first one that asks."""

    def keep() -> None:
        place.write_bytes(pickle.dumps(make()))

    once(place, keep)
    return pickle.loads(place.read_bytes())


class Project:
    """A user's project: model files, evaluation data, a conftest.py and a test file."""

    def __init__(self, pytester: pytest.Pytester, cache: Path) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self._cache = cache

    def write(
        self,
        files: dict[str, Path],
        x: Any,
        y: Any = None,
        *,
        markers: str = "@pytest.mark.onnxlite_accuracy",
        variant: str = "int8",
        body: str = "pass",
        spec: str = "",
        test: str | None = None,
    ) -> None:
        """Write the project: `files` by the spec's argument (trained, onnx, int8)."""
        arguments = []
        for argument, source in files.items():
            name = f"{argument}{source.suffix}"
            shutil.copyfile(source, self.path / name)
            arguments.append(f"{argument}={name!r}")
        labels = {} if y is None else {"y": y}
        np.savez(self.path / "data.npz", x=x, **labels)
        data = "Dataset(data['x'])" if y is None else "Dataset(data['x'], data['y'])"
        if spec:
            arguments.append(spec)
        self.pytester.makeconftest(
            f"""
            import numpy as np
            import pytest
            from pytest_onnxlite import *

            data = np.load("data.npz")

            @pytest.fixture(scope="session")
            def onnxlite_model():
                return ModelSpec("digits", evaluation={data}, {", ".join(arguments)})
            """
        )
        marked = "\n".join(line.strip() for line in markers.strip().splitlines())
        text = test or f"import pytest\n\n{marked}\ndef test_release(onnxlite_{variant}):\n    {body}\n"
        (self.path / "test_release.py").write_text(text)

    def replace(self, name: str, source: Path) -> None:
        """Put another model file in the place of one."""
        shutil.copyfile(source, self.path / name)

    def run(self, *arguments: str, subprocess: bool = False) -> pytest.RunResult:
        """Run pytest there, with the cache that all tests share."""
        run = self.pytester.runpytest_subprocess if subprocess else self.pytester.runpytest
        return run(f"--onnxlite-cache-dir={self._cache}", *arguments)

    def save(self, *arguments: str) -> pytest.RunResult:
        """Save baselines, which must succeed."""
        result = self.run("--onnxlite-save-baseline", *arguments)
        assert result.ret == 0, result.stdout.str()
        return result

    def compare(self, *arguments: str) -> pytest.RunResult:
        """Compare with the baselines."""
        return self.run("--onnxlite-baseline", *arguments)

    @property
    def baseline(self) -> Path:
        """The one baseline file there is."""
        (path,) = self.path.glob("baselines/*/*.json")
        return path

    @property
    def artefact(self) -> Path:
        """The one artefact there is."""
        (path,) = self.path.glob("baselines/*/*.onnx")
        return path
