"""What needs quiet, under pytest-xdist: the workers leave it out, and one that has the machine for itself runs it after them.

The workers collect every test and run those that nothing disturbs. When all of them have ended, as processes too, pytest-xdist starts
another one, as it does where one has crashed. That collects the same tests and runs those that were left out, one after the other.
So it does not matter how the others are distributed, and each test is run by pytest-xdist, which replaces a worker that crashes.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_onnxlite.stash import GUARD
from pytest_onnxlite.text import counted, shortened

if TYPE_CHECKING:
    from xdist.scheduler import Scheduling

# In what pytest-xdist hands to a worker, and what a worker hands back.
_KEY = "onnxlite_quiet"
_LATER, _NOW = "later", "now"


def needs_quiet(item: pytest.Item) -> bool:
    """Tell whether a test measures what other processes at work disturb."""
    return GUARD in item.stash and item.stash[GUARD].needs_quiet


def is_alone(config: pytest.Config) -> bool:
    """Tell whether this is the worker that runs after all others."""
    return _phase(config) == _NOW


def set_aside(items: list[pytest.Item], config: pytest.Config) -> list[pytest.Item]:
    """Take out of a worker's tests what is not for it, and return that; nothing where no worker follows the others."""
    phase = _phase(config)
    if not phase:
        return []
    aside = [item for item in items if needs_quiet(item) is not (phase == _NOW)]
    items[:] = [item for item in items if needs_quiet(item) is (phase == _NOW)]
    if phase == _LATER:
        worker: Any = config
        worker.workeroutput[_KEY] = [item.nodeid for item in aside]
    return aside


def _phase(config: pytest.Config) -> str:
    return str(getattr(config, "workerinput", {}).get(_KEY, ""))


class QuietPhase:
    """Runs what the workers left out; a plugin on pytest-xdist's controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._node: Any = None
        self._tests: dict[str, None] = {}
        self._seen: set[str] = set()
        self._is_now, self._total = False, 0
        self._session: pytest.Session | None = None

    def prepare(self, node: Any) -> None:
        """Tell a worker that is about to start what to run; nothing where each runs everything.

        What needs quiet runs where the first one does: workers may be on other machines.
        """
        manager = self._config.pluginmanager.getplugin("dsession")
        if self._config.getoption("dist") == "each" or not hasattr(manager, "_clone_node"):
            return
        self._node = self._node or node
        node.workerinput[_KEY] = _NOW if self._is_now else _LATER

    @property
    def lost(self) -> str:
        """Say which tests were left out and did not run after all; empty if none."""
        lost = [test for test in self._tests if test not in self._seen]
        if not lost:
            return ""
        return (
            f"these tests need quiet, were to run after all others, and did not: {shortened(lost)}. Collecting the tests a second "
            "time gave others. Run them with -n 0."
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take down what a worker left out."""
        self._tests.update(dict.fromkeys(getattr(node, "workeroutput", {}).get(_KEY, ())))

    def pytest_runtest_logstart(self) -> None:
        """Mend the number of all tests, which pytest-xdist takes from the worker that came last."""
        if self._session is not None:
            self._session.testscollected = self._total

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take down what ran."""
        self._seen.add(report.nodeid)

    # Next to pytest-xdist's own loop, so that whatever else is done after the tests is done after these too.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Run what needs quiet, after all others ended well or badly; not after a run that was stopped."""
        result = yield
        if self._tests and not (session.shouldstop or session.shouldfail):
            self._run(session)
        return result

    def _run(self, session: pytest.Session) -> None:
        manager: Any = self._config.pluginmanager.getplugin("dsession")
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        # Workers that have ended may still be at their exit.
        manager.nodemanager.teardown_nodes()
        if reporter is not None and self._config.get_verbosity() >= 0:
            reporter.write_line("")
            reporter.write_line(
                f"onnxlite: {counted(len(self._tests), 'test')} that nothing may disturb, one after the other"
            )
            # Of workers that have ended.
            getattr(getattr(manager, "trdist", None), "_status", {}).clear()
        self._is_now, self._session = True, session
        self._total = session.testscollected + len(self._tests)
        manager.shuttingdown = False
        manager._clone_node(self._node)  # as where a worker crashed: the same place, another name
        manager.pytest_runtestloop()

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Scheduling | None:
        """Give one worker all tests, one after the other."""
        if not self._is_now:
            return None
        from xdist.scheduler import LoadScheduling

        scheduler = LoadScheduling(config, log)
        scheduler.numnodes = 1
        return scheduler
