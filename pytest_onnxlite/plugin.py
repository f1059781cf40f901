"""pytest's hooks: each hands over to the module that knows. Imports the standard library and pytest only."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.fixtures import (  # noqa: F401  (pytest finds fixtures in a plugin's module)
    GUARDIAN,
    onnxlite_int8,
    onnxlite_model,
    onnxlite_onnx,
    onnxlite_trained,
    or_fail,
)
from pytest_onnxlite.judge.verdict import Mode
from pytest_onnxlite.run import Run, baseline_findings, covers_all
from pytest_onnxlite.settings import (
    FIXTURE_PREFIX,
    INI_ONLY,
    LIMITS,
    OPTIONS,
    Guard,
    Settings,
    UsageMistake,
)

if TYPE_CHECKING:
    from pytest_onnxlite.guard import Clock, Guardian

_guard = pytest.StashKey[Guard]()
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
            metavar = "FILE.json" if name == "report" else "DIR"
            group.addoption(f"--onnxlite-{name}", dest=key, metavar=metavar, help=text)
            parser.addini(key, text, default="")
    for name, text, default in INI_ONLY:
        if isinstance(default, bool):
            parser.addini(f"onnxlite_{name}", text, type="bool", default=default)
        else:
            parser.addini(f"onnxlite_{name}", text, default=default)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, read the settings, and set up the run."""
    for name, limit in LIMITS.items():
        arguments = ", ".join(f"{field.name}=..." for field in fields(limit))
        about = (limit.__doc__ or "").split("\n")[0].split(": ", 1)[-1]
        config.addinivalue_line("markers", f"{name}({arguments}): {about}")
    try:
        settings = Settings.from_config(config)
    except UsageMistake as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(_Session(config, settings), "onnxlite-session")


def _put_away(benchmark: Any) -> None:
    """Use pytest-benchmark's fixture where nothing came to be timed: it was asked for by us, and would warn."""
    if benchmark is not None and benchmark.stats is None:
        benchmark.disabled = True
        benchmark(lambda: None)


class _Session:
    """The hooks that need to know the run."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._run = Run()
        self._made: Guardian | None = None
        self._is_worker = hasattr(config, "workerinput")
        config.stash[GUARDIAN] = self._guardian

    # -- building, when first asked ----------------------------------------------------------------------

    def _guardian(self) -> Guardian:
        if self._made is None:
            from pytest_onnxlite.guard import make_guardian

            self._made = make_guardian(self._settings, self._cache_dir, self._progress)
        return self._made

    def _cache_dir(self) -> Path:
        cache = getattr(self._config, "cache", None)
        if cache is not None:
            try:
                return Path(cache.mkdir("onnxlite"))
            except OSError:
                pass  # a read-only checkout: build for this run alone
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

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Read the markers of each test, and ask for pytest-benchmark's fixture where something is timed."""
        mistakes = []
        timed = []
        for item in items:
            try:
                guard = Guard.from_item(item)
            except UsageMistake as error:
                mistakes.append(str(error))
                continue
            if guard is not None:
                item.stash[_guard] = guard
                if guard.times:
                    timed.append(item)
        names: Any = lambda item: getattr(item, "fixturenames", [])  # noqa: E731
        mistakes += [
            f"{item.nodeid}: @pytest.mark.onnxlite_latency times with the fixture `benchmark`, which the test uses "
            "itself. Move your own benchmark to another test."
            for item in timed
            if "benchmark" in names(item)
        ]
        if mistakes:
            raise pytest.UsageError("\n".join(mistakes))
        if self._config.pluginmanager.hasplugin("benchmark"):
            for item in timed:
                # Tests made from one function by parametrization share this list.
                if "benchmark" not in names(item):
                    names(item).append("benchmark")

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Note that this is not a full run."""
        self._run.deselected = self._run.deselected or bool(items)

    # -- a test ------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Judge the limits of a test after its body passed, in its own call phase."""
        item.stash[_records] = None
        guard = item.stash.get(_guard, None)
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
        records = or_fail(lambda: self._guardian().judge(item.nodeid, spec, variants, guard.limits, clock))
        data = [asdict(record) for record in records]
        item.stash[_records] = data
        for record in data:
            for verdict in record["verdicts"]:
                name = f"onnxlite.{record['model']}.{record['variant']}.{verdict['check']}.{verdict['against']}"
                item.user_properties.append((name, f"{verdict['outcome']}: {verdict['figure']}"))
        text = failure_text(data)
        if text:
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
        if _guard in item.stash:
            records = item.stash.get(_records, None) if report.when == "call" else None
            report.onnxlite = {"records": records}  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what the reports carry."""
        carried = getattr(report, "onnxlite", None)
        if carried is not None:
            self._run.note(report.nodeid, report.failed, carried["records"])

    # -- the run -----------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Judge the run as a whole while its exit status can still change."""
        collection_failed = session.testsfailed > 0
        result = yield
        if not self._is_worker and not self._config.option.collectonly:
            self._conclude(session, collection_failed)
            if self._run.findings:
                session.testsfailed += 1
        return result

    def _conclude(self, session: pytest.Session, collection_failed: bool) -> None:
        run, settings = self._run, self._settings
        stopped = bool(session.shouldstop or session.shouldfail)
        if settings.mode is Mode.SAVE:
            self._save(stopped)
        elif settings.mode is Mode.COMPARE:
            from pytest_onnxlite.baseline.store import BaselineStore

            full = not (run.deselected or stopped or collection_failed) and covers_all(
                self._config.args,
                self._config.invocation_params.dir,
                self._config.rootpath,
                self._config.getini("testpaths"),
            )
            saved = BaselineStore(settings.baseline_dir).saved()
            run.findings, run.remarks = baseline_findings(run.all_records(), list(run.unjudged), saved, full)
        if settings.report is not None and (run.records or run.findings):
            from pytest_onnxlite.report import document

            try:
                document.write(settings.report, settings.mode, run.all_records(), run.findings, run.saved)
            except OnnxliteError as error:
                run.findings.append(str(error))

    def _relative(self, path: str) -> str:
        try:
            return str(Path(path).relative_to(self._config.invocation_params.dir))
        except ValueError:
            return path

    def _save(self, stopped: bool) -> None:
        run = self._run
        if stopped:
            run.findings.append("the run was stopped before its end; no baseline was saved.")
            return
        from pytest_onnxlite.baseline.saving import save_all

        run.saved = save_all(run.all_records(), list(run.unjudged), self._settings)
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
