"""The hooks of a run in which something is guarded, or was to be."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_onnxlite.commands import repeated
from pytest_onnxlite.coverage.scope import Collected
from pytest_onnxlite.hooks import quiet
from pytest_onnxlite.hooks.clock import clock_of, put_away
from pytest_onnxlite.hooks.collected import Collecting, scope_of
from pytest_onnxlite.markers import Guard, disturbed_text
from pytest_onnxlite.options import PREFIX
from pytest_onnxlite.registry import Registry, marker_of
from pytest_onnxlite.run import Run
from pytest_onnxlite.settings import UsageMistake
from pytest_onnxlite.spec.runtimes import NO_ONNX_RUNTIME, has_onnx_runtime
from pytest_onnxlite.stash import GUARD, RUNTIME, or_fail, registry_of
from pytest_onnxlite.text import unknown
from pytest_onnxlite.topics import MARKERS, NO_RUNTIME, WORKERS, see
from pytest_onnxlite.workspace import enter_shared, leave_shared, name_of_shared, own_folder

if TYPE_CHECKING:
    from pytest_onnxlite.guard.guardian import Guardian
    from pytest_onnxlite.records import Record
    from pytest_onnxlite.settings import Settings
    from pytest_onnxlite.variants.variant import Variant


# On a guarded test: what its guard recorded, None before it did.
_RECORDS: pytest.StashKey[list[Record] | None] = pytest.StashKey()


class GuardSession:
    """What is known and done in a run with guarded tests; a plugin of pytest's.

    Attributes:
        run: what the guarded tests said.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        """Begin a run; nothing of it is cached yet."""
        self.run = Run(repeated=repeated(config))
        self._began = time.time()
        self._settings = settings
        self._guardian: Guardian | None = None
        self._shared: Path | None = None
        self._quiet: quiet.QuietPhase | None = None
        self._config = config
        self._is_worker = hasattr(config, "workerinput")
        self._worker: Any = config  # with what pytest-xdist puts there
        self._collected = Collected()
        self._collecting: Collecting | None = None
        self._guarded = 0
        self._is_run = self._concluded = self._stopped = False
        if self._settings.mode != "plain" or self._settings.processors:
            self._collecting = Collecting(config)
            config.pluginmanager.register(self._collecting)  # without a name, as this

    # -- building, when first asked ----------------------------------------------------------------------

    def guardian(self) -> Guardian:
        """Return what judges; made when first asked for, since it brings ONNX Runtime.

        No property: pytest 8.1 looks for fixtures among the values of a plugin's properties.
        """
        if self._guardian is None:
            from pytest_onnxlite.guard.guardian import make_guardian

            runtime = self._config.stash.get(RUNTIME, None)
            self._guardian = make_guardian(self._settings, self._cache_dir(), self._progress, self._registry(), runtime)
        return self._guardian

    def _registry(self) -> Registry:
        return registry_of(self._config)

    def _marker_names(self) -> list[str]:
        return [marker_of(check) for check in self._registry().checks]

    def _cache_dir(self) -> Path:
        """Return the cache folder; one for this run alone if nothing is or can be kept."""
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
            return enter_shared(Path(self._worker.workerinput["onnxlite_folder"]))
        folder = Path(tempfile.mkdtemp(dir=own_folder()))
        self._config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        return folder

    def _progress(self, text: str) -> None:
        """Say what is being done, where the terminal is a person's."""
        get = self._config.pluginmanager.get_plugin
        reporter, capture = get("terminalreporter"), get("capturemanager")
        if reporter is None or not reporter.isatty or self._config.get_verbosity() < 0:
            return
        done = {*self.run.records, *self.run.unjudged, *self.run.skipped}
        left = f" [{self._guarded - len(done)} of {self._guarded} left]" if self._guarded > 1 else ""
        text = f"onnxlite{left}: {text} ..."
        if capture is None:
            reporter.write_line(text)
            return
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(text, light=True)

    # -- before the run ----------------------------------------------------------------------------------

    def read_markers(self, items: list[pytest.Item]) -> None:
        """Read the markers of guarded tests, and ask for pytest-benchmark's fixture where something is timed."""
        mistakes: list[str] = []
        timed: list[pytest.Item] = []
        registered = {re.split("[(:]", line)[0].strip() for line in self._config.getini("markers")}
        for item in items:
            for mark in item.iter_markers():
                if mark.name.startswith(PREFIX) and mark.name not in registered:
                    mistakes.append(f"{item.nodeid}: {unknown('marker', mark.name, self._marker_names(), 'There are')}")
            if GUARD not in item.stash:
                try:
                    guard = Guard.from_item(item, self._registry())
                    if guard is not None:
                        item.stash[GUARD] = guard
                except UsageMistake as error:
                    mistakes.append(str(error))
                    continue
            if GUARD in item.stash and item.stash[GUARD].times:
                timed.append(item)
        names: Any = lambda item: getattr(item, "fixturenames", [])  # noqa: E731
        mistakes += [
            f"{item.nodeid}: @pytest.mark.{PREFIX}{item.stash[GUARD].times[0]} times with the fixture `benchmark`, which the test uses "
            "itself. Move your own benchmark to another test."
            for item in timed
            if "benchmark" in names(item)
        ]
        if mistakes:
            self._refuse("\n".join(mistakes), MARKERS)
        self._guarded = sum(GUARD in item.stash for item in items)
        if any(GUARD in item.stash for item in items) and not has_onnx_runtime():
            self._refuse(f"pytest-onnxlite: {NO_ONNX_RUNTIME}", NO_RUNTIME)
        # Skipped by pytest-benchmark a guard would not look; without its fixture, it tells what it could not measure.
        if self._config.pluginmanager.hasplugin("benchmark") and not self._skips_benchmarks:
            for item in timed:
                # Tests made from one function by parametrization share this list.
                if "benchmark" not in names(item):
                    names(item).append("benchmark")
                # Before it had the fixture, pytest-benchmark took it for no benchmark.
                if self._config.getoption("benchmark_only", False):
                    item.own_markers[:] = [
                        m for m in item.own_markers if "--benchmark-only active" not in str(m.kwargs)
                    ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take down what was collected, and refuse to measure while other workers run: it could only end red."""
        aside = quiet.set_aside(session.items, self._config)
        if self._collecting is not None:
            self._collected = self._collecting.taken_down(self._registry(), [*session.items, *aside])
            if self._is_worker:
                import msgspec

                self._worker.workeroutput["onnxlite_collected"] = msgspec.to_builtins(self._collected)
        if not self._is_worker or self._settings.mode == "plain" or quiet.is_alone(self._config):
            return
        measured = [item for item in session.items if quiet.needs_quiet(item)]
        if measured:
            asked = {name for item in measured for _, name, _ in item.stash[GUARD].limits}
            loud = [name for name, check in self._registry().checks.items() if check.needs_quiet and name in asked]
            workers = self._worker.workerinput["workercount"]
            others = sum(GUARD in item.stash for item in session.items) > len(measured)
            names = [item.nodeid for item in measured]
            text = disturbed_text(names, loud, self._settings.mode, workers, others, self.run.repeated)
            self._refuse(text, WORKERS)

    def _refuse(self, text: str, topic: str) -> NoReturn:
        """End the run before a test runs; a worker's exception would be a crash, so that the controller raises it."""
        text = f"{text}\n{see(topic)}"
        if self._is_worker:
            self._worker.workeroutput["onnxlite_mistake"] = text
        raise pytest.UsageError(text)

    # -- pytest-xdist's controller -----------------------------------------------------------------------

    def prepare(self, node: Any) -> None:
        """Tell a worker what is this run's: a folder to build in if there is no other, the baselines, and what to leave out."""
        if self._quiet is None:
            self._quiet = quiet.QuietPhase(self._config)
            self._config.pluginmanager.register(self._quiet)  # without a name, as this
        self._quiet.prepare(node)
        if self._shared is None:
            shared = self._shared = name_of_shared()
            self._config.add_cleanup(lambda: leave_shared(shared))
        node.workerinput["onnxlite_folder"] = str(self._shared)
        if self._settings.target is not None:
            from pytest_onnxlite.hooks.target import hand_over

            hand_over(self._settings, node.workerinput)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker says at its end."""
        if self._shared is not None and self._shared.is_dir():
            enter_shared(self._shared)  # what it built is needed when it and all others are gone
        said: dict[str, Any] = getattr(node, "workeroutput", {})
        if "onnxlite_mistake" in said:
            raise pytest.UsageError(said["onnxlite_mistake"])
        self._stopped = self._stopped or "onnxlite_stopped" in said
        if "onnxlite_collected" in said:
            import msgspec

            self._collected = self._collected.and_also(msgspec.convert(said["onnxlite_collected"], Collected))

    # -- a test ------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Judge the limits of a test after its body passed, in its own call phase."""
        if GUARD not in item.stash:
            names = self._marker_names()
            late = [mark.name for mark in item.iter_markers() if mark.name in names]
            if late:
                pytest.fail(
                    f"@pytest.mark.{late[0]} was added while the test was set up, and limits are read when tests are "
                    "collected: nothing was judged. Decorate the test, or add the marker in a conftest.py's "
                    "pytest_collection_modifyitems.",
                    pytrace=False,
                )
            return (yield)
        item.stash[_RECORDS] = None
        try:
            result = yield
            self._judge(item)
        finally:
            put_away(item)
        return result

    def _judge(self, item: pytest.Item) -> None:
        from pytest_onnxlite.records import this_machine, with_commands
        from pytest_onnxlite.report.failure import failure_text, skip_text

        __tracebackhide__ = True
        guard = item.stash[GUARD]
        arguments: dict[str, Any] = getattr(item, "funcargs", {})
        kinds = {kind for kind, _, _ in guard.limits}
        variants = {kind: arguments[guard.fixture_of(kind)] for kind in kinds}
        # Absent where an overridden variant fixture does not depend on it.
        spec, clock = (
            arguments.get("onnxlite_model"),
            clock_of(arguments.get("benchmark"), self._config, self._skips_benchmarks),
        )
        judge = self.guardian().judge
        records = or_fail(
            lambda: judge(item.nodeid, spec, variants, guard.limits, clock, guard.other_limits, guard.declared_in)
        )
        path, line, _ = item.location
        file, line = Path(path).as_posix(), (line or 0) + 1
        records = [with_commands(replace(record, file=file, line=line), self.run.repeated) for record in records]
        if self._is_worker:  # of a machine of its own, maybe: the controller knows
            records = [replace(record, judged_on=this_machine(record.runtime)) for record in records]
        item.stash[_RECORDS] = records
        for record in records:
            for verdict in record.verdicts:
                name = f"onnxlite.{record.model}.{record.variant}.{verdict.check}.{verdict.against}"
                item.user_properties.append((name, verdict.in_short))
        text = failure_text(records)
        if text:
            if self._settings.bundle is not None:
                text += self._bundle(records, spec, variants)
            pytest.fail(text, pytrace=False)
        reason = skip_text(records)
        if reason:
            pytest.skip(reason)

    def _bundle(self, records: list[Record], spec: object, variants: Mapping[str, Variant]) -> str:
        """Write a folder for each variant that a test failed for; returns what to say about them, or why it could not."""
        from pytest_onnxlite import bundle

        failures = self.guardian().failures(records, spec, variants)
        return "".join(bundle.say(failure, self._settings, self._progress) for failure in failures)

    @property
    def _skips_benchmarks(self) -> bool:
        """Whether the run is to skip what is timed, although it is to compare or to save."""
        return self._settings.mode != "plain" and bool(self._config.getoption("benchmark_skip", False))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the report carry what was recorded, so that it reaches the controller."""
        report = yield
        if GUARD in item.stash:
            from pytest_onnxlite.records import expect, to_data

            records = item.stash.get(_RECORDS, None) if report.when == "call" else None
            if records and report.skipped and hasattr(report, "wasxfail"):
                records = expect(records, report.wasxfail)
            # Plain data: a report goes from process to process.
            data = None if records is None else [to_data(record) for record in records]
            report.onnxlite = {"records": data}  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what the reports carry."""
        carried = getattr(report, "onnxlite", None)
        if carried is not None:
            from pytest_onnxlite.records import from_data, without_this_machine

            data, checks = carried["records"], self._registry().checks
            records = None if data is None else [without_this_machine(from_data(record, checks)) for record in data]
            self.run.note(report.nodeid, report.failed, records, report)
        elif str(report.when) == "???":  # the worker that ran it crashed, and nobody knows whether it was guarded
            self.run.note(report.nodeid, report.failed, None, report)

    # -- the run -----------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Note that tests are to run: what lists fixtures, for one, calls no such hook."""
        self._is_run = True
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Judge the run as a whole while its exit status can still change."""
        try:
            result = yield
        except (session.Failed, session.Interrupted, pytest.exit.Exception):
            self._stopped = True
            self._conclude(session)
            raise
        self._stopped = self._stopped or bool(session.shouldstop or session.shouldfail)
        self._conclude(session)
        return result

    def _conclude(self, session: pytest.Session) -> None:
        concluded, self._concluded = self._concluded, True
        if self._is_worker and self._stopped:
            self._worker.workeroutput["onnxlite_stopped"] = True
        # Runs that only show what there is call no test.
        shows = any(self._config.getoption(name, False) for name in ("collectonly", "setuponly", "setupplan"))
        if self._is_worker or shows or concluded:
            return
        if self._quiet is not None and not self._stopped and self._quiet.lost:
            self.run.findings.append(self._quiet.lost)
        if self.run.records or self.run.unjudged or self._settings.has_to_speak:
            from pytest_onnxlite.ending import conclude
            from pytest_onnxlite.report import junit

            scope = scope_of(self._config, self._collected)
            conclude(self.run, self._settings, self._registry().checks, scope, self._stopped)
            junit.tell(self._config.pluginmanager.get_plugins(), self.run, self._settings.compared_with)
        if self.run.findings:
            session.testsfailed += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let no run end green that was stopped before it was judged; and keep the cache within its size."""
        if self._is_run and self._settings.mode != "plain" and session.exitstatus == pytest.ExitCode.OK:
            self._stopped = self._stopped or not self._concluded
            self._conclude(session)
            if not self._is_worker and self.run.is_red:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self._is_worker or not self._settings.cache or not (self._guardian or self.run.records):
            return
        from pytest_onnxlite.variants.cache import Cache

        Cache(self._cache_dir()).trim(self._settings.cache_bytes, self._began)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show a line for each model and variant."""
        if not self.run.records and not self.run.findings and not self.run.remarks:
            return
        from pytest_onnxlite.ending import summary

        folder = self._config.invocation_params.dir
        lines = summary(self.run, self._settings, self._registry().checks, folder, self._config.get_verbosity())
        for title, _ in lines[:1]:
            terminalreporter.section(title)
        for text, colour in lines[1:]:
            terminalreporter.write_line(text, **({colour: True} if colour else {}))
