"""pytest's hooks: each hands over to the module that knows. Imports the standard library and pytest only."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Generator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_onnxlite.fixtures import (  # noqa: F401  (pytest finds fixtures in a plugin's module)
    GUARD,
    GUARDIAN,
    onnxlite_int8,
    onnxlite_model,
    onnxlite_onnx,
    onnxlite_tflite,
    onnxlite_tflite_int8,
    onnxlite_trained,
    or_fail,
)
from pytest_onnxlite.settings import (
    FIXTURE_PREFIX,
    INI_ONLY,
    MARKERS,
    METAVARS,
    OPTIONS,
    Mode,
    Settings,
    UsageMistake,
)

if TYPE_CHECKING:
    from pytest_onnxlite.declared import DeclaredFile
    from pytest_onnxlite.guard import Clock, Guardian
    from pytest_onnxlite.limits import Guard
    from pytest_onnxlite.run import Run

_records = pytest.StashKey[list[dict[str, Any]] | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options and their ini twins."""
    group = parser.getgroup("onnxlite", "model releases (pytest-onnxlite)")
    for name, is_flag, text in OPTIONS:
        key = f"onnxlite_{name.replace('-', '_')}"
        if is_flag:
            # None, so that the ini file is heard where nothing is typed.
            group.addoption(f"--onnxlite-{name}", dest=key, action="store_true", default=None, help=text)
            parser.addini(key, text, type="bool", default=False)
        else:
            group.addoption(f"--onnxlite-{name}", dest=key, metavar=METAVARS.get(name, "DIR"), help=text)
            parser.addini(key, text, default="")
    for name, text, default in INI_ONLY:
        if isinstance(default, bool):
            parser.addini(f"onnxlite_{name}", text, type="bool", default=default)
        else:
            parser.addini(f"onnxlite_{name}", text, default=default)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, read the settings, and set up the run."""
    for name, (arguments, text) in MARKERS.items():
        values = ", ".join(f"{argument}=..." for argument in arguments.split(", "))
        config.addinivalue_line("markers", f"{name}({values}): {text}")
    try:
        settings = Settings.from_config(config)
        declared = _declared(config)
    except UsageMistake as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(_Session(config, settings, declared), "onnxlite-session")


def _declared(config: pytest.Config) -> DeclaredFile | None:
    """Return the models that pyproject.toml declares, where it declares any."""
    path = config.inipath
    if path is None or path.name != "pyproject.toml":
        path = config.rootpath / "pyproject.toml"
    try:
        mentioned = b"onnxlite" in path.read_bytes()
    except OSError:
        return None
    if not mentioned:
        return None
    from pytest_onnxlite.declared import DeclaredFile

    found = DeclaredFile.read(path)
    if not found.models:
        return None
    found.take_arguments(config)
    return found


def _put_away(benchmark: Any) -> None:
    """Use pytest-benchmark's fixture where nothing came to be timed: it was asked for by us, and would warn."""
    if benchmark is not None and benchmark.stats is None:
        benchmark.disabled = True
        benchmark(lambda: None)


class _Session:
    """The hooks that need to know the run."""

    def __init__(self, config: pytest.Config, settings: Settings, declared: DeclaredFile | None) -> None:
        self._config = config
        self._settings = settings
        self._declared = declared
        self._made: Guardian | None = None
        self._shared: Path | None = None
        self._is_worker = hasattr(config, "workerinput")
        self._worker: Any = config  # with what pytest-xdist puts there
        self._began = time.time()
        config.stash[GUARDIAN] = self._guardian

    @cached_property
    def _run(self) -> Run:
        """What is known about the run; not made where there is nothing to know."""
        from pytest_onnxlite.run import Run

        return Run()

    @property
    def _is_unused(self) -> bool:
        return self._made is None and "_run" not in self.__dict__ and self._settings.mode is Mode.PLAIN

    # -- building, when first asked ----------------------------------------------------------------------

    def _guardian(self) -> Guardian:
        if self._made is None:
            from pytest_onnxlite.guard import make_guardian

            self._made = make_guardian(self._settings, self._cache_dir(), self._progress)
        return self._made

    def _cache_dir(self) -> Path:
        """Return the cache folder; one for this run alone where nothing is or can be kept."""
        if self._settings.cache_dir is not None:
            return self._settings.cache_dir
        cache = getattr(self._config, "cache", None)
        if cache is not None and self._settings.cache:
            try:
                folder = Path(cache.mkdir("onnxlite"))
            except OSError:
                pass  # a read-only checkout
            else:
                if os.access(folder, os.W_OK):
                    return folder
        if self._is_worker:  # the controller deletes it, when every worker is done
            folder = Path(self._worker.workerinput["onnxlite_folder"])
            folder.mkdir(mode=0o700, exist_ok=True)
            return folder
        folder = Path(tempfile.mkdtemp(prefix="onnxlite-"))
        self._config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        return folder

    def _progress(self, text: str) -> None:
        """Say what is being done, where the terminal is a person's."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if reporter is None or not reporter.isatty or self._config.get_verbosity() < 0:
            return
        if capture is None:
            reporter.write_line(f"onnxlite: {text} ...")
            return
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"onnxlite: {text} ...", light=True)

    # -- collection --------------------------------------------------------------------------------------

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Collect the models that pyproject.toml declares."""
        if self._declared is None or file_path != self._declared.path:
            return None
        return self._declared.collector(parent)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Read the markers of each test, and ask for pytest-benchmark's fixture where something is timed."""
        mistakes = []
        timed = []
        for item in items:
            if GUARD not in item.stash and any(mark.name in MARKERS for mark in item.iter_markers()):
                from pytest_onnxlite.limits import Guard

                try:
                    guard = Guard.from_item(item)
                    if guard is not None:
                        item.stash[GUARD] = guard
                except UsageMistake as error:
                    mistakes.append(str(error))
                    continue
            if GUARD in item.stash and item.stash[GUARD].times:
                timed.append(item)
        names: Any = lambda item: getattr(item, "fixturenames", [])  # noqa: E731
        mistakes += [
            f"{item.nodeid}: @pytest.mark.onnxlite_latency times with the fixture `benchmark`, which the test uses "
            "itself. Move your own benchmark to another test."
            for item in timed
            if "benchmark" in names(item)
        ]
        if mistakes:
            self._refuse("\n".join(mistakes))
        if self._config.pluginmanager.hasplugin("benchmark"):
            for item in timed:
                # Tests made from one function by parametrization share this list.
                if "benchmark" not in names(item):
                    names(item).append("benchmark")

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Note that this is not a full run."""
        self._run.deselected = self._run.deselected or bool(items)
        if self._is_worker:
            self._worker.workeroutput["onnxlite_deselected"] = self._run.deselected

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse to measure beside other workers: in a full guard it could only end red."""
        if not self._is_worker or self._settings.mode is Mode.PLAIN:
            return
        measured = [item for item in session.items if GUARD in item.stash and item.stash[GUARD].needs_quiet]
        if measured:
            workers = self._worker.workerinput["workercount"]
            command = f"pytest --onnxlite-{'save-' if self._settings.mode is Mode.SAVE else ''}baseline"
            self._refuse(
                f"{measured[0].nodeid}{f' and {len(measured) - 1} more' if len(measured) > 1 else ''}: latency and memory "
                "cannot be measured while pytest-xdist runs other tests beside. Nothing was run. Measure without -n, and "
                "judge the rest with it:\n"
                f'  {command} -m "onnxlite_latency or onnxlite_memory"\n'
                f'  {command} -n {workers} -m "not onnxlite_latency and not onnxlite_memory"'
            )

    # -- pytest-xdist ------------------------------------------------------------------------------------

    def _refuse(self, text: str) -> NoReturn:
        """End the run before a test runs; a worker's exception would be a crash, so that the controller raises it."""
        if self._is_worker:
            self._worker.workeroutput["onnxlite_mistake"] = text
        raise pytest.UsageError(text)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Name a folder that the workers share, where they have no other to build in."""
        if self._shared is None:
            self._shared = Path(tempfile.gettempdir(), f"onnxlite-{os.urandom(8).hex()}")
            self._config.add_cleanup(lambda: shutil.rmtree(str(self._shared), ignore_errors=True))
        node.workerinput["onnxlite_folder"] = str(self._shared)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker says at its end."""
        said: dict[str, Any] = getattr(node, "workeroutput", {})
        if "onnxlite_mistake" in said:
            raise pytest.UsageError(said["onnxlite_mistake"])
        self._run.deselected = self._run.deselected or bool(said.get("onnxlite_deselected"))

    # -- a test ------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Judge the limits of a test after its body passed, in its own call phase."""
        item.stash[_records] = None
        guard = item.stash.get(GUARD, None)
        if guard is None:
            return (yield)
        try:
            result = yield
            self._judge(item, guard)
        finally:
            _put_away(getattr(item, "funcargs", {}).get("benchmark"))
        return result

    def _judge(self, item: pytest.Item, guard: Guard) -> None:
        from pytest_onnxlite.report.failure import failure_text, skip_text

        __tracebackhide__ = True
        arguments: dict[str, Any] = getattr(item, "funcargs", {})
        kinds = {kind for kind, _ in guard.limits}
        variants = {kind: arguments[f"{FIXTURE_PREFIX}{kind}"] for kind in kinds}
        # Absent where an overridden variant fixture does not depend on it.
        spec, clock = arguments.get("onnxlite_model"), self._clock(arguments)
        judge = self._guardian().judge
        records = or_fail(
            lambda: judge(item.nodeid, spec, variants, guard.limits, clock, guard.beside, guard.declared_in)
        )
        path, line, _ = item.location
        place = {"file": Path(path).as_posix(), "line": (line or 0) + 1}
        data = [{**asdict(record), **place} for record in records]
        item.stash[_records] = data
        for record in data:
            for verdict in record["verdicts"]:
                name = f"onnxlite.{record['model']}.{record['variant']}.{verdict['check']}.{verdict['against']}"
                item.user_properties.append((name, f"{verdict['outcome']}: {verdict['figure']}"))
        text = failure_text(data)
        if text:
            if self._settings.bundle is not None:
                text += self._guardian().bundle(data, spec, variants)
            pytest.fail(text, pytrace=False)
        reason = skip_text(data)
        if reason:
            pytest.skip(reason)

    def _clock(self, arguments: dict[str, Any]) -> Clock:
        from pytest_onnxlite.guard import Clock

        benchmark = arguments.get("benchmark")
        if benchmark is None:
            return Clock(
                missing="pytest-benchmark is switched off, and it does the timing. Run without -p no:benchmark."
            )
        if not benchmark.disabled:
            return Clock(benchmark)
        if self._is_worker:
            return Clock(missing="nothing can be timed while pytest-xdist runs other tests beside. Run it without -n.")
        return Clock(missing="pytest-benchmark is disabled, and it does the timing. Run without --benchmark-disable.")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the report carry what was recorded, so that it reaches the controller."""
        report = yield
        if GUARD in item.stash:
            records = item.stash.get(_records, None) if report.when == "call" else None
            if records and report.skipped and hasattr(report, "wasxfail"):
                from pytest_onnxlite.report.failure import expect

                expect(records, report.wasxfail)
            report.onnxlite = {"records": records}  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what the reports carry."""
        carried = getattr(report, "onnxlite", None)
        if carried is not None:
            self._run.note(report.nodeid, report.failed, carried["records"], report)
        elif str(report.when) == "???":  # the worker that ran it crashed, and nobody knows whether it was guarded
            self._run.note(report.nodeid, report.failed, None, report)

    def pytest_sessionfinish(self) -> None:
        """Keep the cache within its size, where it was used."""
        if self._is_worker or self._is_unused or not self._settings.cache or not (self._made or self._run.records):
            return
        from pytest_onnxlite.variants.cache import Cache

        Cache(self._cache_dir()).trim(self._settings.cache_bytes, self._began)

    # -- the run -----------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Judge the run as a whole while its exit status can still change."""
        collection_failed = session.testsfailed > 0
        result = yield
        if not self._is_worker and not self._is_unused and not self._config.option.collectonly:
            self._conclude(session, collection_failed)
            if self._run.findings:
                session.testsfailed += 1
        return result

    def _conclude(self, session: pytest.Session, collection_failed: bool) -> None:
        run, settings = self._run, self._settings
        stopped = bool(session.shouldstop or session.shouldfail)
        full = not (stopped or collection_failed) and self._is_full()
        if settings.mode is Mode.SAVE:
            self._save(stopped, full)
        elif settings.mode is Mode.COMPARE:
            from pytest_onnxlite.baseline.store import BaselineStore
            from pytest_onnxlite.run import baseline_findings

            saved = BaselineStore(settings.baseline_dir).held()
            run.findings, run.remarks = baseline_findings(run.all_records(), list(run.unjudged), saved, full)
        if run.records or run.findings or run.unjudged:
            from pytest_onnxlite.report import delivery

            run.findings += delivery.deliver(run, settings)

    def _is_full(self) -> bool:
        """Tell whether every test of the project was to run."""
        from pytest_onnxlite.run import covers_all

        return not self._run.deselected and covers_all(
            self._config.args,
            self._config.invocation_params.dir,
            self._config.rootpath,
            self._config.getini("testpaths"),
            [self._declared.path] if self._declared else [],
        )

    def _relative(self, path: str) -> str:
        try:
            return str(Path(path).relative_to(self._config.invocation_params.dir))
        except ValueError:
            return path

    def _save(self, stopped: bool, full: bool) -> None:
        run = self._run
        if stopped:
            run.findings.append("the run was stopped before its end; no baseline was saved.")
            return
        from pytest_onnxlite.baseline.saving import save_all

        run.saved = save_all(run.all_records(), list(run.unjudged), self._settings, full)
        run.findings += [
            f"{s.model}/{s.variant} was not saved: {s.reason}" for s in run.saved if s.outcome == "refused"
        ]
        if not run.saved and not run.unjudged:
            run.findings.append(
                "nothing was saved: no test of this run judged a model. Mark a test that takes a variant, such as "
                "@pytest.mark.onnxlite_accuracy on a test with the argument onnxlite_int8."
            )

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show a line for each model and variant."""
        if self._is_unused:
            return
        run = self._run
        records = run.all_records()
        if not records and not run.findings:
            return
        from pytest_onnxlite.report import terminal

        titles = {
            Mode.PLAIN: "onnxlite: not compared with baselines",
            Mode.COMPARE: "onnxlite: compared with baselines",
            Mode.SAVE: "onnxlite: saving baselines",
        }
        terminalreporter.section(titles[self._settings.mode])
        if records:
            for text, colour in terminal.table(records):
                terminalreporter.write_line(text, **({colour: True} if colour else {"bold": True}))
        for line in terminal.notes(records):
            terminalreporter.write_line(line)
        for entry in run.saved:
            if entry.outcome != "refused":
                terminalreporter.write_line(f"{entry.outcome}: {self._relative(entry.path)}")
        for line in run.remarks:
            terminalreporter.write_line(line, yellow=True)
        for line in run.findings:
            terminalreporter.write_line(f"ERROR: {line}", red=True)
        for line in run.annotations:
            terminalreporter.write_line(line)
