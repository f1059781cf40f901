"""What no single test can say, in JUnit: dashboards that read its XML are red where the run is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from pytest_onnxlite.run import Run

# The test case of the run as a whole.
CASE = "onnxlite::run"


def tell(plugins: Iterable[object], run: Run, against: str = "") -> None:
    """Add what is wrong with the run as a test case that failed, and how much it looked at as a property.

    Args:
        plugins: pytest's; the one that writes JUnit XML is among them if that was asked for.
        run: what is known about it.
        against: what it was compared with, if not the work tree's own baselines.
    """
    # Known by what it is: it is registered without a name, and its module is private to pytest.
    writer: Any = next((plugin for plugin in plugins if type(plugin).__name__ == "LogXML"), None)
    if writer is None:
        return
    if run.coverage is not None:
        writer.add_global_property("onnxlite.coverage", run.coverage.text)
    if against:
        writer.add_global_property("onnxlite.against", against)
    if run.findings:
        for when in ("call", "teardown"):
            writer.pytest_runtest_logreport(_report(when, "\n\n".join(run.findings)))


def _report(when: str, text: str) -> pytest.TestReport:
    failed = when == "call"
    return pytest.TestReport(
        nodeid=CASE,
        location=("onnxlite", None, "run"),
        keywords={},
        outcome="failed" if failed else "passed",
        longrepr=text if failed else None,
        when=when,  # type: ignore[arg-type]
    )
