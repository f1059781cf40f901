"""The study as a test suite: `python -m pytest study --onnxlite-study=DIR` writes its page into a folder.

The models, the tests and this file use what the plugin gives to everyone: fixtures, markers, variants, and the JSON report. Each
run saves the models as baselines in pytest's cache folder, anew, because peaks of memory and times without a reference are
measured where a baseline is saved.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pytest_onnxlite import ModelSpec
from study.data import CIFAR_EVALUATION, CIFAR_TRAINING, CIFAR_VARIABLE, Unavailable
from study.figures import Cell, Figures, Unmeasured, read_records
from study.models import CALIBRATION, SEEDS, THREADS, Catalogue, plan
from study.notes import Notes, read_notes
from study.page import IMAGES, NAME, Conditions, render, summary

STUDY = pytest.StashKey["Study"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the study's one option."""
    group = parser.getgroup("study", "the 2021 study, rebuilt")
    group.addoption("--onnxlite-study", metavar="DIR", help="write the study's page and its plots into this folder")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave the study out of runs that did not ask for this folder: it takes minutes."""
    return None if _is_asked_for(config) else True


def _is_asked_for(config: pytest.Config) -> bool:
    """Tell whether this folder, or something in it, is among pytest's arguments."""
    here, start = Path(__file__).resolve().parent, config.invocation_params.dir
    return any(Path(start, argument.split("::")[0]).resolve().is_relative_to(here) for argument in config.args)


def pytest_configure(config: pytest.Config) -> None:
    """Set up the study, and let the plugin save baselines and write its report."""
    config.addinivalue_line(
        "markers",
        "study(about, *columns): the table, or the model whose graph, that a test measures, and its columns",
    )
    if not _is_asked_for(config):
        return
    if getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("the study measures time and memory, which others at work disturb: run it without -n.")
    study = Study(config)
    config.stash[STUDY] = study
    config.pluginmanager.register(study, "onnxlite-study")


@pytest.fixture(scope="session")
def catalogue(pytestconfig: pytest.Config) -> Catalogue:
    """The specs of the study's models."""
    study = pytestconfig.stash[STUDY]
    return Catalogue(study.trained_folder, study.progress)


@pytest.fixture(scope="session")
def onnxlite_model(request: pytest.FixtureRequest, catalogue: Catalogue) -> ModelSpec:
    """The model that a test is parametrized with, by name."""
    try:
        return catalogue.spec(request.param)
    except Unavailable as reason:
        pytest.skip(str(reason))
    except ValueError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def notes(record_property: Callable[[str, object], None]) -> Notes:
    """Notes what a test measured, in its report."""
    return Notes(record_property)


class Study:
    """A run of the study: what it measured, and the page of it.

    Args:
        config: pytest's; its options are changed so that the plugin saves baselines and writes its report.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._target = self._target_folder()
        self._folder = self._work_folder()
        self._report = self._folder / "report.json"
        self._started = time.time()
        self._trained = 0
        self._cells: dict[Cell, float] = {}
        self._operators: dict[tuple[str, str], list[str]] = {}
        self._about: dict[str, tuple[int | str, tuple[str, ...]]] = {}
        self._unmeasured: list[Unmeasured] = []
        self._figures: Figures | None = None
        self._page: Path | None = None
        baselines = self._folder / "baselines"
        shutil.rmtree(baselines, ignore_errors=True)
        self._report.unlink(missing_ok=True)
        options = config.option
        options.onnxlite_save_baseline = options.onnxlite_accept = True
        options.onnxlite_baseline_dir = str(baselines)
        options.onnxlite_report = options.onnxlite_report or str(self._report)
        self._report = Path(config.invocation_params.dir, options.onnxlite_report)

    def _target_folder(self) -> Path | None:
        """Return where the page goes, so that a run of minutes does not end without one."""
        given = self._config.option.onnxlite_study
        if not given:
            return None
        if find_spec("matplotlib") is None:
            raise pytest.UsageError(
                '--onnxlite-study: its plots are drawn with matplotlib, which is not installed: pip install -e ".[study]"'
            )
        folder = Path(self._config.invocation_params.dir, given)
        try:
            (folder / IMAGES).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise pytest.UsageError(
                f"--onnxlite-study={given}: {error.strerror}; give a folder that can be written."
            ) from None
        return folder

    def _work_folder(self) -> Path:
        cache = getattr(self._config, "cache", None)
        if cache is not None:
            return Path(cache.mkdir("onnxlite-study"))
        folder = Path(tempfile.mkdtemp(prefix="onnxlite-study-"))
        self._config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        return folder

    @property
    def trained_folder(self) -> Path:
        """Where trained nets are kept."""
        folder = self._folder / "trained"
        folder.mkdir(exist_ok=True)
        return folder

    def progress(self, text: str) -> None:
        """Say what is being trained, wherever the output goes: it takes minutes."""
        self._trained += not text.startswith(" ")
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        capture: Any = self._config.pluginmanager.get_plugin("capturemanager")
        if reporter is None or self._config.get_verbosity() < 0:
            return
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"study: {text}", light=True)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note what each test measures."""
        for item in items:
            mark = item.get_closest_marker("study")
            if mark is not None:
                about, *columns = mark.args
                self._about[item.nodeid] = about, tuple(columns)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what tests measured, and why those that did not pass did not."""
        if report.when == "call" and report.passed:
            cells, operators = read_notes(report.user_properties)
            self._cells |= cells
            self._operators |= operators
        elif not report.passed and report.nodeid in self._about:
            self._unmeasured.append(Unmeasured(*self._about[report.nodeid], _reason(report)))

    def pytest_sessionfinish(self) -> None:
        """Write the page, from what tests noted and from the report that the plugin wrote before."""
        if not self._about or self._config.option.collectonly:
            return
        report = json.loads(self._report.read_text(encoding="utf-8")) if self._report.is_file() else {}
        cells = {**read_records(report.get("records", ())), **self._cells}
        self._figures = Figures(cells, self._operators, self._unmeasured)
        if self._target is not None:
            self._write(self._target, self._figures, report)

    def _write(self, folder: Path, figures: Figures, report: dict[str, Any]) -> None:
        from study import plots

        drawn = plots.draw(figures, folder / IMAGES)
        conditions = Conditions(
            report.get("machine", {}),
            report.get("environment", {}),
            _conditions(),
            time.time() - self._started,
            self._trained,
        )
        self._page = folder / NAME
        self._page.write_text(render(figures, conditions, drawn), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was not rebuilt, what became of the claims, and where the page is."""
        if self._figures is None:
            return
        terminalreporter.section("the study, rebuilt")
        for line in summary(self._figures):
            terminalreporter.write_line(line)
        where = self._page or "nowhere; --onnxlite-study=DIR writes it"
        terminalreporter.write_line(f"page: {where}", bold=True)


def _reason(report: pytest.TestReport) -> str:
    """Say in a line why a test did not pass."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    lines = [line.strip() for line in report.longreprtext.splitlines() if line.strip()]
    # pytest marks what went wrong with an E; a guard's failure begins with what failed, and how.
    wrong = [line.removeprefix("E ").strip() for line in lines if line.startswith("E ")][:1] or lines[:2]
    return f"{report.nodeid} failed: {': '.join(wrong) or 'no reason given'}"


def _conditions() -> list[str]:
    """Say how the models came about and under which conditions they ran."""
    digits, cnn, convolved = plan("dnn"), plan("cnn-1"), plan("dense-89")
    return [
        f"DNN: the example DNN of this repository, {digits.epochs} epochs on the training digits of examples/digits.py (MNIST).",
        f"CNN: three convolutions and two dense layers, {cnn.epochs} epochs on the first {CIFAR_TRAINING:,} training images of CIFAR-10 "
        f"(the file that {CIFAR_VARIABLE} names, or Keras's), seeds {', '.join(map(str, SEEDS))}; evaluated on the first "
        f"{CIFAR_EVALUATION:,} test images.",
        f"Table 6: the DNN, and nets of four convolutions and three dense layers, trained on the same digits, epochs: {convolved.epochs}.",
        f"INT8: ONNX Runtime's dynamic quantization, as in the study; static (QDQ) from {CALIBRATION} training images; TFLite INT8 "
        "from the same images, integers in and out.",
        f"ONNX Runtime and LiteRT with {THREADS} thread, Keras with as many as it takes; one image at a time; CPU only.",
    ]
