"""What the tests share: the example models' files, and projects to run pytest in."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy  # noqa: F401  (see onnxruntime)
import onnxruntime  # noqa: F401  (imported here, so that runs of pytest within this process find it imported)
import pytest

import pytest_onnxlite.guard.guardian
import pytest_onnxlite.lint.checking  # noqa: F401  (see onnxruntime)
from pytest_onnxlite import Dataset, ModelSpec
from pytest_onnxlite.processors import this_processor
from pytest_onnxlite.variants.builder import Builder
from pytest_onnxlite.variants.cache import Cache

from projects import REPOSITORY, Digits, Project


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and count as deselected, what `.ci/thorough` runs."""
    if "thorough" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


@pytest.fixture(scope="session", autouse=True)
def _no_outer_run() -> Iterator[None]:
    """Runs within the tests know nothing of the run around them.

    In CI pytest tells reasons twice, a job's summary would be written to, and beside a worker of pytest-xdist nothing
    would be timed.
    """
    names = ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")
    with pytest.MonkeyPatch.context() as patch:
        for name in (*names, "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _on_the_processor_that_was_asked_for() -> None:
    """What .ci/emulated asks for is what the tests run on."""
    wanted = os.environ.get("ONNXLITE_TESTS_PROCESSOR")
    assert wanted in (None, this_processor()), f"the tests are to run on {wanted}, and this is {this_processor()}"


@pytest.fixture(scope="session")
def shared_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the whole run: the workers of pytest-xdist have one temporary folder each, within it."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(request.config, "workerinput") else own


@pytest.fixture(scope="session")
def shared_cache(shared_folder: Path) -> Path:
    """One cache for the whole run, so that the example models are converted once."""
    return shared_folder / "cache"


@pytest.fixture(scope="session")
def digits(shared_cache: Path) -> Digits:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed, which the example models are converted with")
    # It cannot be imported twice in one process, and pytester forgets what was imported within a test. Where another
    # worker has filled the cache, nothing below would import it here.
    importlib.import_module("tensorflow")
    from digits import load_digits

    _, (x, y) = load_digits()
    trained = REPOSITORY / "examples" / "models" / "cnn.keras"
    builder = Builder(ModelSpec("cnn", trained=trained, evaluation=Dataset(x, y)), Cache(shared_cache), lambda _: None)
    return Digits(trained, builder.onnx.path, builder.int8.path, x, y)


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Runs within this run go in the order that is written, whatever is installed beside."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:randomly")
    return pytester


@pytest.fixture
def project(pytester: pytest.Pytester, shared_cache: Path) -> Project:
    return Project(pytester, shared_cache)


@pytest.fixture
def digits_project(project: Project, digits: Digits) -> Callable[..., Project]:
    """A project that guards the example CNN's own ONNX and INT8 files."""

    def make(**options: Any) -> Project:
        files = options.pop("files", {"onnx": digits.onnx, "int8": digits.int8})
        project.write(files, options.pop("x", digits.x), options.pop("y", digits.y), **options)
        return project

    return make
